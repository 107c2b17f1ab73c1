"""What exists in the synthetic market: its shares, its indices and the venues that report.

Levels are invented and only of the right order; nothing here is a recorded price. Dividends live in dividends.py,
option contracts in chain.py.
"""

from dataclasses import dataclass
from typing import Final

from simulator.reference_tables import EXCHANGES


@dataclass(frozen=True, slots=True)
class StrikeBand:
    """Strikes of one step, listed within a relative distance of the last close while the tenor is in the bounds."""

    step_mills: int  # 1000 is one dollar
    width: float
    tenor_days_min: int
    tenor_days_max: int


@dataclass(frozen=True, slots=True)
class Share:
    """One listed share and how it behaves against the market."""

    ticker: str
    name: str
    level: float  # dollars on the calendar's first day
    growth: float  # of the trend, a year, continuously compounded
    volatility: float  # against the market's
    correlation: float  # with the market
    activity: float  # trades against the constructor's trades_per_minute
    tape: int  # 1 New York, 2 Arca and others, 3 Nasdaq
    listing_exchange: int
    dividend_yield: float  # a year
    dividend_months: tuple[int, ...]
    is_fund: bool  # broad fund: options trade 15 minutes longer, in penny ticks, with an expiry on every trading day
    strike_bands: tuple[StrikeBand, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """One calculated index."""

    ticker: str
    name: str


_FUND_BANDS: Final = (
    StrikeBand(1_000, 0.10, 0, 70),
    StrikeBand(5_000, 0.25, 0, 800),
    StrikeBand(10_000, 0.45, 31, 800),
)
_STOCK_BANDS: Final = (
    StrikeBand(2_500, 0.12, 0, 70),
    StrikeBand(5_000, 0.30, 0, 800),
    StrikeBand(10_000, 0.60, 31, 800),
)
# Half dollars appear now and then around the money shortly before an expiry.
HALF_DOLLAR_BAND: Final = StrikeBand(500, 0.008, 0, 3)

SHARES: Final = {
    share.ticker: share
    for share in (
        Share("SPY", "Example 500 Trust", 165.0, 0.107, 1.0, 1.0, 1.0, 2, 11, 0.012, (3, 6, 9, 12), True, _FUND_BANDS),
        Share("QQQ", "Example 100 Trust", 66.0, 0.17, 1.25, 0.93, 0.7, 3, 12, 0.006, (3, 6, 9, 12), True, _FUND_BANDS),
        Share("IWM", "Example 2000 Fund", 85.0, 0.08, 1.3, 0.88, 0.4, 2, 11, 0.012, (3, 6, 9, 12), True, _FUND_BANDS),
        Share("AAPL", "Example Fruit", 60.0, 0.106, 1.6, 0.7, 0.6, 3, 12, 0.004, (2, 5, 8, 11), False, _STOCK_BANDS),
        Share("MSFT", "Example Software", 40.0, 0.2, 1.5, 0.72, 0.4, 3, 12, 0.007, (2, 5, 8, 11), False, _STOCK_BANDS),
    )
}
VIX: Final = Index("I:VIX", "Example Volatility Index")
SPX: Final = Index("I:SPX", "Example 500 Index")
INDICES: Final = {index.ticker: index for index in (VIX, SPX)}

MARKET_SHARE: Final = SHARES["SPY"]  # the one that moves as the market does; I:SPX is made from it

# Ids of the vendor's exchange list. Off-exchange reports are exchange 4, told apart by the reporting facility.
OFF_EXCHANGE: Final = 4
REPORTING_FACILITIES: Final = (201, 202, 203)
SHARE_EXCHANGES: Final = (11, 12, 19, 8, 21, 10, 15, 7, 20, 18, 2, 9)
SHARE_EXCHANGE_WEIGHTS: Final = (0.2, 0.2, 0.14, 0.12, 0.09, 0.07, 0.05, 0.04, 0.04, 0.02, 0.02, 0.01)
OPTION_EXCHANGES: Final = tuple(venue.id for venue in EXCHANGES if venue.asset_class == "options")
