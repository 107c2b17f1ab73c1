"""The synthetic market as a world: ranges of time, cut from sessions that are made when they are asked for.

Any date costs the same and gives the same rows in any order and any process. What a session holds is made in market.py
and the modules that it brings together; the clock that hides the future is the server's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa

from simulator.plans import AssetClass
from simulator.synthetic.calendar import FIRST_DAY, LAST_DAY, Session, new_york_calendar, new_york_day
from simulator.synthetic.chain import CONTRACT_SCHEMA
from simulator.synthetic.dividends import dividends_of
from simulator.synthetic.market import USUAL_TRADES_PER_MINUTE, Market
from simulator.synthetic.news import NEWS_TICKERS, articles_of_day
from simulator.synthetic.option_market import OPTION_QUOTE_SCHEMA, OPTION_TRADE_SCHEMA
from simulator.synthetic.quotes import QUOTE_SCHEMA
from simulator.synthetic.rates import yield_curves
from simulator.synthetic.reference import INDICES, SHARES
from simulator.synthetic.trades import TRADE_SCHEMA
from simulator.world import BAR_SCHEMA, VALUE_SCHEMA, BaseSpan

# Midday trades a minute of the busiest share. The real market has several times as many; at this size a session of
# trades is made in well under a second and fits a demo's disk, and all proportions hold.
TRADES_PER_MINUTE = USUAL_TRADES_PER_MINUTE

DIVIDEND_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "ticker": pa.string(),
        "cash_amount": pa.float64(),
        "currency": pa.string(),
        "declaration_date": pa.string(),
        "ex_dividend_date": pa.string(),
        "record_date": pa.string(),
        "pay_date": pa.string(),
        "frequency": pa.int64(),
        "dividend_type": pa.string(),
    }
)
SPLIT_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "ticker": pa.string(),
        "execution_date": pa.string(),
        "split_from": pa.float64(),
        "split_to": pa.float64(),
    }
)


class SyntheticWorld:
    """A seeded market of a few shares, their options, I:VIX and I:SPX, from 2013 to 2028.

    ``last_session`` is only what the server sets its default clock by. ``trades_per_minute`` scales trades, volumes and
    quotes of everything; the price's way through the session stays the same, and bars differ by cents.
    """

    def __init__(
        self,
        seed: int = 7,
        last_session: date = date(2025, 8, 29),
        underlying: str = "SPY",
        *,
        trades_per_minute: float = TRADES_PER_MINUTE,
    ) -> None:
        if underlying not in SHARES:
            raise ValueError(f"no share {underlying!r} in the synthetic market; it has {', '.join(SHARES)}")
        if not 1.0 <= trades_per_minute <= 5000.0:
            raise ValueError(f"trades_per_minute is {trades_per_minute}, not between 1 and 5000")
        self._calendar = new_york_calendar()
        session = self._calendar.on(last_session)
        if session is None or session not in self._calendar.traded:
            raise ValueError(f"{last_session} is no trading session of the synthetic market")
        self.name = "synthetic"
        self.underlying = underlying
        self._seed = seed
        self._last_session = last_session
        self._market = Market(seed, self._calendar, trades_per_minute)
        self._articles: Callable[[date], tuple[dict[str, object], ...]] = lru_cache(maxsize=64)(
            partial(articles_of_day, seed, self._calendar)
        )

    @property
    def sessions(self) -> Sequence[date]:
        """The session that the default clock stands after; rows exist on every other one too."""
        return (self._last_session,)

    def knows(self, ticker: str) -> bool:
        """Whether the ticker is a share, an index or an option contract that was ever listed."""
        return ticker in SHARES or ticker in INDICES or self._market.contract(ticker) is not None

    def tickers(self, asset: AssetClass, day: date) -> Sequence[str]:
        """All shares and indices; of contracts those near the money of the underlying that expire within a week."""
        if asset is not AssetClass.OPTIONS:
            return sorted(SHARES if asset is AssetClass.STOCKS else INDICES)
        session = self._calendar.on(day)
        return () if session is None else self._market.near_contracts(self.underlying, session)

    def underlyings(self) -> Sequence[str]:
        """Every share has options, and no index."""
        return sorted(SHARES)

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Bars with ``start_ms <= t <= end_ms`` in BAR_SCHEMA."""
        tables = (self._market.bars(ticker, span, session) for session in self._sessions_of(ticker, start_ms, end_ms))
        return _between(tables, BAR_SCHEMA, "t", start_ms, end_ms)

    def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """v3 trade fields by SIP time; none for an index."""
        schema = TRADE_SCHEMA if ticker in SHARES else OPTION_TRADE_SCHEMA
        if ticker in INDICES:
            return schema.empty_table()
        sessions = self._sessions_of(ticker, start_ns // 1_000_000, end_ns // 1_000_000)
        rows = (self._market.trades(ticker, session) for session in sessions)
        return _between(rows, schema, "sip_timestamp", start_ns, end_ns)

    def quotes(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """v3 quote fields by SIP time; none for an index."""
        schema = QUOTE_SCHEMA if ticker in SHARES else OPTION_QUOTE_SCHEMA
        if ticker in INDICES:
            return schema.empty_table()
        sessions = self._sessions_of(ticker, start_ns // 1_000_000, end_ns // 1_000_000)
        rows = (self._market.quotes(ticker, session) for session in sessions)
        return _between(rows, schema, "sip_timestamp", start_ns, end_ns)

    def index_values(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Published values of I:VIX and I:SPX."""
        if ticker not in INDICES:
            return VALUE_SCHEMA.empty_table()
        sessions = self._sessions_of(ticker, start_ns // 1_000_000, end_ns // 1_000_000)
        rows = (self._market.values(ticker, session) for session in sessions)
        return _between(rows, VALUE_SCHEMA, "timestamp", start_ns, end_ns)

    def option_values(self, ticker: str, at_ns: int) -> Mapping[str, float]:
        """Implied volatility, Greeks and open interest as of the session before, by the vendor's names."""
        return self._market.option_values(ticker, at_ns)

    def contracts(
        self, underlying: str, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None
    ) -> pa.Table:
        """Reference contract fields by ticker; expired ones go back two years where no bound is given."""
        if underlying not in SHARES:
            return CONTRACT_SCHEMA.empty_table()
        return self._market.chain(underlying).contracts(
            as_of, expired=expired, expiry_from=expiry_from, expiry_to=expiry_to
        )

    def news(self, start_ms: int, end_ms: int) -> Sequence[dict[str, object]]:
        """Articles with ``start_ms <= published <= end_ms``, oldest first."""
        first, last = max(new_york_day(start_ms), FIRST_DAY), min(new_york_day(end_ms), LAST_DAY)
        return [
            article
            for day in (first + timedelta(days=i) for i in range((last - first).days + 1))
            for article in self._articles(day)
            if start_ms <= datetime.fromisoformat(str(article["published_utc"])).timestamp() * 1000 <= end_ms
        ]

    def news_tickers(self) -> Sequence[str]:
        """The shares and some funds that this market does not trade."""
        return sorted(NEWS_TICKERS)

    def treasury_yields(self, first: date, last: date) -> pa.Table:
        """One row a business day, percent a year."""
        return yield_curves(self._seed).table(first, last)

    def dividends(self, ticker: str) -> pa.Table:
        """All dividends of a share by ex-date, declared or not yet."""
        share = SHARES.get(ticker)
        rows = dividends_of(self._seed, share, self._calendar) if share else ()
        return pa.Table.from_pylist(
            [
                {
                    "id": row.id,
                    "ticker": row.ticker,
                    "cash_amount": row.cash_amount,
                    "currency": "USD",
                    "declaration_date": row.declaration_date.isoformat(),
                    "ex_dividend_date": row.ex_dividend_date.isoformat(),
                    "record_date": row.record_date.isoformat(),
                    "pay_date": row.pay_date.isoformat(),
                    "frequency": 4,
                    "dividend_type": "CD",
                }
                for row in rows
            ],
            schema=DIVIDEND_SCHEMA,
        )

    def splits(self, ticker: str) -> pa.Table:  # noqa: ARG002 - the market has no split of any ticker
        """No share of this market ever split."""
        return SPLIT_SCHEMA.empty_table()

    def _sessions_of(self, ticker: str, start_ms: int, end_ms: int) -> Iterator[Session]:
        return (
            session
            for session in self._calendar.overlapping(start_ms, end_ms)
            if self._market.is_traded(ticker, session)
        )


def _between(tables: Iterable[pa.Table], schema: pa.Schema, column: str, first: int, last: int) -> pa.Table:
    """The rows of sessions in order, cut to the closed range; each session's are sorted by the column."""
    parts = []
    for table in tables:
        at = table[column].to_numpy()
        low = int(np.searchsorted(at, first, side="left"))
        high = int(np.searchsorted(at, last, side="right"))
        parts.append(table.slice(low, max(high - low, 0)))
    return parts[0] if len(parts) == 1 else pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()
