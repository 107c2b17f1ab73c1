"""REST and the stream show one market: each topic against REST, event by event, over real sockets."""

import json
from collections import Counter, defaultdict

import pytest
from raw_feed import subscribed

TEN_MINUTES = {"advance_s": 600}
DAY = "2025-08-29"
OPEN_MS = 1756474200000  # 09:30 New York


def _streamed(market, feed_name, *pairs, change=TEN_MINUTES, plan="advanced"):
    with subscribed(market.ready, feed_name, *pairs, plan=plan) as raw:
        market.control("POST", "/clock", change)
        return raw.events_so_far()


@pytest.mark.parametrize(
    ("feed_name", "ticker"), [("stocks", "SPY"), ("options", "O:SPY250829C00605000")], ids=["share", "option"]
)
def test_trades_join_those_of_rest_one_to_one(market, feed_name, ticker) -> None:
    events = _streamed(market, feed_name, f"T.{ticker}")
    rows = market.rows(f"/v3/trades/{ticker}?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")

    assert len(events) > 20
    assert [row["sequence_number"] for row in rows] == [event["q"] for event in events]
    for event, row in zip(events, rows, strict=True):
        assert ("T", ticker, row["price"], row["size"]) == (event["ev"], event["sym"], event["p"], event["s"])
        assert (row["sip_timestamp"] // 10**6, row["exchange"]) == (event["t"], event["x"])
        assert row.get("conditions") == event.get("c")
        assert (row.get("id"), row.get("tape"), row.get("trf_id")) == (
            event.get("i"), event.get("z"), event.get("trfi"),
        )  # fmt: skip


@pytest.mark.parametrize(("feed_name", "ticker"), [("stocks", "SPY"), ("options", "O:SPY250829C00605000")])
def test_quotes_are_those_of_rest(market, feed_name, ticker) -> None:
    events = _streamed(market, feed_name, f"Q.{ticker}")
    rows = market.rows(f"/v3/quotes/{ticker}?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")

    assert len(events) > 20
    assert [
        (row["sequence_number"], row["sip_timestamp"] // 10**6, row["bid_price"], row["bid_size"], row["ask_price"])
        for row in rows
    ] == [(event["q"], event["t"], event["bp"], event["bs"], event["ap"]) for event in events]
    assert {type(event.get("c")) for event in events} <= {int, type(None)}


@pytest.mark.parametrize(
    ("feed_name", "ticker", "topic", "timespan", "fields"),
    [
        ("stocks", "SPY", "AM", "minute", "ohlc v vw"),
        ("stocks", "SPY", "A", "second", "ohlc v vw"),
        ("options", "O:SPY250829C00605000", "AM", "minute", "ohlc v vw"),
        ("options", "O:SPY250829C00605000", "A", "second", "ohlc v vw"),
        ("indices", "I:VIX", "AM", "minute", "ohlc"),
        ("indices", "I:VIX", "A", "second", "ohlc"),
    ],
)
def test_the_last_that_was_sent_of_each_bar_is_rests_bar(market, feed_name, ticker, topic, timespan, fields) -> None:
    """An hour, and a quarter of one more, in which the last late reports of its bars come."""
    events = _streamed(market, feed_name, f"{topic}.{ticker}", change={"advance_s": 4500})
    rows = market.rows(f"/v2/aggs/ticker/{ticker}/range/1/{timespan}/{OPEN_MS}/{OPEN_MS + 3_599_999}?limit=50000")
    last = {event["s"]: event for event in events if OPEN_MS <= event["s"] < OPEN_MS + 3_600_000}
    names = [*fields.partition(" ")[0], *fields.split()[1:]]

    assert len(rows) > 30
    assert [row["t"] for row in rows] == sorted(last)
    for row in rows:
        event = last[row["t"]]
        assert [row[name] for name in names] == [event[name] for name in names]
        assert event["e"] - event["s"] == {"minute": 60_000, "second": 1000}[timespan]


def test_a_late_report_has_its_bar_sent_again_and_rest_learns_of_it_at_the_same_time(market) -> None:
    sent = defaultdict(list)
    with subscribed(market.ready, "stocks", "AM.SPY") as raw:
        for _ in range(140):
            now_ns = market.control("POST", "/clock", {"step": True})["clock_ns"]
            for event in raw.events_so_far():
                sent[event["s"]].append((now_ns, event))
                path = f"/v2/aggs/ticker/SPY/range/1/minute/{event['s']}/{event['s']}"
                (row,) = market.rows(path)
                assert {name: row[name] for name in ("o", "h", "l", "c", "v")} == {
                    name: event[name] for name in ("o", "h", "l", "c", "v")
                }
    whole = [versions for start_ms, versions in sent.items() if start_ms >= OPEN_MS]

    assert sum(len(versions) > 1 for versions in whole) > 5
    for versions in whole:
        (first_ns, first), *others = versions
        assert 2_000 <= first_ns // 10**6 - first["e"] < 2_200
        assert all(now_ns // 10**6 - event["e"] <= 15 * 60_000 for now_ns, event in others)
        volumes = [event["v"] for _, event in versions]
        assert volumes == sorted(set(volumes))


def test_the_days_volume_and_average_are_those_of_the_bars_so_far(market) -> None:
    events = _streamed(market, "options", "AM.O:SPY250829C00605000")

    volume = value = 0.0
    for event in events:
        volume, value = volume + event["v"], value + event["v"] * event["vw"]
        assert (volume, events[0]["o"]) == (event["av"], event["op"])
        assert value / volume == pytest.approx(event["a"], abs=1e-3)


def test_before_the_opening_there_is_no_official_open(market) -> None:
    market.set_clock(f"{DAY}T09:00")
    events = _streamed(market, "stocks", "AM.SPY", change={"advance_s": 3600})
    (first,) = market.rows(f"/v2/aggs/ticker/SPY/range/1/minute/{OPEN_MS}/{OPEN_MS}")

    assert {None} == {event.get("op") for event in events if event["s"] < OPEN_MS}
    assert {first["o"]} == {event.get("op") for event in events if event["s"] >= OPEN_MS}


def test_index_values_come_about_every_15_seconds_and_make_the_minute_bars(market) -> None:
    events = _streamed(market, "indices", "V.I:VIX", change={"advance_s": 3600})
    rows = market.rows(f"/v2/aggs/ticker/I:VIX/range/1/minute/{OPEN_MS}/{OPEN_MS + 3_540_000}?limit=50000")
    minutes = defaultdict(list)
    for event in events:
        assert {"ev", "T", "val", "t"} == set(event)
        minutes[event["t"] // 60_000 * 60_000].append(event["val"])

    assert [row["t"] for row in rows] == sorted(minutes)
    for row in rows:
        values = minutes[row["t"]]
        assert [row[name] for name in "ohlc"] == [values[0], max(values), min(values), values[-1]]
    assert 1 <= min(map(len, minutes.values())) <= max(map(len, minutes.values())) == 4


def test_a_recorded_index_without_values_has_four_for_each_minute_bar(start_simulator, worlds) -> None:
    simulator = start_simulator(worlds / "spy-vix-2019-02", "--clock", "2019-02-12T09:30")
    opened = 1549981800000
    events = _streamed(simulator, "indices", "V.I:VIX", change={"advance_s": 1800})
    rows = simulator.rows(f"/v2/aggs/ticker/I:VIX/range/1/minute/{opened}/{opened + 1_740_000}")
    minutes = defaultdict(list)
    for event in events:
        minutes[event["t"] // 60_000 * 60_000].append(event["val"])

    assert [row["t"] for row in rows] == sorted(minutes)
    for row in rows:
        values = minutes[row["t"]]
        assert {4: (row["o"], row["h"], row["l"], row["c"])} == {
            len(values): (values[0], max(values), min(values), values[-1])
        }


def test_a_delayed_plan_gets_the_same_messages_a_quarter_of_an_hour_later(market) -> None:
    at_once = _streamed(market, "stocks", "AM.SPY", "T.SPY", change={"advance_s": 120})
    market.control("POST", "/clock", {"set": f"{DAY}T09:30"})
    nothing_yet = _streamed(market, "stocks", "AM.SPY", plan="starter", change={"advance_s": 1})
    market.control("POST", "/clock", {"set": f"{DAY}T09:45"})
    delayed = _streamed(market, "stocks", "AM.SPY", "T.SPY", plan="developer", change={"advance_s": 120})

    assert at_once == delayed
    assert not [event for event in nothing_yet if event["s"] >= OPEN_MS - 900_000]


def test_a_wildcard_is_every_ticker_of_the_market(market) -> None:
    shares = _streamed(market, "stocks", "AM.*", change={"advance_s": 180})
    indices = _streamed(market, "indices", "V.*", change={"advance_s": 60})
    options = _streamed(market, "options", "T.*", change={"advance_s": 60})

    assert {"AAPL", "IWM", "MSFT", "QQQ", "SPY"} == {event["sym"] for event in shares}
    assert {"I:SPX", "I:VIX"} == {event["T"] for event in indices}
    assert len({event["sym"] for event in options}) > 30


def test_frames_mix_kinds_and_tickers_hold_500_at_most_and_a_tenth_of_a_second(market) -> None:
    with subscribed(market.ready, "stocks", "T.*", "Q.*", "A.*", "AM.*") as raw:
        market.control("POST", "/clock", {"advance_s": 60})
        frames = [json.loads(frame) for frame in raw.frames_so_far()]

    ticks = [[event["t"] for event in frame if event["ev"] in "TQ"] for frame in frames]
    assert max(map(len, frames)) <= 500
    assert max(len({event["ev"] for event in frame}) for frame in frames) >= 3
    assert max(max(times) - min(times) for times in ticks if times) <= 100
    flat = [t for times in ticks for t in times]
    assert flat == sorted(flat)


def test_the_plan_and_the_subscription_decide_what_comes_and_unsubscribing_ends_it(market) -> None:
    with subscribed(market.ready, "stocks", "T.SPY", "AM.QQQ") as raw:
        market.control("POST", "/clock", {"advance_s": 120})
        before = raw.events_so_far()
        raw.send("unsubscribe", "T.SPY")
        raw.read()
        market.control("POST", "/clock", {"advance_s": 120})
        after = raw.events_so_far()
        raw.subscribe("T.IWM")
        market.control("POST", "/clock", {"advance_s": 120})
        added = raw.events_so_far()

    assert {("T", "SPY"), ("AM", "QQQ")} == {(event["ev"], event["sym"]) for event in before}
    assert {("AM", "QQQ")} == {(event["ev"], event["sym"]) for event in after}
    assert {("T", "IWM"), ("AM", "QQQ")} == {(event["ev"], event["sym"]) for event in added}
    assert min(event["t"] for event in added if event["ev"] == "T") >= OPEN_MS + 240_000


def test_nothing_is_sent_twice_or_left_out_when_subscriptions_change_on_the_way(market) -> None:
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        events = []
        for place in range(20):
            market.control("POST", "/clock", {"advance_s": 7.33})
            raw.send("subscribe" if place % 2 else "unsubscribe", "T.AAPL")
            events += raw.events_so_far()
    rows = market.rows(f"/v3/trades/SPY?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")

    counted = Counter(event["q"] for event in events if event["ev"] == "T" and event["sym"] == "SPY")
    last = max(counted)
    assert {row["sequence_number"] for row in rows if row["sequence_number"] <= last} == set(counted)
    assert {1} == set(counted.values())


def test_what_was_published_can_be_asked_for(market) -> None:
    events = _streamed(market, "indices", "V.I:VIX", "AM.I:VIX")
    listed = {
        pair: market.control("GET", f"/published?subscription={pair}&after={DAY}T09:30&until={DAY}T09:40")
        for pair in ("V.I:VIX", "AM.I:VIX")
    }

    for pair, messages in listed.items():
        assert messages == [event for event in events if event["ev"] == pair.partition(".")[0]]
