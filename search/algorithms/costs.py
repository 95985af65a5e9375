"""The cost of a configuration's full trial, from its sizes alone.

No clock is read, so a sampler that weighs costs asks the same on every machine and after every
interruption. The terms are what a training step does (`makemore_core/training/kernel_step.py`);
their constants are fitted to recorded trials of the default space (tests/benchmarks/LOG.md,
2026-11-26), of which half lie within 6 % of their cost and nine tenths within 18 %, the noise of a
busy machine included, while costs differ 250-fold. Evaluations, some 3 %, are left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makemore_core.config import TrialConfig
from makemore_core.training.parameter_layout import ALIGNMENT, BYTES, FLOPS, OUTPUT_MULTIPLE

Numbers = NDArray[np.float64]

SYMBOLS = 27
"""The alphabet of English names, where a study's own is not known."""

# Seconds on the reference machine: one AVX2 core, as a virtual machine has it.
STEP = 3.0e-5
ROW = 4.3e-7
TARGET = 5.4e-9  # for each target of a row; a smoothed row has one for each symbol
UNIT = 1.95e-9  # tanh and its derivative, for each row and hidden unit
GATHERED = 1.7e-10  # for each row, unit and character of its context: folded sums, there and back
OUTPUT = 3.0e-11  # for each row, unit and output column: three matrix products
DROPPED = 3.0e-10  # dropout, for each row and unit
PRODUCT = 6.7e-11  # for each number of a product with the first layer: three products
TABLE = 1.1e-9  # for each number of the folded table
UPDATE = {"adamw": 1.0e-9, "sgd": 3.7e-10}  # for each parameter

TARGETS_OF_ROW = 2
"""Targets of a row without smoothing: few characters follow a context."""
CHARACTERS = 5.0
"""A long context holds about this many characters; the rest is padding."""


def relative_cost(values: Mapping[str, Any], symbols: int = SYMBOLS) -> float:
    """The seconds that a full trial takes on the reference machine; only ratios are meaningful.

    Args:
        values: hyperparameters, searched and fixed; what is missing counts as TrialConfig's
            default, but AdamW, dropout and smoothing are assumed.
        symbols: of the alphabet, the end of a word included.
    """
    return float(relative_costs(values, symbols))


def relative_costs(values: Mapping[str, Any], symbols: int = SYMBOLS) -> Numbers:
    """`relative_cost` of many configurations: arrays of values that broadcast. (...)"""
    width = _rounded_up(_numbers(values, "hidden_width"), ALIGNMENT)
    output = _rounded_up(np.asarray(float(symbols)), OUTPUT_MULTIPLE)
    columns = width + output * _numbers(values, "direct")  # of the first layer
    inputs = _numbers(values, "block_size") * _numbers(values, "embedding_size")
    rows = _rows_of_batch(values, symbols)
    characters = CHARACTERS * -np.expm1(-_numbers(values, "block_size") / CHARACTERS)
    folded = 6 * inputs * (rows - symbols) / FLOPS > 8 * rows * characters / BYTES
    smoothed = _numbers(values, "smoothing", 0.5) > 0
    dropped = _numbers(values, "dropout", 0.5) > 0
    of_row = (
        ROW
        + TARGET * np.where(smoothed, symbols, TARGETS_OF_ROW)
        + width * (UNIT + OUTPUT * output + DROPPED * dropped)
        + columns * GATHERED * characters * folded
    )
    of_first_layer = columns * (
        PRODUCT * inputs * np.where(folded, symbols, rows)
        + TABLE * _numbers(values, "block_size") * symbols * folded
    )
    parameters = inputs * columns + output * width
    of_step = STEP + rows * of_row + of_first_layer + parameters * _update(values)
    steps = _numbers(values, "examples") / _numbers(values, "batch_size")
    return np.asarray(steps * of_step)


def _rows_of_batch(values: Mapping[str, Any], symbols: int) -> Numbers:
    """The different contexts in a batch: nearly as many on every corpus, unless the block is so
    short that there are few."""
    drawn = 1.14 * _numbers(values, "batch_size") ** 0.945
    possible = symbols * (symbols / 3) ** (_numbers(values, "block_size") - 1)
    return np.asarray(drawn / (1 + drawn / possible))


def _update(values: Mapping[str, Any]) -> Numbers:
    is_sgd = np.asarray(values.get("optimizer", "adamw")) == "sgd"
    return np.where(is_sgd, UPDATE["sgd"], UPDATE["adamw"])


def _numbers(values: Mapping[str, Any], name: str, default: float | None = None) -> Numbers:
    assumed = getattr(TrialConfig, name) if default is None else default
    return np.asarray(values.get(name, assumed), np.float64)


def _rounded_up(numbers: Numbers, multiple: int) -> Numbers:
    return np.asarray(np.ceil(numbers / multiple) * multiple)
