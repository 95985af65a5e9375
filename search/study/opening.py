"""The configurations that a study begins with, determined when it is created.

They are stored with the study, so that it goes on unchanged when the program's experience changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from makemore_core.data.corpus import Corpus
from search.algorithms import experience
from search.errors import Drift
from search.spec.search_space import distributions, fixed_values
from search.spec.study_spec import StudySpec

EXPERIENCED_SAMPLERS = frozenset({"bayes"})
"""Kinds of sampler that begin with the program's experience; the others have a design of their own,
on which studies that exist depend."""


@dataclass(frozen=True)
class Predecessor:
    """A study of the same storage that another one begins from."""

    study: str
    configurations: tuple[Mapping[str, Any], ...]
    """Its best ones, the best first, as its trials have them."""


def with_opening(spec: StudySpec, corpus: Corpus, predecessor: Predecessor | None) -> StudySpec:
    """Returns a new study, which must be resolved for its corpus, with its first configurations."""
    known: list[Mapping[str, Any]] = list(predecessor.configurations) if predecessor else []
    if spec.sampler.kind in EXPERIENCED_SAMPLERS:
        known += experience.configurations(spec.train_characters(corpus))
    opening = experience.opening(distributions(spec.space), fixed_values(spec.space), known)
    began_from = predecessor.study if predecessor else None
    return replace(spec, opening=tuple(opening), began_from=began_from)


def ensure_same_predecessor(spec: StudySpec, predecessor: str | None) -> None:
    """Raises Drift if a stored study began otherwise than a command asks; None asks nothing."""
    if predecessor is None or predecessor == spec.began_from:
        return
    began = f"began from {spec.began_from}" if spec.began_from else "began without --from"
    raise Drift(
        f"study {spec.study.name}: exists already, and {began}, not from {predecessor}; leave "
        "--from out, or rename the study"
    )
