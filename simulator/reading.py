"""Reads just enough of a world: windows of growing length until a page is full.

A synthetic world makes its rows when they are asked for, so a page must not ask for a year to show an hour; a recorded
world answers each window by a slice.
"""

from collections.abc import Callable

import pyarrow as pa

Fetch = Callable[[int, int], pa.Table]
"""Rows between two inclusive bounds, sorted by time."""


def read_forward(fetch: Fetch, start: int, end: int, need: int, *, step: int, longest_step: int) -> pa.Table:
    """The rows from ``start`` on until there are at least ``need`` of them or ``end`` is reached."""
    parts = []
    found = 0
    while start <= end and found < need:
        part = fetch(start, min(end, start + step - 1))
        parts.append(part)
        found += part.num_rows
        start += step
        step = min(2 * step, longest_step)
    return pa.concat_tables(parts) if parts else fetch(1, 0)


def read_backward(fetch: Fetch, start: int, end: int, need: int, *, step: int, longest_step: int) -> pa.Table:
    """The rows up to ``end``, in rising order, at least ``need`` of them unless ``start`` is reached."""
    parts = []
    found = 0
    while start <= end and found < need:
        part = fetch(max(start, end - step + 1), end)
        parts.append(part)
        found += part.num_rows
        end -= step
        step = min(2 * step, longest_step)
    return pa.concat_tables(reversed(parts)) if parts else fetch(1, 0)
