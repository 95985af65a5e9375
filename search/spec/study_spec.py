"""A study as its file defines it, and the checks of a whole document: every mistake at once."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from makemore_core.data.corpus import Corpus
from makemore_core.data.splits import split
from search.errors import StudyFileError
from search.learning_rates import RATE
from search.spec import defaults
from search.spec.mistakes import Mistake, as_mistake
from search.spec.search_space import Dimension, RangeDimension, Value
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
from search.spec.space_reader import check_enqueue, read_space, with_enqueued_rates

SECTIONS = tuple(name for name in FileSections.model_fields if name not in ("search", "enqueue"))
STORED_KEYS = ("defaults", "opening", "from")
"""The keys of a stored document that a study file does not have."""
MUTABLE_FIELDS = (
    *("budget.trials", "budget.timeout", "budget.target", "confirm.ensemble"),
    *("study.priority", "study.max_workers"),
    *("notify.url", "notify.on", "notify.target"),
)
"""What may change between runs of a study until its test split is opened."""


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
        mistakes += [as_mistake(detail) for detail in error.errors()]
    space, known, wrong = read_space(full["search"], version)
    mistakes += wrong
    if value_of(full, "budget", "epochs") and value_of(full, "budget", "examples") is not None:
        mistakes.append(
            (
                "budget.epochs",
                "budget.examples sets the length of a trial as well; give one of the two",
            )
        )
    enqueued = document.get("enqueue", [])
    enqueued = enqueued if isinstance(enqueued, list) else []
    if value_of(document, "search", RATE) is None and RATE in space:
        space[RATE] = known[RATE] = with_enqueued_rates(space[RATE], known, enqueued)
    mistakes += check_enqueue(enqueued, known)
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


def _scales_with_corpus(dimension: Dimension) -> bool:
    return isinstance(dimension, RangeDimension) and dimension.at_examples is not None


def value_of(document: Mapping[str, Any], section: str, key: str) -> Any:
    """Returns a value of a document that may be wrong anywhere; None if it is not there."""
    table = document.get(section)
    return table.get(key) if isinstance(table, dict) else None
