"""What a launcher tells a worker; light to import, so that a launcher needs no torch."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Job:
    """What a launcher tells a worker."""

    storage: str
    data_dir: str
    study_uid: str | None  # None: every open study of the storage
    threads: int
    device: str
    launcher_pid: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Job":
        return cls(**json.loads(line))
