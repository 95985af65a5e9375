"""Every file name under the data directory, in one place."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class DataDir:
    """Where this machine keeps its things."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "studies.db"

    @property
    def default_storage(self) -> str:
        """A URL: what is more than a letter there has to be escaped."""
        return f"sqlite:///{quote(str(self.database))}"

    def corpus(self, fingerprint: str) -> Path:
        """The words a study was created with, whatever becomes of the user's file."""
        return self.root / "corpora" / f"{fingerprint}.txt"

    @property
    def all_checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoints(self, study_uid: str) -> Path:
        return self.all_checkpoints / study_uid

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
        """Of one worker process."""
        return self.root / "logs" / f"{file_name(study_name)}-{worker}.log"


def file_name(text: str) -> str:
    """A name for a file about something, safe for any file system, and another one for any other
    text: where it is not the text itself, it ends in a hash of it.

    >>> file_name("adam-2"), file_name("adam [lr]"), file_name("名前")
    ('adam-2', 'adam-lr-048205c6', '7ec26292')
    """
    if re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,79}", text) and not _MEANS_A_DEVICE.match(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", text)[:40].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


_MEANS_A_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""To Windows, whatever stands behind the dot."""


def trial_of(name: str) -> int | None:
    """The trial whose checkpoint has this file name."""
    return _number(r"trial-(\d+)\.safetensors", name)


def ordinal_of(name: str) -> int | None:
    """The slot whose snapshot has this file name."""
    return _number(r"slot-(\d+)-step-\d+\.safetensors", name)


def _number(pattern: str, name: str) -> int | None:
    found = re.fullmatch(pattern, name)
    return None if found is None else int(found[1])
