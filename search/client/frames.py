"""Answers as tables of pandas, where pandas is installed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.errors import BadInput

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """A table with a row for each mapping; what is nested becomes columns like `best.dev_loss`.

    Raises:
        BadInput: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise BadInput("frame: pandas is not installed; `pip install pandas` adds it") from None
    return pandas.json_normalize([dict(row) for row in rows])
