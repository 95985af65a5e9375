"""What the report says of the search: headline, progress, hyperparameters and winner."""

import math
from typing import Any

from search.evaluation.baselines import compare_with_counts
from search.evaluation.winner import remarks_on
from search.formatting import format_duration, format_seed_interval
from search.report.facts import ReportData
from search.report.space_plots import MAX_LINES, searched
from search.report.study_plots import MAX_CURVES
from search.spec.search_space import searched_names
from search.trials.ending import describe_end
from search.trials.results import BestView
from search.trials.status import StatusView, describe_audit, format_counts

MAX_TOP = 10
AXIS_REM = 5
"""Width of one axis of the parallel coordinates, in rem; narrower, their words would overlap."""


def context(facts: ReportData) -> dict[str, Any]:
    """The values of the template search.html."""
    best = facts.status.best
    complete = facts.status.trials["complete"]
    longest = max((facts.status.trials[state] for state in ("complete", "pruned")), default=0)
    space = facts.study.spec.space
    names = searched_names(space)
    return {
        "study": facts.study,
        "status": facts.status,
        "baselines": facts.others,
        "winner": facts.winner,
        "winner_time": format_duration(facts.winner.seconds or 0) if facts.winner else "",
        "confirmed": facts.confirmed,
        "model": facts.model,
        "why_no_model": facts.why_no_model,
        "samples": facts.samples,
        "lead": lead(facts),
        "headline": headline(facts),
        "remarks": remarks_on(best) if best is not None else [],
        "audit": describe_audit(facts.status),
        "left_out": [
            *(["findings"] if not complete else []),
            *(["winner"] if facts.winner is None else []),
        ],
        "curves_drawn": MAX_CURVES if longest > MAX_CURVES else 0,
        "lines_drawn": MAX_LINES if complete > MAX_LINES else 0,
        "slices": [
            (f"slice-{name}", f"Dev loss against {name}, with the best at each value")
            for name in searched(space)
        ],
        "parallel_width": f"{AXIS_REM * (len(names) + 1)}rem",
        "top_header": [
            *("trial", "dev loss", "unseen words"),
            *(name.replace("_", " ") for name in names),
            "time",
        ],
        "top_rows": _top_rows(facts, names),
    }


def lead(facts: ReportData) -> str:
    """The result in one sentence."""
    about = (
        "A search for hyperparameters of makemore's MLP (Bengio et al. 2003) on the corpus "
        f"{facts.study.corpus_name}"
    )
    best = facts.status.best
    if best is None:
        return f"{about}. No trial is complete yet."
    gain = ""
    if facts.others.bigram is not None:
        gap = facts.others.bigram - best.loss
        gain = f", {abs(gap):.4f} {'below' if gap >= 0 else 'above'} the bigram"
    against = compare_with_counts(best.loss, facts.others)
    seeds = f"confirmed, {_seeds(best)}" if best.confirmed else "one seed, not confirmed"
    return (
        f"{about}: its winner, trial {best.trial}, has a dev loss of {best.loss:.4f} nats per "
        f"character{gain} ({seeds})." + f" It is {against}." * bool(against)
    )


def _seeds(best: BestView) -> str:
    return "one fresh seed" if best.seeds == 1 else f"mean of {best.seeds} fresh seeds"


def headline(facts: ReportData) -> list[tuple[str, str, str]]:
    """Tiles with the most important numbers: (what, value, remark)."""
    tested = facts.opening is not None and facts.opening.result is not None
    return [
        *(_best_tiles(facts.status.best) if facts.status.best is not None else []),
        *_baseline_tiles(facts),
        *_study_tiles(facts.status),
        ("test split", "opened" if tested else "sealed", "see below"),
    ]


def _best_tiles(best: BestView) -> list[tuple[str, str, str]]:
    tiles = []
    if best.confirmed:
        spread = format_seed_interval(best.dev_loss_mean_ci95)
        remark = f"the winner, trial {best.trial}, {_seeds(best)}; {spread}"
        tiles.append(("confirmed dev loss", f"{best.loss:.4f}", remark))
    remark = f"trial {best.trial}, one seed{'' if best.confirmed else ', not confirmed'}"
    unseen = best.dev_loss_unseen
    if unseen is not None and unseen != best.dev_loss:
        remark += f"; {unseen:.4f} on words not in train"
    name = "as searched" if best.confirmed else "best dev loss"
    return [*tiles, (name, f"{best.dev_loss:.4f}", remark)]


def _baseline_tiles(facts: ReportData) -> list[tuple[str, str, str]]:
    tiles = [
        (name, f"{loss:.4f}", "Kneser-Ney, same split; counts have no noise")
        for name, loss in facts.others.named
    ]
    if facts.others.lecture is not None:
        remark = "same corpus and split; published without an interval"
        tiles.append(("the lecture's best", f"{facts.others.lecture:.2f}", remark))
    return tiles


def _study_tiles(status: StatusView) -> list[tuple[str, str, str]]:
    counts = ", ".join(
        f"{count:,} {state}"
        for state, count in format_counts(status).items()
        if count or state in ("complete", "pruned", "failed")
    )
    end = describe_end(status) or f"under way, {status.workers} workers"
    trials = f"{status.budget['finished']:,} of {status.budget['trials']:,}"
    return [
        ("trials", trials, counts),
        ("working time", format_duration(status.elapsed_seconds), end),
    ]


def _top_rows(facts: ReportData, names: list[str]) -> list[list[Any]]:
    complete = sorted(
        (a for a in facts.attempts if a.outcome == "complete" and a.dev_loss is not None),
        key=lambda a: math.inf if a.dev_loss is None else a.dev_loss,
    )
    return [
        [
            str(a.trial),
            a.dev_loss,
            a.dev_loss_unseen,
            *(a.config.get(name) for name in names),
            format_duration(a.seconds or 0),
        ]
        for a in complete[:MAX_TOP]
    ]
