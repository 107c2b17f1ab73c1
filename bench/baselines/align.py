"""The last value known at the end of each minute and contract, by pandas.merge_asof."""

from collections.abc import Mapping

import pandas as pd


def joined(grid: pd.DataFrame, sources: Mapping[str, tuple[pd.DataFrame, str | None]]) -> pd.DataFrame:
    found = grid
    for frame, by in sources.values():
        found = pd.merge_asof(found, frame, on="at", by=by, direction="backward")
    return found
