"""The contracts of a session and what was traded and quoted in them: which rows count, and which price a minute has.

Laying them on the grid of minutes, beside the underlying and the VIX, is :mod:`marketlake.consolidate`'s; pricing them,
:mod:`marketlake.pricing`'s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake import rates, sessions
from marketlake.align import MINUTE_NS, AsOf, Bools, Edge, Floats, Ints, as_of_by_group, floats, nanoseconds
from marketlake.sessions import Hours
from marketlake.tables import TABLES, PriceSource, Span
from marketlake.tickers import OptionTicker, Right


@dataclass(frozen=True, slots=True)
class Chain:
    """The contracts that get rows, sorted by ticker; arrays have one element a contract.

    ``dividends_present_value`` is dollars a share, NaN where dividends or rates were not known.
    """

    rows: pa.Table
    hours: tuple[Hours, ...]
    strike: Floats
    is_call: Bools
    is_chosen: Bools
    expiry_ns: Ints
    curve: rates.Curve | None
    dividends_present_value: Floats

    @classmethod
    def of(cls, contracts: pa.Table | None, yields: pa.Table | None, dividends: pa.Table | None, session: date) -> Self:
        """The calls and puts among option_contracts rows, with what was known of rates and dividends.

        Raises:
            UsageError: a ticker is no option symbol.
        """
        rows = given("option_contracts", contracts).sort_by("ticker")
        rows = rows.filter(pc.is_in(rows["right"], value_set=pa.array([right.value for right in Right])))
        tickers = [OptionTicker.parse(symbol) for symbol in rows["ticker"].to_pylist()]
        curve = rates.curve_before(given("treasury_yields", yields), session)
        present_value: Floats = np.full(len(tickers), np.nan)
        if curve is not None and dividends is not None:
            expiry_days = rows["expiry"].cast(pa.int32()).to_numpy().astype(np.int64)
            known = rates.dividends_before(dividends, session)
            present_value = rates.present_value(known, session, expiry_days, curve)
        return cls(
            rows=rows,
            hours=tuple(sessions.option_hours(ticker.root, session) for ticker in tickers),
            strike=floats(rows["strike"]),
            is_call=np.asarray(pc.equal(rows["right"], Right.CALL.value), dtype=np.bool_),
            is_chosen=np.asarray(rows["chosen"], dtype=np.bool_),
            expiry_ns=np.asarray([sessions.to_ns(sessions.expiry_instant(one)) for one in tickers], dtype=np.int64),
            curve=curve,
            dividends_present_value=present_value,
        )

    def by_hours(self) -> dict[Hours, Ints]:
        """Positions of the contracts that share their hours."""
        return {
            hours: np.flatnonzero([own == hours for own in self.hours]).astype(np.int64)
            for hours in dict.fromkeys(self.hours)
        }


@dataclass(frozen=True, slots=True)
class ByContract:
    """Rows of one raw table, sorted by contract and then by the instant from which they were known.

    ``contract`` is the position in the chain.
    """

    rows: pa.Table
    contract: Ints
    known_ns: Ints
    edge: Edge

    @classmethod
    def of(cls, rows: pa.Table, chain: Chain, time_column: str, span_ns: int, edge: Edge) -> Self:
        """The rows about contracts of a chain; they are known ``span_ns`` after the instant in their time column."""
        contract = pc.index_in(rows["ticker"], value_set=chain.rows["ticker"].combine_chunks())
        rows = rows.append_column("contract", contract).filter(pc.is_valid(contract))
        number = rows["contract"].to_numpy().astype(np.int64)
        known_ns = nanoseconds(rows[time_column]) + span_ns
        sequence = rows["sequence_number"] if "sequence_number" in rows.column_names else rows["contract"]
        order = np.lexsort((pc.fill_null(sequence, 0).to_numpy(), known_ns, number))
        return cls(rows.take(order), number[order], known_ns[order], edge)

    def as_of(self, contracts: Ints, ends: Ints) -> AsOf:
        """The last row known of each contract at the end of each minute."""
        return as_of_by_group(self.contract, self.known_ns, contracts, ends, self.edge)

    def column(self, name: str) -> Floats:
        """One column as numbers, NaN where it is null."""
        return floats(self.rows[name])


@dataclass(frozen=True, slots=True)
class Quotes:
    """Quotes and their two sides; a missing side, which the vendor gives as 0, is NaN in price and size."""

    rows: ByContract
    bid_price: Floats
    bid_size: Floats
    ask_price: Floats
    ask_size: Floats

    @classmethod
    def of(cls, rows: ByContract) -> Self:
        """Part the sides that exist from those that are missing."""
        bid, ask = (rows.column(f"{side}_price") for side in ("bid", "ask"))
        return cls(
            rows,
            np.where(bid > 0, bid, np.nan),
            np.where(bid > 0, rows.column("bid_size"), np.nan),
            np.where(ask > 0, ask, np.nan),
            np.where(ask > 0, rows.column("ask_size"), np.nan),
        )

    @property
    def is_market(self) -> Bools:
        """Whether a quote has two sides and is not crossed; locked, with both sides equal, is a market."""
        return self.bid_price <= self.ask_price

    @property
    def middle(self) -> Floats:
        """Half-way between bid and ask, NaN where a side is missing."""
        return (self.bid_price + self.ask_price) / 2


@dataclass(frozen=True, slots=True)
class Prices:
    """What was traded and quoted in the contracts of a chain during a session's day.

    ``is_collected`` has one element a contract: whether it is known that there was nothing more.
    """

    bars: ByContract
    quotes: Quotes
    trades: ByContract
    is_collected: Bools

    @classmethod
    def of(
        cls,
        option_bars: pa.Table | None,
        option_quotes: pa.Table | None,
        option_trades: pa.Table | None,
        *,
        chain: Chain,
        session: date,
        not_collected: Collection[str],
    ) -> Self:
        """The minute bars, quotes, and trades that stood.

        A trade whose correction is not 0 was withdrawn or replaced, or is the notice that does so, and does not count.
        """
        day = sessions.whole_day(session)
        bars = within(minute_bars(given("option_bars", option_bars)), "start", day)
        quotes = within(given("option_quotes", option_quotes), "sip_timestamp", day)
        trades = within(given("option_trades", option_trades), "sip_timestamp", day)
        stood = trades.filter(pc.equal(pc.fill_null(trades["correction"], 0), 0))
        return cls(
            ByContract.of(bars, chain, "start", MINUTE_NS, Edge.INCLUDED),
            Quotes.of(ByContract.of(quotes, chain, "sip_timestamp", 0, Edge.EXCLUDED)),
            ByContract.of(stood, chain, "sip_timestamp", 0, Edge.EXCLUDED),
            np.asarray([ticker not in not_collected for ticker in chain.rows["ticker"].to_pylist()], dtype=np.bool_),
        )


@dataclass(frozen=True, slots=True)
class ChosenPrice:
    """The price of each contract and minute; NaN, and without a source, where there is none that is young enough.

    ``source`` counts in the order of PriceSource. ``was_seen`` tells where there was ever one by then.
    """

    price: Floats
    age_s: Floats
    source: Ints
    was_seen: Bools

    @property
    def is_stale(self) -> Bools:
        """Where there was a price by then, and it is too old."""
        stale: Bools = self.was_seen & np.isnan(self.price)
        return stale

    @classmethod
    def of(cls, candidates: Sequence[tuple[PriceSource, AsOf, Floats]], max_age_s: float) -> Self:
        """The first of the candidates that is young enough: what was last known of it, and its prices."""
        shape = candidates[0][1].position.shape
        price, age_s = np.full(shape, np.nan), np.full(shape, np.nan)
        source = np.zeros(shape, dtype=np.int64)
        ever = np.zeros(shape, dtype=np.bool_)
        for name, known, values in candidates:
            young = known.not_older_than(max_age_s)
            taken = young.found & np.isnan(price)
            price = np.where(taken, young.take(values), price)
            age_s = np.where(taken, young.age_s, age_s)
            source = np.where(taken, list(PriceSource).index(name), source)
            ever |= known.found
        return cls(price, age_s, source, ever)

    def source_column(self) -> pa.Array:
        """The sources by name, null where there is no price; flat."""
        codes = pa.array(self.source.ravel(), mask=np.isnan(self.price).ravel())
        names = pa.array([source.value for source in PriceSource])
        return pa.DictionaryArray.from_arrays(codes, names).cast(pa.string())


def given(name: str, rows: pa.Table | None) -> pa.Table:
    """The rows, or an empty table of that name's schema where there are none."""
    return TABLES[name].schema.empty_table() if rows is None else rows


def minute_bars(bars: pa.Table) -> pa.Table:
    """The bars of one minute among bars of every span."""
    return bars.filter(pc.equal(bars["span"], Span.MINUTE.value))


def within(rows: pa.Table, time_column: str, hours: Hours) -> pa.Table:
    """The rows whose instant lies in some hours."""
    instants = rows[time_column].cast(pa.int64())
    return rows.filter(pc.and_(pc.greater_equal(instants, hours.start_ns), pc.less(instants, hours.end_ns)))
