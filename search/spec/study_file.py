"""Reads study files and config files: TOML, with all mistakes of a file, each with its line."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from makemore_core.config import FIELDS, TrialConfig, value_errors
from makemore_core.data.corpus import BUILT_IN
from search import errors
from search.errors import BadInput, StudyFileError
from search.spec import defaults, toml_reader
from search.spec.mistakes import Mistake, as_mistake, unknown_keys
from search.spec.sections import StudySection
from search.spec.study_spec import StudySpec, from_document, value_of
from search.spec.toml_lines import Lines


def read(path: Path, corpus: str | None = None) -> StudySpec:
    """Reads a study file; a relative corpus path is relative to the file's directory.

    Args:
        corpus: the command line's `--corpus`, which overrides the file's.

    Raises:
        StudyFileError: with every mistake. A missing corpus alone is no mistake here, since a study
            that exists stores its words.
    """
    text, document = _toml(path)
    try:
        spec = from_document(document, path, defaults.LATEST)
    except StudyFileError as error:
        key = "study.corpus" if corpus is None else "--corpus"
        missing = _missing_corpus(key, corpus or value_of(document, "study", "corpus"), path)
        raise _with_lines(StudyFileError(path, [*error.mistakes, *missing]), text) from None
    beside = path.parent.absolute() / spec.study.corpus
    return spec.with_values("study", corpus=str(beside)) if beside.is_file() else spec


Check = Callable[[Mapping[str, Any]], list[Mistake]]
"""Gives further mistakes of a document."""


def read_text(text: str, where: str, check: Check = lambda _: []) -> StudySpec:
    """Reads a study file that is no file; its corpus is left as it stands there.

    Args:
        check: gives the mistakes that only the caller knows.

    Raises:
        StudyFileError: with every mistake.
    """
    try:
        document = toml_reader.loads(text)
    except ValueError as error:
        found = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else None
        raise StudyFileError(where, [errors.Mistake("", f"not TOML: {error}", line)]) from None
    try:
        return read_document(document, where, check)
    except StudyFileError as error:
        raise _with_lines(error, text) from None


def read_document(
    document: Mapping[str, Any], where: str, check: Check = lambda _: []
) -> StudySpec:
    """As `read_text`, of a document that was TOML or JSON."""
    mistakes: list[errors.Mistake] = [errors.Mistake(*each) for each in check(document)]
    try:
        spec = from_document(document, where, defaults.LATEST)
    except StudyFileError as error:
        raise StudyFileError(where, [*error.mistakes, *mistakes]) from None
    if mistakes:
        raise StudyFileError(where, mistakes)
    return spec


def read_config(path: Path) -> tuple[StudySection, TrialConfig]:
    """Reads a config file for `train`; returns its corpus section and its configuration."""
    text, document = _toml(path)
    table = document.get("config")
    if not isinstance(table, dict):
        raise StudyFileError(
            path, [("config", "this table is missing; `best STUDY --toml` prints one")]
        )
    corpus_keys = set(StudySection.model_fields) - {"name", "seed"}
    mistakes = [
        (key, "unknown key; the file has one table, [config]")
        for key in document.keys() - {"config"}
    ]
    mistakes += unknown_keys("config", table, {*corpus_keys, *FIELDS})
    try:
        data = StudySection.model_validate(
            {"name": "config", **{k: v for k, v in table.items() if k in corpus_keys}}
        )
    except ValidationError as error:
        mistakes += [(f"config.{key}", what) for key, what in map(as_mistake, error.errors())]
    values = {key: value for key, value in table.items() if key in FIELDS}
    mistakes += [(f"config.{key}", what) for key, what in value_errors(values)]
    if mistakes:
        mistakes += _missing_corpus("config.corpus", table.get("corpus"), path)
        raise _with_lines(StudyFileError(path, mistakes), text)
    beside = path.parent.absolute() / data.corpus
    if beside.is_file():
        data = data.model_copy(update={"corpus": str(beside)})
    return data, TrialConfig(**values)


def _with_lines(error: StudyFileError, text: str) -> StudyFileError:
    """Returns the same mistakes, each with the line of its key."""
    lines = Lines(text)
    mistakes = [mistake._replace(line=lines.of(mistake.key)) for mistake in error.mistakes]
    mistakes.sort(key=lambda mistake: mistake.line or 0)
    return StudyFileError(error.where, mistakes)


def _missing_corpus(key: str, corpus: Any, path: Path) -> list[Mistake]:
    """Returns a mistake if a corpus is neither built in nor a file beside the study file or in the
    working directory."""
    if not isinstance(corpus, str) or corpus in BUILT_IN:
        return []
    if any((folder / corpus).exists() for folder in (path.parent.absolute(), Path.cwd())):
        return []
    return [(key, f"no such file {corpus!r}, and not a built-in corpus ({', '.join(BUILT_IN)})")]


def _toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Returns the text of a TOML file and its document."""
    if path.is_dir():
        raise BadInput(f"{path}: is a directory; give a TOML file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, toml_reader.loads(text)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start}: not UTF-8") from None
    except ValueError as error:
        raise BadInput(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
