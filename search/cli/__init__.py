"""The command line: parses, calls, prints, and sets the exit status. No logic."""

from search.cli.program import app, main

__all__ = ["app", "main"]
