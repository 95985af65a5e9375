"""One worker process: claim, ask, train, report, record."""
