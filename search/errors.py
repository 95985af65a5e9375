"""The exceptions of the search, as a tree; each carries the exit status it leads to.

    SearchError                 1  failed while running
      ├─ BadInput               2  bad usage or input: what, where, and what would be right
      │    ├─ StudyFileError    2  every mistake of a study or config file, at once
      │    ├─ NotFound          2  no such study, trial or checkpoint
      │    └─ StorageUnavailable 2  a database that cannot be opened, read or written
      ├─ Refused                3  it would break a promise
      │    ├─ Drift             3  the study in the storage has another definition
      │    └─ StudyClosed       3  the test split has been opened: no further trials
      ├─ FilesUnusable          1  model files cannot be written, which will not pass by itself
      ├─ StorageLost            1  the database went away and did not come back
      ├─ WorkerCrashLoop        1  workers die again and again, and use up the budget
      └─ Interrupted          130  the same command goes on where it stopped

    (The core's CorpusError, ConfigError and CheckpointError are bad input as well: status 2.)

Two more never reach a user: they end a trial, with the reason that is recorded for it.

    TrialEnded
      ├─ TrialPruned            the pruner stopped it, or it broke its limits: an outcome
      └─ TrialLost              its claim is gone, or its worker was told to stop: tried again
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class SearchError(Exception):
    """Whatever the search raises on purpose."""

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
    """All mistakes of a file, each with its key, and its line where the text is at hand."""

    def __init__(self, where: Path | str, mistakes: Sequence[tuple[str, str] | Mistake]) -> None:
        self.where = where
        self.mistakes = tuple(Mistake(*mistake) for mistake in mistakes)
        super().__init__(f"{where}: {'; '.join(map(str, self.mistakes))}")


def together(*found: BadInput) -> BadInput:
    """Several mistakes of one command, told at once."""
    return found[0] if len(found) == 1 else BadInput("; ".join(map(str, found)))


class NotFound(BadInput):
    """A study, trial or checkpoint that does not exist."""


class StorageUnavailable(BadInput):
    """A database that cannot be opened, read or written."""


class Refused(SearchError):
    """What was asked for would break a promise."""

    exit_status = 3


class Drift(Refused):
    """The stored study was defined otherwise."""


class StudyClosed(Refused):
    """The test split has been opened for this study."""


class StorageLost(SearchError):
    """The database went away while running, and did not come back."""


class FilesUnusable(SearchError):
    """Model files cannot be written where they belong, and waiting would not help."""


class WorkerCrashLoop(SearchError):
    """Workers die one after another without finishing a trial, or all at once time and again."""


class Interrupted(SearchError):
    """A signal or a `stop` ended the run."""

    exit_status = 130


class TrialEnded(Exception):
    """Ends a trial; `reason` is what is recorded for it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TrialPruned(TrialEnded):
    """An outcome of the configuration: counted, never repeated."""


class TrialLost(TrialEnded):
    """No fault of the configuration: its claim was given away, or its worker must stop."""
