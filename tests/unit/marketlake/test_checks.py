"""The first rule that refuses a row is its reason; facts are counted and refuse nothing."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.checks import FLAGS, Verdict, flag_counts
from marketlake.tables import TABLES

Row = dict[str, Any]
CALL = "O:SPY250829C00645000"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = at("2025-08-29T16:00:00")
BAR = {
    "ticker": "SPY", "span": "minute", "start": NOON, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0,
    "volume": 5.0, "vwap": 2.0,
}  # fmt: skip
TRADE = {"ticker": "SPY", "sip_timestamp": NOON, "exchange": 4, "price": 2.0, "size": 1.0}
QUOTE = {"ticker": "SPY", "sip_timestamp": NOON, "bid_price": 2.0, "ask_price": 2.1}
CONTRACT = {
    "ticker": CALL, "expiry": date(2025, 8, 29), "strike": 645, "right": "call", "shares_per_contract": 100.0,
    "chosen": False,
}  # fmt: skip
SNAPSHOT = {
    "ticker": CALL, "expiry": date(2025, 8, 29), "strike": 645, "right": "call", "open_interest": 12.0,
    "vendor_implied_volatility": 0.2,
}  # fmt: skip
ARTICLE = {"id": "1", "ticker": "SPY", "published": NOON, "title": "Rates", "sentiment_source": "vendor"}


def counts(table: str, *rows: Row) -> dict[str, int]:
    """The flags that are not zero."""
    found = flag_counts(TABLES[table], pa.Table.from_pylist(list(rows), schema=TABLES[table].schema))
    assert sorted(FLAGS.get(table, ())) == list(found)
    return {flag: count for flag, count in found.items() if count}


@pytest.mark.parametrize(
    ("table", "row", "flags"),
    [
        pytest.param("stock_bars", BAR, {}, id="nothing-unusual"),
        pytest.param("stock_bars", BAR | {"start": at("2025-08-29T13:29:00")}, {"out_of_hours": 1}, id="pre-market"),
        pytest.param("stock_bars", BAR | {"start": at("2025-08-29T13:30:00")}, {}, id="at-the-open"),
        pytest.param("stock_bars", BAR | {"start": at("2025-08-29T19:59:00")}, {}, id="last-minute"),
        pytest.param("stock_bars", BAR | {"start": at("2025-08-29T20:00:00")}, {"out_of_hours": 1}, id="at-the-close"),
        pytest.param("stock_bars", BAR | {"start": at("2024-11-29T17:59:00")}, {}, id="half-day-before-13:00"),
        pytest.param(
            "stock_bars", BAR | {"start": at("2024-11-29T18:00:00")}, {"out_of_hours": 1}, id="half-day-after"
        ),
        pytest.param("stock_bars", BAR | {"start": at("2025-01-09T17:00:00")}, {"out_of_hours": 1}, id="closed-day"),
        pytest.param("stock_bars", BAR | {"span": "day", "start": at("2025-08-29T04:00:00")}, {}, id="bar-of-a-day"),
        # In New York this is still Friday, although the date in UTC is Saturday.
        pytest.param("stock_bars", BAR | {"start": at("2025-08-30T00:30:00")}, {"out_of_hours": 1}, id="friday-night"),
        pytest.param("stock_bars", BAR | {"volume": 0.0}, {"zero_volume": 1}, id="zero-volume"),
        pytest.param("stock_bars", BAR | {"vwap": 3.5}, {"vwap_out_of_range": 1}, id="vwap-above-the-high"),
        pytest.param("stock_bars", BAR | {"vwap": None}, {}, id="no-vwap"),
        pytest.param("option_bars", BAR | {"ticker": CALL, "start": at("2025-08-29T20:14:00")}, {}, id="SPY-to-16:15"),
        pytest.param(
            "option_bars",
            BAR | {"ticker": "O:AAPL250829C00230000", "start": at("2025-08-29T20:00:00")},
            {"out_of_hours": 1},
            id="AAPL-to-16:00",
        ),
        pytest.param(
            "index_bars", BAR | {"ticker": "I:VIX", "start": at("2025-08-29T20:14:00")}, {}, id="VIX-to-16:15"
        ),
        pytest.param(
            "index_bars",
            BAR | {"ticker": "I:VIX", "start": at("2025-08-29T07:15:00")},
            {"out_of_hours": 1},
            id="VIX-early",
        ),
        pytest.param("stock_trades", TRADE | {"correction": 8}, {"corrected": 1}, id="corrected"),
        pytest.param("stock_trades", TRADE | {"correction": 0}, {}, id="not-corrected"),
        pytest.param("stock_trades", TRADE | {"size": 0.0}, {"zero_size": 1}, id="zero-size"),
        pytest.param("stock_quotes", QUOTE, {}, id="two-sided"),
        pytest.param("stock_quotes", QUOTE | {"ask_price": 1.9}, {"crossed": 1}, id="crossed"),
        pytest.param("stock_quotes", QUOTE | {"ask_price": 2.0}, {"locked": 1}, id="locked"),
        pytest.param("stock_quotes", QUOTE | {"ask_price": 0.0}, {"one_sided": 1}, id="no-ask"),
        pytest.param("stock_quotes", QUOTE | {"bid_price": None}, {"one_sided": 1}, id="no-bid"),
        pytest.param("stock_quotes", QUOTE | {"bid_price": 0.0, "ask_price": 0.0}, {"no_side": 1}, id="no-side"),
        pytest.param("option_contracts", CONTRACT, {}, id="standard"),
        pytest.param(
            "option_contracts", CONTRACT | {"ticker": "O:SPY1250829C00645000"}, {"adjusted": 1}, id="digit-in-root"
        ),
        pytest.param("option_contracts", CONTRACT | {"shares_per_contract": 10.0}, {"adjusted": 1}, id="ten-shares"),
        pytest.param(
            "option_contracts", CONTRACT | {"additional_underlyings": "[]"}, {"adjusted": 1}, id="other-deliverables"
        ),
        pytest.param("option_contracts", CONTRACT | {"right": None}, {"not_call_or_put": 1}, id="other"),
        pytest.param("option_snapshots", SNAPSHOT, {}, id="snapshot"),
        pytest.param("option_snapshots", SNAPSHOT | {"right": None}, {"not_call_or_put": 1}, id="snapshot-of-other"),
        pytest.param(
            "option_snapshots", SNAPSHOT | {"open_interest": None}, {"without_open_interest": 1}, id="uncounted"
        ),
        pytest.param(
            "option_snapshots", SNAPSHOT | {"vendor_implied_volatility": None}, {"without_volatility": 1}, id="no-model"
        ),
        pytest.param(
            "news", ARTICLE | {"sentiment_source": "vader"}, {"sentiment_of_vader": 1}, id="sentiment-of-vader"
        ),
        pytest.param("splits", {"ticker": "AAPL", "split_from": 1.0, "split_to": 7.0}, {}, id="no-facts-declared"),
    ],
)
def test_a_fact_is_counted_under_its_flag(table: str, row: Row, flags: dict[str, int]) -> None:
    assert flags == counts(table, row)


def test_facts_are_counted_across_sessions_and_roots() -> None:
    """SPY's options trade to 16:15 and AAPL's to 16:00, on a full day and on a half day."""
    late = [at("2025-08-29T20:05:00"), at("2024-11-29T18:05:00")]
    rows = [BAR | {"ticker": ticker, "start": start} for start in late for ticker in (CALL, "O:AAPL250829C00230000")]

    assert {"out_of_hours": 2} == counts("option_bars", *rows)


@pytest.mark.parametrize("table", TABLES)
def test_no_rows_show_no_facts(table: str) -> None:
    assert {} == counts(table)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sets(st.integers(0, 7)).map(sorted)), max_size=6),
)
def test_the_first_rule_that_refuses_a_row_is_its_reason(refusals: list[tuple[str, list[int]]]) -> None:
    expected: dict[int, str] = {}
    for rule, positions in refusals:
        for position in positions:
            expected.setdefault(position, rule)
    verdict = Verdict.first_rule_wins([(rule, np.array(rows, dtype=np.int64)) for rule, rows in refusals], 8)

    assert sorted(expected) == verdict.rows.tolist()
    assert tuple(expected[position] for position in sorted(expected)) == verdict.rules
    assert np.int64 == verdict.rows.dtype
