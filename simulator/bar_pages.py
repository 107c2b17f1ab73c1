"""Pages of bars: ``limit`` counts base bars, and a page holds only windows that it could read to their end.

Where a single window has more base bars than ``limit``, the page reads that window whole: a page that could never
be finished would stop every client for ever.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from simulator.newyork import DAY_MS, IntArray
from simulator.reading import Fetch, read_backward, read_forward
from simulator.windows import Windows
from simulator.world import BaseSpan

_STEPS_MS: Final = {
    BaseSpan.SECOND: {"step": 3_600_000, "longest_step": 2 * DAY_MS},
    BaseSpan.MINUTE: {"step": 5 * DAY_MS, "longest_step": 92 * DAY_MS},
    BaseSpan.DAY: {"step": 366 * DAY_MS, "longest_step": 3660 * DAY_MS},
}


@dataclass(frozen=True, slots=True)
class BarPage:
    """Base bars of whole windows, in rising order, with the window of each; where the rest resumes, if there is any."""

    base: pa.Table
    starts: IntArray
    resume_ms: int | None


def page_of_bars(
    fetch: Fetch, windows: Windows, start_ms: int, end_ms: int, limit: int, *, descending: bool
) -> BarPage:
    """The first page of a range that is snapped to whole windows.

    ``resume_ms`` is the next ``from`` when rising, the next ``to`` when descending.
    """
    bounds = np.array([start_ms, end_ms])
    first_start, last_start = (int(start) for start in windows.starts(bounds))
    start_ms, end_ms = first_start, windows.next_start(last_start) - 1
    if descending:
        return _last_page(fetch, windows, start_ms, end_ms, limit)
    return _first_page(fetch, windows, start_ms, end_ms, limit)


def _first_page(fetch: Fetch, windows: Windows, start_ms: int, end_ms: int, limit: int) -> BarPage:
    steps = _STEPS_MS[windows.base]
    base = read_forward(fetch, start_ms, end_ms, limit + 1, **steps)
    starts = windows.starts(base["t"].to_numpy())
    if base.num_rows <= limit:
        return BarPage(base, starts, None)
    whole = int(np.searchsorted(starts, starts[limit], side="left"))
    if whole:
        return BarPage(base.slice(0, whole), starts[:whole], windows.next_start(int(starts[whole - 1])))
    after = windows.next_start(int(starts[0]))
    base = fetch(start_ms, after - 1)
    has_more = read_forward(fetch, after, end_ms, 1, **steps).num_rows > 0
    return BarPage(base, windows.starts(base["t"].to_numpy()), after if has_more else None)


def _last_page(fetch: Fetch, windows: Windows, start_ms: int, end_ms: int, limit: int) -> BarPage:
    steps = _STEPS_MS[windows.base]
    base = read_backward(fetch, start_ms, end_ms, limit + 1, **steps)
    starts = windows.starts(base["t"].to_numpy())
    if base.num_rows <= limit:
        return BarPage(base, starts, None)
    cut = int(np.searchsorted(starts, starts[-limit - 1], side="right"))
    if cut < len(starts):
        return BarPage(base.slice(cut), starts[cut:], int(starts[cut]) - 1)
    first = int(starts[-1])
    base = fetch(first, end_ms)
    has_more = read_backward(fetch, start_ms, first - 1, 1, **steps).num_rows > 0
    return BarPage(base, windows.starts(base["t"].to_numpy()), first - 1 if has_more else None)
