"""When a rule strikes: conditions on the count of its matches and on simulated time, alike for REST and the stream."""

import random
from typing import Annotated

import msgspec

from simulator.clock import parse_instant_ns

type Count = Annotated[int, msgspec.Meta(ge=1)]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of the matching occasions, counted from 1; every condition that is given must hold, and none means all."""

    nth: Count | None = None
    first: Count | None = None
    every: Count | None = None
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: int = 0
    after: str | None = None
    """Simulated time from which on the rule holds, ISO 8601."""
    before: str | None = None
    """Simulated time until which the rule holds, ISO 8601."""

    def instants(self) -> tuple[str | None, ...]:
        """The texts that must be times."""
        return self.after, self.before


def is_due(when: When, count: int, now_ns: int, dice: random.Random) -> bool:
    """Whether the conditions hold for the so-manyth match; the dice are thrown only where they decide."""
    return (
        (when.nth is None or count == when.nth)
        and (when.first is None or count <= when.first)
        and (when.every is None or count % when.every == 0)
        and (when.after is None or now_ns >= parse_instant_ns(when.after))
        and (when.before is None or now_ns < parse_instant_ns(when.before))
        and (when.probability is None or dice.random() < when.probability)
    )
