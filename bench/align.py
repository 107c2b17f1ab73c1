"""Four sources joined to a day's grid of 390 minutes and 30 contracts."""

import numpy as np
import pandas as pd

from bench.baselines.align import joined
from bench.harness import Comparison, compare
from marketlake.align import Edge, as_of, as_of_by_group

GOAL = 2.0
MINUTE_NS = 60_000_000_000
CONTRACTS, MINUTES = 30, 390


def run() -> Comparison:
    draw = np.random.default_rng(7)
    ends = np.arange(1, MINUTES + 1, dtype=np.int64) * MINUTE_NS
    # At random instants that never fall on a minute's end, so that both ways' edges agree.
    quotes_at = np.sort(draw.integers(1, MINUTES * MINUTE_NS, (CONTRACTS, 780)) | 1, axis=1)
    bars_at = np.sort(draw.integers(1, MINUTES * MINUTE_NS, (CONTRACTS, 240)) | 1, axis=1)
    share_at, vix_at = (np.sort(draw.integers(1, MINUTES * MINUTE_NS, count) | 1) for count in (390, 1_560))
    values = {
        "quote": draw.normal(size=quotes_at.size), "bar": draw.normal(size=bars_at.size),
        "share": draw.normal(size=share_at.size), "vix": draw.normal(size=vix_at.size),
    }  # fmt: skip

    def ours() -> list[np.ndarray]:
        columns = []
        for name, at in (("quote", quotes_at), ("bar", bars_at)):
            group = np.repeat(np.arange(CONTRACTS), at.shape[1])
            columns.append(
                as_of_by_group(group, at.ravel(), np.arange(CONTRACTS), ends, Edge.EXCLUDED).take(values[name])
            )
        for name, at in (("share", share_at), ("vix", vix_at)):
            once = as_of(at, ends, Edge.EXCLUDED).take(values[name])
            columns.append(np.broadcast_to(once, (CONTRACTS, MINUTES)))
        return columns

    names = [f"O:SPY250829C{strike:08d}" for strike in range(640_000, 640_000 + 1_000 * CONTRACTS, 1_000)]
    grid = pd.DataFrame({"at": np.tile(ends, CONTRACTS), "ticker": np.repeat(names, MINUTES)}).sort_values("at")
    sources = {}
    for name, at in (("quote", quotes_at), ("bar", bars_at)):
        frame = pd.DataFrame({"at": at.ravel(), "ticker": np.repeat(names, at.shape[1]), name: values[name]})
        sources[name] = (frame.sort_values("at"), "ticker")
    for name, at in (("share", share_at), ("vix", vix_at)):
        sources[name] = (pd.DataFrame({"at": at, name: values[name]}), None)

    peer = joined(grid, sources).sort_values(["ticker", "at"])
    for name, column in zip(("quote", "bar", "share", "vix"), ours(), strict=True):
        assert np.array_equal(column.ravel(), peer[name].to_numpy(), equal_nan=True), name
    return compare(ours, lambda: joined(grid, sources), GOAL)
