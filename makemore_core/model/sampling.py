"""Words sampled from a model."""

from collections.abc import Callable, Container

import torch
from torch import Tensor

from makemore_core.data.characters import describe_alphabet
from makemore_core.errors import ConfigError
from makemore_core.model.network import Model
from makemore_core.randomness import generator

MAX_LENGTH = 100
"""The most characters in a word: an untrained model may never draw a boundary."""

BATCH = 4096
"""Words drawn at once, which bounds the memory."""

MIN_NEW = 64
"""The fewest words drawn at once when some are excluded."""

MAX_FRUITLESS_BATCHES = 50
"""Successive batches of excluded words after which sampling fails."""


@torch.no_grad()
def sample(
    model: Model,
    count: int,
    seed: int,
    max_length: int = MAX_LENGTH,
    *,
    temperature: float = 1.0,
    prefix: str = "",
    exclude: Container[str] = (),
) -> list[str]:
    """Samples `count` words, each until its boundary or `max_length` characters.

    The same model, arguments and seed give the same words. A word may be empty (lecture: a name of
    no characters is a draw like any other), unless some are excluded.

    Args:
        temperature: divides the logits: near 0 the likeliest characters, above 1 less likely ones.
        prefix: the beginning of every word; it counts towards `max_length`.
        exclude: words that are rejected, such as those of the corpus; with any, so is the empty
            word.

    Raises:
        ConfigError: the temperature is not above 0, the prefix is too long or outside the alphabet,
            or the model draws nothing but excluded words.
    """
    device = model.tensors["embedding"].device
    return draw_words(
        lambda contexts: model.logits(contexts.to(device)).cpu(),
        model.config.block_size,
        model.vocabulary,
        count,
        seed,
        max_length=max_length,
        temperature=temperature,
        prefix=prefix,
        exclude=exclude,
    )


def draw_words(
    logits_of: Callable[[Tensor], Tensor],
    block_size: int,
    vocabulary: str,
    count: int,
    seed: int,
    *,
    max_length: int = MAX_LENGTH,
    temperature: float = 1.0,
    prefix: str = "",
    exclude: Container[str] = (),
) -> list[str]:
    """Draws words as `sample` does, from a function of contexts (N, block_size) to logits (N, V).

    Raises:
        ConfigError: as `sample`.
    """
    unknown = [character for character in prefix if character not in vocabulary[1:]]
    if unknown:
        raise ConfigError(
            f"prefix: {unknown[0]!r} is not in the alphabet {describe_alphabet(vocabulary)}"
        )
    if len(prefix) > max_length:
        raise ConfigError(f"prefix: {prefix[:40]!r} is longer than {max_length} characters")
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature: {temperature} is not above 0")
    rng = generator(seed, "sampling")
    start = torch.tensor([0] * block_size + [vocabulary.index(c) for c in prefix])
    room = max_length - len(prefix)
    words: list[str] = []
    fruitless = 0
    while len(words) < count:
        left = count - len(words)
        size = min(BATCH, max(left, MIN_NEW) if exclude else left)
        contexts = start[-block_size:].repeat(size, 1)
        drawn = _draw(logits_of, contexts, room, temperature, rng)
        drawn_words = [prefix + _spell(row, vocabulary) for row in drawn.tolist()]
        accepted = [w for w in drawn_words if w and w not in exclude] if exclude else drawn_words
        words += accepted[:left]
        fruitless = 0 if accepted else fruitless + 1
        if fruitless == MAX_FRUITLESS_BATCHES:
            raise ConfigError("exclude: the model draws nothing but excluded words")
    return words


def _draw(
    logits_of: Callable[[Tensor], Tensor],
    contexts: Tensor,
    max_length: int,
    temperature: float,
    rng: torch.Generator,
) -> Tensor:
    """Continues contexts to their boundary: (N, block) to (N, max_length), 0 after the end."""
    drawn = torch.zeros(len(contexts), max_length, dtype=torch.int64)
    going = torch.arange(len(contexts))  # (G,) the rows that have not ended
    for position in range(max_length):
        probabilities = torch.softmax(logits_of(contexts).double() / temperature, 1)  # (G, V)
        following = torch.multinomial(probabilities, 1, generator=rng)[:, 0]
        drawn[going, position] = following
        goes_on = following != 0
        going = going[goes_on]
        if not len(going):
            break
        contexts = torch.cat([contexts[:, 1:], following[:, None]], 1)[goes_on]
    return drawn


def _spell(row: list[int], vocabulary: str) -> str:
    end = row.index(0) if 0 in row else len(row)
    return "".join(vocabulary[index] for index in row[:end])
