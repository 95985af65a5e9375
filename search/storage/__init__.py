"""The database, its tables and migrations, Optuna's tables, model files and where they are kept."""
