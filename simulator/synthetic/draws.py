"""Random numbers by name: what was asked for alone decides what is drawn.

Every piece of the market draws from its own counter-based stream, so that a date gives the same rows whether it is
asked for first, last or alone, in this process or another. What is drawn lives with the thing that it describes.
"""

import hashlib

import numpy as np


def stream(seed: int, what: str, *parts: str | int) -> np.random.Generator:
    """The random stream that belongs to these words and no others: ``stream(7, "frames", "SPY", "2025-08-29")``."""
    name = "\x1f".join((str(seed), what, *map(str, parts)))
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest())
    return np.random.Generator(np.random.Philox(key=key))


def digest(seed: int, what: str, *parts: str | int) -> str:
    """A stable hex name of 32 digits for the same words, for ids in the vendor's manner."""
    name = "\x1f".join((str(seed), what, *map(str, parts)))
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
