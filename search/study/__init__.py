"""A study as it is stored: create, resume, delete, move, its words, its cost."""
