"""Pictures as SVG, without torch or a plotting library."""
