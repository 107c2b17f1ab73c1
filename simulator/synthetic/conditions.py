"""The kinds of share trades that the market makes; each counts for what ``simulator.conditions`` says of its codes."""

from enum import IntEnum
from typing import Final

import numpy as np
import pyarrow as pa

from simulator.conditions import effect_of


class Kind(IntEnum):
    """What kind of trade a row is; each stands for one list of condition codes."""

    PLAIN = 0
    SWEEP = 1
    ODD_LOT = 2
    ODD_LOT_SWEEP = 3
    AVERAGE_PRICE = 4
    OPENING = 5
    CLOSING = 6
    OFFICIAL_OPEN = 7
    OFFICIAL_CLOSE = 8
    DERIVATIVELY_PRICED = 9
    PRIOR_REFERENCE = 10
    OUT_OF_SEQUENCE = 11
    SELLER = 12
    CONTINGENT = 13
    LATE_FORM_T = 14
    EXTENDED = 15
    EXTENDED_ODD_LOT = 16
    EXTENDED_AVERAGE = 17
    EXTENDED_OUT_OF_SEQUENCE = 18


CODES: Final[dict[Kind, list[int] | None]] = {
    Kind.PLAIN: None,
    Kind.SWEEP: [14, 41],
    Kind.ODD_LOT: [37],
    Kind.ODD_LOT_SWEEP: [14, 37, 41],
    Kind.AVERAGE_PRICE: [2],
    Kind.OPENING: [25],
    Kind.CLOSING: [8],
    Kind.OFFICIAL_OPEN: [16],
    Kind.OFFICIAL_CLOSE: [15],
    Kind.DERIVATIVELY_PRICED: [10],
    Kind.PRIOR_REFERENCE: [22],
    Kind.OUT_OF_SEQUENCE: [32],
    Kind.SELLER: [29],
    Kind.CONTINGENT: [52],
    Kind.LATE_FORM_T: [12],
    Kind.EXTENDED: [12],
    Kind.EXTENDED_ODD_LOT: [12, 37],
    Kind.EXTENDED_AVERAGE: [2, 12],
    Kind.EXTENDED_OUT_OF_SEQUENCE: [12, 13],
}
CODE_LISTS: Final = pa.array([CODES[kind] for kind in Kind], pa.list_(pa.int64()))


# One entry a kind. A Form T report inside regular hours is late, and makes no price there.
_EFFECTS: Final = [effect_of(CODES[kind], is_regular=kind is Kind.LATE_FORM_T) for kind in Kind]
MAKES_EXTREMES: Final = np.array([effect.on_extremes for effect in _EFFECTS], np.bool_)
MAKES_EDGES: Final = np.array([effect.on_edges for effect in _EFFECTS], np.bool_)
MAKES_VOLUME: Final = np.array([effect.on_volume for effect in _EFFECTS], np.bool_)
