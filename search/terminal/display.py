"""A running study in words and bars: what the terminal shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from makemore_core.data.printable import printable
from search.evaluation.baselines import Baselines, compare_with_counts
from search.evaluation.winner import describe_best, remarks_on
from search.formatting import command, format_duration, format_rate
from search.spec.search_space import searched_names
from search.study.study import StoredStudy, config_file
from search.system.processes import HOST
from search.trials.ending import describe_end
from search.trials.history import WorkerView
from search.trials.status import StatusView, format_counts

NARROW = 70
"""Columns below which the live view leaves out bars beside text."""
LINES_WITHOUT_WORKERS = 14
"""Lines of a screen that the live view keeps for everything but its workers."""


def render(
    view: StatusView,
    workers: Sequence[WorkerView],
    study: StoredStudy,
    others: Baselines,
    hint: str,
    *,
    starting: bool = False,
    width: int = 80,
    height: int = 24,
) -> Group:
    """The live display: head, bar, best with its searched values, workers, counts; all lines wrap.

    Args:
        starting: workers are being started, if there are none.
        width, height: of the screen, in characters; workers without room are only counted.
    """
    end = None if workers or starting else describe_end(view)
    room = max(1, height - LINES_WITHOUT_WORKERS)
    shown = workers if len(workers) <= room else workers[: room - 1]
    hidden = len(workers) - len(shown)
    return Group(
        _line((view.study, "bold"), (f"  {study.corpus_name}{format_baselines(others)}", "")),
        _bar(view, width),
        *_best(view, study),
        _workers(shown, study.spec.budget.examples, width),
        *([_line((f"and {hidden} more workers", "dim"))] if hidden else []),
        *([_line((end, "yellow"))] if end else []),
        _line((_counts(view), "")),
        _line((hint, "dim")),
        Text(),  # where a terminal echoes ^C: at the end of a full line that would begin another
    )


def _line(*parts: tuple[str, str]) -> Text:
    line = Text(no_wrap=False, overflow="fold")  # whatever the console does otherwise
    for words, style in parts:
        line.append(printable(words), style)
    return line


def _bar(view: StatusView, width: int) -> Table:
    finished, trials = view.budget["finished"], view.budget["trials"]
    rate = format_rate(finished, view.elapsed_seconds)
    left = "" if view.eta_seconds is None else f"  {describe_time_left(view)}"
    words = f"{finished}/{trials} trials  {format_duration(view.elapsed_seconds)}  {rate}{left}"
    bar = ProgressBar(trials, min(finished, trials), width=30)
    grid = Table.grid(padding=(0, 1))
    if width < NARROW:
        grid.add_row(bar)
        grid.add_row(words)
    else:
        grid.add_row(bar, words)
    return grid


def _best(view: StatusView, study: StoredStudy) -> list[RenderableType]:
    if view.best is None:
        return [_line(("no complete trial yet", "dim"))]
    values = format_searched_values(study, view.best.config)
    return [
        _line((describe_best(view.best), "bold green")),
        *[Padding(_line((values, "")), (0, 0, 0, 2))] * bool(values),
        *[_line((remark, "yellow")) for remark in remarks_on(view.best)],
    ]


def format_searched_values(study: StoredStudy, config: Mapping[str, Any]) -> str:
    """The values of a configuration that the study searches, under their names in its file."""
    names = searched_names(study.spec.space)
    return " ".join(
        f"{name}={_format_value(config[name])}" for name in names if config.get(name) is not None
    )


def _format_value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _workers(workers: Sequence[WorkerView], examples: int, width: int) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    for _ in range(2 if width < NARROW else 4):
        grid.add_column(no_wrap=True)
    for number, worker in enumerate(workers, start=1):
        place = "" if worker.host == HOST else f" on {printable(worker.host)}"
        if worker.trial is None:
            grid.add_row(f"worker {number}{place}", Text("idle", "dim"))
            continue
        progress = _trial_progress(worker, examples, width < NARROW)
        grid.add_row(f"worker {number}{place}", f"trial {worker.trial}", *progress)
    return grid


def _trial_progress(worker: WorkerView, examples: int, narrow: bool) -> list[RenderableType]:
    """The examples that a trial has seen and its dev loss; on a narrow screen in one column."""
    seen = worker.examples
    loss = "" if worker.dev_loss is None else f"dev {worker.dev_loss:.4f}"
    if narrow:
        return ["not evaluated" if seen is None else f"{100 * seen / examples:.0f}% {loss}"]
    words = "not evaluated yet" if seen is None else f"{seen:,} examples"
    return [ProgressBar(examples, seen or 0, width=10), words, loss]


def _counts(view: StatusView) -> str:
    always = ("complete", "pruned", "failed")
    return ", ".join(
        f"{count} {state}"
        for state, count in format_counts(view).items()
        if count or state in always
    )


def format_baselines(others: Baselines) -> str:
    """The losses to beat, as far as they are known."""
    known = [*others.named, ("the lecture's", others.lecture)]
    return "".join(f" · {name} {loss:.4g}" for name, loss in known if loss is not None)


def compare_best_with_counts(view: StatusView, others: Baselines | None) -> list[str]:
    """A line on how the winner stands to the best count model, as far as both are known."""
    if view.best is None or others is None:
        return []
    against = compare_with_counts(view.best.loss, others)
    return [f"the winner is {against}"] if against else []


def one_line(view: StatusView, *, starting: bool = False) -> str:
    """A study's counts, best and time in one line; `starting`: workers are being started."""
    counts = ", ".join(f"{count} {state}" for state, count in format_counts(view).items() if count)
    best = describe_best(view.best) if view.best else "no best yet"
    left = "" if not view.eta_seconds else f", {describe_time_left(view)}"
    return (
        f"{view.study}: {view.budget['finished']}/{view.budget['trials']} trials "
        f"({counts or 'none yet'}), {best}, {format_duration(view.elapsed_seconds)}{left}"
        f"{'' if starting else _state(view)}"
    )


def describe_time_left(view: StatusView) -> str:
    """The time left at the rate so far; before there is a rate, at most until the timeout."""
    known = "about" if view.budget["finished"] else "at most"
    return f"{known} {format_duration(view.eta_seconds or 0)} left"


def _state(view: StatusView) -> str:
    """What ended the study, if not the end of all its trials; or that no worker is active."""
    if view.state == "closed":
        return ", closed"
    state = {
        "timeout": "ended by its timeout",
        "target": "at its target",
        "stop": "stopped",
        "moved": "moved to another storage",
        "interrupted": "interrupted",
        "crash": "its last workers died or gave up",
        None: "" if view.workers else "no worker is active",
    }.get(view.ended_by)
    return f", {state}" if state else ""


REMEDIES = {
    "out of memory": "fewer workers, smaller networks or batches in [search], or a machine with "
    "more memory",
    "over its memory limit": "a higher memory in [limits], or smaller networks or batches in "
    "[search]",
    "diverged": "lower learning rates in [search]",
    "over its time limit": "more seconds in [limits], or smaller networks or fewer examples",
}
"""What helps against outcomes that a larger budget does not change."""
BY_LIMITS = ("over its memory limit", "over its time limit")
"""Outcomes that the study file's [limits] ask for."""


def describe_barren(view: StatusView) -> str | None:
    """Says that every trial ended without a result, and what helps; None: one has a result."""
    ended = {reason: count for reason, count in view.pruned_for.items() if reason in REMEDIES}
    finished = view.budget["finished"]
    if view.best is not None or not ended or sum(ended.values()) < finished:
        return None
    counts = ", ".join(f"{count} {reason}" for reason, count in ended.items())
    remedy = REMEDIES[next(iter(ended))]
    return f"study {view.study}: no trial is complete; pruned: {counts}; what helps: {remedy}"


def ended_without_result(view: StatusView) -> bool:
    """Whether every trial ended without a result, and not by limits of the study file."""
    return describe_barren(view) is not None and any(r not in BY_LIMITS for r in view.pruned_for)


def closing_summary(
    view: StatusView, study: StoredStudy, others: Baselines, verbs: Sequence[str], options: str
) -> str:
    """The end of a run: the best configuration as TOML for `train`, and what to do next."""
    if view.best is None:
        return (
            describe_barren(view)
            or f"{view.study}: no trial was complete; a larger budget may help"
        )
    best = view.best
    lines = [
        f"{describe_best(best)}{format_baselines(others)}",
        *remarks_on(best),
        "",
        config_file(study, best.config),
        "",
        f"see   {command('dashboard', place=options)}, then "
        f"http://127.0.0.1:8080/dashboard/studies/{study.optuna_id}",
        *[f"next  {_next(verb, view.study, options)}" for verb in verbs],
    ]
    return "\n".join(lines)


def _next(verb: str, study: str, place: str) -> str:
    options = ["--toml"] if verb == "best" else []
    return f"{command(verb, study, options=options, place=place)}   {VERB_HINTS[verb]}"


VERB_HINTS = {
    "report": "one page with every figure",
    "best": "the file that `train` takes",
    "confirm": "retrains the best on fresh seeds",
    "test": "opens the test split, once",
}
