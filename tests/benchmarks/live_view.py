"""What the live view costs: a study with it on a terminal, and the same study with --quiet.

    python tests/benchmarks/live_view.py [STUDY.toml] [TRIALS]

Wall times of whole runs differ by more than the 2 % in question on a busy machine, so the processor
time that the launcher spends in looking and drawing is told beside them, as a share of the run.
"""

import json
import os
import pty
import sys
import tempfile
import threading
import time

COUNTED = """
import json, os, sys, time
from search import cli
from search.dashboard import trial_pictures
from search.terminal import live_view
spent = {"view": 0.0, "pictures": 0.0}
def counted(kind, method):
    def call(*args, **kwargs):
        started = time.thread_time()
        try:
            return method(*args, **kwargs)
        finally:
            spent[kind] += time.thread_time() - started
    return call
for name in ("update", "__enter__", "__exit__"):
    setattr(live_view.LiveView, name, counted("view", getattr(live_view.LiveView, name)))
fit = live_view.LiveView._fit_baselines
live_view.LiveView._fit_baselines = counted("view", fit)
pictures = trial_pictures.PicturePublisher
for name in ("update", "finish"):
    setattr(pictures, name, counted("pictures", getattr(pictures, name)))
report = sys.argv.pop(1)
started = time.monotonic()
cli.main()
with open(report, "w") as file:
    json.dump(spent | {"wall": time.monotonic() - started}, file)
"""


def run(study: str, trials: str, *options: str) -> dict[str, float]:
    """One run on a terminal of its own."""
    with tempfile.TemporaryDirectory() as place:
        report = os.path.join(place, "report.json")  # noqa: PTH118
        command = [sys.executable, "-c", COUNTED, report, "run", study, "--trials", trials]
        command += ["--data-dir", os.path.join(place, "runs"), *options]  # noqa: PTH118
        pid, leader = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(command[0], command)
        reader = threading.Thread(target=drain, args=(leader,), daemon=True)
        reader.start()
        os.waitpid(pid, 0)
        with open(report) as file:  # noqa: PTH123
            measured: dict[str, float] = json.load(file)
        return measured


def drain(leader: int) -> None:
    """Reads what the terminal shows, so that nobody waits for it."""
    try:
        while os.read(leader, 65536):
            pass
    except OSError:
        pass


def main() -> None:
    study = sys.argv[1] if len(sys.argv) > 1 else "studies/quick.toml"
    trials = sys.argv[2] if len(sys.argv) > 2 else "40"
    cores = os.cpu_count() or 1
    for options in ((), ("--quiet",)):
        told = run(study, trials, *options)
        share = told["view"] / told["wall"] / cores
        pictures = told["pictures"] / told["wall"] / cores
        print(
            f"{' '.join(options) or 'live view':10} wall {told['wall']:6.1f} s, view "
            f"{told['view']:.2f} s = {share:.2%} of {cores} cores, pictures {pictures:.2%} "
            f"({time.strftime('%H:%M')})"
        )


if __name__ == "__main__":
    main()
