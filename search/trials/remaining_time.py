"""How long a study goes on: from what its latest trials cost, how far they came, and what runs.

Costs of trials differ a hundredfold, and those that open a study are as a rule dearer than what a
sampler asks for after them. So a trial to come is expected to cost what its slot was expected to
beforehand, times how much dearer than expected the latest ones were; those under way included,
since at first the cheap ones have ended and the dear ones have not. How far a trial comes is
estimated as survival times are (Kaplan and Meier 1958), where the trials under way are known to
have come so far at least; what was expected beforehand counts too, since the first trials of a
study are hardly ever pruned.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from search.algorithms.costs import relative_cost
from search.storage import optuna_queries, tables
from search.study.expected_costs import ExpectedCosts, expected_share
from search.study.study import StoredStudy

MAX_READ = 128
"""The latest attempts that are looked at."""
MIN_RECENT = 12
"""Of the trials that ended, the latest half counts, and so many at least: samplers change."""
PRIOR_TRIALS = 12
"""What was expected beforehand counts as much as so many trials."""
MAX_OVERHEAD = 1.5
"""An attempt takes at most this times its training, else its clock was set meanwhile."""


@dataclass(frozen=True)
class Effort:
    """What a trial cost so far."""

    cost: float
    """The analytic cost of a full trial."""
    fraction: float
    """That was trained."""
    seconds: float = 0.0
    """Of one that has ended, everything included."""
    expected: float = 1.0
    """Its cost, before its configuration was known."""


class Survival:
    """How far trials come, weighted by their cost: S(u), the part that is trained beyond u."""

    def __init__(self, ended: Sequence[Effort], running: Sequence[Effort]) -> None:
        known = [*ended, *running]
        self._steps = [(0.0, 1.0)]  # (u, S right of u)
        for at in sorted({each.fraction for each in ended if each.fraction < 1.0}):
            exposed = sum(each.cost for each in known if each.fraction >= at)
            stopped = sum(each.cost for each in ended if each.fraction == at)
            self._steps.append((at, self._steps[-1][1] * (1.0 - stopped / exposed)))

    def expected_rest(self, fraction: float) -> float:
        """The expected further fraction of a trial that has come so far."""
        ends = [at for at, _ in self._steps[1:]] + [1.0]
        area, reached = 0.0, 0.0
        for (start, alive), end in zip(self._steps, ends, strict=True):
            if start <= fraction:
                reached = alive
            area += alive * max(0.0, min(end, 1.0) - max(start, fraction))
        return area / reached if reached > 0.0 else max(0.0, 1.0 - fraction)


def remaining_seconds(
    ended: Sequence[Effort],
    running: Sequence[Effort],
    to_come: float,
    unclaimed: int,
    workers: int,
    share: float = 1.0,
) -> float | None:
    """The expected seconds until all trials have ended; None before any has.

    Args:
        ended: the oldest first.
        to_come: the cost that was expected of all trials that nobody has begun.
        unclaimed: how many these are.
        workers: at work, one at least.
        share: how much of each of these was expected to be trained.
    """
    recent = ended[-max(MIN_RECENT, len(ended) // 2) :]
    trained = sum(each.cost * each.fraction for each in recent)
    if trained <= 0.0:
        return None
    rate = sum(each.seconds for each in recent) / trained  # seconds per unit of cost
    survival = Survival(recent, running)
    under_way = [rate * each.cost * survival.expected_rest(each.fraction) for each in running]
    trained_share = (len(recent) * survival.expected_rest(0.0) + PRIOR_TRIALS * share) / (
        len(recent) + PRIOR_TRIALS
    )
    rest = rate * _dearer([*recent, *running]) * to_come * trained_share
    busy = max(1, min(workers, unclaimed + len(running)))
    one = rest / max(1, unclaimed)
    overhang = one / 2 * (1 - 1 / busy)  # the last ones do not end together
    return max([(sum(under_way) + rest) / busy + overhang, *under_way])


def _dearer(known: Sequence[Effort]) -> float:
    """How many times as dear as expected trials are."""
    expected = sum(each.expected for each in known)
    prior = PRIOR_TRIALS * expected / len(known)
    return (sum(each.cost for each in known) + prior) / (expected + prior)


def of_study(
    connection: Connection, study: StoredStudy, unclaimed: int, workers: int
) -> float | None:
    """`remaining_seconds` of a study as it is stored; the timeout is not considered."""
    rows = connection.execute(_latest(), {"study": study.uid}).mappings().all()
    reports = optuna_queries.last_reports_of_running(connection, study.optuna_id)
    full, trials = study.spec.budget.examples, study.spec.budget.trials
    expected = ExpectedCosts(study.spec)
    ended = [
        _ended(dict(row), full, expected.of(row["ordinal"]))
        for row in reversed(rows)
        if row["outcome"] in COUNTED
    ]
    running = [
        Effort(
            relative_cost(row["config"]),
            min(1.0, reports.get(row["trial"], (0, 0))[0] / full),
            expected=expected.of(row["ordinal"]),
        )
        for row in rows
        if row["outcome"] is None
    ]
    to_come = expected.total(trials - unclaimed, trials)
    share = expected_share(study.spec)
    return remaining_seconds(ended, running, to_come, unclaimed, workers, share)


COUNTED = ("complete", "pruned")


@functools.cache
def _latest() -> Select[Any]:
    a = tables.attempts
    names = "ordinal", "trial", "outcome", "seconds", "examples", "started_at", "ended_at", "config"
    return (
        select(*(a.c[name] for name in names))
        .where(a.c.study_uid == bindparam("study"), a.c.config.is_not(None), a.c.trial.is_not(None))
        .order_by(a.c.id.desc())
        .limit(MAX_READ)
    )


def _ended(row: Mapping[str, Any], full: int, expected: float) -> Effort:
    trained = row["seconds"] or 0.0
    lasted = max(trained, min(row["ended_at"] - row["started_at"], MAX_OVERHEAD * trained + 1.0))
    fraction = min(1.0, (row["examples"] or 0) / full)
    return Effort(relative_cost(row["config"]), fraction, lasted, expected)
