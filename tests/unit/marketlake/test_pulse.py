"""What is told of a stream without parsing it, against what parsing it tells."""

import json
from collections import deque
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.feeds import Topic
from marketlake.pulse import Pulse, last_event_ns

MS = 1_000_000
# The documented message of each topic; `t`, `s`, `e` mean different things in each.
TRADE = {"ev": "T", "sym": "SPY", "x": 4, "i": "71711", "z": 2, "p": 585.33, "s": 25, "c": [37], "t": 1, "trft": 7}
QUOTE = {"ev": "Q", "sym": "SPY", "t": 1, "bx": 302, "ax": 304, "bp": 3.09, "ap": 3.12, "bs": 61, "as": 44, "q": 8}
VALUE = {"ev": "V", "val": 18.36, "T": "I:VIX", "t": 1}
BAR = {"ev": "A", "sym": "SPY", "v": 812344, "op": 585.2, "o": 1.0, "c": 2.0, "h": 3.0, "l": 1.0, "s": 3, "e": 4}


def event(topic: Topic, at_ms: int) -> dict[str, object]:
    """An event of a topic that was published at an instant."""
    if topic in {Topic.SECONDS, Topic.MINUTES}:
        return BAR | {"ev": str(topic), "s": at_ms - 1_000, "e": at_ms}
    shape = {Topic.TRADES: TRADE, Topic.QUOTES: QUOTE, Topic.VALUES: VALUE}[topic]
    return shape | {"t": at_ms}


EVENTS = st.tuples(st.sampled_from(Topic), st.integers(10**12, 10**13 - 1))


@given(st.lists(EVENTS, min_size=1, max_size=6), st.sampled_from([(",", ":"), (", ", ": ")]), st.randoms())
def test_the_last_event_is_found_whatever_the_order_of_its_keys(
    items: list[tuple[Topic, int]], separators: tuple[str, str], random: "st.random_module"
) -> None:
    shuffled = []
    for item in items:
        pairs = list(event(*item).items())
        random.shuffle(pairs)  # type: ignore[attr-defined]
        shuffled.append(dict(pairs))
    message = json.dumps(shuffled, separators=separators).encode()

    assert items[-1][1] * MS == last_event_ns(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"no JSON",
        b"[1]",
        b'[{"ev":"T"}]',
        b'[{"ev":"ZZ","t":5}]',
        b'[{"ev":"T","t":null}]',
        b'[{"ev":"T","t":',
    ],
)
def test_a_message_without_a_time_tells_none(message: bytes) -> None:
    assert last_event_ns(message) is None


def test_a_time_in_nanoseconds_is_no_time_of_these_topics() -> None:
    assert last_event_ns(b'[{"ev":"T","t":1734705000123456789}]') is None


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=5), max_size=20))
def test_counts_are_those_of_the_messages(messages: list[list[tuple[Topic, int]]]) -> None:
    pulse = Pulse()
    sent = [json.dumps([event(*item) for item in items]).encode() for items in messages]
    for number, message in enumerate(sent):
        pulse.beat(number, message)

    assert (len(sent), sum(map(len, sent)), sum(map(len, messages))) == (pulse.frames, pulse.bytes, pulse.events)
    assert (messages[-1][-1][1] * MS if messages else None) == pulse.last_event_ns()


def test_news_is_told_once_and_a_handshake_is_none() -> None:
    pulse = Pulse()
    pulse.beat(0, json.dumps([event(Topic.TRADES, 1_734_705_000_000)]).encode())

    assert 1_734_705_000_000 * MS == pulse.news_ns()
    assert pulse.news_ns() is None
    pulse.beat(1, b'[{"ev":"status","status":"connected","message":"Connected Successfully"}]')
    assert pulse.news_ns() is None
    assert 1_734_705_000_000 * MS == pulse.last_event_ns()


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=4), max_size=6), st.sets(st.sampled_from(Topic)))
def test_the_topics_that_came_since_the_last_look_are_told(
    messages: list[list[tuple[Topic, int]]], wanted: set[Topic]
) -> None:
    pulse = Pulse()
    pulse.heard(wanted)
    for items in messages:
        pulse.beat(0, json.dumps([event(*item) for item in items], separators=(",", ":")).encode())

    assert {topic for items in messages for topic, _ in items} & wanted == pulse.heard(wanted)
    assert set() == pulse.heard(wanted)


def test_the_lag_is_that_of_the_last_minute_without_the_plans_delay() -> None:
    delay_ns = 15 * 60 * 1_000 * MS
    pulse = Pulse(delay_ns=delay_ns)
    start_ms = 1_734_705_000_000
    for number in range(200):
        lag_ms = 5_000 if number < 100 else number
        received_ns = (start_ms + number * 1_000 + lag_ms) * MS + delay_ns
        pulse.beat(received_ns, json.dumps([event(Topic.QUOTES, start_ms + number * 1_000)]).encode())
    lag = pulse.lag((start_ms + 199 * 1_000) * MS + delay_ns)

    assert lag is not None
    assert lag.p50_ms == pytest.approx(median(range(139, 200)), abs=1)
    assert 198 <= lag.p99_ms <= 199
    assert pulse.lag((start_ms + 400 * 1_000) * MS + delay_ns) is None


def test_nothing_piles_up_where_nobody_asks_for_the_lag() -> None:
    pulse = Pulse(delay_ns=0)
    sizes = []
    for minute in range(5):
        for number in range(600):
            at_ms = 1_756_474_200_000 + minute * 60_000 + number * 100
            pulse.beat(at_ms * MS, json.dumps([event(Topic.TRADES, at_ms)]).encode())
        sizes.append(sum(map(len, (value for value in vars(pulse).values() if isinstance(value, deque)))))

    assert sizes[1] <= sizes[-1] <= 601
