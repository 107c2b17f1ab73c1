"""Messages and frames: the same bytes whatever stands around them, however much is read at a time."""

import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from simulator.stream.lineup import LARGEST_FRAME, SLICE_NS, line_up
from simulator.stream.messages import encode
from simulator.stream.sources import Published
from simulator.stream.topics import Topic

START_NS = 1_756_474_200_000_000_000
SIZES = st.one_of(st.integers(1, 1000).map(float), st.floats(0.015625, 99, width=32))
TRADES = st.lists(
    st.fixed_dictionaries(
        {
            "sip_timestamp": st.integers(START_NS, START_NS + 10**12),
            "price": st.floats(0.015625, 1000, width=32),
            "size": SIZES,
            "exchange": st.integers(1, 20),
            "id": st.one_of(st.none(), st.text(min_size=1, max_size=5)),
            "conditions": st.one_of(st.none(), st.lists(st.integers(1, 60), max_size=3)),
            "trf_id": st.one_of(st.none(), st.integers(201, 203)),
        }
    ),
    min_size=1,
    max_size=30,
)


def table(rows: Sequence[object]) -> pa.Table:
    schema = pa.schema(
        {
            "sip_timestamp": pa.int64(),
            "price": pa.float64(),
            "size": pa.float64(),
            "exchange": pa.int64(),
            "id": pa.string(),
            "conditions": pa.list_(pa.int64()),
            "trf_id": pa.int64(),
        }
    )
    return pa.Table.from_pylist(rows, schema=schema)


@given(rows=TRADES)
def test_a_message_does_not_depend_on_the_rows_around_it(rows) -> None:
    together = encode(Topic.TRADES, "SPY", table(rows))
    alone = [encode(Topic.TRADES, "SPY", table([row])) for row in rows]

    assert [message for messages in alone for message in messages] == together


@given(rows=TRADES)
def test_a_trade_says_what_its_row_says_and_nothing_for_what_is_missing(rows) -> None:
    for row, message in zip(rows, encode(Topic.TRADES, "SPY", table(rows)), strict=True):
        event = json.loads(message)
        expected = {"ev": "T", "sym": "SPY", "t": row["sip_timestamp"] // 10**6, "x": row["exchange"]}
        expected |= {"p": row["price"], "s": row["size"]}
        optional = {"i": row["id"], "c": row["conditions"] or None, "trfi": row["trf_id"]}
        expected |= {name: value for name, value in optional.items() if value is not None}

        assert expected == event
        assert isinstance(event["s"], int) == row["size"].is_integer()


PARTS = st.lists(st.lists(st.integers(0, 2_000), max_size=40).map(sorted), max_size=4)


def published(name: int, times_ms: list[int]) -> Published:
    messages = [f'{{"source":{name},"place":{place},"t":{t}}}'.encode() for place, t in enumerate(times_ms)]
    return Published(START_NS + np.array(times_ms, np.int64) * 10**6, messages)


def frames_of(parts: list[Published], delay_ns: int = 0) -> list[tuple[int, list[dict[str, int]]]]:
    lineup = line_up(parts, delay_ns)
    frames = []
    while (end_ns := lineup.next_ns) is not None:
        frame, count = lineup.take()
        events = json.loads(frame)
        assert count == len(events)
        frames.append((end_ns, events))
    return frames


@given(parts=PARTS, delay_ms=st.sampled_from([0, 900_000]))
def test_every_message_is_in_one_frame_in_the_order_of_time_at_the_end_of_its_slice(parts, delay_ms) -> None:
    frames = frames_of([published(name, times) for name, times in enumerate(parts)], delay_ms * 10**6)
    events = [event for _, frame in frames for event in frame]
    everything = [
        {"source": name, "place": place, "t": t} for name, times in enumerate(parts) for place, t in enumerate(times)
    ]

    assert sorted(everything, key=lambda event: event["t"]) == events
    for end_ns, frame in frames:
        for event in frame:
            at_ns = START_NS + (event["t"] + delay_ms) * 10**6
            assert end_ns - SLICE_NS < at_ns <= end_ns
    assert [end for end, _ in frames] == sorted(end for end, _ in frames)


def test_a_slice_with_many_messages_is_several_frames_of_500() -> None:
    frames = frames_of([published(0, [50] * 700), published(1, [60] * 550)])

    assert [500, 500, 250] == [len(events) for _, events in frames]
    assert LARGEST_FRAME == 500


@given(parts=PARTS, cuts=st.lists(st.integers(0, 20), max_size=3))
def test_reading_in_pieces_that_end_with_slices_makes_the_same_frames(parts, cuts) -> None:
    whole = [published(name, times) for name, times in enumerate(parts)]
    bounds = [START_NS - 1, *sorted(START_NS + cut * SLICE_NS for cut in cuts), START_NS + 10**11]
    pieces = []
    for after, until in pairwise(bounds):
        pieces += frames_of([part.between(after, until) for part in whole])

    assert frames_of(whole) == pieces
