"""Logs as JSON lines, for programs that collect them: one object for each record."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """Formats a record as one line: `time` in UTC, `level`, `logger`, `message`, and `error`, the
    traceback, where there is one.

    >>> record = logging.LogRecord("a.b", logging.INFO, "", 0, "%d\\n%s", (1, "\\u00e9"), None)
    >>> record.created = 0.5
    >>> print(JsonFormatter().format(record))
    {"time": "1970-01-01T00:00:00.500Z", "level": "info", "logger": "a.b", "message": "1\\n\\u00e9"}
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json(stream: TextIO | None = None) -> None:
    """Writes every record of this process, from `info` on, to standard error as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
