"""New words from a model."""

from collections.abc import Callable, Container

import torch
from torch import Tensor

from makemore_core.data.characters import describe_alphabet
from makemore_core.errors import ConfigError
from makemore_core.model.network import Model
from makemore_core.randomness import generator

MAX_LENGTH = 100
"""Characters after which a word is cut: an untrained model may never draw a boundary."""

BATCH = 4096
"""Words drawn at once: bounds the memory, whatever the count."""

MIN_NEW = 64
"""Words drawn at once, at least, while only words that are not excluded are kept."""

MAX_FRUITLESS_BATCHES = 50
"""Batches without a word to keep, after which the model is taken to have none."""


@torch.no_grad()
def sample(
    model: Model,
    count: int,
    seed: int,
    longest: int = MAX_LENGTH,
    *,
    temperature: float = 1.0,
    prefix: str = "",
    exclude: Container[str] = (),
) -> list[str]:
    """Draws `count` words, character by character, each until its boundary or `longest` characters.

    The same model, arguments and seed give the same words. A word may be empty (lecture: a name of
    no characters is a draw like any other), unless some are excluded.

    Args:
        temperature: divides the logits: towards 0 the likeliest characters, above 1 wilder ones.
        prefix: what every word begins with; it counts towards `longest`.
        exclude: words that are drawn again, such as those of the corpus, and then the empty word.

    Raises:
        ConfigError: the temperature is not above 0, the prefix cannot begin a word of this
            alphabet, or the model draws nothing but excluded words.
    """
    device = model.tensors["embedding"].device
    return draw_words(
        lambda contexts: model.logits(contexts.to(device)).cpu(),
        model.config.block_size,
        model.vocabulary,
        count,
        seed,
        longest=longest,
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
    longest: int = MAX_LENGTH,
    temperature: float = 1.0,
    prefix: str = "",
    exclude: Container[str] = (),
) -> list[str]:
    """As `sample`, from whatever gives logits (N, V) for contexts (N, block_size).

    Raises:
        ConfigError: as `sample`.
    """
    unknown = [character for character in prefix if character not in vocabulary[1:]]
    if unknown:
        raise ConfigError(
            f"prefix: {unknown[0]!r} is not in the alphabet {describe_alphabet(vocabulary)}"
        )
    if len(prefix) > longest:
        raise ConfigError(f"prefix: {prefix[:40]!r} is longer than {longest} characters")
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature: {temperature} is not above 0")
    rng = generator(seed, "sampling")
    start = torch.tensor([0] * block_size + [vocabulary.index(c) for c in prefix])
    room = longest - len(prefix)
    words: list[str] = []
    fruitless = 0
    while len(words) < count:
        left = count - len(words)
        size = min(BATCH, max(left, MIN_NEW) if exclude else left)
        contexts = start[-block_size:].repeat(size, 1)
        drawn = _draw(logits_of, contexts, room, temperature, rng)
        found = [prefix + _spell(row, vocabulary) for row in drawn.tolist()]
        kept = [word for word in found if word and word not in exclude] if exclude else found
        words += kept[:left]
        fruitless = 0 if kept else fruitless + 1
        if fruitless == MAX_FRUITLESS_BATCHES:
            raise ConfigError("exclude: the model draws nothing but excluded words")
    return words


def _draw(
    logits_of: Callable[[Tensor], Tensor],
    contexts: Tensor,
    longest: int,
    temperature: float,
    rng: torch.Generator,
) -> Tensor:
    """Continues every context until its boundary: (N, block) to (N, longest), 0 after the end."""
    drawn = torch.zeros(len(contexts), longest, dtype=torch.int64)
    going = torch.arange(len(contexts))  # (G,) the rows that have not ended
    for position in range(longest):
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
