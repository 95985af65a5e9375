"""The learning rate as a pure function of progress."""

import math

from makemore_core.config import TrialConfig


def learning_rate_at(config: TrialConfig, progress: float) -> float:
    """The learning rate after a fraction `progress` (0 to 1) of the trial.

    After a linear warm-up: `constant`; `step` (lecture: 0.1, then 0.01 from the middle on);
    `linear` and `cosine` towards `step_factor` of the peak; `inverse`, the paper's
    eps_0 / (1 + r t), with r such that it ends at `step_factor` of the peak.
    """
    return config.learning_rate * _fraction_of_peak(config, progress)


def _fraction_of_peak(config: TrialConfig, progress: float) -> float:
    if progress < config.warmup:
        return progress / config.warmup
    if config.schedule == "constant":
        return 1.0
    last = config.step_factor
    if config.schedule == "step":
        return 1.0 if progress < config.step_at else last
    after_warmup = (progress - config.warmup) / max(1.0 - config.warmup, 1e-12)
    if config.schedule == "linear":
        return 1.0 + (last - 1.0) * after_warmup
    if config.schedule == "cosine":
        return last + (1.0 - last) * (1.0 + math.cos(math.pi * after_warmup)) / 2.0
    return 1.0 / (1.0 + (1.0 / last - 1.0) * after_warmup)
