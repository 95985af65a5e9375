"""How well the time of a study is foreseen: by `preview`, and by its status while it runs.

    python tests/benchmarks/time_foreseen.py STUDY.toml [--workers 2] [--trials N]

Runs the study to the end of its trials, and prints what had been foreseen over what it took: 1 is
right, 2 is twice as long. A status is taken when a tenth of the trials has ended, and so on. A
study that a timeout ends says nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from search.errors import NotFound, SearchError
from search.storage.database import Storage, open_storage
from search.study import study
from search.trials.status import StatusView, status

FRACTIONS = (0.1, 0.2, 0.3, 0.5, 0.75)
POLL_SECONDS = 0.5


def called(*arguments: str) -> Any:
    """The JSON of one invocation."""
    command = [sys.executable, "-m", "search", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def opened(url: str, running: "subprocess.Popen[bytes]") -> Storage:
    """The database, as soon as the study made it."""
    while running.poll() is None:
        try:
            return open_storage(url)
        except SearchError:
            time.sleep(POLL_SECONDS)
    raise SystemExit("the study ended at once")


def statuses(url: str, name: str, running: "subprocess.Popen[bytes]") -> dict[float, StatusView]:
    """The first status of each fraction of the trials."""
    storage, found = opened(url, running), dict[float, StatusView]()
    while running.poll() is None:
        time.sleep(POLL_SECONDS)
        try:
            view = status(storage, study.resolve(storage, name))
        except NotFound:
            continue
        done = view.budget["finished"] / view.budget["trials"]
        for fraction in FRACTIONS:
            if done >= fraction and view.eta_seconds is not None:
                found.setdefault(fraction, view)
    storage.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int)
    given = parser.parse_args()
    options = [str(given.file), "--workers", str(given.workers)]
    options += ["--trials", str(given.trials)] if given.trials else []
    preview = called("preview", *options)
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "search", "run", *options, "--quiet", "--data-dir", root]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            seen = statuses(f"sqlite:///{root}/studies.db", preview["study"], running)
        ended = called("status", preview["study"], "--data-dir", root)
    taken = ended["elapsed_seconds"]
    print(f"{preview['study']}: {ended['trials']}, {taken:.1f} s, ended by {ended['ended_by']}")
    print(f"preview {preview['seconds_of_all_trials'] / taken:.2f}")
    for fraction, view in seen.items():
        ratio = (view.elapsed_seconds + (view.eta_seconds or 0.0)) / taken
        print(f"{fraction:.0%} of the trials, after {view.elapsed_seconds:.1f} s: {ratio:.2f}")


if __name__ == "__main__":
    main()
