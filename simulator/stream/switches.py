"""What is not known about the vendor's stream, or is a matter of taste, so that a test can have it either way."""

from enum import StrEnum
from typing import Annotated

import msgspec


class Evicted(StrEnum):
    """Who goes when a key has one connection too many in a market."""

    OLDER = "older"
    NEWER = "newer"


class SlowReader(StrEnum):
    """How a strict stream gets rid of a reader that does not follow."""

    STATUS = "status"
    DROP = "drop"


class StreamSwitches(msgspec.Struct):
    """Changed at run time by the control address."""

    strict: bool = False
    """Whether a slow reader is kicked; otherwise the clock waits for it."""
    buffer_bytes: int = 8 << 20
    """What may wait for a reader before a strict stream kicks it."""
    slow_reader: SlowReader = SlowReader.STATUS
    evicted: Evicted = Evicted.OLDER
    connections_per_key: Annotated[int, msgspec.Meta(ge=1)] = 1
    """In each market."""
    auth_timeout_s: float = 30.0
    """Wall time."""
