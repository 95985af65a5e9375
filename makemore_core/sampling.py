"""New words from a model."""

import torch

from makemore_core.model import Model
from makemore_core.randomness import generator

LONGEST = 100
"""Characters after which a word is cut: an untrained model may never draw a boundary."""


@torch.no_grad()
def sample(model: Model, count: int, seed: int, longest: int = LONGEST) -> list[str]:
    """Draws `count` words, character by character, each until its boundary or `longest` characters.

    The same model, count and seed give the same words. A word may be empty (lecture: a name of no
    characters is a draw like any other).
    """
    rng = generator(seed, "sampling")
    device = model.tensors["embedding"].device
    contexts = torch.zeros(count, model.config.block_size, dtype=torch.int64, device=device)
    drawn = torch.zeros(count, longest, dtype=torch.int64)
    going = torch.ones(count, dtype=torch.bool)
    for position in range(longest):
        probabilities = torch.softmax(model.logits(contexts).cpu().double(), 1)  # (count, V)
        following = torch.multinomial(probabilities, 1, generator=rng)[:, 0]
        drawn[:, position] = torch.where(going, following, 0)
        going &= following != 0
        if not going.any():
            break
        contexts = torch.cat([contexts[:, 1:], following[:, None].to(device)], 1)
    return [_spell(row, model.vocabulary) for row in drawn.tolist()]


def _spell(row: list[int], vocabulary: str) -> str:
    end = row.index(0) if 0 in row else len(row)
    return "".join(vocabulary[index] for index in row[:end])
