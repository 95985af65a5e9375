"""Every file name under the data directory, in one place."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataDir:
    """Where this machine keeps its things."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "studies.db"

    @property
    def default_storage(self) -> str:
        return f"sqlite:///{self.database}"

    def corpus(self, fingerprint: str) -> Path:
        """The words a study was created with, whatever becomes of the user's file."""
        return self.root / "corpora" / f"{fingerprint}.txt"

    def checkpoints(self, study_uid: str) -> Path:
        return self.root / "checkpoints" / study_uid

    def checkpoint(self, study_uid: str, trial: int) -> Path:
        return self.checkpoints(study_uid) / f"trial-{trial}.safetensors"

    def confirmed(self, study_uid: str, trial: int, seed_index: int) -> Path:
        return self.checkpoints(study_uid) / f"confirmed-{trial}-{seed_index}.safetensors"

    def snapshot(self, study_uid: str, ordinal: int, step: int) -> Path:
        return self.checkpoints(study_uid) / f"slot-{ordinal}-step-{step}.safetensors"

    def artifacts(self) -> Path:
        """Pictures of trials; model files that every host needs lie where the study says."""
        return self.root / "artifacts"

    def log(self, study_name: str, worker: str) -> Path:
        """Of one worker process; its name is safe for any file system."""
        return self.root / "logs" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', study_name)}-{worker}.log"


def trial_of(name: str) -> int | None:
    """The trial whose checkpoint has this file name."""
    return _number(r"trial-(\d+)\.safetensors", name)


def ordinal_of(name: str) -> int | None:
    """The slot whose snapshot has this file name."""
    return _number(r"slot-(\d+)-step-\d+\.safetensors", name)


def _number(pattern: str, name: str) -> int | None:
    found = re.fullmatch(pattern, name)
    return None if found is None else int(found[1])
