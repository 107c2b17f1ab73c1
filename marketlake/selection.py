"""Which listed contracts are watched in a session: those nearest to the opening price, by a rule in exact decimals.

The rule: standard contracts of the underlying, of the nearest listed expiry (or expiries), whose strike lies within so
many percent of the opening price, bounds included, ordered by (expiry, distance from the open, strike, call before
put), the first so many taken. Where the settings say so, the same rule is applied again around a later price once that
has moved far enough (:func:`later_centres`), and what it takes is chosen too. Which contracts are listed at all is the
vendor's answer as of the session (:mod:`marketlake.asks`); how many are wanted is a setting.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from marketlake import sessions
from marketlake.tables import TABLES, Refusal, Span
from marketlake.tickers import INDEX_OF_ROOT, OptionTicker, Right

STANDARD_SHARES: Final = 100  # what a contract delivers that no corporate action has adjusted


class OpeningSource(StrEnum):
    """Where a session's opening price came from."""

    OPENING_BAR = "opening_bar"  # `open` of the minute bar that starts with the session, 09:30 New York
    FIRST_BAR = "first_bar"  # `open` of the first later minute bar: no eligible trade in the first minute
    STREAM_OPEN = "stream_open"  # `op` of a streamed bar: the session ran, and history did not tell yet
    FIRST_TRADE = "first_trade"  # the first streamed trade that may set an opening price, likewise


class Opening(NamedTuple):
    """An opening price and where it came from."""

    price: Decimal
    source: OpeningSource


def opening_price(minute_bars: pa.Table, session: date) -> Opening | None:
    """The opening price of a session and where it came from; None while no regular minute has a bar.

    It is the first price of the first minute bar of regular hours, which is that of 09:30 unless nothing eligible
    traded in it (a halt at the open, a quiet share). Bars of other spans and of extended hours are passed over. While
    the session runs, ask only once the bar of 09:30 is due, or a later bar may stand in for one that is still coming.

    ``minute_bars`` are bars of the underlying alone; the price is the decimal that the vendor printed.
    """
    bars = _regular_minutes(minute_bars, session)
    if bars.num_rows == 0:
        return None
    first_ns: int = bars["start"].cast(pa.int64())[0].as_py()
    is_first = first_ns == sessions.share_hours(session).start_ns
    source = OpeningSource.OPENING_BAR if is_first else OpeningSource.FIRST_BAR
    return Opening(Decimal(repr(bars["open"][0].as_py())), source)


def _regular_minutes(bars: pa.Table, session: date) -> pa.Table:
    """The minute bars of regular hours, in order."""
    hours = sessions.share_hours(session)
    start = bars["start"].cast(pa.int64())
    regular = pc.and_(
        pc.equal(bars["span"], Span.MINUTE.value),
        pc.and_(pc.greater_equal(start, hours.start_ns), pc.less(start, hours.end_ns)),
    )
    return bars.select(["start", "open", "close"]).filter(regular).sort_by("start")


def later_centres(minute_bars: pa.Table, opening: Decimal, session: date, recentre_percent: Decimal) -> list[Decimal]:
    """The prices around which contracts are chosen anew in the course of a session, in their order.

    It is the close of each regular minute that lies ``recentre_percent`` or more from the centre before it: a price
    that swings by less changes nothing. ``minute_bars`` are bars of the underlying alone, in any order; 0 gives none.
    """
    if not recentre_percent:
        return []
    centres = [opening]
    for close in _regular_minutes(minute_bars, session)["close"].to_pylist():
        price = Decimal(repr(close))
        if abs(price - centres[-1]) * 100 >= recentre_percent * centres[-1]:
            centres.append(price)
    return centres[1:]


def roots_of(underlying: str) -> frozenset[str]:
    """The option roots of unadjusted contracts on an underlying's symbol: SPX and SPXW for SPX, BRKB for BRK.B."""
    index = INDEX_OF_ROOT.get(underlying)
    if index is None:
        return frozenset({underlying.replace(".", "")})
    return frozenset(root for root, priced_by in INDEX_OF_ROOT.items() if priced_by == index)


@dataclass(frozen=True, slots=True)
class _Contract:
    """What the rule needs to know of one row; ``row`` is its position in the sorted table."""

    row: int
    ticker: OptionTicker
    expiry: date
    strike: Decimal
    right: str

    def order(self, opening_price: Decimal) -> tuple[date, Decimal, Decimal, bool, str]:
        """The place in the order of choice; the symbol parts SPX from SPXW where all else is equal."""
        distance = abs(self.strike - opening_price)
        return (self.expiry, distance, self.strike, self.right != Right.CALL, self.ticker.symbol)


def choose(  # noqa: PLR0917 - in the order in which the rule is stated
    contracts: pa.Table,
    opening_price: Decimal | None,
    session: date,
    root: str,
    range_percent: Decimal,
    limit: int,
    expiries: int,
    opening_price_source: str | None = None,
    later: Sequence[Decimal] = (),
) -> pa.Table:
    """The same option_contracts rows with ``chosen``, ``rank``, ``refusal`` and the opening price filled in.

    ``root`` is the underlying's symbol. A refused row has the first reason that applies, in the order of
    :class:`~marketlake.tables.Refusal`: without an opening price nothing is decided; then contracts that are adjusted
    (a root not of :func:`roots_of`, not exactly 100 shares, a further deliverable), that are neither call nor put, of
    another expiry, out of the strike range, beyond the limit. ``rank`` counts from 1 over all rows inside the range.
    What the same rule takes around a ``later`` centre is chosen too; where it lies out of the opening's range, it has
    no rank.

    The nearest expiries are those of standard contracts that live beyond the session's open; a contract that settles
    against this session's opening prints (SPX on its last morning) has ended and counts as another expiry.

    Rows come back sorted by (expiry, strike, ticker), whatever the order in which they were given.
    """
    rows = contracts.sort_by([(column, "ascending") for column in TABLES["option_contracts"].order])
    refusals: list[Refusal | None]
    ranks: list[int | None] = [None] * rows.num_rows
    if opening_price is None:
        refusals = [Refusal.NO_OPENING_PRICE] * rows.num_rows
    else:
        refusals, standard = _refuse_what_is_not_standard(rows, root)
        wanted = _of_nearest_expiries(standard, session, expiries)
        inside = _near(wanted, opening_price, range_percent)

        _refuse(refusals, standard, Refusal.OTHER_EXPIRY)
        _refuse(refusals, wanted, Refusal.STRIKE_OUT_OF_RANGE)
        _refuse(refusals, inside[:limit], None)
        _refuse(refusals, inside[limit:], Refusal.BEYOND_LIMIT)
        for centre in later:
            _refuse(refusals, _near(wanted, centre, range_percent)[:limit], None)
        for rank, contract in enumerate(inside, start=1):
            ranks[contract.row] = rank

    price = None if opening_price is None else float(opening_price)
    return _with_columns(
        rows,
        {
            "chosen": [refusal is None for refusal in refusals],
            "rank": ranks,
            "refusal": refusals,
            "opening_price": [price] * rows.num_rows,
            "opening_price_source": [opening_price_source if price is not None else None] * rows.num_rows,
        },
    )


def _near(contracts: Sequence[_Contract], price: Decimal, range_percent: Decimal) -> list[_Contract]:
    """Those within the range around a price, in the order of choice."""
    low, high = (price * (100 + sign * range_percent) / 100 for sign in (-1, 1))
    inside = [contract for contract in contracts if low <= contract.strike <= high]
    return sorted(inside, key=lambda contract: contract.order(price))


def _refuse_what_is_not_standard(rows: pa.Table, root: str) -> tuple[list[Refusal | None], list[_Contract]]:
    roots = roots_of(root)
    refusals: list[Refusal | None] = []
    standard: list[_Contract] = []
    columns = ("ticker", "expiry", "strike", "right", "shares_per_contract", "additional_underlyings")
    facts = zip(*(rows[name].to_pylist() for name in columns), strict=True)
    for row, (symbol, expiry, strike, right, shares, additional) in enumerate(facts):
        ticker = OptionTicker.parse(symbol)
        refusal = None
        if ticker.root not in roots or shares != STANDARD_SHARES or additional is not None:
            refusal = Refusal.ADJUSTED
        elif right not in {Right.CALL, Right.PUT}:
            refusal = Refusal.NOT_CALL_OR_PUT
        else:
            standard.append(_Contract(row, ticker, expiry, strike, right))
        refusals.append(refusal)
    return refusals, standard


def _of_nearest_expiries(contracts: Sequence[_Contract], session: date, expiries: int) -> list[_Contract]:
    opens = sessions.share_hours(session).start
    by_expiry: dict[date, list[_Contract]] = {}
    for contract in contracts:
        if contract.expiry >= session:
            by_expiry.setdefault(contract.expiry, []).append(contract)
    nearest: list[list[_Contract]] = []
    for _, listed in sorted(by_expiry.items()):
        if len(nearest) == expiries:
            break
        if living := [contract for contract in listed if sessions.expiry_instant(contract.ticker) > opens]:
            nearest.append(living)
    return [contract for living in nearest for contract in living]


def _refuse(refusals: list[Refusal | None], contracts: Iterable[_Contract], refusal: Refusal | None) -> None:
    for contract in contracts:
        refusals[contract.row] = refusal


def _with_columns(rows: pa.Table, columns: Mapping[str, Sequence[object]]) -> pa.Table:
    for name, values in columns.items():
        position = rows.schema.get_field_index(name)
        field = TABLES["option_contracts"].schema.field(name)
        rows = rows.set_column(position, field, pa.array(values, field.type))
    return rows
