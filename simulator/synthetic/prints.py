"""Trades as columns of whole numbers, before they have the vendor's fields.

Prices and sizes are in the units of minutes.py, so that sums are exact in any order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.synthetic.conditions import MAKES_EDGES, MAKES_EXTREMES, MAKES_VOLUME
from simulator.synthetic.minutes import IntArray


@dataclass(frozen=True, slots=True)
class Prints:
    """Trades in time order; prices in PRICE_UNIT, sizes in VOLUME_UNIT, times in nanoseconds."""

    time_ns: IntArray
    price: IntArray
    size: IntArray
    makes_extremes: NDArray[np.bool_]
    makes_edges: NDArray[np.bool_]  # open and close
    makes_volume: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ShareTrades:
    """A session's trades in time order; prices in PRICE_UNIT, sizes in VOLUME_UNIT, times in nanoseconds."""

    time_ns: IntArray
    price: IntArray
    size: IntArray
    kind: IntArray  # of Kind
    exchange: IntArray  # 0 where it is still to be drawn
    correction: IntArray  # 0 is none

    def prints(self) -> Prints:
        """The trades as they enter bars."""
        return Prints(
            self.time_ns,
            self.price,
            self.size,
            MAKES_EXTREMES[self.kind],
            MAKES_EDGES[self.kind],
            MAKES_VOLUME[self.kind],
        )
