"""Trains one configuration and evaluates it."""
