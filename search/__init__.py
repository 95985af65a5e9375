"""Finds the best configuration. Knows Optuna, SQLAlchemy and the core."""
