"""The Optuna dashboard, and what stands between it and the network."""
