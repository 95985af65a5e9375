"""What ended the work on a study, what is left of it, and how to go on: in words."""

import math
from collections.abc import Mapping

from search.formatting import NO_FILE, command
from search.trials.status import StatusView

CLOSED = "; closed by the opening of its test split"


def describe_end(view: StatusView) -> str | None:
    """What ended the work, and what is left; None while it is under way."""
    finished, trials = view.budget["finished"], view.budget["trials"]
    so_far = f"after {finished} of {trials} trials"
    text = {
        "trials": f"done: its {trials} trials are finished"
        if finished == trials
        else f"done: {finished} trials are finished, and its budget is {trials}",
        "timeout": f"done by its timeout of {toml_duration(view.timeout or 0)}, {so_far}",
        "target": f"done: the best dev loss is at or below the target of {view.target}, {so_far}",
        "stop": f"asked to end by `stop`, {so_far}: its workers are leaving"
        if view.workers
        else f"stopped by `stop`, {so_far}",
        "test": f"closed by the opening of its test split, {so_far}",
        "moved": f"moved to another storage, {so_far}",
        "interrupted": f"interrupted, {so_far}: no worker is at work on it",
        "crash": f"its last workers died or gave up, {so_far}: no worker is at work on it",
        None: None if view.workers else "no worker is at work on it yet",
    }[view.ended_by]
    if text is None:
        return None
    closed = view.state == "closed" and view.ended_by != "test"
    return f"{text}{_left(view)}{CLOSED if closed else ''}"


def _left(view: StatusView) -> str:
    """What waits, and what was set aside."""
    waiting, aside = view.trials["waiting"], view.set_aside
    parts = []
    if waiting and view.ended_by is not None:
        parts.append(f"{_counted(waiting, 'configuration')} waiting to be tried")
    if view.trials["running"] and view.workers:
        parts.append(f"{_counted(view.trials['running'], 'trial')} still under way")
    if aside:
        parts.append(f"{_counted(aside, 'configuration')} set aside after two errors")
    return "".join(f"; {part}" for part in parts)


def describe_way_on(
    view: StatusView, place: str, file: str | None = None, given: Mapping[str, str] | None = None
) -> str | None:
    """The command that goes on with a study; None while there are workers, or no way on.

    Args:
        place: the options that lead to the same storage.
        file: the study's file, if it is known.
        given: the other options that `run` was given, and needs again; "": one without a value.
    """

    def run(**changed: str) -> str:
        options = {**(given or {}), **{f"--{name}": value for name, value in changed.items()}}
        words = [word for pair in options.items() for word in pair if word]
        return command("run", file or NO_FILE, options=words, place=place)

    if view.state == "closed":
        return "to search on, give the study another name"
    match view.ended_by:
        case "trials":
            more = 2 * max(view.budget["finished"], view.budget["trials"])
            return f"for more trials: {run(trials=str(more))}"
        case "timeout":
            return f"for more time: {run(timeout=enough_time(view))}"
        case "target":
            return f"to go on, lower `target` in its file, then: {run()}"
        case "moved":
            return None
        case "stop":
            return f"to go on: {run()}"
    if view.workers:
        return None
    if view.served:
        return "a service is there, and takes it on in its turn"
    here = run() if given is not None else command("worker", view.study, place=place)
    every = command("serve", place=place)
    return f"nobody serves this storage: {here} works on it, {every} on whatever is submitted"


def enough_time(view: StatusView) -> str:
    """A timeout that is likely to do for all trials, by the rate so far; twice the old one at
    least."""
    finished, elapsed = view.budget["finished"], view.elapsed_seconds
    wanted = 2 * max(view.timeout or 0.0, elapsed)
    if finished:
        wanted = max(wanted, 1.2 * elapsed / finished * view.budget["trials"])
    unit = 60 if wanted > 60 else 10
    return toml_duration(math.ceil(wanted / unit) * unit)


def toml_duration(seconds: float) -> str:
    """A duration as a study file takes it: 45s, 2m, 1h30m.

    >>> toml_duration(5400), toml_duration(0.5)
    ('1h30m', '0.5s')
    """
    if seconds != round(seconds):
        return f"{seconds:g}s"
    hours, minutes, rest = int(seconds) // 3600, int(seconds) % 3600 // 60, int(seconds) % 60
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
