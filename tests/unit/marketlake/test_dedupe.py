"""Repeated rows are dropped, the last revision stays, and nothing else is lost."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from marketlake.dedupe import last_revision
from marketlake.tables import TABLES, Table

Row = dict[str, Any]
TEN = datetime(2025, 8, 29, 14, tzinfo=UTC)
WORDS = ["a", "b", ""]
# Few values each, so that rows collide in some columns and not in others; the rest of the columns stays null.
TRADES = st.fixed_dictionaries(
    {
        "ticker": st.sampled_from(["SPY", "QQQ"]),
        "sip_timestamp": st.just(TEN),
        "exchange": st.sampled_from([4, 11]),
        "trf_id": st.sampled_from([None, 201]),
        "id": st.sampled_from([None, "1", "2"]),
        "price": st.sampled_from([1.0, float("nan")]),
        "size": st.just(1.0),
        "conditions": st.sampled_from([None, [], [12], [12, 37], [37, 12], [12, None]]),
    }
)
ARTICLES = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["x", "y"]),
        "ticker": st.just("SPY"),
        "published": st.just(TEN),
        "title": st.sampled_from(["old", "new"]),
        "keywords": st.none() | st.lists(st.sampled_from(WORDS), max_size=3),
    }
)
MARKETS = st.fixed_dictionaries(
    {
        "minute": st.just(TEN),
        "momentum_returns": st.none() | st.lists(st.sampled_from([None, 0.5]), min_size=5, max_size=5),
    }
)
CONTRACTS = st.fixed_dictionaries(
    {
        "ticker": st.sampled_from(["O:SPY250919C00650000", "O:SPY250919P00650000"]),
        "expiry": st.just(TEN.date()),
        "strike": st.sampled_from([650, 651]),
        "chosen": st.booleans(),
    }
)


def as_rows(table: Table, rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table.schema)


def text(row: Row) -> str:
    """Equal where rows are, nulls and NaN included; hypothesis draws the columns in any order."""
    return repr(sorted(row.items()))


def has_identity(table: Table, row: Row) -> bool:
    """Only stock trades know a null that is a value: a trade on an exchange has no reporting facility."""
    return all(row.get(name) is not None for name in table.key if name != "trf_id")


def one_page(rows: pa.Table) -> NDArray[np.int64]:
    return np.zeros(rows.num_rows, dtype=np.int64)


def naive(table: Table, rows: list[Row], pages: list[int]) -> tuple[list[Row], int, int]:
    """One row after the other, with dictionaries of what came so far."""
    last_of_row: dict[str, int] = {}
    last_of_key: dict[str, int] = {}
    seen: Counter[tuple[str, int]] = Counter()
    name_of: list[str] = []
    for number, row in enumerate(rows):
        # Which of the equal ones on its page it is belongs to a row that has no other identity.
        repetition = 0 if has_identity(table, row) else seen[text(row), pages[number]]
        seen[text(row), pages[number]] += 1
        name_of.append(f"{text(row)} {repetition}")
        last_of_row[name_of[-1]] = number
        key = tuple(row.get(name) for name in table.key)
        if has_identity(table, row):
            last_of_key[repr(key)] = number
    stays, duplicates, superseded = [], 0, 0
    for number, row in enumerate(rows):
        key = tuple(row.get(name) for name in table.key)
        if last_of_row[name_of[number]] != number:
            duplicates += 1
        elif has_identity(table, row) and last_of_key[repr(key)] != number:
            superseded += 1
        else:
            stays.append(row)
    return stays, duplicates, superseded


@given(st.data())
@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param("stock_trades", TRADES, id="nulls-in-the-key"),
        pytest.param("news", ARTICLES, id="lists-of-texts"),
        pytest.param("market_minutes", MARKETS, id="lists-of-fixed-length"),
        pytest.param("option_contracts", CONTRACTS, id="decimals"),
    ],
)
def test_it_does_what_going_row_by_row_does(name: str, strategy: st.SearchStrategy[Row], data: st.DataObject) -> None:
    table, rows = TABLES[name], data.draw(st.lists(strategy, max_size=12))
    received = as_rows(table, rows)
    cut = data.draw(st.integers(0, len(rows)))
    chunked = pa.concat_tables([received.slice(0, cut), received.slice(cut)])
    pages = sorted(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    stays, duplicates, superseded = naive(table, rows, pages)
    deduped = last_revision(table, chunked, np.array(pages, dtype=np.int64))

    assert (duplicates, superseded) == (deduped.duplicates, deduped.superseded)
    assert repr(as_rows(table, stays).to_pylist()) == repr(deduped.rows.to_pylist())
    assert table.schema == deduped.rows.schema


@given(st.lists(TRADES, max_size=12))
def test_a_second_time_changes_nothing(rows: list[Row]) -> None:
    table = TABLES["stock_trades"]
    received = as_rows(table, rows)
    once = last_revision(table, received, one_page(received)).rows
    twice = last_revision(table, once, one_page(once))

    assert (0, 0) == (twice.duplicates, twice.superseded)
    assert repr(once.to_pylist()) == repr(twice.rows.to_pylist())


def test_a_value_that_comes_back_is_the_last_revision() -> None:
    """Received: 10, then corrected to 20, then 10 again, which is what is true in the end."""
    bar = {"ticker": "SPY", "span": "minute", "start": TEN, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
    rows = as_rows(TABLES["stock_bars"], [bar | {"volume": volume} for volume in (10.0, 20.0, 10.0)])
    deduped = last_revision(TABLES["stock_bars"], rows, one_page(rows))

    assert [10.0] == deduped.rows["volume"].to_pylist()
    assert (1, 1) == (deduped.duplicates, deduped.superseded)


def test_a_busy_session_takes_less_than_a_second() -> None:
    """700,000 trades, half of them received twice; processor time, since the machine may be busy."""
    table, half = TABLES["stock_trades"], 350_000
    number = np.arange(half)
    columns = {
        "ticker": pa.array(["SPY"] * half),
        "sip_timestamp": pa.array(1_756_476_000_000_000_000 + number),
        "exchange": pa.array(number % 17),
        "id": pa.array(number.astype(str).tolist()),
        "sequence_number": pa.array(number),
        "price": pa.array(600 + number / half),
        "size": pa.array(np.full(half, 100.0)),
        "conditions": pa.array([[12, 37], None, []] * (half // 3) + [None] * (half % 3)),
    }
    rows = pa.table(
        [columns.get(field.name, pa.nulls(half)).cast(field.type) for field in table.schema], schema=table.schema
    )
    deduped = last_revision(table, pa.concat_tables([rows, rows]), np.repeat([0, 1], half))

    assert (half, 0) == (deduped.duplicates, deduped.superseded)


def test_prints_of_one_millisecond_price_and_size_are_not_the_same_print() -> None:
    """Option trades before 2026 have no number: a sweep prints alike, a page that is sent again adds nothing."""
    table = TABLES["option_trades"]
    print_ = {"ticker": "O:SPY250919C00650000", "sip_timestamp": TEN, "exchange": 316, "price": 3.1, "size": 1.0}
    received = as_rows(table, [print_, print_, print_ | {"size": 2.0}, print_, print_, print_ | {"size": 2.0}])

    on_one_page = last_revision(table, received, one_page(received))
    sent_again = last_revision(table, received, np.array([0, 0, 0, 1, 1, 1]))

    assert (0, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0]) == (on_one_page.duplicates, on_one_page.rows["size"].to_pylist())
    assert (3, [1.0, 1.0, 2.0]) == (sent_again.duplicates, sent_again.rows["size"].to_pylist())


def test_a_trade_on_an_exchange_that_is_sent_again_is_a_revision() -> None:
    """Its key has no trf_id, and is a key all the same."""
    table = TABLES["stock_trades"]
    first = {"ticker": "SPY", "sip_timestamp": TEN, "exchange": 11, "id": "1", "price": 1.0, "size": 1.0}

    received = as_rows(table, [first, first | {"price": 2.0}])
    deduped = last_revision(table, received, one_page(received))

    assert [2.0] == deduped.rows["price"].to_pylist()
    assert (0, 1) == (deduped.duplicates, deduped.superseded)
