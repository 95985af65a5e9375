"""The work of a supervisor's workers: one study, or every open one."""

from typing import Protocol

from search.errors import NotFound
from search.storage.database import Storage
from search.study import study
from search.study.study import StoredStudy
from search.trials import budget, recovery, results


class Workload(Protocol):
    """The work of a supervisor's workers."""

    name: str
    study_uid: str | None

    def desired_workers(self, workers: int) -> int:
        """How many of `workers` have something to do."""

    def finished_trials(self, host: str | None) -> int:
        """How many trials the workers of a host, or of all hosts (None), have finished."""

    def reports(self, host: str | None) -> int:
        """How many dev losses they have reported."""

    def is_open(self) -> bool:
        """Whether it may go on: it is not stopped, closed or deleted."""

    def is_finished(self) -> bool:
        """Whether there is nothing left to do, and no trial is running."""

    def recover(self) -> None:
        """Ends the attempts of workers that are gone."""


class StudyWorkload:
    """One study: its workers exit when its budget is met."""

    def __init__(self, storage: Storage, stored: StoredStudy) -> None:
        self._storage, self._study = storage, stored
        self.name = stored.name
        self.study_uid: str | None = stored.uid

    def desired_workers(self, workers: int) -> int:
        now = self._progress()
        if budget.is_budget_met(self._study, now):
            return 0
        maximum = self._study.spec.study.max_workers or workers
        return min(workers, maximum, self._study.spec.budget.trials - now.finished)

    def finished_trials(self, host: str | None) -> int:
        return results.finished_on(self._storage, self._study.uid, host)

    def reports(self, host: str | None) -> int:
        return results.reports_on(self._storage, self._study.uid, host)

    def is_open(self) -> bool:
        try:
            return study.by_uid(self._storage, self._study.uid).open
        except NotFound:
            return False

    def is_finished(self) -> bool:
        now = self._progress()
        return budget.is_budget_met(self._study, now) and now.claimed == 0

    def recover(self) -> None:
        recovery.recover(self._storage, self._study)

    def _progress(self) -> budget.SlotCounts:
        return budget.progress_of(self._storage, self._study.uid)


class ServiceWorkload:
    """Every open study of a storage: its workers stay until they are terminated."""

    name = "serve"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.study_uid: str | None = None

    def desired_workers(self, workers: int) -> int:
        return workers

    def finished_trials(self, host: str | None) -> int:
        studies = study.all_studies(self._storage)
        return sum(StudyWorkload(self._storage, each).finished_trials(host) for each in studies)

    def reports(self, host: str | None) -> int:
        studies = study.all_studies(self._storage)
        return sum(StudyWorkload(self._storage, each).reports(host) for each in studies)

    def is_open(self) -> bool:
        return True

    def is_finished(self) -> bool:
        return False

    def recover(self) -> None:
        recovery.recover_all(self._storage)
