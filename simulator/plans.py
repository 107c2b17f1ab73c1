"""Keys and what the vendor's plans let them see: data kinds by asset class, delay, rate limit.

How a refusal looks on the wire is written in ``replies``; which data an endpoint gives stands in its route.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from simulator.newyork import NS_PER_S

DELAY_NS: Final = 15 * 60 * NS_PER_S
FREE_CALLS: Final = 5
RATE_WINDOW_S: Final = 60.0
FREE_HISTORY: Final = timedelta(days=730)

FREE_INDICES: Final = frozenset({"I:COMP", "I:DJI", "I:NDX"})
"""The vendor gives "limited tickers" without a plan but publishes no list; the VIX is deliberately not in ours."""


class AssetClass(StrEnum):
    """Each is a subscription of its own."""

    STOCKS = "stocks"
    OPTIONS = "options"
    INDICES = "indices"


class DataKind(StrEnum):
    """What a plan is asked for."""

    REFERENCE = "reference"
    BARS = "bars"
    SNAPSHOT = "snapshot"
    TRADES = "trades"
    QUOTES = "quotes"


class Plan(StrEnum):
    """The vendor's plans, cheapest first."""

    FREE = "free"
    STARTER = "starter"
    DEVELOPER = "developer"
    ADVANCED = "advanced"


class History(StrEnum):
    """What the vendor does when asked for more years than a plan has is told both ways, so all are offered."""

    ALL = "all"
    REFUSE = "refuse"
    TRUNCATE = "truncate"


class Freshness(StrEnum):
    """How new the newest row may be."""

    REAL_TIME = "real time"
    DELAYED = "15 minutes delayed"
    END_OF_DAY = "end of day"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan gives of one asset class."""

    kinds: frozenset[DataKind]
    freshness: Freshness

    @property
    def has_stream(self) -> bool:
        """Whether the plan includes WebSocket access: those with market data do, but for the free one."""
        return DataKind.BARS in self.kinds and self.freshness is not Freshness.END_OF_DAY

    @property
    def delay_ns(self) -> int:
        """How much later than at the vendor's real-time host the stream's messages come."""
        return DELAY_NS if self.freshness is Freshness.DELAYED else 0


_REFERENCE: Final = frozenset({DataKind.REFERENCE})
_BARS: Final = _REFERENCE | {DataKind.BARS}
_SNAPSHOTS: Final = _BARS | {DataKind.SNAPSHOT}
_TRADES: Final = _SNAPSHOTS | {DataKind.TRADES}
_ALL: Final = _TRADES | {DataKind.QUOTES}

TERMS: Final[Mapping[tuple[Plan, AssetClass], Terms]] = {
    (Plan.FREE, AssetClass.STOCKS): Terms(_BARS, Freshness.END_OF_DAY),
    (Plan.STARTER, AssetClass.STOCKS): Terms(_SNAPSHOTS, Freshness.DELAYED),
    (Plan.DEVELOPER, AssetClass.STOCKS): Terms(_TRADES, Freshness.DELAYED),
    (Plan.ADVANCED, AssetClass.STOCKS): Terms(_ALL, Freshness.REAL_TIME),
    (Plan.FREE, AssetClass.OPTIONS): Terms(_BARS, Freshness.END_OF_DAY),
    (Plan.STARTER, AssetClass.OPTIONS): Terms(_SNAPSHOTS, Freshness.DELAYED),
    (Plan.DEVELOPER, AssetClass.OPTIONS): Terms(_TRADES, Freshness.DELAYED),
    (Plan.ADVANCED, AssetClass.OPTIONS): Terms(_ALL, Freshness.REAL_TIME),
    (Plan.FREE, AssetClass.INDICES): Terms(_BARS, Freshness.END_OF_DAY),
    (Plan.STARTER, AssetClass.INDICES): Terms(_SNAPSHOTS, Freshness.DELAYED),
    # The vendor sells no developer plan of indices, so that key has none.
    (Plan.DEVELOPER, AssetClass.INDICES): Terms(_REFERENCE, Freshness.DELAYED),
    (Plan.ADVANCED, AssetClass.INDICES): Terms(_ALL, Freshness.REAL_TIME),
}
_NO_SUBSCRIPTION: Final = Terms(_REFERENCE, Freshness.REAL_TIME)


@dataclass(frozen=True, slots=True)
class Account:
    """One key: a name for the log and a plan for each asset class it subscribes to."""

    name: str
    plans: Mapping[AssetClass, Plan]
    is_rate_limited: bool

    def terms(self, asset: AssetClass) -> Terms:
        """What this key gets of an asset class; reference data alone where it has no subscription."""
        plan = self.plans.get(asset)
        return _NO_SUBSCRIPTION if plan is None else TERMS[plan, asset]

    def history(self, asset: AssetClass) -> timedelta | None:
        """How far back this key's market data go; None for all there are."""
        return FREE_HISTORY if self.plans.get(asset) is Plan.FREE else None

    def may_see(self, ticker: str, kind: DataKind) -> bool:
        """Whether this key's plan includes that kind of data for that ticker."""
        asset = asset_of(ticker)
        if kind not in self.terms(asset).kinds:
            return False
        is_free_index = asset is AssetClass.INDICES and self.plans.get(asset) is Plan.FREE
        return not is_free_index or kind is DataKind.REFERENCE or ticker in FREE_INDICES


def asset_of(ticker: str) -> AssetClass:
    """The asset class that a ticker's prefix names."""
    if ticker.startswith("O:"):
        return AssetClass.OPTIONS
    return AssetClass.INDICES if ticker.startswith("I:") else AssetClass.STOCKS


def standard_accounts() -> dict[str, Account]:
    """Accounts by key: one for each plan, and one that subscribes to stocks alone.

    The keys are fixed, so that a script can name them; they open nothing but this process.
    """
    accounts = {
        f"simulated-{plan}": Account(plan, dict.fromkeys(AssetClass, plan), is_rate_limited=plan is Plan.FREE)
        for plan in Plan
    }
    accounts["simulated-stocks-only"] = Account("stocks_only", {AssetClass.STOCKS: Plan.ADVANCED}, False)
    return accounts


class RateLimiter:
    """Calls a key may make within a sliding window of wall time; a refused call does not count."""

    def __init__(self, wall_ns: Callable[[], int], calls: int = FREE_CALLS, window_s: float = RATE_WINDOW_S) -> None:
        self._wall_ns = wall_ns
        self._calls: dict[str, deque[int]] = {}
        self.calls = calls
        self.window_s = window_s

    def admit(self, account: Account) -> float | None:
        """None when the call may pass; else the seconds until the next one may."""
        if not account.is_rate_limited:
            return None
        now = self._wall_ns()
        window_ns = int(self.window_s * NS_PER_S)
        recent = self._calls.setdefault(account.name, deque())
        while recent and recent[0] <= now - window_ns:
            recent.popleft()
        if len(recent) >= self.calls:
            return (recent[0] + window_ns - now) / NS_PER_S
        recent.append(now)
        return None

    def forget(self) -> None:
        """Every key may make all its calls again."""
        self._calls.clear()
