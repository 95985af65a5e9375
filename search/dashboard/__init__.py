"""The Optuna dashboard: WSGI middleware, sign-in, and what is published into it."""
