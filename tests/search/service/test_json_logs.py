"""Logs as JSON lines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from workspace import Workspace

from search.service.json_logs import log_as_json


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers = []
    yield logger
    logger.handlers, logger.level = handlers, level


def test_every_record_is_one_line(root: logging.Logger) -> None:
    """Whatever is in its message; a traceback is a value of it."""
    stream = io.StringIO()
    log_as_json(stream)
    logging.getLogger("search.x").warning('a "quoted"\nname: %s', "\u2028\x1b[2J")
    try:
        raise ValueError("once")
    except ValueError:
        logging.getLogger("search.y").exception("failed")
    logging.getLogger("search.z").debug("not this")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert ("warning", "search.x", 'a "quoted"\nname: \u2028\x1b[2J') == (
        first["level"],
        first["logger"],
        first["message"],
    )
    assert "ValueError: once" in second["error"] and "error" not in first
    assert stream.getvalue().isascii()


def test_another_format_is_refused(bed: Workspace) -> None:
    """Exit status 2, and nothing is created."""
    answer = bed.cli("serve", "--log-format", "xml")
    assert (2, True) == (answer.status, bed.is_untouched)
    assert "give text or json" in answer.complaint
