"""Seeds derived from a study's seed, a number and a purpose."""

import hashlib


def derive_seed(study_seed: int, ordinal: int, purpose: str) -> int:
    """A seed below 2**31 for one purpose of one configuration of a study."""
    digest = hashlib.sha256(f"{study_seed}/{ordinal}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
