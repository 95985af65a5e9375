"""Pictures of trials and of the lecture, drawn as SVG without torch; and the study's note."""
