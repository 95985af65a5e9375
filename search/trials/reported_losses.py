"""The dev losses that other trials reported, which a pruner compares a trial with.

A worker reads them at every rung, and a study may hold ten thousand trials: those that have ended
are read once.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from optuna.trial import TrialState

from search.algorithms.pruners import lowest_so_far
from search.retry import retry_storage
from search.storage import optuna_queries
from search.storage.database import Storage
from search.study.study import StoredStudy

COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""The states that a pruner compares with; the retry of a lost attempt reports the same again."""


@dataclass
class _EndedTrials:
    """The losses of all trials before the first one that has not ended."""

    last_trial_id: int = -1
    losses: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


class ReportedLosses:
    """The lowest dev loss of each trial up to a resource, by study and resource."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ended: dict[str, _EndedTrials] = defaultdict(_EndedTrials)

    def losses_at(self, study: StoredStudy, resource: int, except_trial_id: int) -> list[float]:
        """The lowest dev loss up to a resource, of every other trial that reported at it."""
        ended = self._ended[study.uid]
        losses = list(ended.losses[resource])
        still_ended = True
        for trial_id, reports in self._after(study, ended.last_trial_id).items():
            state = reports.state
            lowest = lowest_so_far(reports.losses) if state in COUNTED else {}
            still_ended = still_ended and state.is_finished()
            if trial_id != except_trial_id and resource in lowest:
                losses.append(lowest[resource])
            if still_ended:
                ended.last_trial_id = trial_id
                for step, loss in lowest.items():
                    ended.losses[step].append(loss)
        return losses

    @retry_storage
    def _after(self, study: StoredStudy, trial_id: int) -> dict[int, "_TrialReports"]:
        """What each later trial reported, the oldest trial first."""
        found: dict[int, _TrialReports] = {}
        with self._storage.read() as connection:
            later = optuna_queries.reports_after(connection, study.optuna_id, study.uid, trial_id)
            for row in later:
                reports = found.setdefault(row.trial_id, _TrialReports(row.state))
                if row.resource is not None and row.loss is not None:
                    reports.losses[row.resource] = row.loss
        return found


@dataclass
class _TrialReports:
    """The state of one trial, and its losses by resource."""

    state: TrialState
    losses: dict[int, float] = field(default_factory=dict)
