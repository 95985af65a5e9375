"""What a study's page shows: read once a second for all who look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search.evaluation.baselines import Baselines, compare_with_counts, stored_baselines
from search.evaluation.winner import describe_best, describe_winner, remarks_on
from search.figures.study_figures import LINES, Line, best_so_far, running_curves
from search.finite import is_finite
from search.formatting import format_duration, iso_time
from search.service.context import ServiceContext
from search.service.templating import study_path
from search.study.study import StoredStudy, config_file
from search.system.processes import HOST
from search.trials import changes, confirmations, history, jobs, results, trial_details
from search.trials.ending import describe_end
from search.trials.history import WorkerView
from search.trials.results import BestView
from search.trials.status import StatusView, describe_audit, format_counts, status

LATEST_TRIALS = 8
LATEST_CHANGES = 20
LATEST_JOBS = 3


def study_facts(context: ServiceContext, stored: StoredStudy) -> dict[str, Any]:
    """The content of the part of a study's page that changes."""
    storage, view = context.storage, status(context.storage, stored)
    others = stored_baselines(storage, stored)
    best = view.best
    return {
        **_links(stored, view),
        **_allowed(stored, view),
        "study": stored,
        "view": view,
        "said": _said(view),
        "best_words": "no trial is complete yet" if best is None else describe_best(best),
        "counts": ", ".join(f"{n} {state}" for state, n in format_counts(view).items() if n),
        "time_left": _time_left(view),
        "corpus": stored.corpus_name,
        "baselines": _baselines(others),
        "remarks": _remarks(view, others),
        "opening": _opening(context, stored),
        **_pictures(context, stored, view, others),
        "examples": stored.spec.budget.examples,
        "jobs": jobs.of_study(storage, stored)[:LATEST_JOBS],
        "candidates": confirmations.candidates(storage, stored),
        "trials": _latest_trials(context, stored, view),
        "log": trial_details.latest_log_lines(storage, stored, context.data_dir),
        "configuration": None if best is None else configuration(stored, best.config),
        "changes": changes.of_study(storage, stored)[:LATEST_CHANGES],
    }


def configuration(stored: StoredStudy, config: Mapping[str, Any]) -> str:
    """A configuration as a file for `train`; of a corpus that was a file on this machine it has the
    name alone."""
    named = stored.spec.with_values("study", corpus=stored.corpus_name)
    return config_file(replace(stored, spec=named), config)


def _links(stored: StoredStudy, view: StatusView) -> dict[str, Any]:
    path = study_path(stored.name)
    return {
        "name": stored.name,
        "path": path,
        "api": f"/api/v1{path}",
        "optuna_path": None if stored.lost else f"/dashboard/studies/{stored.optuna_id}",
        "has_model": view.best is not None,
    }


def _allowed(stored: StoredStudy, view: StatusView) -> dict[str, bool]:
    """What can be asked of a study as it is, whoever asks."""
    goes_on = not stored.closed and stored.moved_to is None and not stored.lost
    return {
        "stoppable": goes_on and view.state == "open" and not stored.stopped,
        "resumable": goes_on,
        "confirmable": goes_on and view.best is not None,
        "testable": goes_on and view.best is not None,
    }


def _said(view: StatusView) -> str:
    """How the study stands, in one line that changes rarely enough to be read aloud."""
    end = describe_end(view)
    if end is not None:
        waits = " A worker takes it on in its turn." if view.served and view.state == "open" else ""
        waiting = waits if view.ended_by != "stop" else ""
        return f"{end[0].upper()}{end[1:]}.{waiting}"
    workers = "one worker is" if view.workers == 1 else f"{view.workers} workers are"
    return f"Running: {workers} at work on it."


def _time_left(view: StatusView) -> str:
    if view.eta_seconds is None or view.state != "open":
        return ""
    return f"about {format_duration(view.eta_seconds)} left"


def _baselines(others: Baselines | None) -> str:
    if others is None:
        return ""
    known = [*others.named, ("the lecture's best", others.lecture)]
    return ", ".join(f"{name} {loss:.4g}" for name, loss in known if loss is not None)


def _remarks(view: StatusView, others: Baselines | None) -> list[str]:
    remarks = [] if view.best is None else remarks_on(view.best)
    if view.best is not None and others is not None:
        against = compare_with_counts(view.best.loss, others)
        remarks += [f"the winner is {against}"] if against else []
    audit = describe_audit(view)
    return [f"{each[0].upper()}{each[1:]}." for each in (*remarks, *([audit] if audit else []))]


def _opening(context: ServiceContext, stored: StoredStudy) -> dict[str, Any] | None:
    """The recorded answer of the test split, if it has been opened."""
    own, before = history.openings(context.storage, stored)
    if own is None:
        return None
    models = (own.result or {}).get("per_model", [])
    return {
        "result": own.result,
        "winner": describe_winner(own.trial, models) if models else f"trial {own.trial}",
        "time": iso_time(own.evaluated_at or own.claimed_at)[:10],
        "before": [each.study for each in before],
    }


def _pictures(
    context: ServiceContext, stored: StoredStudy, view: StatusView, others: Baselines | None
) -> dict[str, Any]:
    """The progress, the running trials' curves, and the workers with the colors of theirs."""
    rows = history.complete_trials(context.storage, stored)
    found = history.improvements(rows)
    chart = best_so_far(
        [(each.worked_seconds, each.dev_loss) for each in found],
        [(each.worked_seconds, each.dev_loss) for each in rows],
        _levels(stored, others),
        f"best dev loss so far: {found[-1].dev_loss:.4f}" if found else "no complete trial yet",
    )
    workers = history.workers(context.storage, stored)
    return {
        "chart": chart,
        "workers": _workers(workers),
        "curves": _curves(context, stored, workers, view.best) if workers else "",
    }


def _levels(stored: StoredStudy, others: Baselines | None) -> list[tuple[str, float]]:
    target = stored.spec.budget.target
    levels = [] if others is None else [*others.named, ("lecture", others.lecture)]
    known = [(name, loss) for name, loss in levels if loss is not None]
    return known if target is None else [*known, ("target", target)]


def _workers(workers: Sequence[WorkerView]) -> list[Mapping[str, Any]]:
    return [
        {
            "place": f"worker {number}" + ("" if each.host == HOST else f" on {each.host}"),
            "kind": LINES[(number - 1) % len(LINES)],
            "trial": each.trial,
            "examples": each.examples,
            "dev_loss": each.dev_loss,
        }
        for number, each in enumerate(workers, start=1)
    ]


def _curves(
    context: ServiceContext,
    stored: StoredStudy,
    workers: Sequence[WorkerView],
    best: BestView | None,
) -> str:
    reported = history.running_curves(context.storage, stored)
    lines = [
        Line(f"trial {each.trial}", _finite(reported.get(each.trial or -1, []))) for each in workers
    ]
    own = None if best is None else history.attempt(context.storage, stored, best.trial)
    of_best = None if own is None else Line("best", _finite([row[:2] for row in own.curve]))
    about = ", ".join(f"{line.name} at {line.points[-1][1]:.4f}" for line in lines if line.points)
    return running_curves(lines, of_best, about or "no running trial was evaluated yet")


def _finite(points: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    return [(float(x), float(loss)) for x, loss in points if is_finite(loss)]


def _latest_trials(
    context: ServiceContext, stored: StoredStudy, view: StatusView
) -> list[results.TrialView]:
    """The last trials, the latest first."""
    begun = sum(count for state, count in view.trials.items() if state != "waiting")
    after = max(-1, begun - LATEST_TRIALS - 1)
    found = results.trials(context.storage, stored, after, 2 * LATEST_TRIALS)
    return found[::-1][:LATEST_TRIALS]
