"""One session as two aligned tables: a row a minute of the underlying, and a row a minute and contract of its options.

This module decides what is joined to what, which price an option has and how old a thing may be; the joins are in
:mod:`marketlake.align`, the numbers in :mod:`marketlake.pricing`, :mod:`marketlake.rates` and
:mod:`marketlake.indicators`. Reading the lake and publishing the result are the caller's.

A row of minute t knows what was known at the end of t, never more: bars that ended by then, quotes and trades stamped
before it, articles whose publication and lag have passed, and reference data of earlier dates. Ages count in seconds
from the moment a thing was known to the end of the minute. What is too old is null, together with its age.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake import indicators, rates, sessions
from marketlake.align import (
    MINUTE_NS,
    SECOND_NS,
    Edge,
    Floats,
    Ints,
    as_of,
    floats,
    nanoseconds,
    window,
)
from marketlake.chain import Chain, ChosenPrice, Prices, given, minute_bars, within
from marketlake.errors import UsageError
from marketlake.pricing import price_rows
from marketlake.sessions import Hours
from marketlake.tables import TABLES, PriceSource, Span
from marketlake.tickers import VIX, AssetClass, Underlying

NEWS_WINDOW_NS: Final = 60 * MINUTE_NS
SENTIMENTS: Final = {"positive": 1.0, "neutral": 0.0, "negative": -1.0}
YEAR_NS: Final = rates.DAYS_A_YEAR * 24 * 60 * MINUTE_NS
CONTRACTS_AT_ONCE: Final = 500  # of 405 minutes: about 150 MB of temporary arrays


class Limits(Protocol):
    """How old a thing may be to count, and when news is known; the consolidation settings have this shape."""

    @property
    def max_price_age_s(self) -> int:
        """Of an option's quote, trade or bar."""

    @property
    def max_underlying_age_s(self) -> int:
        """Of the underlying's last bar."""

    @property
    def max_vix_age_s(self) -> int:
        """Of the VIX's last minute bar."""

    @property
    def news_lag_s(self) -> int:
        """From an article's publication to its being known."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The raw tables of a session, in the schemas of :mod:`marketlake.tables`; None where the lake has none.

    ``underlying_bars`` are of ``underlying.price_ticker``, extended hours included. ``vix_bars`` are of the session
    and of the one before it. ``contracts`` are those that get a row a minute. ``news`` reaches back an hour before the
    open. Rows of other tickers, spans and days may be among them and are passed over. ``not_collected`` are contracts
    of which the rows given are not known to be all.
    """

    underlying: Underlying
    underlying_bars: pa.Table | None = None
    vix_bars: pa.Table | None = None
    contracts: pa.Table | None = None
    option_bars: pa.Table | None = None
    option_quotes: pa.Table | None = None
    option_trades: pa.Table | None = None
    news: pa.Table | None = None
    yields: pa.Table | None = None
    dividends: pa.Table | None = None
    not_collected: frozenset[str] = frozenset()


def contracts_with_data(contracts: pa.Table, *tables: pa.Table | None) -> pa.Table:
    """The contracts about which at least one of some tables (option bars, quotes, trades) has a row."""
    tickers = [table["ticker"].unique() for table in tables if table is not None]
    known = pa.chunked_array(tickers, pa.string()) if tickers else pa.chunked_array([[]], pa.string())
    return contracts.filter(pc.is_in(contracts["ticker"], value_set=known))


def market_minutes(inputs: Inputs, session: date, limits: Limits) -> pa.Table:
    """One row for each minute of the shares' regular hours: prices, VIX, news, indicators and momentum.

    ``open`` to ``trades`` are the bar of that very minute, null where nothing traded; ``last_price`` is the last close
    known at its end, from extended hours too.

    Raises:
        UsageError: the underlying has no minute bar in the session.
    """
    hours = sessions.share_hours(session)
    starts = hours.minute_starts_ns()
    ends = starts + MINUTE_NS
    bars = _underlying_bars(inputs, session)
    known = as_of(nanoseconds(bars["start"]) + MINUTE_NS, ends, Edge.INCLUDED)
    last = known.not_older_than(limits.max_underlying_age_s)
    last_price = last.take(floats(bars["close"]))
    vix, vix_age_s = _vix(inputs.vix_bars, session, ends, limits)
    news_count, news_sentiment = _news(inputs, ends, limits)

    columns = {"minute": pa.array(starts).cast(_type("market_minutes", "minute"))}
    of_this_minute = known.where(known.age_s == 0)
    own = bars.take(pa.array(of_this_minute.position, mask=~of_this_minute.found))
    for name in ("open", "high", "low", "close", "volume", "vwap", "trades"):
        columns[name] = own[name]
    columns |= {
        "last_price": _numbers(last_price),
        "last_price_age_s": _numbers(last.age_s),
        "vix": _numbers(vix),
        "vix_age_s": _numbers(vix_age_s),
        "news_count_60m": news_count,
        "news_sentiment_60m": news_sentiment,
        "momentum_returns": indicators.momentum(last_price),
    }
    regular = within(bars, "start", hours)
    minute = (nanoseconds(regular["start"]) - hours.start_ns) // MINUTE_NS
    for name, values in indicators.indicators(regular).items():
        on_grid = np.full(starts.size, np.nan)
        on_grid[minute] = values
        columns[name] = _numbers(on_grid)
    return _assemble("market_minutes", columns)


def option_minutes(inputs: Inputs, session: date, limits: Limits) -> pa.Table:
    """One row for each contract and minute of its hours, with Greeks or the reason why there are none.

    ``open`` to ``volume`` are the contract's bar of that very minute. ``bid_price`` to ``ask_size`` are its last
    quote, a missing side null. ``option_price`` is the middle of that quote if it has both sides and is not crossed,
    else the last trade, else the close of the last bar, each only if young enough. Contracts that are neither call nor
    put get no rows, and those that were not chosen have their first row when something happened in them. Where
    dividends were not fetched, ``dividends_present_value`` is null and the price is taken to hold none.

    Sorted by (ticker, minute). Rows are made for some hundreds of contracts at a time, so that the temporary arrays of
    a whole chain never stand in memory together.

    Raises:
        UsageError: the underlying has no minute bar in the session, or a ticker is no option symbol.
    """
    chain = Chain.of(inputs.contracts, inputs.yields, inputs.dividends, session)
    tables = inputs.option_bars, inputs.option_quotes, inputs.option_trades
    prices = Prices.of(*tables, chain=chain, session=session, not_collected=inputs.not_collected)
    underlying_bars = _underlying_bars(inputs, session)
    pieces = []
    for hours, numbers in chain.by_hours().items():
        ends = hours.minute_starts_ns() + MINUTE_NS
        underlying = as_of(nanoseconds(underlying_bars["start"]) + MINUTE_NS, ends, Edge.INCLUDED)
        underlying = underlying.not_older_than(limits.max_underlying_age_s)
        vix, vix_age_s = _vix(inputs.vix_bars, session, ends, limits)
        market = _Market(hours, underlying.take(floats(underlying_bars["close"])), underlying.age_s, vix, vix_age_s)
        pieces += [
            _contract_minutes(chain, numbers[first : first + CONTRACTS_AT_ONCE], market, prices, limits)
            for first in range(0, numbers.size, CONTRACTS_AT_ONCE)
        ]
    table = pa.concat_tables([TABLES["option_minutes"].schema.empty_table(), *pieces])
    if len(chain.by_hours()) > 1:
        table = table.sort_by([(name, "ascending") for name in TABLES["option_minutes"].order])
    return table.combine_chunks()


@dataclass(frozen=True, slots=True)
class _Market:
    """What is the same for all contracts; arrays have one element a minute of ``hours``."""

    hours: Hours
    underlying_price: Floats
    underlying_age_s: Floats
    vix: Floats
    vix_age_s: Floats


def _contract_minutes(chain: Chain, contracts: Ints, market: _Market, prices: Prices, limits: Limits) -> pa.Table:
    """The rows of some contracts of a chain that share their hours."""
    starts = market.hours.minute_starts_ns()
    ends = starts + MINUTE_NS
    shape = (contracts.size, starts.size)

    def by_minute(values: Floats) -> Floats:
        return np.broadcast_to(values, shape).ravel()

    def by_contract(values: Floats) -> Floats:
        return np.repeat(values[contracts], starts.size)

    bars, quotes, trades = prices.bars, prices.quotes, prices.trades
    bar, quote, trade = (rows.as_of(contracts, ends) for rows in (bars, quotes.rows, trades))
    chosen = ChosenPrice.of(
        (
            (PriceSource.QUOTE_MID, quote.where(quote.take_bools(quotes.is_market)), quotes.middle),
            (PriceSource.LAST_TRADE, trade, trades.column("price")),
            (PriceSource.BAR_CLOSE, bar, bars.column("close")),
        ),
        limits.max_price_age_s,
    )

    years = np.maximum(chain.expiry_ns[contracts, np.newaxis] - ends, 0).ravel() / YEAR_NS
    rate = np.full(years.shape, np.nan) if chain.curve is None else chain.curve.continuous(years)
    greeks = price_rows(
        option_price=chosen.price.ravel(),
        underlying_price=by_minute(market.underlying_price),
        strike=by_contract(chain.strike),
        years=years,
        rate=rate,
        dividends_present_value=np.nan_to_num(by_contract(chain.dividends_present_value)),
        is_call=np.repeat(chain.is_call[contracts], starts.size),
        is_stale=chosen.is_stale.ravel(),
        is_collected=np.repeat(prices.is_collected[contracts], starts.size),
    )

    of_this_minute = bar.where(bar.age_s == 0)
    last_quote = quote.not_older_than(limits.max_price_age_s)
    repeated = chain.rows.take(np.repeat(contracts, starts.size))
    columns = {name: repeated[name] for name in ("ticker", "expiry", "strike", "right")}
    columns["minute"] = pa.array(np.tile(starts, contracts.size)).cast(_type("option_minutes", "minute"))
    columns["price_source"] = chosen.source_column()
    columns["reason"] = greeks.reason_column()
    numbers = {name: of_this_minute.take(bars.column(name)) for name in ("open", "high", "low", "close", "volume")}
    numbers |= {
        "bid_price": last_quote.take(quotes.bid_price),
        "ask_price": last_quote.take(quotes.ask_price),
        "bid_size": last_quote.take(quotes.bid_size),
        "ask_size": last_quote.take(quotes.ask_size),
        "quote_age_s": last_quote.age_s,
        "underlying_price": by_minute(market.underlying_price),
        "underlying_age_s": by_minute(market.underlying_age_s),
        "vix": by_minute(market.vix),
        "vix_age_s": by_minute(market.vix_age_s),
        "option_price": chosen.price,
        "price_age_s": chosen.age_s,
        "years_to_expiry": years,
        "rate": rate,
        "dividends_present_value": by_contract(chain.dividends_present_value),
        "implied_volatility": greeks.implied_volatility,
        "delta": greeks.delta,
        "gamma": greeks.gamma,
        "vega_per_point": greeks.vega_per_point,
        "theta_per_day": greeks.theta_per_day,
        "rho_per_point": greeks.rho_per_point,
    }
    rows = _assemble("option_minutes", columns | {name: _numbers(values) for name, values in numbers.items()})
    # That a contract nobody chose is watched at all was decided by what happened in it: before that it has no rows, or
    # the existence of a row would know the future.
    happened = bar.found | quote.found | trade.found
    return rows.filter(pa.array((chain.is_chosen[contracts][:, np.newaxis] | happened).ravel()))


def _vix(bars: pa.Table | None, session: date, ends: Ints, limits: Limits) -> tuple[Floats, Floats]:
    """The VIX at the end of each minute, and its age: the last minute bar of the session that is young enough.

    As long as the session has not shown a minute bar, the close of the session before stands in, with its age since
    then; the limit does not apply to it, since it says what it is by its age.
    """
    rows = given("index_bars", bars)
    rows = rows.filter(pc.equal(rows["ticker"], VIX))
    minutes = within(minute_bars(rows), "start", sessions.whole_day(session)).sort_by("start")
    known = as_of(nanoseconds(minutes["start"]) + MINUTE_NS, ends, Edge.INCLUDED)
    last = known.not_older_than(limits.max_vix_age_s)
    value, age_s = last.take(floats(minutes["close"])), last.age_s

    before = sessions.previous_session(session)
    days = rows.filter(pc.equal(rows["span"], Span.DAY.value))
    days = days.filter(pc.equal(sessions.session_dates_of(days["start"]), before))
    if days.num_rows == 0:
        return value, age_s
    close, closed_ns = floats(days["close"])[-1], sessions.index_hours(before).end_ns
    return np.where(known.found, value, close), np.where(known.found, age_s, (ends - closed_ns) / SECOND_NS)


def _news(inputs: Inputs, ends: Ints, limits: Limits) -> tuple[pa.Array, pa.Array]:
    """How many articles became known in the hour up to the end of each minute, and their mean sentiment."""
    if inputs.news is None:
        return pa.nulls(ends.size, pa.int32()), pa.nulls(ends.size, pa.float64())
    names = pa.array([inputs.underlying.symbol, inputs.underlying.price_ticker])
    about_it = inputs.news.filter(pc.is_in(inputs.news["ticker"], value_set=names)).sort_by("ticker")
    articles = about_it.group_by("id", use_threads=False).aggregate([("published", "min"), ("sentiment", "first")])
    articles = articles.rename_columns(["id", "published", "sentiment"]).sort_by("published")
    first, last = window(
        nanoseconds(articles["published"]) + limits.news_lag_s * SECOND_NS, ends, NEWS_WINDOW_NS, Edge.INCLUDED
    )
    sentiments = np.asarray([SENTIMENTS.get(name, np.nan) for name in articles["sentiment"].to_pylist()])
    told = np.concatenate([[0], np.cumsum(~np.isnan(sentiments))])
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(sentiments))])
    tellers = told[last] - told[first]
    mean = np.divide(total[last] - total[first], tellers, out=np.full(ends.size, np.nan), where=tellers > 0)
    return pa.array((last - first).astype(np.int32)), _numbers(mean)


def _underlying_bars(inputs: Inputs, session: date) -> pa.Table:
    """The minute bars of the session's whole day, ascending.

    Raises:
        UsageError: there are none; the message says what to backfill.
    """
    ticker = inputs.underlying.price_ticker
    table = "index_bars" if inputs.underlying.asset_class is AssetClass.INDICES else "stock_bars"
    bars = minute_bars(given(table, inputs.underlying_bars))
    bars = within(bars.filter(pc.equal(bars["ticker"], ticker)), "start", sessions.whole_day(session))
    if bars.num_rows == 0:
        message = (
            f"{ticker} has no minute bars on {session}: run marketlake backfill --tables {table} --tickers {ticker} "
            f"--start {session} --end {session}"
        )
        raise UsageError(message)
    return bars.sort_by("start")


def _type(table: str, column: str) -> pa.DataType:
    return TABLES[table].schema.field(column).type


def _numbers(values: Floats) -> pa.Array:
    return pa.array(values.ravel(), from_pandas=True)


def _assemble(table: str, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    schema = TABLES[table].schema
    return pa.table([columns[name] for name in schema.names], schema=schema)
