"""Served bars are what the served trades come to by the vendor's consolidated condition rules.

The rules are written out here a second time, row by row as the condition list has them, and applied in plain Python.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.synthetic import SyntheticWorld
from simulator.synthetic.conditions import CODES, MAKES_EDGES, MAKES_EXTREMES, MAKES_VOLUME, Kind
from simulator.world import BaseSpan

# id: (high and low, open and close, volume); what is not listed updates all three.
RULES = {
    2: (False, False, True),
    5: (True, False, True),
    7: (False, False, True),
    10: (True, False, True),
    13: (False, False, True),
    15: (False, False, False),
    16: (False, False, False),
    17: (True, False, True),
    20: (False, False, True),
    21: (False, False, True),
    22: (True, False, True),
    29: (False, False, True),
    32: (True, False, True),
    33: (True, False, True),
    37: (False, False, True),
    38: (True, True, False),
    52: (False, False, True),
    53: (False, False, True),
}
FORM_T = 12
DAYS = [
    date(2016, 2, 29),
    date(2019, 7, 3),  # half day
    date(2024, 3, 8),
    date(2024, 3, 11),  # first session after clocks went forward
    date(2024, 11, 4),  # first session after clocks went back
    date(2024, 11, 29),  # half day
    date(2025, 8, 29),
    date(2026, 4, 1),
    date(2027, 12, 31),
]
Row = dict[str, Any]
Bar = tuple[float, float, float, float, float, float, int]


def effect(conditions: list[int] | None, *, regular: bool) -> tuple[bool, bool, bool]:
    high_low = open_close = volume = True
    for code in conditions or []:
        rule = RULES.get(code, (True, True, True))
        if code == FORM_T and regular:
            rule = (False, False, True)
        high_low, open_close, volume = high_low and rule[0], open_close and rule[1], volume and rule[2]
    return high_low, open_close, volume


def bar_time_ns(trade: Row) -> int:
    """A report that comes more than ten seconds late stands in the bar of the trade's own time."""
    is_late = trade["sip_timestamp"] - trade["participant_timestamp"] > 10 * 10**9
    at_ns: int = trade["participant_timestamp" if is_late else "sip_timestamp"]
    return at_ns


def bars_by_the_rules(
    trades: Iterable[Row], width_ms: int, session_ms: tuple[int, int], *, regular_prices_only: bool = False
) -> dict[int, Bar]:
    windows: dict[int, dict[str, Any]] = {}
    for trade in trades:
        at_ms = bar_time_ns(trade) // 1_000_000
        regular = session_ms[0] <= at_ms < session_ms[1]
        high_low, open_close, volume = effect(trade["conditions"], regular=regular)
        if regular_prices_only and not regular:
            high_low = open_close = False
        window = windows.setdefault(
            at_ms // width_ms * width_ms, {"edges": [], "range": [], "v": 0.0, "pv": 0.0, "n": 0}
        )
        if open_close:
            window["edges"].append(trade["price"])
        if high_low:
            window["range"].append(trade["price"])
        if volume:
            window["v"] += trade["size"]
            window["pv"] += trade["size"] * trade["price"]
            window["n"] += 1
    return {
        t: (w["edges"][0], max(w["range"]), min(w["range"]), w["edges"][-1], w["v"], round(w["pv"] / w["v"], 4), w["n"])
        for t, w in windows.items()
        if w["edges"]
    }


def served(world: SyntheticWorld, ticker: str, span: BaseSpan, first_ms: int, last_ms: int) -> dict[int, Bar]:
    rows = world.bars(ticker, span, first_ms, last_ms).to_pylist()
    return {row["t"]: (row["o"], row["h"], row["l"], row["c"], row["v"], row["vw"], row["n"]) for row in rows}


def trades_of_day(world: SyntheticWorld, ticker: str, day_ms: int) -> list[Row]:
    rows: list[Row] = world.trades(ticker, day_ms * 1_000_000, (day_ms + 86_400_000) * 1_000_000 - 1).to_pylist()
    return rows


def regular_hours(at: Callable[..., int], day: date) -> tuple[int, int]:
    half_days = {date(2019, 7, 3), date(2024, 11, 29)}
    return at(day, "09:30"), at(day, "13:00" if day in half_days else "16:00")


@settings(max_examples=12, deadline=None)
@given(
    day=st.sampled_from(DAYS),
    ticker=st.sampled_from(["SPY", "QQQ", "AAPL"]),
    span=st.sampled_from(["minute", "second"]),
)
def test_every_bar_of_a_share_is_made_by_its_trades(
    quiet_world: SyntheticWorld, at: Callable[..., int], day: date, ticker: str, span: str
) -> None:
    start = at(day)
    trades = trades_of_day(quiet_world, ticker, start)

    expected = bars_by_the_rules(trades, {"minute": 60_000, "second": 1000}[span], regular_hours(at, day))
    actual = served(quiet_world, ticker, BaseSpan(span), start, start + 86_399_999)

    assert expected.keys() == actual.keys()
    for t, bar in actual.items():
        assert expected[t][:5] == bar[:5], t
        assert expected[t][6] == bar[6], t
        # Both are rounded to four decimals, from sums in different orders.
        assert expected[t][5] == pytest.approx(bar[5], abs=1.001e-4), t


@pytest.mark.parametrize(("span", "width_ms"), [(BaseSpan.MINUTE, 60_000), (BaseSpan.SECOND, 1000)])
def test_bars_of_a_busy_session_are_made_by_its_trades(
    world: SyntheticWorld, at: Callable[..., int], span: BaseSpan, width_ms: int
) -> None:
    day = date(2025, 8, 29)
    start = at(day)

    expected = bars_by_the_rules(trades_of_day(world, "SPY", start), width_ms, regular_hours(at, day))
    actual = served(world, "SPY", span, start, start + 86_399_999)

    assert list(expected) == list(actual)
    assert [bar[:5] for bar in expected.values()] == [bar[:5] for bar in actual.values()]
    assert {t: bar[5] for t, bar in expected.items()} == pytest.approx(
        {t: b[5] for t, b in actual.items()}, abs=1.001e-4
    )


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_trade_counts_for_what_its_conditions_allow(kind: Kind) -> None:
    regular = not kind.name.startswith("EXTENDED")

    flags = (bool(MAKES_EXTREMES[kind]), bool(MAKES_EDGES[kind]), bool(MAKES_VOLUME[kind]))

    assert effect(CODES[kind], regular=regular) == flags


@pytest.mark.parametrize("day", DAYS)
def test_daily_bar_has_prices_of_the_regular_session_and_volume_of_the_whole_day(
    quiet_world: SyntheticWorld, at: Callable[..., int], day: date
) -> None:
    start = at(day)
    trades = trades_of_day(quiet_world, "SPY", start)

    hours = regular_hours(at, day)
    [expected] = bars_by_the_rules(trades, 10**15, hours, regular_prices_only=True).values()
    [(stamp, actual)] = served(quiet_world, "SPY", BaseSpan.DAY, start, start + 86_399_999).items()

    assert stamp == start
    assert expected[:5] == actual[:5]
    assert expected[6] == actual[6]
    assert expected[5] == pytest.approx(actual[5], abs=1.001e-4)


@pytest.mark.parametrize("day", DAYS)
def test_minute_bars_roll_up_to_the_daily_bar(quiet_world: SyntheticWorld, at: Callable[..., int], day: date) -> None:
    first, last = regular_hours(at, day)
    minutes = list(served(quiet_world, "SPY", BaseSpan.MINUTE, first, last - 1).values())
    [daily] = served(quiet_world, "SPY", BaseSpan.DAY, at(day), at(day)).values()

    prices = (minutes[0][0], max(bar[1] for bar in minutes), min(bar[2] for bar in minutes), minutes[-1][3])

    assert prices == daily[:4]


@pytest.mark.parametrize("day", DAYS[:6])
def test_second_bars_roll_up_to_minute_bars_but_for_volume_of_seconds_without_a_bar(
    quiet_world: SyntheticWorld, at: Callable[..., int], day: date
) -> None:
    start = at(day)
    seconds = served(quiet_world, "SPY", BaseSpan.SECOND, start, start + 86_399_999)
    by_minute: dict[int, list[Bar]] = {}
    for t, bar in seconds.items():
        by_minute.setdefault(t // 60_000 * 60_000, []).append(bar)

    minutes = served(quiet_world, "SPY", BaseSpan.MINUTE, start, start + 86_399_999)

    assert by_minute.keys() == minutes.keys()
    for t, bars in by_minute.items():
        rolled = (bars[0][0], max(bar[1] for bar in bars), min(bar[2] for bar in bars), bars[-1][3])
        assert rolled == minutes[t][:4]
        assert sum(bar[4] for bar in bars) <= minutes[t][4]


def test_a_naive_rebuild_differs_because_odd_lots_and_late_reports_make_no_price(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    """Otherwise the condition rules of a client could be wrong and no test with this market would tell."""
    start = at(date(2025, 8, 29))
    trades = trades_of_day(world, "SPY", start)
    plain = [trade | {"conditions": None} for trade in trades]

    naive = bars_by_the_rules(plain, 60_000, regular_hours(at, date(2025, 8, 29)))
    actual = served(world, "SPY", BaseSpan.MINUTE, start, start + 86_399_999)

    wrong = sum(naive[t][:4] != bar[:4] for t, bar in actual.items())
    assert wrong > 100
    assert len(naive) > len(actual)
    odd_lots = sum(37 in (trade["conditions"] or []) for trade in trades)
    assert 0.4 < odd_lots / len(trades) < 0.7


def test_extended_hours_have_minutes_without_a_bar_and_minutes_with_odd_lots_alone(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    day = date(2025, 8, 29)
    bars = served(world, "SPY", BaseSpan.MINUTE, at(day, "04:00"), at(day, "09:30") - 1)
    trades = world.trades("SPY", at(day, "04:00") * 10**6, at(day, "09:30") * 10**6 - 1).to_pylist()
    with_trades = {bar_time_ns(trade) // 60_000_000_000 * 60_000 for trade in trades}

    assert bars.keys() < with_trades
    assert len(with_trades) < 330


@pytest.mark.parametrize("ticker", ["O:SPY250829C00605000", "O:SPY250919P00590000"])
@pytest.mark.parametrize("span", [BaseSpan.SECOND, BaseSpan.MINUTE])
def test_option_bars_are_made_by_all_trades(
    world: SyntheticWorld, at: Callable[..., int], ticker: str, span: BaseSpan
) -> None:
    start = at(date(2025, 8, 29))
    trades = trades_of_day(world, ticker, start)
    width = 60_000 if span is BaseSpan.MINUTE else 1000

    expected = bars_by_the_rules([trade | {"conditions": None} for trade in trades], width, (0, 0))
    actual = served(world, ticker, span, start, start + 86_399_999)

    assert len(actual) > 5
    assert expected.keys() == actual.keys()
    assert {t: bar[:5] for t, bar in expected.items()} == {t: bar[:5] for t, bar in actual.items()}
    assert [bar[5] for bar in expected.values()] == pytest.approx([bar[5] for bar in actual.values()], abs=1.001e-4)


def test_volumes_may_be_fractional_and_are_exact_in_six_decimals(world: SyntheticWorld, at: Callable[..., int]) -> None:
    day = date(2026, 4, 1)
    volumes = world.bars("SPY", BaseSpan.MINUTE, at(day), at(day, "23:59"))["v"].to_pylist()
    sizes = world.trades("SPY", at(day) * 10**6, at(day, "23:59") * 10**6)
    fractional = [volume for volume in volumes if volume % 1]

    assert 3 <= len(fractional) <= len(volumes) / 5
    assert all(round(volume, 6) == volume for volume in fractional)
    assert [float(text) for text in sizes["decimal_size"].to_pylist()] == sizes["size"].to_pylist()
