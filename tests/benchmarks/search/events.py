"""What a contender found and when: its dev evaluations, and the best so far over time."""

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

Series = Sequence[tuple[float, float]]
"""(seconds since the command, best dev loss so far), one pair for each improvement."""


@dataclass(frozen=True, order=True)
class Event:
    """One dev evaluation of one trial."""

    at: float  # seconds since 1970
    trial: str
    dev_loss: float  # nats per predicted character
    last: bool  # the trial has run to its end


class Recorder:
    """Writes evaluations down as they happen, in a file of this process's own."""

    def __init__(self, place: Path, evaluations: int) -> None:
        self._path = place / f"evaluations-{os.getpid()}.jsonl"
        self._evaluations = evaluations

    def note(self, trial: str, index: int, dev_loss: float) -> None:
        """The `index`-th evaluation of a trial, counted from 1."""
        event = Event(time.time(), f"{os.getpid()}/{trial}", dev_loss, index >= self._evaluations)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(astuple(event)) + "\n")


def recorded(place: Path) -> list[Event]:
    """All that the processes of a contender noted."""
    lines = [
        line
        for path in sorted(place.glob("evaluations-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [Event(*json.loads(line)) for line in lines]


def best_so_far(
    events: Iterable[Event], start: float, seconds: float, *, complete_only: bool = False
) -> Series:
    """The improvements within so many seconds of `start`.

    Any evaluation of any trial counts; with `complete_only` a trial's best counts once it has run
    to its end.
    """
    of_trial: dict[str, float] = {}
    best, found = math.inf, []
    for event in sorted(events):
        if event.at - start > seconds or not math.isfinite(event.dev_loss):
            continue
        of_trial[event.trial] = min(event.dev_loss, of_trial.get(event.trial, math.inf))
        if of_trial[event.trial] < best and (event.last or not complete_only):
            best = of_trial[event.trial]
            found.append((round(event.at - start, 3), best))
    return found


def best_at(series: Series, seconds: float) -> float:
    """The best after so many seconds; infinity before the first."""
    return min((loss for at, loss in series if at <= seconds), default=math.inf)
