"""The job of a worker process, as its launcher gives it; imports no torch."""

import json
from dataclasses import asdict, dataclass, field

from search.system.processes import Launch

STORAGE_LOST = 75
"""The exit status of a worker whose storage was unavailable for too long: no failure of its own."""

GAVE_UP = "gave up: "
"""The prefix of the log line that gives the reason why a worker exited."""
FILES_UNUSABLE = 73
"""The exit status of a worker that cannot write model files, which no retry mends."""


@dataclass(frozen=True)
class Job:
    """What a launcher tells a worker process: where to work, and with what."""

    storage: str = field(repr=False)  # the URL may hold a password
    data_dir: str
    study_uid: str | None  # None: every open study of the storage
    threads: int
    device: str
    name: str = "worker"
    """The prefix of its log's name."""
    parent_pid: int | None = None
    """The process that started it on this host: a worker exits when that has ended."""
    log: str | None = None
    """The log file; None for standard error."""
    launch: Launch | None = None
    """The launch that started it; None if no launcher will see it exit."""
    supervised: bool = False
    """Whether a supervisor replaces the worker; it then waits for an unavailable storage."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Job":
        values = json.loads(line)
        launch = values.pop("launch")
        return cls(**values, launch=None if launch is None else Launch(**launch))
