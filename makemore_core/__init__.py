"""Trains one character-level language model of Bengio et al. 2003.

This package knows torch. It knows nothing of Optuna, SQL or the command line.
"""
