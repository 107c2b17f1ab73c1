"""One connection's messages of a stretch of simulated time, in publishing order, cut into frames.

Frames are cut by slices of simulated time and by count, never by wall time or by how much was read at once: the same
subscriptions give the same frames at any speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.newyork import NS_PER_MS
from simulator.stream.sources import NOTHING, Published

SLICE_NS: Final = 100 * NS_PER_MS
LARGEST_FRAME: Final = 500
"""Events in one frame."""


@dataclass(slots=True)
class Lineup:
    """Frames that are still to be sent, each at the end of its slice."""

    ends_ns: list[int]
    bounds: list[int]  # places of the frames' first messages, and the end of the last
    messages: list[bytes]
    place: int = 0

    @property
    def next_ns(self) -> int | None:
        """When the next frame is due; None where none is left."""
        return self.ends_ns[self.place] if self.place < len(self.ends_ns) else None

    def take(self) -> tuple[bytes, int]:
        """The next frame and how many events are in it."""
        first, end = self.bounds[self.place], self.bounds[self.place + 1]
        self.place += 1
        return b"[" + b",".join(self.messages[first:end]) + b"]", end - first


def line_up(parts: Sequence[Published], delay_ns: int) -> Lineup:
    """The frames of several sources, in the order of time and, at one instant, of the sources.

    A delayed connection gets each message that much later; the sources' own times are what was published.
    """
    at_ns = np.concatenate([part.at_ns for part in (NOTHING, *parts)]) + delay_ns
    if not len(at_ns):
        return Lineup([], [0], [])
    order = np.argsort(at_ns, kind="stable")
    listed = [one for part in parts for one in part.messages]
    ends = -(-at_ns[order] // SLICE_NS) * SLICE_NS
    starts = np.flatnonzero(np.diff(ends, prepend=-1))
    cuts: list[int] = []
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(ends)], strict=True):
        cuts.extend(range(first, end, LARGEST_FRAME))
    return Lineup(ends[cuts].tolist(), [*cuts, len(ends)], [listed[i] for i in order.tolist()])


def slice_end(at_ns: int) -> int:
    """The end of the slice that holds an instant; a slice holds its end and not its start."""
    return -(-at_ns // SLICE_NS) * SLICE_NS


def slice_before(at_ns: int) -> int:
    """The end of the last slice that is over at an instant."""
    return at_ns // SLICE_NS * SLICE_NS
