"""The exceptions of the search, as a tree; each carries the exit status it leads to.

    SearchError                 1  failed while running
      ├─ BadInput               2  bad usage or input: what, where, and what would be right
      │    ├─ StudyFileError    2  every mistake of a study or config file, at once
      │    ├─ NotFound          2  no such study, trial or checkpoint
      │    └─ StorageUnavailable 2  a database that cannot be opened, read or written
      ├─ Refused                3  it would break a guarantee (docs/guarantees.md)
      │    ├─ Drift             3  the study in the storage has another definition
      │    └─ StudyClosed       3  the test split has been opened: no further trials
      ├─ FilesUnusable          1  model files cannot be written, and waiting would not help
      ├─ StorageLost            1  the database became unavailable and did not come back
      ├─ WorkerCrashLoop        1  workers crash one after another
      └─ Interrupted          130  the same command resumes the run

    The core's CorpusError, ConfigError and CheckpointError are bad input as well: status 2.

Two more never reach a user: they end a trial and carry the reason that is recorded for it.

    TrialEnded
      ├─ TrialPruned            the pruner stopped it, or it broke its limits: an outcome
      └─ TrialLost              its claim expired, or its worker must stop: it is repeated
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class SearchError(Exception):
    """The base class of all errors that the search raises on purpose."""

    exit_status = 1


class BadInput(SearchError):
    """Bad usage or bad input; nothing was created."""

    exit_status = 2


class Mistake(NamedTuple):
    """One mistake of a file."""

    key: str
    problem: str
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line is not None else ""
        return f"{line}{self.key}: {self.problem}" if self.key else f"{line}{self.problem}"


class StudyFileError(BadInput):
    """All mistakes of a file, each with its key, and with its line where the text is known."""

    def __init__(self, where: Path | str, mistakes: Sequence[tuple[str, str] | Mistake]) -> None:
        self.where = where
        self.mistakes = tuple(Mistake(*mistake) for mistake in mistakes)
        super().__init__(f"{where}: {'; '.join(map(str, self.mistakes))}")


def together(*errors: BadInput) -> BadInput:
    """Combines several errors of one command into one."""
    return errors[0] if len(errors) == 1 else BadInput("; ".join(map(str, errors)))


class NotFound(BadInput):
    """A study, trial or checkpoint that does not exist."""


class StorageUnavailable(BadInput):
    """A database that cannot be opened, read or written."""


class Refused(SearchError):
    """The request would break a guarantee: a study has one definition and one opening of its test
    split, runs in one storage, and recorded results stay what they are."""

    exit_status = 3


class Drift(Refused):
    """The stored study has another definition."""


class StudyClosed(Refused):
    """The test split has been opened for this study."""


class StorageLost(SearchError):
    """The database became unavailable during a run and did not come back."""


class FilesUnusable(SearchError):
    """Model files cannot be written, and waiting would not help."""


class WorkerCrashLoop(SearchError):
    """Workers crash one after another without finishing a trial."""


class Interrupted(SearchError):
    """A signal or a `stop` ended the run."""

    exit_status = 130


class TrialEnded(Exception):
    """Ends a trial; `reason` is recorded for it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TrialPruned(TrialEnded):
    """The configuration's own outcome, which counts and is never repeated."""


class TrialLost(TrialEnded):
    """No fault of the configuration: the claim expired, or the worker must stop."""


class StopTraining(Exception):
    """Ends a training that is not recorded as a trial, once it has gone far enough."""
