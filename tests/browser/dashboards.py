"""Dashboards as somebody starts them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from workspace import Workspace

TOKEN = "a-token-of-some-length"


@contextmanager
def served(bed: Workspace, *options: str) -> Iterator[str]:
    """`makemore-search dashboard` over a workspace; gives its address."""
    command = [sys.executable, "-m", "search", *bed.arguments("dashboard", "--port", 0, *options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield line.split(" on ")[-1].split("?")[0].split(" (")[0].rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
