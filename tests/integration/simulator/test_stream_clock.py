"""The stream follows the clock: the same bytes at any speed, step by step, back and forth; a slow reader holds it."""

import json
import time
from contextlib import suppress
from itertools import takewhile

import pytest
from raw_feed import PATIENCE_S, subscribed, words
from websockets.exceptions import ConnectionClosed

DAY = "2025-08-29"
OPEN_MS = 1756474200000
PAIRS = ("T.SPY", "Q.SPY", "A.SPY", "AM.SPY", "T.QQQ")


def _frames_until(raw, end_ms) -> list[bytes]:
    """Frames of the running clock up to a simulated time."""
    frames, deadline = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        frame = raw.read_raw()
        if _newest(frame) > end_ms:
            return frames
        frames.append(frame)
    raise AssertionError("the clock does not get there")


@pytest.mark.parametrize("speed", [10, 1000, 10_000])
def test_the_bytes_of_the_frames_are_the_same_at_any_speed(market, speed) -> None:
    with subscribed(market.ready, "stocks", *PAIRS) as raw:
        market.control("POST", "/clock", {"advance_s": 21})
        stepped = list(takewhile(lambda frame: _newest(frame) <= OPEN_MS + 20_000, raw.frames_so_far()))
    market.set_clock(f"{DAY}T09:30")
    with subscribed(market.ready, "stocks", *PAIRS) as raw:
        market.control("POST", "/clock", {"speed": speed})
        ran = _frames_until(raw, OPEN_MS + 20_000)

    assert len(stepped) > 50
    assert stepped == ran


def _newest(frame: bytes) -> int:
    return max(event.get("t", event.get("e", 0)) for event in json.loads(frame))


def test_the_order_of_subscribing_and_the_size_of_the_steps_change_no_byte(market, start_simulator) -> None:
    with subscribed(market.ready, "stocks", *PAIRS) as raw:
        market.control("POST", "/clock", {"advance_s": 90})
        frames = raw.frames_so_far()
    other = start_simulator("synthetic", "--session", DAY, "--clock", f"{DAY}T09:30")
    with subscribed(other.ready, "stocks", *reversed(PAIRS)) as raw:
        for _ in range(30):
            other.control("POST", "/clock", {"advance_s": 3})
        again = raw.frames_so_far()

    assert frames == again


def test_a_clock_that_stands_sends_nothing_and_a_step_goes_to_the_next_message(market) -> None:
    with subscribed(market.ready, "indices", "V.I:VIX") as raw:
        assert [] == raw.frames_so_far()
        for _ in range(5):
            now_ms = market.control("POST", "/clock", {"step": True})["clock_ns"] // 10**6
            (event,) = raw.events_so_far()
            assert 0 <= now_ms - event["t"] < 100


def test_a_step_through_the_night_finds_the_first_message_of_the_next_session(market) -> None:
    market.set_clock("2025-08-29T20:05")
    with subscribed(market.ready, "options", "T.O:SPY250902C00600000") as raw:
        clock = market.control("POST", "/clock", {"step": True})["clock"]
        events = raw.events_so_far()

    assert clock.startswith("2025-09-02T09")  # Monday is Labor Day
    assert 1 == len(events)


def test_seeking_back_sends_it_again_and_seeking_on_leaves_out_what_lies_between(market) -> None:
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 30})
        first = raw.frames_so_far()
        market.set_clock(f"{DAY}T09:30")
        market.control("POST", "/clock", {"advance_s": 30})
        again = raw.frames_so_far()
        market.set_clock(f"{DAY}T15:00")
        market.control("POST", "/clock", {"advance_s": 30})
        later = raw.events_so_far()

    assert first == again
    assert min(event["t"] for event in later) >= OPEN_MS + 330 * 60_000


def test_rest_sees_no_trade_that_the_stream_is_far_from(market) -> None:
    """At 1000 times the pace REST is ahead by some hundred simulated seconds at most: a quarter of a wall second."""
    clocks, shown, ahead = [], [], []
    streamed = OPEN_MS
    with subscribed(market.ready, "stocks", "T.*", "Q.*") as raw:
        market.control("POST", "/clock", {"speed": 1000})
        while streamed < OPEN_MS + 1_800_000:
            clocks.append(market.control("GET", "/state")["clock_ns"])
            newest = market.get("/v3/trades/SPY?order=desc&limit=1").json()["results"]
            shown.extend(row["sip_timestamp"] for row in newest)
            # What was sent by now, asked behind REST: it can only make the distance smaller than it was.
            streamed = max([streamed, *(event["t"] for event in raw.events_so_far())])
            ahead.append(max([*shown, 0]) // 10**6 - streamed)
        market.control("POST", "/clock", {"pause": True})

    assert len(shown) > 5
    assert max(ahead) < 300_000
    assert clocks == sorted(clocks)
    assert shown == sorted(shown), "REST takes back nothing that it has shown"


def test_the_clock_waits_for_a_reader_that_does_not_follow_and_nothing_is_lost(market) -> None:
    with subscribed(market.ready, "stocks", "T.*", "Q.*", "A.*") as raw:
        market.control("POST", "/clock", {"speed": 10_000})
        held = _held_for(market, 0.2)
        stood = market.control("GET", "/state")["clock_ns"]
        held = _held_for(market, held["held_clock_s"] + 0.2)
        stands = market.control("POST", "/clock", {"pause": True})["clock_ns"]
        events = raw.events_so_far()
    rows = market.rows(f"/v3/trades/SPY?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")
    streamed = [event["q"] for event in events if event["ev"] == "T" and event["sym"] == "SPY"]

    assert held["buffered_bytes"] > 0
    assert stood == stands < (OPEN_MS + 390 * 60_000) * 10**6
    assert len(streamed) > 1000
    assert [row["sequence_number"] for row in rows][: len(streamed)] == streamed


def _held_for(market, seconds: float) -> dict[str, float]:
    """The connection's report once it has held the clock for so long."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        (report,) = market.control("GET", "/stream")["connections"]
        if report["held_clock_s"] > seconds:
            return report
    raise AssertionError("the clock runs on")


@pytest.mark.parametrize("how", ["status", "drop"])
def test_a_strict_stream_kicks_a_reader_that_does_not_follow(market, how) -> None:
    market.control("POST", "/switches", {"strict": True, "buffer_bytes": 1 << 20, "slow_reader": how})
    with subscribed(market.ready, "stocks", "T.*", "Q.*", "A.*") as raw:
        market.control("POST", "/clock", {"advance_s": 20_000})
        report = market.control("GET", "/stream")
        closed = raw.end() if how == "drop" else None
        last = [] if how == "drop" else _statuses(raw)
        state = market.control("GET", "/state")

    ended = [one["ended_by"] for one in (*report["connections"], *report["ended"])]
    assert ["slow_consumer"] == ended
    assert state["clock_ns"] == (OPEN_MS + 20_000_000) * 10**6
    if how == "drop":
        assert closed.rcvd is None
    else:
        assert [("slow_consumer", "Client is not reading fast enough.")] == last[-1:]


def _statuses(raw) -> list[tuple[str, str]]:
    """The status messages that still come, until the connection ends."""
    found: list[tuple[str, str]] = []
    with suppress(ConnectionClosed):
        while True:
            events = raw.read()
            found += words(events) if events[0]["ev"] == "status" else []
    return found
