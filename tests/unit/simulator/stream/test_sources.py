"""What is published when: the same messages however it is read, and bars that grow into REST's."""

import json
from datetime import date
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.newyork import NS_PER_MS, day_bounds_ms
from simulator.plans import AssetClass
from simulator.revisions import LATE_NS, LATEST_NS, PUBLISHING_DELAY_NS, WIDTH_MS, BarHistory, DayCache, bar_revisions
from simulator.stream.sources import Sources
from simulator.stream.topics import Subscription, Topic
from simulator.synthetic import SyntheticWorld
from simulator.world import BaseSpan

DAY = date(2025, 8, 29)
OPEN_NS = 1_756_474_200_000_000_000
MINUTE_NS = 60_000_000_000


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(trades_per_minute=40.0)


@pytest.fixture(scope="module")
def sources(world: SyntheticWorld) -> Sources:
    return Sources(world, BarHistory(world))


@settings(deadline=None, max_examples=30)
@given(
    source=st.sampled_from(
        [
            (Topic.TRADES, "SPY"),
            (Topic.QUOTES, "AAPL"),
            (Topic.SECONDS, "SPY"),
            (Topic.MINUTES, "SPY"),
            (Topic.VALUES, "I:VIX"),
            (Topic.MINUTES, "I:VIX"),
            (Topic.TRADES, "O:SPY250829C00600000"),
        ]
    ),
    start=st.integers(-60, 400),
    cuts=st.lists(st.integers(1, 600_000), min_size=1, max_size=4),
)
def test_reading_in_pieces_gives_what_reading_at_once_gives(sources, source, start, cuts) -> None:
    first = OPEN_NS + start * MINUTE_NS
    bounds = [first, *(first + cut * NS_PER_MS for cut in sorted(cuts))]
    at_once = sources.read(*source, bounds[0], bounds[-1])
    pieces = [sources.read(*source, after, until) for after, until in pairwise(bounds)]

    assert at_once.messages == [message for piece in pieces for message in piece.messages]
    assert at_once.at_ns.tolist() == [at for piece in pieces for at in piece.at_ns.tolist()]
    assert all(bounds[0] < at <= bounds[-1] for at in at_once.at_ns.tolist())


def test_a_stretch_over_midnight_has_the_bars_of_both_days(sources) -> None:
    read = sources.read(Topic.MINUTES, "SPY", OPEN_NS, OPEN_NS + 5 * 24 * 60 * MINUTE_NS)
    days = {json.loads(message)["s"] // 86_400_000 for message in read.messages}

    assert len(days) >= 2
    assert read.at_ns.tolist() == sorted(read.at_ns.tolist())


@pytest.mark.parametrize("span", list(WIDTH_MS))
def test_the_last_revision_of_each_bar_is_the_worlds_bar(world, span) -> None:
    revisions = bar_revisions(world, ticker="SPY", span=span, day=DAY)
    last = {row["t"]: row for row in revisions.drop_columns(["published_ns"]).to_pylist()}

    assert world.bars("SPY", span, *day_bounds_ms(DAY)).to_pylist() == [last[t] for t in sorted(last)]
    assert revisions.num_rows > len(last)


@pytest.mark.parametrize("span", list(WIDTH_MS))
def test_a_revision_comes_with_a_late_report_and_has_its_shares(world, span) -> None:
    width_ns = WIDTH_MS[span] * NS_PER_MS
    first_ms, last_ms = day_bounds_ms(DAY)
    trades = world.trades("SPY", first_ms * NS_PER_MS, last_ms * NS_PER_MS).to_pylist()
    late: dict[int, list[tuple[int, float]]] = {}
    for trade in trades:
        made, reported = trade["participant_timestamp"], trade["sip_timestamp"]
        if LATE_NS < reported - made <= LATEST_NS:
            late.setdefault(made // width_ns * width_ns, []).append((reported, trade["size"]))
    newest: dict[int, dict[str, float]] = {}
    revised = 0
    for row in bar_revisions(world, ticker="SPY", span=span, day=DAY).to_pylist():
        start_ns, published = row["t"] * NS_PER_MS, row["published_ns"]
        before = newest.get(row["t"])
        newest[row["t"]] = row
        if before is None:
            assert published >= start_ns + width_ns + PUBLISHING_DELAY_NS
        else:
            added = [size for reported, size in late[start_ns] if reported == published]
            assert row["v"] == before["v"] + sum(added)
            assert row["h"] >= before["h"] >= before["l"] >= row["l"]
            revised += 1

    assert revised > 5


def test_a_world_whose_trades_do_not_make_its_bars_has_each_bar_once(world) -> None:
    """A recorded bar that its trades do not come to: what it was before a late one, nobody can tell."""

    class Other:
        def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
            bars = world.bars(ticker, span, start_ms, end_ms)
            return bars.set_column(5, "v", pa.array([v + 1.0 for v in bars["v"].to_pylist()]))

        def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
            return world.trades(ticker, start_ns, end_ns)

    revisions = bar_revisions(Other(), ticker="SPY", span=BaseSpan.MINUTE, day=DAY)  # type: ignore[arg-type]
    served = Other().bars("SPY", BaseSpan.MINUTE, *day_bounds_ms(DAY))

    assert served.to_pylist() == revisions.drop_columns(["published_ns"]).to_pylist()


def _place(table: pa.Table) -> int:
    """Where a table's numbers lie in memory."""
    address: int = table["sip_timestamp"].chunk(0).buffers()[1].address
    return address


@pytest.mark.parametrize("rows", ["trades", "quotes"])
def test_reading_all_shares_or_a_thousand_contracts_in_turns_makes_no_day_twice(rows) -> None:
    world = SyntheticWorld(trades_per_minute=2.0)
    shares = world.tickers(AssetClass.STOCKS, DAY)
    listed = world.contracts("SPY", DAY, expired=False, expiry_from=DAY, expiry_to=date(2025, 9, 5))["ticker"]
    for tickers in (shares, listed.to_pylist()[:1000]):
        turns = [[getattr(world, rows)(ticker, OPEN_NS, OPEN_NS + 390 * MINUTE_NS) for ticker in tickers] for _ in "12"]
        places = [[_place(table) for table in turn if table.num_rows] for turn in turns]

        assert len(places[0]) > 3
        assert places[0] == places[1]


def test_the_bars_of_a_thousand_contracts_in_turns_are_made_once_each() -> None:
    made: list[str] = []

    def make(ticker: str, _span: BaseSpan, _day: date) -> pa.Table:
        made.append(ticker)
        return pa.table({})

    days = DayCache(make)
    for _ in range(2):
        for place in range(1000):
            days(f"O:SPY250829C{place:08d}", BaseSpan.SECOND, DAY)
            days(f"O:SPY250829C{place:08d}", BaseSpan.MINUTE, DAY)

    assert 2000 == len(made)


@settings(deadline=None, max_examples=40)
@given(minutes=st.floats(-60, 420))
def test_rests_bars_at_any_instant_are_the_newest_revisions_known_by_then(world, minutes) -> None:
    history = BarHistory(world)
    now_ns = OPEN_NS + int(minutes * MINUTE_NS)
    ended = world.bars("SPY", BaseSpan.MINUTE, day_bounds_ms(DAY)[0], now_ns // NS_PER_MS - 60_000)
    known = history.known_at("SPY", BaseSpan.MINUTE, ended, now_ns).to_pylist()
    expected: dict[int, dict[str, object]] = {}
    for row in history.of("SPY", BaseSpan.MINUTE, DAY).to_pylist():
        is_due = row["published_ns"] == (row["t"] + 60_000) * NS_PER_MS + PUBLISHING_DELAY_NS
        if row["published_ns"] <= now_ns or (is_due and row["t"] + 60_000 <= now_ns // NS_PER_MS):
            expected[row["t"]] = {name: value for name, value in row.items() if name != "published_ns"}

    assert [expected[t] for t in sorted(expected)] == known


@pytest.mark.parametrize(
    ("market", "ticker"),
    [
        (AssetClass.STOCKS, "O:SPY250829C00600000"),
        (AssetClass.STOCKS, "I:VIX"),
        (AssetClass.OPTIONS, "SPY"),
        (AssetClass.INDICES, "SPY"),
        (AssetClass.STOCKS, "NOBODY"),
    ],
)
def test_what_a_market_does_not_know_is_silent(market: AssetClass, ticker: str, sources: Sources) -> None:
    """As at the vendor, whose options feed wants the prefix that its shares' feed does not know."""
    assert [] == sources.tickers(market, Subscription(Topic.MINUTES, ticker), DAY)
