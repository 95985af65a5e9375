"""What a launcher tells a worker; light to import, so that a launcher needs no torch."""

import json
from dataclasses import asdict, dataclass, field

from search.processes import Launch

STORAGE_LOST = 75
"""The exit status of a worker process whose storage was away for too long: no fault of its own."""

GAVE_UP = "gave up: "
"""Begins the line of a log that says why a worker left; the reason follows."""
FILES_UNUSABLE = 73
"""The same where model files cannot be written, which will not pass by itself."""


@dataclass(frozen=True)
class Job:
    """What a launcher tells a worker."""

    storage: str = field(repr=False)  # the URL may hold a password
    data_dir: str
    study_uid: str | None  # None: every open study of the storage
    threads: int
    device: str
    name: str = "worker"
    """What its log is called after."""
    parent_pid: int | None = None
    """Of the process that started it on this host: a worker ends when that has gone."""
    log: str | None = None
    """The file for what the worker has to say; None: wherever its standard error goes."""
    launch: Launch | None = None
    """None: nobody will see it end."""
    supervised: bool = False
    """Whether a supervisor replaces the worker: then it waits for a storage that is gone."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Job":
        values = json.loads(line)
        launch = values.pop("launch")
        return cls(**values, launch=None if launch is None else Launch(**launch))
