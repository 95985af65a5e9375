"""The exceptions of the core, as a tree.

    CoreError
      ├─ CorpusError        a corpus that cannot be found, read or split
      │    └─ CorpusMissing   there is no such file, or none that may be read
      ├─ ConfigError        a configuration value of the wrong type or out of its range
      ├─ CheckpointError    a checkpoint that is missing, damaged or not ours
      └─ Diverged           a loss became NaN or infinite: an outcome, not a fault

The first three are bad input: what a user gave, where, and what would be right, in one line.
"""


class CoreError(Exception):
    """The base of every exception that this package raises."""


class CorpusError(CoreError):
    """A corpus that cannot be found, read or split."""


class CorpusMissing(CorpusError):
    """There is no such corpus file, or it may not be read."""


class ConfigError(CoreError):
    """A configuration value of the wrong type or out of its range."""


class CheckpointError(CoreError):
    """A checkpoint that is missing, damaged, or was not written by this program."""


class Diverged(CoreError):
    """The dev loss became NaN or infinite."""
