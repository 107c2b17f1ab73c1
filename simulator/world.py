"""What a world is: the market that the simulator serves, in the vendor's own field names and units.

Endpoints, cursors, plans and faults live elsewhere and know a world only through :class:`World`. A world knows no
clock: it gives what the market did, and the endpoints cut it at the simulated now.
"""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Protocol

import pyarrow as pa

from simulator.plans import AssetClass

BAR_SCHEMA = pa.schema(
    {
        "t": pa.int64(),  # ms since the epoch, start of the bar
        "o": pa.float64(),
        "h": pa.float64(),
        "l": pa.float64(),
        "c": pa.float64(),
        "v": pa.float64(),  # null for an index
        "vw": pa.float64(),
        "n": pa.int64(),
    }
)
VALUE_SCHEMA = pa.schema({"timestamp": pa.int64(), "value": pa.float64()})  # ns since the epoch


class BaseSpan(StrEnum):
    """The bars a world keeps; every longer window is made from these."""

    SECOND = "second"
    MINUTE = "minute"
    DAY = "day"


class World(Protocol):
    """A market. Every table is sorted by its time column; bounds are inclusive; an unknown ticker gives no rows."""

    name: str
    underlying: str  # "SPY", or "I:SPX" where the underlying is an index

    @property
    def sessions(self) -> Sequence[date]:
        """The New York dates this world is about, oldest first; the last one sets the default clock."""

    def knows(self, ticker: str) -> bool:
        """Whether the ticker exists in this world at all."""

    def tickers(self, asset: AssetClass, day: date) -> Sequence[str]:
        """What may have rows of an asset class on a New York date, sorted: what a wildcard stands for."""

    def underlyings(self) -> Sequence[str]:
        """The underlyings that have options, as contracts name them (``SPX`` for ``I:SPX``), sorted."""

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Bars with ``start_ms <= t <= end_ms`` in BAR_SCHEMA."""

    def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """v3 trade fields, ``start_ns <= sip_timestamp <= end_ns``; a null field is left out of the answer."""

    def quotes(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """v3 quote fields, ``start_ns <= sip_timestamp <= end_ns``; a missing side is price 0, size 0."""

    def index_values(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Published values of an index in VALUE_SCHEMA, ``start_ns <= timestamp <= end_ns``."""

    def contracts(
        self, underlying: str, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None
    ) -> pa.Table:
        """Reference contract fields: listed and alive on ``as_of``, or already expired by then."""

    def news(self, start_ms: int, end_ms: int) -> Sequence[dict[str, object]]:
        """Articles by published time, as the vendor's news endpoint gives them."""

    def news_tickers(self) -> Sequence[str]:
        """Every ticker that an article of any time may name, known here or not, sorted."""

    def treasury_yields(self, first: date, last: date) -> pa.Table:
        """One row a date in the vendor's field names, percent a year."""

    def dividends(self, ticker: str) -> pa.Table:
        """All dividends of a ticker, in the vendor's field names."""

    def splits(self, ticker: str) -> pa.Table:
        """All splits of a ticker, in the vendor's field names."""
