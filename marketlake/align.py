"""What was known at an instant: vectorised as-of joins, and how old that knowledge was. Nothing here looks ahead.

A thing is known from one instant on: a bar at its end (start and span), a quote or trade when the consolidated tape
stamped it, an article at its publication and a lag. Each search answers with the position of the last thing known, and
with its age in seconds. What is joined to what, and how old it may be, is decided in :mod:`marketlake.consolidate`.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

type Ints = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
NOTHING: Final = -1


class Edge(Enum):
    """Whether something that becomes known exactly at the instant asked about is known at it."""

    INCLUDED = auto()
    """For intervals and articles: the bar of 09:30 ends at 09:31:00 and belongs to the knowledge of minute 09:30."""
    EXCLUDED = auto()
    """For events: minute 09:30 is half-open, so a quote stamped exactly 09:31:00 belongs to the next one."""

    @property
    def side(self) -> Literal["left", "right"]:
        """The side of numpy's searchsorted."""
        return "right" if self is Edge.INCLUDED else "left"


@dataclass(frozen=True, slots=True)
class AsOf:
    """For each instant asked about, the last thing known: its position, NOTHING where there is none.

    Both arrays have the shape of the question; ``age_s`` is NaN where there is nothing.
    """

    position: Ints
    age_s: Floats

    @property
    def found(self) -> Bools:
        """Where something is known."""
        return np.not_equal(self.position, NOTHING)

    def not_older_than(self, limit_s: float) -> "AsOf":
        """The same, forgetting what is older than a limit in seconds; exactly as old as the limit is kept."""
        kept = self.found & (self.age_s <= limit_s)
        return AsOf(np.where(kept, self.position, NOTHING), np.where(kept, self.age_s, np.nan))

    def where(self, kept: Bools) -> "AsOf":
        """The same, forgetting what is known wherever ``kept`` is false."""
        return AsOf(np.where(kept, self.position, NOTHING), np.where(kept, self.age_s, np.nan))

    def take(self, values: Floats) -> Floats:
        """The values of what is known, NaN where there is nothing."""
        if values.size == 0:
            return np.full(self.position.shape, np.nan)
        return np.where(self.found, values[self.position], np.nan)

    def take_bools(self, values: Bools) -> Bools:
        """The truth of what is known, False where there is nothing."""
        if values.size == 0:
            return np.zeros(self.position.shape, dtype=np.bool_)
        return self.found & values[self.position]


def as_of(known_ns: Ints, at_ns: Ints, edge: Edge) -> AsOf:
    """The last of the instants ``known_ns`` (ascending) that is known at each of ``at_ns``.

    Of several that became known at the same instant, the last in the order given.
    """
    position = np.searchsorted(known_ns, at_ns, side=edge.side).astype(np.int64) - 1
    return _with_age(position, known_ns, at_ns)


def as_of_by_group(group: Ints, known_ns: Ints, wanted: Ints, at_ns: Ints, edge: Edge) -> AsOf:
    """:func:`as_of` within each group: a grid of one row for each ``wanted`` group, one column for each of ``at_ns``.

    ``group`` is ascending, and ``known_ns`` ascending within a group. Positions are those in the arrays given.
    """
    position = np.full((wanted.size, at_ns.size), NOTHING, dtype=np.int64)
    bounds = zip(np.searchsorted(group, wanted, "left"), np.searchsorted(group, wanted, "right"), strict=True)
    for row, (first, last) in enumerate(bounds):
        if first < last:
            found = np.searchsorted(known_ns[first:last], at_ns, side=edge.side).astype(np.int64) - 1
            position[row] = np.where(found == NOTHING, NOTHING, found + first)
    return _with_age(position, known_ns, at_ns)


def window(known_ns: Ints, at_ns: Ints, length_ns: int, edge: Edge) -> tuple[Ints, Ints]:
    """For each instant, the positions (first, and one beyond the last) of what became known in the time up to it.

    The window reaches back ``length_ns`` and is half-open: what was known at its far end is not in it.
    """
    first = np.searchsorted(known_ns, at_ns - length_ns, side=edge.side).astype(np.int64)
    last = np.searchsorted(known_ns, at_ns, side=edge.side).astype(np.int64)
    return first, last


def nanoseconds(column: pa.ChunkedArray) -> Ints:
    """Instants as int64 nanoseconds since the epoch; the column has no nulls."""
    values: Ints = column.cast(pa.int64()).combine_chunks().to_numpy(zero_copy_only=False)
    return values


def floats(column: pa.ChunkedArray) -> Floats:
    """Numbers as float64, NaN where the column is null."""
    values: Floats = column.cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
    return values


def _with_age(position: Ints, known_ns: Ints, at_ns: Ints) -> AsOf:
    if known_ns.size == 0:
        return AsOf(position, np.full(position.shape, np.nan))
    age_s = (at_ns - known_ns[position]) / SECOND_NS
    return AsOf(position, np.where(position == NOTHING, np.nan, age_s))
