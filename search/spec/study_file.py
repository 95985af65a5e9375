"""Reads study files: TOML to StudySpec, with all mistakes of a file at once, each with its key."""

import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
from search.spec import defaults
from search.spec.search_space import (
    AutoRange,
    Choices,
    Dimension,
    FixedValue,
    RangeDimension,
    Value,
    enqueue_error,
    read_dimension,
)
from search.spec.sections import (
    LAYOUT_FIELDS,
    UNRESOLVED,
    BudgetSection,
    ConfirmSection,
    EarlyStoppingSection,
    FileSections,
    LimitsSection,
    NotifySection,
    PrunerSection,
    SamplerSection,
    StudySection,
)
from search.spec.toml_lines import Lines

Mistake = tuple[str, str]


SECTIONS = tuple(name for name in FileSections.model_fields if name not in ("search", "enqueue"))


@dataclass(frozen=True)
class StudySpec:
    """A study as its file defines it, with the defaults of one version for what that leaves out."""

    study: StudySection
    budget: BudgetSection
    sampler: SamplerSection
    pruner: PrunerSection
    early_stopping: EarlyStoppingSection
    limits: LimitsSection
    confirm: ConfirmSection
    notify: NotifySection
    space: Mapping[str, Dimension]
    enqueue: tuple[Mapping[str, Value], ...]
    defaults: int
    """The version of the defaults."""
    given: Mapping[str, Any] = field(compare=False, repr=False)
    """The document without defaults, as the file or the storage has it."""
    opening: tuple[Mapping[str, Value], ...] = ()
    """Searched values of the first configurations after the enqueued ones, perhaps not all of them;
    a study gets them when it is created."""
    began_from: str | None = None
    """The study whose best configurations come first in the opening."""

    def as_document(self) -> dict[str, Any]:
        """Returns the study as a document with every default filled in, for the storage;
        `from_document` reads it."""
        document: dict[str, Any] = {name: getattr(self, name).model_dump() for name in SECTIONS}
        if self.budget.examples == UNRESOLVED:
            del document["budget"]["examples"]
        document["search"] = {name: kind.to_document() for name, kind in self.space.items()}
        document["enqueue"] = [dict(values) for values in self.enqueue]
        if self.defaults != defaults.FIRST:
            document["defaults"] = self.defaults
        if self.opening:
            document["opening"] = [dict(values) for values in self.opening]
        if self.began_from is not None:
            document["from"] = self.began_from
        return document

    def as_file(self) -> dict[str, Any]:
        """Returns the study as a document with every default filled in, as a study file has it,
        for people: without the address of its webhook, which may hold a secret."""
        document = self.as_document()
        document["notify"]["url"] = None
        return {name: values for name, values in document.items() if name not in STORED_KEYS}

    def definition(self) -> dict[str, Any]:
        """Returns what must not change between runs of the study, as flat keys.

        Left out are MUTABLE_FIELDS, the name and layout of the corpus, whose words the study stores
        and compares by their fingerprint, and STORED_KEYS, which no file has.
        """
        document = self.as_file()
        enqueue = document.pop("enqueue")
        flat = {
            f"{section}.{key}": value
            for section, values in document.items()
            for key, value in values.items()
        }
        flat["enqueue"] = enqueue
        for key in ("study.name", "study.corpus", *LAYOUT_FIELDS, *MUTABLE_FIELDS):
            del flat[key]
        return flat

    def resolved_for(self, corpus: Corpus) -> "StudySpec":
        """Resolves what depends on the corpus: examples that are not given or given in epochs, and
        the bounds of ranges that scale with the train split."""
        is_resolved = self.budget.examples != UNRESOLVED
        if is_resolved and not any(map(_scales_with_corpus, self.space.values())):
            return self
        characters = self.train_characters(corpus)
        space = {
            name: kind.scaled_to(characters) if isinstance(kind, RangeDimension) else kind
            for name, kind in self.space.items()
        }
        resolved = self._read_again(replace(self, space=space).as_document(), "search")
        if is_resolved:
            return resolved
        if self.budget.epochs is None:
            return resolved.with_examples(defaults.examples_for(characters))
        return resolved.with_examples(max(1, round(self.budget.epochs * characters)))

    def train_characters(self, corpus: Corpus) -> int:
        """Returns the characters of the train split, ends of words included: its examples."""
        return sum(len(word) + 1 for word in split(corpus, self.study.split_seed).train)

    def with_examples(self, examples: int) -> "StudySpec":
        """Returns the study with `examples` training examples in a full trial, checked again."""
        document = self.as_document()
        document["budget"] |= {"epochs": None, "examples": examples}
        return self._read_again(document, "budget")

    def with_values(self, section: str, **values: Any) -> "StudySpec":
        """Returns the study with some given values of a section replaced, checked again."""
        document = copy.deepcopy(dict(self.given))
        document[section] = {**document.get(section, {})} | {
            key: value for key, value in values.items() if value is not None
        }
        return self._read_again(document, "command line")

    def with_defaults(self, version: int) -> "StudySpec":
        """Returns what is given of the study with the defaults of another version.

        Raises:
            StudyFileError: with them, a given value makes no sense.
        """
        where = f"study {self.study.name}, with the defaults that it was created with"
        if version == self.defaults:
            return self
        return self._with_own_beginning(from_document(self.given, where, version))

    def _read_again(self, document: Mapping[str, Any], where: str) -> "StudySpec":
        given = {name: values for name, values in document.items() if name not in STORED_KEYS}
        return self._with_own_beginning(from_document(given, where, self.defaults))

    def _with_own_beginning(self, spec: "StudySpec") -> "StudySpec":
        return replace(spec, opening=self.opening, began_from=self.began_from)


STORED_KEYS = ("defaults", "opening", "from")
"""The keys of a stored document that a study file does not have."""
MUTABLE_FIELDS = (
    *("budget.trials", "budget.timeout", "budget.target", "confirm.ensemble"),
    *("study.priority", "study.max_workers"),
    *("notify.url", "notify.on", "notify.target"),
)
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
        spec = from_document(document, path, defaults.LATEST)
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
        spec = from_document(document, where, defaults.LATEST)
    except StudyFileError as error:
        raise StudyFileError(where, [*error.mistakes, *mistakes]) from None
    if mistakes:
        raise StudyFileError(where, mistakes)
    return spec


def from_document(
    document: Mapping[str, Any], where: Path | str, version: int | None = None
) -> StudySpec:
    """Checks a whole document and returns its study.

    Args:
        version: of the defaults for what the document leaves out; None: the document is a stored
            one and says so itself.

    Raises:
        StudyFileError: with every mistake.
    """
    stored: Mapping[str, Any] = {}
    if version is None:
        version, stored = document.get("defaults", defaults.FIRST), document
        document = {name: value for name, value in document.items() if name not in STORED_KEYS}
    if version not in defaults.VERSIONS:
        newer = f"version {version!r} is unknown to this program; a newer one created the study"
        raise StudyFileError(where, [("defaults", newer)])
    full = defaults.filled(document, version)
    mistakes: list[Mistake] = []
    parsed: FileSections | None = None
    try:
        parsed = FileSections.model_validate(full)
    except ValidationError as error:
        mistakes += [_as_mistake(detail) for detail in error.errors()]
    space, known, wrong = _read_search(full["search"], version)
    mistakes += wrong
    if _value(full, "budget", "epochs") and _value(full, "budget", "examples") is not None:
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
    sections = {name: getattr(parsed, name) for name in SECTIONS}
    enqueue = tuple(parsed.enqueue)
    return StudySpec(
        **sections,
        space=space,
        enqueue=enqueue,
        defaults=version,
        given=copy.deepcopy(document),
        opening=tuple(stored.get("opening", ())),
        began_from=stored.get("from"),
    )


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
    raw: Any, version: int
) -> tuple[dict[str, Dimension], dict[str, Dimension], list[Mistake]]:
    """Returns the space, the dimensions to check enqueued values against, and all mistakes."""
    if not isinstance(raw, Mapping):  # which is a mistake, reported already
        raw = defaults.VERSIONS[version]["search"]
    mistakes = _unknown("search", raw, set(HYPERPARAMETERS))
    space: dict[str, Dimension] = {}
    known: dict[str, Dimension] = {}
    for name in HYPERPARAMETERS:
        entry = raw[name]
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
            wrong = value_error(name, value) or enqueue_error(name, values, space)
            if wrong:
                mistakes.append((f"{where}.{name}", wrong))
        if not any(key.startswith(f"{where}.") for key, _ in mistakes):
            fixed = {
                name: kind.value for name, kind in space.items() if isinstance(kind, FixedValue)
            }
            mistakes += [
                (f"{where}.{key}", what) for key, what in value_errors({**fixed, **values})
            ]
    return mistakes
