"""Seeds of random generators: one for each seed, purpose and position, so no state is stored."""

import hashlib

import torch


def key(seed: int, purpose: str, position: int = 0) -> int:
    """A 63-bit number that is independent for each seed, purpose and position.

    >>> key(1, "draws", 0) == key(1, "draws", 0), key(1, "draws", 0) == key(1, "draws", 1)
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str, position: int = 0) -> torch.Generator:
    """A fresh generator on the CPU for that seed, purpose and position."""
    return torch.Generator().manual_seed(key(seed, purpose, position))
