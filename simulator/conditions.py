"""What a trade counts for: which trades enter the prices and the volume of a bar.

The rules are the consolidated ones of the vendor's condition list, which is in ``reference_tables``. With several
conditions a trade counts for a price only if each of them allows it. Form T makes prices of bars outside regular hours
and none inside them. A trade whose conditions are not listed counts for everything, as every option trade does.
"""

from collections.abc import Iterable
from typing import NamedTuple

from simulator.reference_tables import FORM_T, HIGH_LOW_NO, OPEN_CLOSE_NO, VOLUME_NO


class Effect(NamedTuple):
    """What a trade counts for."""

    on_extremes: bool
    on_edges: bool  # open and close
    on_volume: bool


def effect_of(conditions: Iterable[int] | None, *, is_regular: bool) -> Effect:
    """What a trade with these conditions counts for, inside regular hours or outside."""
    codes = frozenset(conditions or ())
    makes_price = not (is_regular and FORM_T in codes)
    return Effect(
        on_extremes=makes_price and not codes & HIGH_LOW_NO,
        on_edges=makes_price and not codes & OPEN_CLOSE_NO,
        on_volume=not codes & VOLUME_NO,
    )
