"""Results as text, and the live view."""
