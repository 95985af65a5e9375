"""Samplers and pruners as pure functions; they know Optuna, not the study file."""
