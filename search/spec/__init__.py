"""The study file and the search space."""
