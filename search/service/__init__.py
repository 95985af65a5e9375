"""The service over HTTP: an API, a page, tokens, and the Optuna dashboard beside them."""
