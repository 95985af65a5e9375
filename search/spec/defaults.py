"""What a study file leaves out: the defaults of its sections, by version.

A study keeps the version that it was created with, so its unchanged file goes on to define the same
study when a newer program has other defaults. Values that no version changed are the defaults of
`sections.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FIRST = 1
"""The version of a stored study that names none."""
LATEST = 2
"""The version that new studies get."""

VERSIONS: Mapping[int, Mapping[str, Mapping[str, Any]]] = MappingProxyType({
    1: {
        "budget": {"trials": 40, "examples": 1_500_000},
        "sampler": {"kind": "tpe"},
        "pruner": {"kind": "asha"},
        "search": {
            "embedding_size": {"low": 4, "high": 64, "log": True},
            "hidden_width": {"low": 64, "high": 1024, "log": True},
            "block_size": {"low": 2, "high": 12},
            "batch_size": [32, 64, 128, 256, 512, 1024],
            "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
            "schedule": ["constant", "step", "linear", "cosine", "inverse"],
            "step_at": 0.5,
            "step_factor": 0.1,
            "warmup": 0.02,
            "weight_decay": 0.0,
            "decay_growth": 1.0,
            "dropout": 0.0,
            "smoothing": 0.0,
            "optimizer": ["adamw", "sgd"],
            "targets": "expected",
            "initialisation": "scaled",
            "direct": False,
        },
    },
    2: {  # without budget.examples, which follows from the corpus: see `examples_for`
        "budget": {"trials": 100},
        "sampler": {"kind": "bayes"},
        "pruner": {"kind": "predictive"},
        "search": {
            "embedding_size": {"low": 8, "high": 128, "log": True},
            "hidden_width": {"low": 64, "high": 2048, "log": True},
            "block_size": {"low": 2, "high": 12},
            "batch_size": [32, 64, 128, 256, 512, 1024],
            "learning_rate": {"low": 1e-3, "high": 0.1, "log": True, "relative": True},
            "schedule": ["step", "linear", "cosine"],
            "step_at": 0.5,
            "step_factor": 0.02,
            "warmup": 0.02,
            "weight_decay": {"low": 0.01, "high": 1.0, "log": True},
            "decay_growth": {"low": 1.0, "high": 2.5},
            "dropout": {"low": 0.0, "high": 0.5},
            "smoothing": {"low": 0.0, "high": 1.0},
            "optimizer": "adamw",
            "targets": "expected",
            "initialisation": "scaled",
            "direct": False,
        },
    },
})  # fmt: skip

EXAMPLES_FACTOR, EXAMPLES_EXPONENT = 1250, 2 / 3


def filled(document: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Returns a study's document with the defaults of a version for what it leaves out.

    A section of the wrong type stays as it is, for the check that follows.
    """
    sections = {
        name: _filled_section(document.get(name, {}), defaults)
        for name, defaults in VERSIONS[version].items()
    }
    return {**document, **sections}


def _filled_section(given: Any, defaults: Mapping[str, Any]) -> Any:
    if not isinstance(given, Mapping):
        return given
    left_out = {"examples"} if given.get("epochs") is not None else set()
    return {key: value for key, value in defaults.items() if key not in left_out} | dict(given)


def examples_for(characters: int) -> int:
    """Returns the examples of a full trial on a train split of so many characters, ends included.

    A smaller corpus is seen more often, since its best networks regularise more: 22 epochs of
    182,625 characters, 75 of 4,446. In three digits.

    >>> examples_for(182_625), examples_for(4_446)
    (4020000, 338000)
    """
    return int(float(f"{EXAMPLES_FACTOR * characters**EXAMPLES_EXPONENT:.3g}"))
