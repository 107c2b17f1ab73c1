"""What a check answers, and the facts about rows that are counted and never refused.

A rule refuses a row that cannot be true; the rules live in :mod:`expectations` and come in as a :data:`Check`. A fact
is unusual but true (a crossed quote, a print after hours): it is stored, and counted here under a flag. Dropping
repeated rows is :mod:`marketlake.dedupe`'s.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.sessions import is_session, regular_hours, session_dates_of
from marketlake.tables import Layer, SentimentSource, Span, Table
from marketlake.tickers import AssetClass, OptionTicker

type Positions = NDArray[np.int64]
type Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What the rules of a table said about some of its rows.

    ``rows`` are the positions refused, ascending and unique; ``rules`` names for each the first rule that refused it,
    in the order of the suite; ``failed`` names the rules about the whole that do not hold.
    """

    rows: Positions
    rules: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @classmethod
    def first_rule_wins(
        cls, refusals: Iterable[tuple[str, Positions]], rows: int, failed: tuple[str, ...] = ()
    ) -> Self:
        """The verdict over ``rows`` rows of which each rule, in order, refused the positions given with it."""
        number_of_rule = np.zeros(rows, dtype=np.int64)  # 0: refused by none
        names = [""]
        for name, positions in refusals:
            names.append(name)
            fresh = positions[number_of_rule[positions] == 0]
            number_of_rule[fresh] = len(names) - 1
        refused = np.flatnonzero(number_of_rule).astype(np.int64)
        return cls(refused, tuple(names[number] for number in number_of_rule[refused]), failed)


Check = Callable[[Table, pa.Table], Verdict]
"""Judge rows in a table's declared schema; whoever publishes a table is given one."""

_HOURS: Final = {"out_of_hours": "Outside the regular hours of its session, or on a day without one."}
_BARS: Final = _HOURS | {
    "vwap_out_of_range": (
        "The volume-weighted price lies outside low and high: odd lots and extended hours count for it, not for them."
    ),
    "zero_volume": "A bar whose volume is zero.",
}
_TRADES: Final = _HOURS | {
    "corrected": "The vendor marks the trade as corrected, cancelled or replaced.",
    "zero_size": "A size of zero: a fraction of a share before the tape carried fractions.",
}
_QUOTES: Final = _HOURS | {
    "crossed": "The bid is above the ask.",
    "locked": "The bid equals the ask.",
    "no_side": "Neither a bid nor an ask.",
    "one_sided": "A bid without an ask, or an ask without a bid.",
}
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "stock_bars": _BARS,
    "index_bars": _HOURS,
    "index_values": _HOURS,
    "option_bars": _BARS,
    "stock_trades": _TRADES,
    "option_trades": _TRADES,
    "stock_quotes": _QUOTES,
    "option_quotes": _QUOTES,
    "option_contracts": {
        "adjusted": "The contract delivers something other than 100 units of its underlying.",
        "not_call_or_put": 'The vendor calls its type "other".',
    },
    "option_snapshots": {
        "not_call_or_put": 'The vendor calls its type "other".',
        "without_open_interest": "The vendor gives no open interest.",
        "without_volatility": "The vendor could not compute the volatility.",
    },
    "news": {"sentiment_of_vader": "The vendor has no sentiment for the ticker; VADER's of the article stands in."},
}
"""By table, the facts that are counted, and a sentence about each; tables that are not named have none."""


def flag_counts(table: Table, rows: pa.Table) -> dict[str, int]:
    """How many rows show each fact of :data:`FLAGS`, zeros included, by flag in alphabetical order.

    The rows have passed the table's rules: their tickers and times can be read.
    """
    if table.layer is not Layer.RAW or table.name not in FLAGS:
        return {}
    counts = {flag: int(np.count_nonzero(mask)) for flag, mask in _masks(table, rows).items()}
    return {flag: counts[flag] for flag in sorted(FLAGS[table.name])}


def _masks(table: Table, rows: pa.Table) -> dict[str, Mask]:
    names = set(rows.column_names)
    if "span" in names:
        return _bar_masks(table, rows)
    if "strike" in names:
        return _contract_masks(rows)
    if "bid_price" in names:
        return _quote_masks(table, rows)
    if "price" in names:
        return {
            "out_of_hours": _out_of_hours(table, rows),
            "corrected": _true(pc.not_equal(rows["correction"], 0)),
            "zero_size": _true(pc.equal(rows["size"], 0)),
        }
    if "value" in names:
        return {"out_of_hours": _out_of_hours(table, rows)}
    return {"sentiment_of_vader": _true(pc.equal(rows["sentiment_source"], SentimentSource.VADER.value))}


def _bar_masks(table: Table, rows: pa.Table) -> dict[str, Mask]:
    # A day's bar covers all hours: when it starts says nothing.
    within_a_day = _true(pc.not_equal(rows["span"], Span.DAY.value))
    outside = pc.or_(pc.less(rows["vwap"], rows["low"]), pc.greater(rows["vwap"], rows["high"]))
    return {
        "out_of_hours": _out_of_hours(table, rows) & within_a_day,
        "vwap_out_of_range": _true(outside),
        "zero_volume": _true(pc.equal(rows["volume"], 0)),
    }


def _contract_masks(rows: pa.Table) -> dict[str, Mask]:
    is_other = {"not_call_or_put": _true(pc.is_null(rows["right"]))}
    if "chosen" in rows.column_names:
        return is_other | {"adjusted": adjusted(rows)}
    return is_other | {
        "without_open_interest": _true(pc.is_null(rows["open_interest"])),
        "without_volatility": _true(pc.is_null(rows["vendor_implied_volatility"])),
    }


def _quote_masks(table: Table, rows: pa.Table) -> dict[str, Mask]:
    bid = _true(pc.greater(rows["bid_price"], 0))
    ask = _true(pc.greater(rows["ask_price"], 0))
    both = bid & ask
    return {
        "out_of_hours": _out_of_hours(table, rows),
        "crossed": both & _true(pc.greater(rows["bid_price"], rows["ask_price"])),
        "locked": both & _true(pc.equal(rows["bid_price"], rows["ask_price"])),
        "no_side": ~bid & ~ask,
        "one_sided": bid ^ ask,
    }


def adjusted(contracts: pa.Table) -> Mask:
    """Which contracts the OCC adjusted: a digit behind the root, other deliverables, or not 100 units."""
    symbols = pc.fill_null(contracts["ticker"], "")
    root = pc.utf8_slice_codeunits(symbols, start=0, stop=-15)  # before the date, the right and the strike
    return (
        _true(pc.match_substring_regex(root, r"[0-9]$"))
        | _true(pc.is_valid(contracts["additional_underlyings"]))
        | _true(pc.not_equal(contracts["shares_per_contract"], 100))
    )


def _out_of_hours(table: Table, rows: pa.Table) -> Mask:
    """Outside regular hours, which are looked up once for each date and root, however many rows there are."""
    if rows.num_rows == 0 or table.time_column is None or table.asset_class is None:
        return np.zeros(rows.num_rows, dtype=np.bool_)
    times = rows[table.time_column]
    dates = session_dates_of(times).combine_chunks().dictionary_encode()
    tickers = rows["ticker"].combine_chunks().dictionary_encode()
    roots, root_of_ticker = np.unique(
        [_root(table.asset_class, ticker) for ticker in tickers.dictionary.to_pylist()], return_inverse=True
    )
    # Start and end for each date and root; a day without a session has no hours, so that all of it is outside.
    hours_ns = np.zeros((2, len(dates.dictionary), roots.size), dtype=np.int64)
    for number, day in enumerate(dates.dictionary.to_pylist()):
        if is_session(day):
            of_day = [regular_hours(table.asset_class, root, day) for root in roots.tolist()]
            hours_ns[:, number] = [hours.start_ns for hours in of_day], [hours.end_ns for hours in of_day]
    start_ns, end_ns = hours_ns[:, dates.indices.to_numpy(), root_of_ticker[tickers.indices.to_numpy()]]
    time_ns = times.cast(pa.int64()).to_numpy()
    outside: Mask = (time_ns < start_ns) | (time_ns >= end_ns)
    return outside


def _root(asset_class: AssetClass, ticker: str) -> str:
    return OptionTicker.parse(ticker).root if asset_class is AssetClass.OPTIONS else ticker


def _true(values: pa.ChunkedArray) -> Mask:
    """Where a condition holds; null counts as not."""
    mask: Mask = pc.fill_null(values, fill_value=False).to_numpy()
    return mask
