"""What one key may see of a world at one instant: the only door from an endpoint to the market.

No look-ahead is decided here and nowhere else. A trade, a quote, an article is seen from its time on; a second or
minute bar once its window has ended, with the reports that have come by then; a day bar once post-market trading has
ended (20:00 New York). Until then a day that the world records is shown as far as its finished minutes tell, and not at
all without minutes. Dividends are seen from their declaration, splits from their execution, Treasury yields from the
day after their date. A delayed plan sees market data as they were 15 minutes ago, the free plan as they were at the end
of the last finished day, and where the simulator is set so, no further back than two years.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator import exchange_hours
from simulator.newyork import DAY_MS, NS_PER_MS, date_of_ms, day_bounds_ms, instant_ns, midnight_ms, moment
from simulator.plans import DELAY_NS, Account, AssetClass, DataKind, Freshness, History, asset_of
from simulator.reading import read_backward
from simulator.replies import NotEntitled
from simulator.revisions import WIDTH_MS, BarHistory
from simulator.windows import aggregate
from simulator.world import BAR_SCHEMA, BaseSpan, World

POST_MARKET_END: Final = time(20)
_WHOLE_DAY_FIELDS: Final = frozenset({"v", "vw", "n"})
_INDEX_AFTER_CLOSE_MS: Final = 15 * 60_000
_HOUR_NS: Final = 3_600_000 * NS_PER_MS
_LONG_WEEKEND_NS: Final = 4 * 24 * _HOUR_NS
"""How far back a share's last trade or quote is looked for; a synthetic world has no beginning to stop at."""


@dataclass(frozen=True, slots=True)
class View:
    """The market as one account sees it now."""

    world: World
    history: BarHistory
    account: Account
    now_ns: int
    beyond_history: History = History.ALL

    @property
    def today(self) -> date:
        """The New York date of now."""
        return moment(self.now_ns).date()

    def may_see(self, ticker: str, kind: DataKind) -> bool:
        """Whether the account's plan has that kind of data for that ticker."""
        return self.account.may_see(ticker, kind)

    def horizon_ns(self, asset: AssetClass) -> int:
        """The newest instant that the account sees of an asset class."""
        freshness = self.account.terms(asset).freshness
        if freshness is Freshness.DELAYED:
            return self.now_ns - DELAY_NS
        if freshness is Freshness.END_OF_DAY and self.now_ns < instant_ns(self.today, POST_MARKET_END):
            return midnight_ms(self.today) * NS_PER_MS - 1
        return self.now_ns

    def earliest_ns(self, asset: AssetClass) -> int:
        """The first instant of the bars that the plan reaches back to; those with ticks have no such limit."""
        history = self.account.history(asset)
        if history is None or self.beyond_history is History.ALL:
            return 0
        return midnight_ms(self.today - history) * NS_PER_MS

    def check_history(self, asset: AssetClass, start_ns: int) -> None:
        """Refuses a range that begins before the plan's history, where it is refused and not cut."""
        if self.beyond_history is History.REFUSE and start_ns < self.earliest_ns(asset):
            raise NotEntitled

    def is_over(self, day: date, asset: AssetClass) -> bool:
        """Whether the account sees all of a date's trading, and so its final day bars."""
        return self.horizon_ns(asset) >= instant_ns(day, POST_MARKET_END)

    def status(self, asset: AssetClass) -> str:
        """The envelope's status word."""
        return "DELAYED" if self.account.terms(asset).freshness is Freshness.DELAYED else "OK"

    def timeframe(self, asset: AssetClass) -> str:
        """A snapshot's word for how fresh a part of it is."""
        return "DELAYED" if self.account.terms(asset).freshness is Freshness.DELAYED else "REAL-TIME"

    def tickers(self) -> Sequence[str]:
        """The shares and indices there are."""
        listed = (self.world.tickers(asset, self.today) for asset in (AssetClass.INDICES, AssetClass.STOCKS))
        return [ticker for tickers in listed for ticker in tickers]

    def underlyings(self) -> Sequence[str]:
        """The underlyings that have options, as contracts name them: ``SPX`` for ``I:SPX``."""
        return self.world.underlyings()

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Base bars between two instants, as far as they are known now."""
        horizon_ms = self.horizon_ns(asset_of(ticker)) // NS_PER_MS
        start_ms = max(start_ms, self.earliest_ns(asset_of(ticker)) // NS_PER_MS)
        if span is not BaseSpan.DAY:
            ended = self.world.bars(ticker, span, start_ms, min(end_ms, horizon_ms - WIDTH_MS[span]))
            return self.history.known_at(ticker, span, ended, self.horizon_ns(asset_of(ticker)))
        today = date_of_ms(horizon_ms)
        first_ms, last_ms = day_bounds_ms(today)
        if self.is_over(today, asset_of(ticker)) or end_ms < first_ms:
            return self.world.bars(ticker, span, start_ms, min(end_ms, last_ms))
        done = self.world.bars(ticker, span, start_ms, first_ms - 1)
        running = self.world.bars(ticker, span, max(start_ms, first_ms), min(end_ms, last_ms))
        if running.num_rows == 0:
            return done
        return pa.concat_tables([done, self._bar_of_minutes(ticker, today, running["t"][0].as_py())])

    def day_so_far(self, ticker: str) -> pa.Table:
        """Today's bar, one row or none: the recorded one once the day is over, else made of finished minutes.

        Snapshots show a day even where the world records no day bars, so this one does not need them.
        """
        horizon_ms = self.horizon_ns(asset_of(ticker)) // NS_PER_MS
        first_ms, last_ms = day_bounds_ms(date_of_ms(horizon_ms))
        bar = self.bars(ticker, BaseSpan.DAY, first_ms, last_ms)
        if bar.num_rows:
            return bar.slice(bar.num_rows - 1)
        return self._bar_of_minutes(ticker, date_of_ms(horizon_ms), first_ms)

    def newest_close(self, ticker: str) -> tuple[float, int] | None:
        """The close of the last finished minute of today, else of the newest day; and when it stood, ns."""
        asset = asset_of(ticker)
        horizon_ns = self.horizon_ns(asset)
        minutes = self.bars(ticker, BaseSpan.MINUTE, *day_bounds_ms(date_of_ms(horizon_ns // NS_PER_MS)))
        if minutes.num_rows:
            end_ms = minutes["t"][-1].as_py() + WIDTH_MS[BaseSpan.MINUTE]
            return minutes["c"][-1].as_py(), end_ms * NS_PER_MS
        bar = self.day_so_far(ticker)
        if bar.num_rows == 0:
            bar = self.previous_day(ticker)
        if bar.num_rows == 0:
            return None
        day = date_of_ms(bar["t"][0].as_py())
        hours_ms = _regular_hours_ms(asset, day) or day_bounds_ms(day)
        return bar["c"][0].as_py(), min(hours_ms[1] * NS_PER_MS, horizon_ns)

    def previous_day(self, ticker: str) -> pa.Table:
        """The last day bar of the ten days before today, one row or none."""
        first_ms, _ = day_bounds_ms(date_of_ms(self.horizon_ns(asset_of(ticker)) // NS_PER_MS))
        bars = read_backward(
            lambda start, end: self.bars(ticker, BaseSpan.DAY, start, end),
            first_ms - 10 * DAY_MS,
            first_ms - 1,
            1,
            step=DAY_MS,
            longest_step=4 * DAY_MS,
        )
        return bars.slice(max(bars.num_rows - 1, 0))

    def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Trades by SIP time up to the horizon."""
        ticks = self.world.trades(ticker, start_ns, min(end_ns, self.horizon_ns(asset_of(ticker))))
        return _without_ticker(ticks)

    def quotes(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Quotes by SIP time up to the horizon."""
        ticks = self.world.quotes(ticker, start_ns, min(end_ns, self.horizon_ns(asset_of(ticker))))
        return _without_ticker(ticks)

    def last_trade(self, ticker: str) -> pa.Table:
        """The newest trade, one row or none."""
        return self._last(self.world.trades, ticker)

    def last_quote(self, ticker: str) -> pa.Table:
        """The newest quote, one row or none."""
        return self._last(self.world.quotes, ticker)

    def contracts(
        self, underlying: str, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None
    ) -> pa.Table:
        """Contracts as of a date, or as of today when that date has not come yet."""
        return self.world.contracts(
            underlying, min(as_of, self.today), expired=expired, expiry_from=expiry_from, expiry_to=expiry_to
        )

    def news(self, start_ms: int, end_ms: int) -> Sequence[dict[str, object]]:
        """Articles published by now."""
        return self.world.news(start_ms, min(end_ms, self.now_ns // NS_PER_MS))

    def news_tickers(self) -> Sequence[str]:
        """What articles may name."""
        return self.world.news_tickers()

    def treasury_yields(self, first: date, last: date) -> pa.Table:
        """Yields dated before today."""
        return self.world.treasury_yields(first, min(last, self.today - timedelta(days=1)))

    def dividends(self, ticker: str) -> pa.Table:
        """Dividends declared by now; one without a declaration date is known from its ex-date on."""
        table = self.world.dividends(ticker)
        if "ex_dividend_date" not in table.column_names:
            return table
        known_from = table["ex_dividend_date"]
        if "declaration_date" in table.column_names:
            known_from = pc.coalesce(table["declaration_date"], known_from)
        return table.filter(pc.less_equal(known_from, self.today.isoformat()))

    def splits(self, ticker: str) -> pa.Table:
        """Splits executed by now."""
        table = self.world.splits(ticker)
        if "execution_date" not in table.column_names:
            return table
        return table.filter(pc.less_equal(table["execution_date"], self.today.isoformat()))

    def _bar_of_minutes(self, ticker: str, day: date, stamp_ms: int) -> pa.Table:
        """A day's bar as far as its finished minutes tell it, none before the regular session's first.

        Shares trade before and after the regular session, where volume, count and average count and prices do not; the
        early session of an index counts for nothing. Options trade in regular hours alone.
        """
        asset = asset_of(ticker)
        minutes = self.bars(ticker, BaseSpan.MINUTE, *day_bounds_ms(day))
        regular = minutes if asset is AssetClass.OPTIONS else _regular_minutes(minutes, asset, day)
        bar = aggregate(regular, np.full(regular.num_rows, stamp_ms), 0)
        if asset is not AssetClass.STOCKS or bar.num_rows == 0:
            return bar
        whole = aggregate(minutes, np.full(minutes.num_rows, stamp_ms), 0)
        return pa.Table.from_arrays(
            [(whole if name in _WHOLE_DAY_FIELDS else bar)[name] for name in BAR_SCHEMA.names], schema=BAR_SCHEMA
        )

    def _last(self, fetch: "_TickFetch", ticker: str) -> pa.Table:
        """The newest row: of the last days for a share, of two sessions for an option, most of which trade rarely."""
        asset = asset_of(ticker)
        horizon = self.horizon_ns(asset)
        earliest = horizon - _LONG_WEEKEND_NS
        if asset is AssetClass.OPTIONS:
            last_session = exchange_hours.on_or_before(date_of_ms(horizon // NS_PER_MS))
            earliest = midnight_ms(exchange_hours.on_or_before(last_session - timedelta(days=1))) * NS_PER_MS
        ticks = read_backward(
            lambda start, end: fetch(ticker, start, end),
            earliest,
            horizon,
            1,
            step=_HOUR_NS,
            longest_step=_LONG_WEEKEND_NS,
        )
        return ticks.slice(max(ticks.num_rows - 1, 0))


class _TickFetch(Protocol):
    def __call__(self, ticker: str, start_ns: int, end_ns: int, /) -> pa.Table: ...


def _without_ticker(ticks: pa.Table) -> pa.Table:
    """The vendor names the ticker in the path alone."""
    return ticks.drop_columns(["ticker"]) if "ticker" in ticks.column_names else ticks


def _regular_minutes(minutes: pa.Table, asset: AssetClass, day: date) -> pa.Table:
    """The minutes of the day's regular session."""
    hours_ms = _regular_hours_ms(asset, day)
    if hours_ms is None:
        return minutes.slice(0, 0)
    t = minutes["t"]
    return minutes.filter(pc.and_(pc.greater_equal(t, hours_ms[0]), pc.less(t, hours_ms[1])))


def _regular_hours_ms(asset: AssetClass, day: date) -> tuple[int, int] | None:
    """Opening and closing instant of a date; an index is published on while the options behind it trade."""
    session = exchange_hours.regular_session(day)
    if session is None:
        return None
    opens_ms, closes_ms = (at // NS_PER_MS for at in session)
    return opens_ms, closes_ms + (_INDEX_AFTER_CLOSE_MS if asset is AssetClass.INDICES else 0)
