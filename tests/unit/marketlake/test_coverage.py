"""What is claimed to have been received was received; what is missing is found; every second has its label."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_records import Event, Recording

from marketlake.coverage import (
    StreamCoverage,
    Stretch,
    difference,
    expected_of,
    labelled,
    seconds_by_label,
    union,
)
from marketlake.feeds import Subscription, Topic
from marketlake.frames import decode
from marketlake.ledger import Coverage, How
from marketlake.tables import TABLES
from marketlake.tickers import AssetClass

MS = 1_000_000
SECOND = 1_000 * MS
TEN = 1734706800000  # 2024-12-20 10:00 New York, milliseconds
TICKS, MINUTES = Subscription.parse("T.SPY"), Subscription.parse("AM.SPY")
WANTED = [str(TICKS), str(MINUTES)]


def trade(ms: int) -> Event:
    return {"ev": "T", "sym": "SPY", "x": 4, "p": 585.0, "s": 1, "t": ms}


def minute(start_ms: int) -> Event:
    prices = {"o": 585.0, "h": 586.0, "l": 584.0, "c": 585.5, "v": 100}
    return {"ev": "AM", "sym": "SPY", **prices, "s": start_ms, "e": start_ms + 60_000}


def covered(
    recording: Recording, *, chunk: int | None = None, is_whole: bool = True, limit_s: float = 1e9
) -> dict[Subscription, tuple[Stretch, ...]]:
    coverage = StreamCoverage(lambda _: is_whole, dict.fromkeys(Topic, round(limit_s * SECOND)))
    records, step = recording.records, chunk or len(recording.records)
    for begin in range(0, len(records), step):
        for item in decode(records[begin : begin + step], AssetClass.STOCKS):
            coverage.take(item)
    return coverage.stretches()


def connect(recording: Recording, number: int = 1, accepted: list[str] = WANTED) -> None:
    recording.note("connecting", connection=number)
    recording.note("connected", connection=number)
    recording.note("authenticated", connection=number)
    recording.note("subscribed", connection=number, accepted=accepted, refused=[])


def ticks(recording: Recording, *seconds: float) -> None:
    for second in seconds:
        recording.frame(trade(TEN + round(second * 1_000)))


def of_ticks(recording: Recording, **options: Any) -> list[tuple[float, float]]:
    """The stretches of T.SPY in seconds after ten."""
    found = covered(recording, **options).get(TICKS, ())
    return [tuple((edge // MS - TEN) / 1_000 for edge in item) for item in found]  # type: ignore[misc]


@pytest.mark.parametrize("chunk", [None, 1, 2, 3])
def test_a_topic_that_stalls_alone_is_covered_to_where_it_was_heard(chunk: int | None) -> None:
    recording = Recording()
    connect(recording)
    for number in range(12):
        if number < 4:
            ticks(recording, *range(60 * number, 60 * number + 60))
        recording.frame(minute(TEN + number * 60_000))
    recording.note("silent", connection=1, topics=["T"], silent_s=480, limit_s=240)
    recording.note("disconnected", connection=1, outcome="silent", detail="")
    connect(recording, 2)
    ticks(recording, *range(800, 900))

    found = covered(recording, chunk=chunk)

    assert [(1.001, 239.0), (801.001, 898.0)] == of_ticks(recording, chunk=chunk)
    first, *_ = found[MINUTES]
    assert TEN + 9 * 60_000 < first.end_ns // MS, "the other topic was heard all the while"


@pytest.mark.parametrize("chunk", [None, 1, 2, 3])
def test_a_halt_whose_recorder_died_ends_with_the_next_trade(chunk: int | None) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 0, 1, 2, 3)
    recording.note("halted", connection=1, since_ns=(TEN + 3_000) * MS)
    recording.note("started", feed="stocks", session="2024-12-20", wanted=WANTED)
    connect(recording)
    recording.frame(minute(TEN - 60_000))  # sent again, of trades before the halt
    ticks(recording, 303.5, 304)
    coverage = StreamCoverage(lambda _: True, dict.fromkeys(Topic, 10**18))
    records, step = recording.records, chunk or len(recording.records)
    for begin in range(0, len(records), step):
        for item in decode(records[begin : begin + step], AssetClass.STOCKS):
            coverage.take(item)

    assert (Stretch((TEN + 3_000) * MS, (TEN + 303_500) * MS),) == coverage.halts()


@pytest.mark.parametrize("chunk", [None, 1, 2, 3])
def test_a_leap_of_time_that_is_longer_than_a_silence_may_be_is_not_covered(chunk: int | None) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 0, 1, 2, 3, 4, 64, 65, 66, 67, 68, 69)

    assert [(1.001, 68)] == of_ticks(recording, chunk=chunk)
    before, after = of_ticks(recording, chunk=chunk, limit_s=10)
    assert before == (1.001, 4)
    assert 64 <= after[0] <= 67
    assert after[1] == 68


@pytest.mark.parametrize("chunk", [None, 1, 2, 3])
def test_one_frame_of_the_future_is_no_leap(chunk: int | None) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 0, 1, 2, 500, 3, 4, 5, 6)

    assert [(1.001, 6)] == of_ticks(recording, chunk=chunk, limit_s=10)


def test_a_stretch_reaches_from_the_second_frame_to_the_last_but_one() -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3, 4, 5)

    assert [(2.001, 4)] == of_ticks(recording)


def test_nothing_is_covered_before_the_subscription_is_confirmed() -> None:
    recording = Recording()
    recording.note("connected", connection=1)
    ticks(recording, 1, 2, 3)
    recording.note("subscribed", connection=1, accepted=WANTED, refused=[])
    ticks(recording, 4, 5, 6, 7)

    assert [(5.001, 6)] == of_ticks(recording)


def test_only_what_was_accepted_is_covered() -> None:
    recording = Recording()
    connect(recording, accepted=["T.SPY"])
    ticks(recording, *range(300))

    assert {TICKS} == set(covered(recording))


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda r: r.note("frames_lost", connection=1, frames=1, bytes=9, reason="overflow"), id="lost"),
        pytest.param(lambda r: r.note("silent", connection=1, silent_s=11, limit_s=10), id="silent"),
        pytest.param(lambda r: r.message(b'[{"ev":"T","sy'), id="cut frame"),
        pytest.param(lambda r: r.frame(trade(TEN + 4_500) | {"p": None}), id="null price"),
        pytest.param(lambda r: r.frame({"sym": "SPY"}), id="no ev"),
    ],
)
def test_what_was_lost_cuts_the_stretch(cut: Callable[[Recording], object]) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3, 4)
    cut(recording)
    ticks(recording, 5, 6, 7, 8)

    assert [(2.001, 3), (6.001, 7)] == of_ticks(recording)


@pytest.mark.parametrize("event", ["disconnected", "stopped", "started", "connecting"])
def test_the_end_of_a_connection_ends_its_subscriptions(event: str) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3, 4)
    recording.note(event, connection=1)
    ticks(recording, 5, 6, 7, 8)

    assert [(2.001, 3)] == of_ticks(recording)


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(lambda r: r.note("alive"), id="alive"),
        pytest.param(lambda r: r.note("refused", subscription="Q.SPY", message="no"), id="refused"),
        pytest.param(lambda r: r.frame({"ev": "NEW", "x": 1}), id="a kind of event of tomorrow"),
        pytest.param(lambda r: r.frame({"ev": "status", "status": "success"}), id="status"),
        pytest.param(lambda r: r.frame(), id="empty array"),
        pytest.param(lambda r: r.frame(trade(TEN - 900_000)), id="late print"),
        pytest.param(lambda r: r.frame(minute(TEN - 900_000)), id="bar sent again"),
        pytest.param(lambda r: r.next_file(), id="next file"),
        pytest.param(lambda r: r.note("subscribed", connection=1, accepted=WANTED, refused=[]), id="said again"),
    ],
)
def test_what_loses_nothing_cuts_nothing(harmless: Callable[[Recording], object]) -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3)
    harmless(recording)
    ticks(recording, 4, 5, 6)

    assert [(2.001, 5)] == of_ticks(recording)


def test_a_file_that_is_not_whole_cuts_the_stretch() -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3, 4)
    recording.next_file()
    ticks(recording, 5, 6, 7, 8)

    assert [(2.001, 3), (6.001, 7)] == of_ticks(recording, is_whole=False)


def test_a_bar_sent_again_as_the_first_frame_is_not_taken_for_the_present() -> None:
    recording = Recording()
    connect(recording)
    recording.frame(minute(TEN - 600_000))
    ticks(recording, 1, 2, 3)

    assert [(1.001, 2)] == of_ticks(recording)


def test_bars_as_the_first_frames_do_not_claim_the_seconds_by_which_they_are_late() -> None:
    """At 10:01:02 two bars that ended at 10:01 come; trades before that instant were sent to nobody."""
    recording = Recording()
    connect(recording)
    recording.frame(minute(TEN))
    recording.frame(minute(TEN) | {"sym": "QQQ"})
    ticks(recording, 62.1, 63, 80, 81)

    assert [(65.001, 80)] == of_ticks(recording)


def test_one_time_in_the_future_claims_nothing() -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 9_999, 3, 4)
    recording.note("disconnected", connection=1, outcome="closed", detail="")

    assert [(2.001, 4)] == of_ticks(recording)


def test_a_bar_is_covered_that_ended_after_the_connection_was_there() -> None:
    """Connected at 10:00:30: the bar of 10:00 comes, that of 9:59 has come already."""
    recording = Recording()
    connect(recording)
    ticks(recording, 30, 31, 90, 150, 245, 246)

    assert covered(recording)[MINUTES] == (Stretch(TEN * MS, TEN * MS + 4 * 60 * SECOND),)


def test_a_bar_of_the_last_seconds_is_not_covered() -> None:
    """It comes some two seconds after its end."""
    recording = Recording()
    connect(recording)
    ticks(recording, 30, 31, 90, 124.9, 125)

    assert covered(recording)[MINUTES] == (Stretch(TEN * MS, TEN * MS + 60 * SECOND),)


def test_changing_subscriptions_leaves_the_others_alone() -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3)
    recording.note("changed", connection=1, added=["Q.SPY"], dropped=["AM.SPY"])
    ticks(recording, 4, 5)
    recording.note("subscribed", connection=1, accepted=["Q.SPY"], refused=[])
    ticks(recording, 6, 7, 400, 401)
    found = covered(recording)

    assert [(2.001, 400)] == of_ticks(recording)
    assert (Stretch((TEN + 7_001) * MS, (TEN + 400_000) * MS),) == found[Subscription.parse("Q.SPY")]
    assert MINUTES not in found


@dataclass
class _World:
    """A vendor that publishes for ten minutes, and a recorder that gets some of it."""

    chance: Random
    recording: Recording = field(default_factory=Recording)
    on_time: list[tuple[int, str, int, bool]] = field(default_factory=list)  # published, topic, event time, received

    def frames(self) -> list[tuple[int, list[Event], bool]]:
        """By publication: each frame with when it is sent, and whether anything in it is on time."""
        sent: list[tuple[int, list[Event], bool]] = []
        now = TEN
        bars = {TEN + 60_000 * n + self.chance.randint(0, 5_000): TEN + 60_000 * (n - 1) for n in range(11)}
        was_late = False
        while now < TEN + 600_000:
            before, now = now, now + self.chance.choice([1, 100, 100, 700, 3_000, 20_000])
            events: list[Event] = [minute(bars[due]) for due in sorted(bars) if before < due <= now]
            on_time = [*events]
            if not events or self.chance.random() < 0.5:
                on_time.append(trade(now))
            late = [self.late(now) for _ in range(self.chance.choice([0, 0, 0, 1, 2]))]
            if late and not events and not was_late and self.chance.random() < 0.5:
                on_time = []
            was_late = not on_time
            for event in on_time:
                self.on_time.append((now, event["ev"], event["s" if event["ev"] == "AM" else "t"], False))
            frame = [*on_time, *late]
            self.chance.shuffle(frame)
            if frame:
                sent.append((now, frame, bool(on_time)))
        return sent

    def late(self, now: int) -> Event:
        behind = self.chance.choice([200, 30_000, 900_000])
        return trade(now - behind) if self.chance.random() < 0.5 else minute((now - behind) // 60_000 * 60_000 - 60_000)

    def run(self) -> None:
        received: set[int] = set()
        state, number = "off", 0
        for now, frame, _ in self.frames():
            if state == "off" and self.chance.random() < 0.3:
                number += 1
                self.recording.note("connected", connection=number)
                state = "deaf"
            elif state == "deaf" and self.chance.random() < 0.7:
                accepted = WANTED if self.chance.random() < 0.8 else [str(TICKS)]
                self.recording.note("subscribed", connection=number, accepted=accepted, refused=[])
                state = "on"
            fault = self.chance.random()
            if state == "on" and fault < 0.03:
                self.recording.note("frames_lost", connection=number, frames=1, bytes=9, reason="overflow")
            elif state == "on" and fault < 0.05:
                self.recording.message(str(frame).encode()[:-1])
            elif state == "on" and fault < 0.09:
                self.lose_connection(number)
                state = "off"
            elif state == "on":
                self.recording.frame(*frame)
                received.add(now)
        self.on_time = [(now, topic, time, now in received) for now, topic, time, _ in self.on_time]

    def lose_connection(self, number: int) -> None:
        kind = self.chance.choice(["closed", "silent", "killed"])
        if kind == "killed":
            self.recording.next_file()
            self.recording.note("started", pid=1)
            return
        if kind == "silent":
            self.recording.note("silent", connection=number)
        self.recording.note("disconnected", connection=number, outcome=kind, detail="")


def claimed(world: _World, found: dict[Subscription, tuple[Stretch, ...]]) -> list[tuple[str, int, bool]]:
    """What was published on time inside the claimed stretches: topic, event time, and whether it was received."""
    return [
        (topic, time, was_received)
        for _, topic, time, was_received in world.on_time
        for item in found.get(Subscription.parse(f"{topic}.SPY"), ())
        if item.start_ns <= time * MS < item.end_ns
    ]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_everything_on_time_that_is_claimed_was_received(seed: int, batch: int) -> None:
    world = _World(Random(seed))
    world.run()
    if not world.recording.records:
        return
    found = covered(world.recording, chunk=batch)

    assert [] == [event for event in claimed(world, found) if not event[2]]
    assert found == covered(world.recording)


def test_most_of_what_was_received_is_claimed() -> None:
    """Although one frame in eleven loses the connection or is lost; else the test above would prove nothing."""
    worlds = [_World(Random(seed)) for seed in range(50)]
    for world in worlds:
        world.run()
    received = sum(was_received for world in worlds for *_, was_received in world.on_time)

    assert received > 4_000
    assert sum(len(claimed(world, covered(world.recording))) for world in worlds) > received / 2


@given(st.lists(st.integers(1, 5_000), min_size=3, max_size=60), st.sets(st.integers(1, 58)))
def test_no_more_is_given_up_than_two_frames_at_each_end(steps: list[int], cuts: set[int]) -> None:
    """Of a stream without late events: of frames received in a row, the first and the last step are not claimed."""
    times = [TEN + sum(steps[:place]) for place in range(1, len(steps) + 1)]
    recording = Recording()
    connect(recording)
    runs: list[list[int]] = [[]]
    for place, time in enumerate(times):
        if place in cuts:
            recording.note("frames_lost", connection=1, frames=1, bytes=9, reason="overflow")
            runs.append([])
        recording.frame(trade(time))
        runs[-1].append(time)
    expected = [Stretch((run[1] + 1) * MS, run[-2] * MS) for run in runs if len(run) > 3]

    assert union(item for item in expected if item.start_ns < item.end_ns) == covered(recording).get(TICKS, ())


STRETCHES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: Stretch(*pair)), max_size=8)


def points(stretches: Any) -> set[int]:
    return {point for start, end in stretches for point in range(start, end)}


@given(STRETCHES)
def test_a_union_is_the_same_time_in_the_fewest_stretches(stretches: list[Stretch]) -> None:
    joined = union(stretches)

    assert points(stretches) == points(joined)
    assert all(earlier.end_ns < later.start_ns for earlier, later in pairwise(joined))


@given(st.tuples(st.integers(0, 15), st.integers(0, 30)).map(lambda pair: Stretch(*pair)), STRETCHES)
def test_gaps_are_what_is_expected_and_not_known(expected: Stretch, known: list[Stretch]) -> None:
    gaps = difference(expected, known)

    assert points([expected]) - points(known) == points(gaps)
    assert gaps == union(gaps)


@pytest.mark.parametrize(
    ("table", "ticker", "session", "hours"),
    [
        ("stock_bars", "SPY", date(2024, 12, 20), (9.5, 16)),
        ("stock_trades", "SPY", date(2024, 11, 29), (9.5, 13)),
        ("option_quotes", "O:SPY241220C00585000", date(2024, 12, 20), (9.5, 16.25)),
        ("option_quotes", "O:AAPL241220C00250000", date(2024, 12, 20), (9.5, 16)),
        ("index_values", "I:VIX", date(2024, 7, 3), (9.5, 13.25)),
    ],
)
def test_what_is_expected_follows_the_tables_hours(
    table: str, ticker: str, session: date, hours: tuple[float, float]
) -> None:
    """Cboe's hours: broad funds' options and VIX a quarter of an hour longer; half days end at 13:00."""
    found = expected_of(TABLES[table], ticker, session)

    assert (hours[1] - hours[0]) * 3_600 * SECOND == found.end_ns - found.start_ns


def known(start: int, end: int, how: How) -> Coverage:
    return Coverage("SPY", None, start, end, how, 0, 0, 0, 0, ())


HOURS = Stretch(10 * SECOND, 20 * SECOND)


def test_labels_fill_the_expected_time_and_say_where_nothing_is_known() -> None:
    items = [
        known(0, 12 * SECOND, How.BACKFILLED),
        known(11 * SECOND, 15 * SECOND, How.STREAMED),
        known(17 * SECOND, 40 * SECOND, How.VERIFIED_EMPTY),
    ]
    found = [
        (item.how, item.stretch.start_ns // SECOND, item.stretch.end_ns // SECOND) for item in labelled(HOURS, items)
    ]

    assert [
        (How.BACKFILLED, 10, 11),
        (How.STREAMED, 11, 15),
        (None, 15, 17),
        (How.VERIFIED_EMPTY, 17, 20),
    ] == found
    assert {How.BACKFILLED: 1, How.STREAMED: 4, None: 2, How.VERIFIED_EMPTY: 3} == seconds_by_label(HOURS, items)


def test_a_second_that_is_known_in_part_is_not_known() -> None:
    items = [known(0, 13 * SECOND + 1, How.STREAMED), known(14 * SECOND - 1, 99 * SECOND, How.HEALED)]

    assert {How.STREAMED: 3, None: 1, How.HEALED: 6} == seconds_by_label(HOURS, items)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(list(How))), max_size=8))
def test_every_second_has_exactly_one_label(items: list[tuple[int, int, How]]) -> None:
    coverage = [known(start * SECOND // 2, end * SECOND // 2, how) for start, end, how in items]
    parts = labelled(HOURS, coverage)

    assert sum(seconds_by_label(HOURS, coverage).values()) == 10
    assert [HOURS.start_ns, *(part.stretch.end_ns for part in parts)] == [
        *(part.stretch.start_ns for part in parts),
        HOURS.end_ns,
    ]
    assert points(
        [in_half_seconds(item) for item in difference(HOURS, [Stretch(i.start_ns, i.end_ns) for i in coverage])]
    ) == points([in_half_seconds(part.stretch) for part in parts if part.how is None])


def in_half_seconds(stretch: Stretch) -> Stretch:
    return Stretch(stretch.start_ns * 2 // SECOND, stretch.end_ns * 2 // SECOND)
