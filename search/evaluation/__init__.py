"""What can be believed of a study: confirm, ensemble, winner, the one test, replay, baselines."""
