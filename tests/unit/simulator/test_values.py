"""Small values: rendered rows, cursors, the clock, the rate limit, plans, page chains."""

import json
from datetime import date
from itertools import pairwise

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import cursors
from simulator.clock import SimulatedClock, parse_instant_ns
from simulator.endpoints.contracts import expiry_of
from simulator.endpoints.ticks import parse_timestamp_ns
from simulator.journal import PageChains
from simulator.newyork import rfc3339_ns
from simulator.plans import TERMS, AssetClass, DataKind, Plan, RateLimiter, standard_accounts
from simulator.replies import BadParameter
from simulator.rows import render_rows

SCHEMA = pa.schema(
    {
        "t": pa.int64(),
        "price": pa.float64(),
        "id": pa.string(),
        "conditions": pa.list_(pa.int64()),
        "flag": pa.bool_(),
        "extra": pa.list_(pa.struct({"amount": pa.float64()})),
    }
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "t": st.integers(-(2**63), 2**63 - 1),
            "price": st.floats(allow_nan=False, allow_infinity=False),
            "id": st.text(max_size=5),
            "conditions": st.lists(st.integers(0, 99), max_size=3),
            "flag": st.booleans(),
            "extra": st.lists(st.fixed_dictionaries({"amount": st.floats(0, 9)}), max_size=2),
        },
    ),
    max_size=12,
)


@given(ROWS, st.integers(0, 12), st.integers(0, 12))
def test_rendered_rows_are_the_rows_without_their_nulls(rows, offset, length) -> None:
    """Nanoseconds to the last digit, also in a column that has nulls, and in a slice of a table."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA).slice(offset, length)

    assert rows[offset : offset + length] == json.loads(msgspec.json.encode(render_rows(table)))


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), min_size=1, max_size=5))
def test_a_cursor_gives_its_query_back(query) -> None:
    cursor = cursors.encode(query)

    assert query == cursors.decode(cursor)
    assert "=" not in cursor


def test_the_documented_cursor_decodes_to_the_documented_query() -> None:
    cursor = "YWRqdXN0ZWQ9dHJ1ZSZsaW1pdD0yJnNvcnQ9YXNj"

    assert {"adjusted": "true", "limit": "2", "sort": "asc"} == cursors.decode(cursor)
    assert cursor == cursors.encode({"sort": "asc", "adjusted": "true", "limit": "2"})


@pytest.mark.parametrize("cursor", ["%%%", "Y", "YWJj", "/w"])
def test_a_cursor_that_is_none_is_refused(cursor) -> None:
    with pytest.raises(BadParameter):
        cursors.decode(cursor)


@given(st.integers(1, 2**61))
def test_a_time_in_a_cursor_keeps_its_nanoseconds(t_ns) -> None:
    assert (t_ns, t_ns) == parse_timestamp_ns("timestamp.gte", rfc3339_ns(t_ns))


def test_a_date_as_timestamp_is_the_new_york_day() -> None:
    first, last = parse_timestamp_ns("timestamp", "2024-03-10")

    assert (1710046800000000000, 23 * 3600 * 10**9 - 1) == (first, last - first)  # the clocks went forward


class Wall:
    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


def test_the_clock_stands_runs_and_is_set() -> None:
    wall = Wall()
    clock = SimulatedClock(1_000, 0.0, wall)
    wall.now += 10**9
    standing = clock.now_ns()
    clock.run_at(60.0)
    wall.now += 10**9
    running = clock.now_ns()
    clock.move_to(clock.now_ns() - 30 * 10**9)
    clock.run_at(0)
    wall.now += 10**9

    assert (1_000, 1_000 + 60 * 10**9) == (standing, running)
    assert 1_000 + 30 * 10**9 == clock.now_ns()


def test_a_clock_at_its_limit_stands_and_does_not_catch_up() -> None:
    wall = Wall()
    clock = SimulatedClock(0, 10.0, wall)
    clock.allow_until(50)
    wall.now += 3
    under_way = clock.now_ns()
    wall.now += 1_000
    held = clock.now_ns()
    clock.allow_until(100)
    let_go = clock.now_ns()
    wall.now += 2
    running = clock.now_ns()
    clock.allow_until(None)
    wall.now += 1_000

    assert (30, 50, 50, 70) == (under_way, held, let_go, running)
    assert 10_070 == clock.now_ns()


@pytest.mark.parametrize(
    ("text", "t_ns"),
    [
        ("2024-12-20T10:00", 1734706800000000000),
        ("2024-12-20T15:00Z", 1734706800000000000),
        ("2024-07-19", 1721361600000000000),
        ("2024-12-20T10:00:00.000001", 1734706800000001000),
    ],
)
def test_a_time_without_a_zone_is_new_yorks(text, t_ns) -> None:
    assert t_ns == parse_instant_ns(text)


def test_the_window_of_the_rate_limit_slides() -> None:
    wall = Wall()
    limiter = RateLimiter(wall)
    free = standard_accounts()["simulated-free"]
    for _ in range(5):
        assert limiter.admit(free) is None
        wall.now += 10 * 10**9
    refused = limiter.admit(free)
    wall.now += 10 * 10**9 + 1

    assert 10 == refused
    assert limiter.admit(free) is None
    assert limiter.admit(free) is not None
    assert limiter.admit(standard_accounts()["simulated-starter"]) is None


def test_every_plan_has_terms_for_every_asset_class_and_a_dearer_one_lacks_no_stock_data() -> None:
    assert {(plan, asset) for plan in Plan for asset in AssetClass} == set(TERMS)
    kinds = [TERMS[plan, AssetClass.STOCKS].kinds for plan in Plan]
    assert all(cheaper < dearer for cheaper, dearer in pairwise(kinds))
    assert set(DataKind) == kinds[-1]


def test_a_page_keeps_its_number_when_it_is_asked_again() -> None:
    chains = PageChains()
    for _ in range(2):
        chains.extend("/a", "/a?cursor=1")
        chains.extend("/a?cursor=1", "/a?cursor=2")
    chains.extend("/a?cursor=2", "/a?cursor=1")

    assert [1, 2, 3] == [chains.link(address).number for address in ("/a", "/a?cursor=1", "/a?cursor=2")]
    assert ("/a", "/a?cursor=1") == (chains.link("/a?cursor=2").first, chains.link("/a?cursor=2").previous)


@pytest.mark.parametrize(
    ("ticker", "expiry"),
    [
        ("O:SPY241220C00585000", date(2024, 12, 20)),
        ("O:SPY1241220P00585000", date(2024, 12, 20)),
        ("O:SPY241320C00585000", None),
        ("SPY", None),
    ],
)
def test_an_expiry_is_read_from_the_right(ticker, expiry) -> None:
    assert expiry == expiry_of(ticker)
