"""AdamW's constants (Loshchilov and Hutter 2019), and the weight decay of the first layer."""

from makemore_core.config import TrialConfig

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8


def first_layer_decays(config: TrialConfig) -> list[float]:
    """The decay of the first layer's weights for each character of context, the oldest first.

    Their geometric mean is `weight_decay`; each is `decay_growth` times that of the character
    after it. Characters further back carry less information, as every back-off n-gram assumes; with
    a prior to that effect, a longer context does no harm.
    """
    middle = (config.block_size - 1) / 2
    return [
        config.weight_decay * config.decay_growth ** (middle - position)
        for position in range(config.block_size)
    ]
