"""What one key may see of a world at one instant: the only door from an endpoint to the market.

No look-ahead is decided here and nowhere else. A trade, a quote, an article is seen from its time on; a second or
minute bar once its window has ended; a day bar once post-market trading has ended (20:00 New York). Until then a day
that the world records is shown as far as its finished minutes tell, and not at all without minutes. Dividends are
seen from their declaration, splits from their execution, Treasury yields from the day after their date. A delayed plan
sees market data as they were 15 minutes ago, the free plan as they were at the end of the last finished day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator import exchange_hours
from simulator.newyork import DAY_MS, NS_PER_MS, date_of_ms, day_bounds_ms, instant_ns, midnight_ms, moment
from simulator.plans import DELAY_NS, Account, AssetClass, DataKind, Freshness, asset_of
from simulator.reading import read_backward
from simulator.windows import aggregate
from simulator.world import BaseSpan, World

POST_MARKET_END: Final = time(20)
_SPAN_MS: Final = {BaseSpan.SECOND: 1000, BaseSpan.MINUTE: 60_000}
_HOUR_NS: Final = 3_600_000 * NS_PER_MS
_LONG_WEEKEND_NS: Final = 4 * 24 * _HOUR_NS
"""How far back a share's last trade or quote is looked for; a synthetic world has no beginning to stop at."""


@runtime_checkable
class ListsTickers(Protocol):
    """A world that can tell what it holds; where it cannot, its underlying and the VIX are all that is listed."""

    def tickers(self) -> Sequence[str]:
        """Shares and indices, sorted."""

    def underlyings(self) -> Sequence[str]:
        """Underlyings as option contracts name them, sorted."""


@dataclass(frozen=True, slots=True)
class View:
    """The market as one account sees it now."""

    world: World
    account: Account
    now_ns: int

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

    def status(self, asset: AssetClass) -> str:
        """The envelope's status word."""
        return "DELAYED" if self.account.terms(asset).freshness is Freshness.DELAYED else "OK"

    def timeframe(self, asset: AssetClass) -> str:
        """A snapshot's word for how fresh a part of it is."""
        return "DELAYED" if self.account.terms(asset).freshness is Freshness.DELAYED else "REAL-TIME"

    def tickers(self) -> Sequence[str]:
        """The shares and indices there are."""
        if isinstance(self.world, ListsTickers):
            return self.world.tickers()
        return sorted({ticker for ticker in (self.world.underlying, "I:VIX") if self.world.knows(ticker)})

    def underlyings(self) -> Sequence[str]:
        """The underlyings that have options, as contracts name them: ``SPX`` for ``I:SPX``."""
        if isinstance(self.world, ListsTickers):
            return self.world.underlyings()
        return [self.world.underlying.removeprefix("I:")]

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Base bars between two instants, as far as they are known now."""
        horizon_ms = self.horizon_ns(asset_of(ticker)) // NS_PER_MS
        if span is not BaseSpan.DAY:
            return self.world.bars(ticker, span, start_ms, min(end_ms, horizon_ms - _SPAN_MS[span]))
        today = date_of_ms(horizon_ms)
        is_over = horizon_ms * NS_PER_MS >= instant_ns(today, POST_MARKET_END)
        first_ms, last_ms = day_bounds_ms(today)
        if is_over or end_ms < first_ms:
            return self.world.bars(ticker, span, start_ms, min(end_ms, last_ms))
        done = self.world.bars(ticker, span, start_ms, first_ms - 1)
        running = self.world.bars(ticker, span, max(start_ms, first_ms), min(end_ms, last_ms))
        if running.num_rows == 0:
            return done
        so_far = self._minutes_of_day(ticker, today)
        stamp = running["t"][0].as_py()
        return pa.concat_tables([done, aggregate(so_far, np.full(so_far.num_rows, stamp), 0)])

    def day_so_far(self, ticker: str) -> pa.Table:
        """Today's bar, one row or none: the recorded one once the day is over, else made of finished minutes.

        Snapshots show a day even where the world records no day bars, so this one does not need them.
        """
        horizon_ms = self.horizon_ns(asset_of(ticker)) // NS_PER_MS
        first_ms, last_ms = day_bounds_ms(date_of_ms(horizon_ms))
        bar = self.bars(ticker, BaseSpan.DAY, first_ms, last_ms)
        if bar.num_rows:
            return bar.slice(bar.num_rows - 1)
        so_far = self._minutes_of_day(ticker, date_of_ms(horizon_ms))
        return aggregate(so_far, np.full(so_far.num_rows, first_ms), 0)

    def newest_bar(self, ticker: str) -> pa.Table:
        """The last finished minute of today, else the newest day bar of the last ten days; one row or none."""
        today = date_of_ms(self.horizon_ns(asset_of(ticker)) // NS_PER_MS)
        minutes = self.bars(ticker, BaseSpan.MINUTE, *day_bounds_ms(today))
        if minutes.num_rows:
            return minutes.slice(minutes.num_rows - 1)
        today_bar = self.day_so_far(ticker)
        return today_bar if today_bar.num_rows else self.previous_day(ticker)

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

    def _minutes_of_day(self, ticker: str, day: date) -> pa.Table:
        """A day's finished minutes, with the prices that count for its bar.

        Shares trade before and after the regular session; there only the volume counts.
        """
        first_ms, last_ms = day_bounds_ms(day)
        minutes = self.bars(ticker, BaseSpan.MINUTE, first_ms, last_ms)
        if asset_of(ticker) is not AssetClass.STOCKS or minutes.num_rows == 0:
            return minutes
        session = exchange_hours.regular_session(day)
        if session is None:
            return minutes.slice(0, 0)
        opens_ms, closes_ms = (at // NS_PER_MS for at in session)
        t = minutes["t"]
        is_regular = pc.and_(pc.greater_equal(t, opens_ms), pc.less(t, closes_ms))
        regular = minutes.filter(is_regular)
        if regular.num_rows == 0:
            return regular
        return _with_volume_of_day(regular, minutes)

    def _last(self, fetch: "_TickFetch", ticker: str) -> pa.Table:
        """The newest row: of the last days for a share, of today for an option, most of which do not trade in days."""
        asset = asset_of(ticker)
        horizon = self.horizon_ns(asset)
        earliest = horizon - _LONG_WEEKEND_NS
        if asset is AssetClass.OPTIONS:
            earliest = midnight_ms(date_of_ms(horizon // NS_PER_MS)) * NS_PER_MS
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


def _with_volume_of_day(regular: pa.Table, minutes: pa.Table) -> pa.Table:
    """The regular minutes with the extended hours' volume and count put on the first of them."""
    outside = {name: pc.subtract(pc.sum(minutes[name]), pc.sum(regular[name])).as_py() for name in ("v", "n")}
    for name, extra in outside.items():
        if extra:
            place = regular.schema.get_field_index(name)
            values = regular[name].to_pylist()
            values[0] = (values[0] or 0) + extra
            regular = regular.set_column(place, regular.field(place), pa.array(values, regular.field(place).type))
    return regular
