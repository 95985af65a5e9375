"""What a worker needs for one study: its storage, its data, what was learned so far."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from makemore_core.data.dataset import Dataset
from search.paths import DataDir
from search.storage.database import Storage
from search.storage.optuna_reader import SamplingView
from search.storage.study_files import StudyFiles
from search.study.study import StoredStudy, files_of
from search.system.environment import run_environment
from search.trials.reported_losses import ReportedLosses


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs to train trials of one study."""

    storage: Storage
    study: StoredStudy
    data_dir: DataDir
    data: Dataset
    worker_id: str
    threads: int
    device: str
    interrupted: Callable[[], bool]
    """Whether a signal came, or the launcher has ended."""
    trials: SamplingView
    """What a sampler learns from; it reads each trial once in a worker's life."""
    reported_losses: ReportedLosses
    """What a pruner compares with; it reads each trial once in a worker's life."""

    @property
    def files(self) -> StudyFiles:
        """The study's model files."""
        return files_of(self.study, self.data_dir)

    def attempt_columns(self) -> dict[str, Any]:
        """The columns of an attempt that the worker knows."""
        return {"threads": self.threads, "device": self.device, "versions": run_environment()}
