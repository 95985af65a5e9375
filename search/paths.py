"""Names every file under the data directory."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class DataDir:
    """The data directory of this machine."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "studies.db"

    @property
    def default_storage(self) -> str:
        """Returns the URL of the default database, with the path escaped."""
        return f"sqlite:///{quote(str(self.database))}"

    def corpus(self, fingerprint: str) -> Path:
        """Returns the file with the words of a study, independent of the user's own file."""
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

    @property
    def webhook_key(self) -> Path:
        """Returns the file with the key that the service signs webhooks with."""
        return self.root / "webhook.key"

    def artifacts(self) -> Path:
        """Returns the directory of the trials' pictures."""
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, study_name: str, worker: str) -> Path:
        """Returns the log file of one worker process."""
        return self.logs / f"{file_name(study_name)}-{worker}.log"


def file_name(text: str) -> str:
    """Returns a file name for a text, unique to it and valid on any file system.

    A text that is no such name itself gets one that ends in a hash of it.

    >>> file_name("adam-2"), file_name("adam [lr]"), file_name("名前")
    ('adam-2', 'adam-lr-048205c6', '7ec26292')
    """
    if re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,79}", text) and not _MEANS_A_DEVICE.match(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", text)[:40].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


_MEANS_A_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Names of devices on Windows, with any extension."""


def trial_of(name: str) -> int | None:
    """Returns the trial whose checkpoint has this file name."""
    return _number(r"trial-(\d+)\.safetensors", name)


def ordinal_of(name: str) -> int | None:
    """Returns the slot whose snapshot has this file name."""
    return _number(r"slot-(\d+)-step-\d+\.safetensors", name)


def _number(pattern: str, name: str) -> int | None:
    match = re.fullmatch(pattern, name)
    return None if match is None else int(match[1])
