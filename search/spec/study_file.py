"""Reads study files: TOML to StudySpec, with all mistakes of a file at once, each with its key."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from makemore_core.config import (
    FIELDS,
    HYPERPARAMETERS,
    NEEDS_DIRECT,
    TrialConfig,
    value_error,
    value_errors,
)
from makemore_core.data.corpus import BUILT_IN, Corpus
from makemore_core.data.splits import split
from search import errors
from search.errors import BadInput, StudyFileError
from search.spec.search_space import (
    DEFAULTS,
    AutoRange,
    Choices,
    Dimension,
    FixedValue,
    RangeDimension,
    Value,
    read_dimension,
)
from search.spec.sections import (
    LAYOUT_FIELDS,
    BudgetSection,
    ConfirmSection,
    EarlyStoppingSection,
    FileSections,
    LimitsSection,
    PrunerSection,
    SamplerSection,
    StudySection,
)
from search.spec.toml_lines import Lines

Mistake = tuple[str, str]


@dataclass(frozen=True)
class StudySpec:
    """A study as its file defines it."""

    study: StudySection
    budget: BudgetSection
    sampler: SamplerSection
    pruner: PrunerSection
    early_stopping: EarlyStoppingSection
    limits: LimitsSection
    confirm: ConfirmSection
    space: Mapping[str, Dimension]
    enqueue: tuple[Mapping[str, Value], ...]

    def as_document(self) -> dict[str, Any]:
        """Returns the file as a document with every default filled in; `from_document` reads it."""
        document: dict[str, Any] = {
            f.name: getattr(self, f.name).model_dump()
            for f in fields(self)
            if f.name not in ("space", "enqueue")
        }
        if self.budget.epochs is not None:
            del document["budget"]["examples"]
        document["search"] = {name: kind.to_document() for name, kind in self.space.items()}
        document["enqueue"] = [dict(values) for values in self.enqueue]
        return document

    def definition(self) -> dict[str, Any]:
        """Returns what must not change between runs of the study, as flat keys.

        Left out are MUTABLE_FIELDS and the name and layout of the corpus, whose words the study
        stores and compares by their fingerprint.
        """
        flat = {
            f"{section}.{key}": value
            for section, values in self.as_document().items()
            if section != "enqueue"
            for key, value in values.items()
        }
        flat["enqueue"] = [dict(values) for values in self.enqueue]
        for key in ("study.name", "study.corpus", *LAYOUT_FIELDS, *MUTABLE_FIELDS):
            del flat[key]
        return flat

    def resolved_for(self, corpus: Corpus) -> "StudySpec":
        """Resolves what depends on the corpus: a budget in epochs becomes examples, and ranges that
        scale with the train split get their bounds."""
        if self.budget.epochs is None and not any(map(_scales_with_corpus, self.space.values())):
            return self
        train = split(corpus, self.study.split_seed).train
        examples = sum(len(word) + 1 for word in train)
        space = {
            name: kind.scaled_to(examples) if isinstance(kind, RangeDimension) else kind
            for name, kind in self.space.items()
        }
        resolved = replace(self, space=space)
        if self.budget.epochs is None:
            return from_document(resolved.as_document(), "search")
        return resolved.with_examples(max(1, round(self.budget.epochs * examples)))

    def with_examples(self, examples: int) -> "StudySpec":
        """Returns the study with `examples` training examples in a full trial, checked again."""
        document = self.as_document()
        document["budget"] |= {"epochs": None, "examples": examples}
        return from_document(document, "budget")

    def with_values(self, section: str, **values: Any) -> "StudySpec":
        """Returns the study with some values of a section replaced, checked again."""
        document = self.as_document()
        document[section] |= {key: value for key, value in values.items() if value is not None}
        return from_document(document, "command line")


MUTABLE_FIELDS = ("budget.trials", "budget.timeout", "budget.target", "confirm.ensemble")
"""What may change between runs of a study until its test split is opened."""


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
        spec = from_document(document, path)
    except StudyFileError as error:
        key = "study.corpus" if corpus is None else "--corpus"
        missing = _missing_corpus(key, corpus or _value(document, "study", "corpus"), path)
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
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problem = str(error) if isinstance(error, ValueError) else "too deeply nested"
        found = re.search(r" \(at line (\d+), column \d+\)", problem)
        line = int(found[1]) if found else None
        raise StudyFileError(where, [errors.Mistake("", f"not TOML: {problem}", line)]) from None
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
        spec = from_document(document, where)
    except StudyFileError as error:
        raise StudyFileError(where, [*error.mistakes, *mistakes]) from None
    if mistakes:
        raise StudyFileError(where, mistakes)
    return spec


def from_document(document: Mapping[str, Any], where: Path | str) -> StudySpec:
    """Checks a whole document and returns its study.

    Raises:
        StudyFileError: with every mistake.
    """
    mistakes: list[Mistake] = []
    parsed: FileSections | None = None
    try:
        parsed = FileSections.model_validate(document)
    except ValidationError as error:
        mistakes += [_as_mistake(detail) for detail in error.errors()]
    raw_search = document.get("search", {})
    space, known, wrong = _read_search(raw_search if isinstance(raw_search, dict) else {})
    mistakes += wrong
    if _value(document, "budget", "epochs") and _value(document, "budget", "examples") is not None:
        mistakes.append(
            (
                "budget.epochs",
                "budget.examples sets the length of a trial as well; give one of the two",
            )
        )
    raw_enqueue = document.get("enqueue", [])
    mistakes += _check_enqueue(raw_enqueue if isinstance(raw_enqueue, list) else [], known)
    if mistakes or parsed is None:
        raise StudyFileError(where, mistakes)
    sections = {
        name: getattr(parsed, name) for name in FileSections.model_fields if name != "search"
    }
    return StudySpec(**{**sections, "space": space, "enqueue": tuple(parsed.enqueue)})


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
    mistakes += _unknown("config", table, {*corpus_keys, *FIELDS})
    try:
        data = StudySection.model_validate(
            {"name": "config", **{k: v for k, v in table.items() if k in corpus_keys}}
        )
    except ValidationError as error:
        mistakes += [(f"config.{key}", what) for key, what in map(_as_mistake, error.errors())]
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


def _value(document: Mapping[str, Any], section: str, key: str) -> Any:
    table = document.get(section)
    return table.get(key) if isinstance(table, dict) else None


def _toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Returns the text of a TOML file and its document."""
    if path.is_dir():
        raise BadInput(f"{path}: is a directory; give a TOML file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None


def _as_mistake(detail: Any) -> Mistake:
    """Returns one of pydantic's errors as (key, problem)."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        section = {f"{detail['loc'][0]}"} if len(detail["loc"]) > 1 else set()
        model = FileSections.model_fields[section.pop()].annotation if section else FileSections
        known = getattr(model, "model_fields", {})
        return key, "unknown key" + _did_you_mean(str(detail["loc"][-1]), known)
    if detail["type"] == "missing":
        return key, "missing"
    message = detail["msg"].removeprefix("Value error, ")
    return key, message[0].lower() + message[1:] + f", not {detail['input']!r}"[:80] * (
        detail["type"] != "value_error"
    )


def _did_you_mean(key: str, known: Any) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _unknown(section: str, table: Mapping[str, Any], known: set[str]) -> list[Mistake]:
    return [
        (f"{section}.{key}", "unknown key" + _did_you_mean(key, known))
        for key in table
        if key not in known
    ]


def _read_search(
    raw: Mapping[str, Any],
) -> tuple[dict[str, Dimension], dict[str, Dimension], list[Mistake]]:
    """Returns the space, the dimensions to check enqueued values against, and all mistakes."""
    mistakes = _unknown("search", raw, set(HYPERPARAMETERS))
    space: dict[str, Dimension] = {}
    known: dict[str, Dimension] = {}
    for name in HYPERPARAMETERS:
        entry = raw.get(name, DEFAULTS[name])
        dimension, wrong = read_dimension(name, entry)
        mistakes += [(f"search.{name}", what) for what in wrong]
        if dimension:
            space[name] = known[name] = dimension
        elif isinstance(entry, list) and entry:
            known[name] = Choices(tuple(entry))
    return space, known, [*mistakes, *_check_together(known)]


def _check_together(space: Mapping[str, Dimension]) -> list[Mistake]:
    """Returns the mistakes of values that are valid alone, but not in combination."""
    mistakes: list[Mistake] = []
    if _admits(space, "schedule", "inverse") and _admits(space, "step_factor", 0):
        mistakes.append(
            ("search.step_factor", "an inverse schedule never reaches 0; give a fraction above 0")
        )
    if _admits(space, "hidden_width", 0) and _admits(space, "direct", False):
        mistakes.append(("search.hidden_width", NEEDS_DIRECT))
    rate, optimizer = space.get("learning_rate"), space.get("optimizer")
    if isinstance(rate, AutoRange) and isinstance(optimizer, Choices):
        mistakes.append(
            ("search.learning_rate", '"auto" needs one optimizer, since each has its own range')
        )
    return mistakes


def _scales_with_corpus(dimension: Dimension) -> bool:
    return isinstance(dimension, RangeDimension) and dimension.at_examples is not None


def _admits(space: Mapping[str, Dimension], name: str, value: Value) -> bool:
    dimension = space.get(name)
    if dimension is None:
        return False  # it is wrong, which is reported already
    if isinstance(dimension, FixedValue):
        return dimension.value == value
    return dimension.contains(value)


def _check_enqueue(raw: list[Any], space: Mapping[str, Dimension]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for index, values in enumerate(raw):
        if not isinstance(values, dict):
            continue  # pydantic has said so
        where = f"enqueue.{index}"
        mistakes += _unknown(where, values, set(HYPERPARAMETERS))
        for name, value in values.items():
            if name not in space:
                continue
            if wrong := value_error(name, value):
                mistakes.append((f"{where}.{name}", wrong))
            elif not space[name].contains(value):
                mistakes.append(
                    (f"{where}.{name}", f"{value!r} is outside {space[name].to_document()}")
                )
        if not any(key.startswith(f"{where}.") for key, _ in mistakes):
            fixed = {
                name: kind.value for name, kind in space.items() if isinstance(kind, FixedValue)
            }
            mistakes += [
                (f"{where}.{key}", what) for key, what in value_errors({**fixed, **values})
            ]
    return mistakes
