"""TOML to StudySpec. A file is checked as a whole: every mistake at once, each with its key."""

import difflib
import tomllib
from collections.abc import Mapping
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
    READING,
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
    search: Mapping[str, Dimension]
    enqueue: tuple[Mapping[str, Value], ...]

    def as_document(self) -> dict[str, Any]:
        """The file again, with every default filled in; `from_document` reads it."""
        document: dict[str, Any] = {
            f.name: getattr(self, f.name).model_dump()
            for f in fields(self)
            if f.name not in ("search", "enqueue")
        }
        if self.budget.epochs is not None:
            del document["budget"]["examples"]
        document["search"] = {name: kind.described() for name, kind in self.search.items()}
        document["enqueue"] = [dict(values) for values in self.enqueue]
        return document

    def definition(self) -> dict[str, Any]:
        """What makes the study what it is, flat. Trials, timeout and target may change, and until
        the test split is opened what it is opened for; and the corpus counts by its fingerprint,
        which the study keeps, not by its name or layout."""
        flat = {
            f"{section}.{key}": value
            for section, values in self.as_document().items()
            if section != "enqueue"
            for key, value in values.items()
        }
        flat["enqueue"] = [dict(values) for values in self.enqueue]
        for key in ("study.name", "study.corpus", *READING, *MUTABLE_FIELDS):
            del flat[key]
        return flat

    def of_corpus(self, corpus: Corpus) -> "StudySpec":
        """The same study with what its file leaves to the corpus settled: its budget in examples,
        and ranges that go with the size of the train split."""
        if self.budget.epochs is None and not any(
            map(_check_scales_with_corpus, self.search.values())
        ):
            return self
        train = split(corpus, self.study.split_seed).train
        examples = sum(len(word) + 1 for word in train)
        search = {
            name: kind.settled(examples) if isinstance(kind, RangeDimension) else kind
            for name, kind in self.search.items()
        }
        settled = replace(self, search=search)
        if self.budget.epochs is None:
            return from_document(settled.as_document(), "search")
        return settled.with_examples(max(1, round(self.budget.epochs * examples)))

    def with_examples(self, examples: int) -> "StudySpec":
        """The same study with so many training examples in a full trial, checked again."""
        document = self.as_document()
        document["budget"] |= {"epochs": None, "examples": examples}
        return from_document(document, "budget")

    def with_values(self, section: str, **values: Any) -> "StudySpec":
        """The same study with some values of a section replaced, checked again."""
        document = self.as_document()
        document[section] |= {key: value for key, value in values.items() if value is not None}
        return from_document(document, "command line")


MUTABLE_FIELDS = ("budget.trials", "budget.timeout", "budget.target", "confirm.ensemble")


def read(path: Path, corpus: str | None = None) -> StudySpec:
    """Reads a study file; a relative corpus path is taken from the file's directory.

    Args:
        corpus: what the command line gives in place of the file's.

    Raises:
        StudyFileError: with every mistake; a corpus that is not there is told beside others, and
            alone by whoever loads it, since a study that exists has its words.
    """
    text, document = _toml(path)
    try:
        spec = from_document(document, path)
    except StudyFileError as error:
        named = corpus or _value(document, "study", "corpus")
        missing = _missing_corpus("study.corpus" if corpus is None else "--corpus", named, path)
        raise _with_lines(StudyFileError(path, [*error.mistakes, *missing]), text) from None
    beside = path.parent.absolute() / spec.study.corpus
    return spec.with_values("study", corpus=str(beside)) if beside.is_file() else spec


def from_document(document: Mapping[str, Any], where: Path | str) -> StudySpec:
    """Checks a whole document.

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
        mistakes.append(("budget.epochs", "budget.examples says how long a trial is; give one"))
    raw_enqueue = document.get("enqueue", [])
    mistakes += _check_enqueue(raw_enqueue if isinstance(raw_enqueue, list) else [], known)
    if mistakes or parsed is None:
        raise StudyFileError(where, mistakes)
    sections = {f.name: getattr(parsed, f.name) for f in fields(StudySpec)}
    sections |= {"search": space, "enqueue": tuple(parsed.enqueue)}
    return StudySpec(**sections)


def read_config(path: Path) -> tuple[StudySection, TrialConfig]:
    """Reads a file for `train`: one table `[config]`; returns its corpus and its configuration."""
    text, document = _toml(path)
    table = document.get("config")
    if not isinstance(table, dict):
        raise StudyFileError(path, [("config", "this table is missing; see `best --toml`")])
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
    """The same mistakes, each with the line of its key."""
    lines = Lines(text)
    found = [mistake._replace(line=lines.of(mistake.key)) for mistake in error.mistakes]
    found.sort(key=lambda each: each.line or 0)
    return StudyFileError(error.where, found)


def _missing_corpus(key: str, named: Any, path: Path) -> list[Mistake]:
    """A corpus that is neither built in nor a file, seen from a study file or from here."""
    if not isinstance(named, str) or named in BUILT_IN:
        return []
    if any((place / named).exists() for place in (path.parent.absolute(), Path.cwd())):
        return []
    return [(key, f"no such file {named!r}, and not a built-in corpus ({', '.join(BUILT_IN)})")]


def _value(document: Mapping[str, Any], section: str, key: str) -> Any:
    table = document.get(section)
    return table.get(key) if isinstance(table, dict) else None


def _toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a file, and what it says."""
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
    """One pydantic error as (key, what is wrong)."""
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
    """The space; as much of it as can be told, whatever else is wrong; and all that is wrong."""
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
    """Values that are good alone, but not with others that may come with them."""
    mistakes: list[Mistake] = []
    if _admits(space, "schedule", "inverse") and _admits(space, "step_factor", 0):
        mistakes.append(
            ("search.step_factor", "an inverse schedule never reaches 0; give a share above it")
        )
    if _admits(space, "hidden_width", 0) and _admits(space, "direct", False):
        mistakes.append(("search.hidden_width", NEEDS_DIRECT))
    rate, optimizer = space.get("learning_rate"), space.get("optimizer")
    if isinstance(rate, AutoRange) and isinstance(optimizer, Choices):
        mistakes.append(
            ("search.learning_rate", '"auto" needs one optimizer, since each wants its own range')
        )
    return mistakes


def _check_scales_with_corpus(dimension: Dimension) -> bool:
    return isinstance(dimension, RangeDimension) and dimension.at_examples is not None


def _admits(space: Mapping[str, Dimension], name: str, value: Value) -> bool:
    dimension = space.get(name)
    if dimension is None:
        return False  # it is wrong, which is told
    return dimension.value == value if isinstance(dimension, FixedValue) else dimension.holds(value)


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
            elif not space[name].holds(value):
                mistakes.append(
                    (f"{where}.{name}", f"{value!r} is outside {space[name].described()}")
                )
        if not any(key.startswith(f"{where}.") for key, _ in mistakes):
            fixed = {
                name: kind.value for name, kind in space.items() if isinstance(kind, FixedValue)
            }
            mistakes += [
                (f"{where}.{key}", what) for key, what in value_errors({**fixed, **values})
            ]
    return mistakes
