"""A running study in words and bars: what the terminal shows."""

from collections.abc import Sequence

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from makemore_core.data.printable import printable
from search.evaluation.baselines import Baselines, compare_with_counts
from search.evaluation.winner import describe_best, remarks_on
from search.formatting import command, format_config, format_duration, format_rate
from search.processes import HOST
from search.study.study import StoredStudy
from search.trials.ending import describe_end
from search.trials.history import WorkerView
from search.trials.status import StatusView, format_counts


def render(
    view: StatusView,
    workers: Sequence[WorkerView],
    study: StoredStudy,
    others: Baselines,
    hint: str,
    *,
    starting: bool = False,
) -> Group:
    """The live display: head, bar, best, a line for each worker, counts.

    Args:
        starting: workers are on their way, if there are none.
    """
    end = None if workers or starting else describe_end(view)
    return Group(
        _line((view.study, "bold"), (f"  {study.corpus_name}{format_baselines(others)}", "")),
        _bar(view),
        *_best(view),
        _workers(workers, study.spec.budget.examples),
        *([_line((end, "yellow"))] if end else []),
        _line((_counts(view), "")),
        _line((hint, "dim")),
    )


def _line(*parts: tuple[str, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for words, style in parts:
        line.append(printable(words), style)
    return line


def _bar(view: StatusView) -> Table:
    finished, of = view.budget["finished"], view.budget["trials"]
    rate = format_rate(finished, view.elapsed_seconds)
    left = "" if view.eta_seconds is None else f"  {describe_time_left(view)}"
    grid = Table.grid(padding=(0, 1))
    words = f"{finished}/{of} trials  {format_duration(view.elapsed_seconds)}  {rate}{left}"
    grid.add_row(ProgressBar(of, min(finished, of), width=30), words)
    return grid


def _best(view: StatusView) -> list[Text]:
    if view.best is None:
        return [_line(("no complete trial yet", "dim"))]
    return [
        _line(
            (describe_best(view.best), "bold green"), (f"  {format_config(view.best.config)}", "")
        ),
        *[_line((remark, "yellow")) for remark in remarks_on(view.best)],
    ]


def _workers(workers: Sequence[WorkerView], examples: int) -> Table:
    grid = Table.grid(padding=(0, 2))
    for _ in range(5):
        grid.add_column(no_wrap=True)
    for number, worker in enumerate(workers, start=1):
        place = "" if worker.host == HOST else f" on {printable(worker.host)}"
        if worker.trial is None:
            grid.add_row(f"worker {number}{place}", Text("between trials", "dim"))
            continue
        seen = worker.examples
        grid.add_row(
            f"worker {number}{place}",
            f"trial {worker.trial}",
            ProgressBar(examples, seen or 0, width=10),
            "not evaluated yet" if seen is None else f"{seen:,} examples",
            "" if worker.dev_loss is None else f"dev {worker.dev_loss:.4f}",
        )
    return grid


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
    """A study's counts, best and time in one line; `starting`: workers are on their way."""
    counts = ", ".join(f"{count} {state}" for state, count in format_counts(view).items() if count)
    best = describe_best(view.best) if view.best else "no best yet"
    left = "" if not view.eta_seconds else f", {describe_time_left(view)}"
    return (
        f"{view.study}: {view.budget['finished']}/{view.budget['trials']} trials "
        f"({counts or 'none yet'}), {best}, {format_duration(view.elapsed_seconds)}{left}"
        f"{'' if starting else _standing(view)}"
    )


def describe_time_left(view: StatusView) -> str:
    """How long it will go on, at the rate so far; before there is one, at most to its timeout."""
    known = "about" if view.budget["finished"] else "at most"
    return f"{known} {format_duration(view.eta_seconds or 0)} left"


def _standing(view: StatusView) -> str:
    """What ended it, if it was not the end of all its trials; or that nobody is at work on it."""
    if view.state == "closed":
        return ", closed"
    ending = {
        "timeout": "ended by its timeout",
        "target": "at its target",
        "stop": "stopped",
        "moved": "moved to another storage",
        "interrupted": "interrupted",
        "crash": "its last workers died or gave up",
        None: "" if view.workers else "nobody is at work on it",
    }.get(view.ended_by)
    return f", {ending}" if ending else ""


REMEDIES = {
    "out of memory": "fewer workers, smaller networks or batches in [search], or a machine with "
    "more memory",
    "over its memory limit": "a higher memory in [limits], or smaller networks or batches in "
    "[search]",
    "diverged": "lower learning rates in [search]",
    "over its time limit": "more seconds in [limits], or smaller networks or fewer examples",
}
"""What helps against ends that a larger budget changes nothing about."""
AS_ASKED = ("over its memory limit", "over its time limit")
"""Ends that the study file has asked for."""


def describe_barren(view: StatusView) -> str | None:
    """That every trial ended in a way that leaves no result, and what helps; None: not so."""
    ended = {reason: count for reason, count in view.pruned_for.items() if reason in REMEDIES}
    finished = view.budget["finished"]
    if view.best is not None or not ended or sum(ended.values()) < finished:
        return None
    counts = ", ".join(f"{count} {reason}" for reason, count in ended.items())
    remedy = REMEDIES[next(iter(ended))]
    return f"study {view.study}: no trial is complete; pruned: {counts}; what helps: {remedy}"


def format_failed(view: StatusView) -> bool:
    """Whether a study is at its end without a result, and not by limits of its file."""
    return describe_barren(view) is not None and any(r not in AS_ASKED for r in view.pruned_for)


def closing_summary(
    view: StatusView, study: StoredStudy, others: Baselines, verbs: Sequence[str], options: str
) -> str:
    """The end of a run: the best configuration, where to look, and what to do next."""
    if view.best is None:
        return (
            describe_barren(view)
            or f"{view.study}: no trial was complete; a larger budget may help"
        )
    best = view.best
    lines = [
        f"{describe_best(best)}{format_baselines(others)}",
        *compare_best_with_counts(view, others),
        *remarks_on(best),
        *[f"  {name} = {value}" for name, value in best.config.items() if value is not None],
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
