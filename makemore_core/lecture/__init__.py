"""The lecture's experiments."""
