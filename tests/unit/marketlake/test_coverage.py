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
    difference,
    expected_of,
    labelled,
    seconds_by_label,
    union,
)
from marketlake.feeds import Subscription, Topic
from marketlake.frames import decode
from marketlake.ledger import Coverage, How
from marketlake.reach import Stretch
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


ALL_DAY = Stretch((TEN - 86_400_000) * MS, (TEN + 86_400_000) * MS)


def read(
    recording: Recording,
    *,
    chunk: int | None = None,
    is_whole: bool = True,
    limit_s: float = 1e9,
    hours: Stretch = ALL_DAY,
    feed: AssetClass = AssetClass.STOCKS,
) -> StreamCoverage:
    coverage = StreamCoverage(lambda _: is_whole, dict.fromkeys(Topic, round(limit_s * SECOND)), lambda _: hours)
    records, step = recording.records, chunk or len(recording.records)
    for begin in range(0, len(records), step):
        for item in decode(records[begin : begin + step], feed):
            coverage.take(item)
    return coverage


def covered(recording: Recording, **options: Any) -> dict[Subscription, tuple[Stretch, ...]]:
    found = read(recording, **options).stretches()
    return {subscription: tuple(Stretch(*item[:2]) for item in items) for subscription, items in found.items()}


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

    assert [(1.001, 238.0), (801.001, 898.0)] == of_ticks(recording, chunk=chunk)
    first, *_ = found[MINUTES]
    assert TEN + 9 * 60_000 < first.end_ns // MS, "the other topic was heard all the while"


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


def test_what_was_refused_to_one_recorder_and_given_to_the_next_is_wanted() -> None:
    recording = Recording()
    recording.note("started", wanted=["T.SPY", "AM.SPY"])
    recording.note("subscribed", connection=1, accepted=["T.SPY"], refused=["AM.SPY"])
    assert {TICKS} == read(recording).wanted()

    recording.note("started", wanted=["T.SPY", "AM.SPY"])
    recording.note("subscribed", connection=1, accepted=["T.SPY", "AM.SPY", "Q.SPY"], refused=[])

    assert {TICKS, MINUTES, Subscription.parse("Q.SPY")} == read(recording).wanted(), "also what nobody said was wanted"


VALUES, INDEX_MINUTES = Subscription.parse("V.I:VIX"), Subscription.parse("AM.I:VIX")


def value(second: float) -> Event:
    return {"ev": "V", "T": "I:VIX", "val": 15.5, "t": TEN + round(second * 1_000)}


def index_minute(number: int) -> Event:
    return minute(TEN + number * 60_000) | {"sym": "I:VIX"}


def stalled(told: list[str] | None, *, minutes: int = 10, resumes: bool = False) -> Recording:
    """Values every 15 s for 105 s, bars for some minutes; then a stall is told, or nothing is."""
    recording = Recording()
    connect(recording, accepted=[str(VALUES), str(INDEX_MINUTES)])
    for second in range(minutes * 60):
        if second % 15 == 0 and (second <= 105 or (resumes and second > 400)):
            recording.frame(value(second))
        if second % 60 == 2:
            recording.frame(index_minute(second // 60 - 1))
    if told is not None:
        recording.note("silent", connection=1, topics=told, silent_s=61, limit_s=60)
    return recording


def of_values(recording: Recording, **options: Any) -> list[tuple[float, float]]:
    found = covered(recording, feed=AssetClass.INDICES, **options).get(VALUES, ())
    return [tuple((edge // MS - TEN) / 1_000 for edge in item) for item in found]  # type: ignore[misc]


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_a_topic_that_stalls_alone_ends_where_it_was_heard(chunk: int | None) -> None:
    """Its last time but one: the last may lie in the future. The others go on to where the feed went."""
    stalls, others = stalled(["V"]), stalled(["AM"])

    assert [(5.001, 90)] == of_values(stalls, chunk=chunk)
    assert [(5.001, 480)] == of_values(others, chunk=chunk)
    bars = covered(stalls, chunk=chunk, feed=AssetClass.INDICES)[INDEX_MINUTES]
    assert (Stretch(TEN * MS, (TEN + 7 * 60_000) * MS),) == bars


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_a_topic_that_stalls_alone_is_found_where_nobody_tells_it(chunk: int | None) -> None:
    """As where the recorder was killed, or where a reconnection has made its patience longer."""
    assert [(5.001, 90)] == of_values(stalled(None), chunk=chunk, limit_s=60)
    assert [(5.001, 105), (435.001, 570)] == of_values(stalled(None, resumes=True), chunk=chunk, limit_s=60)


def test_a_topic_that_never_came_on_a_connection_is_not_covered() -> None:
    recording = Recording()
    connect(recording, accepted=[str(VALUES), str(INDEX_MINUTES)])
    for number in range(10):
        recording.frame(index_minute(number))

    assert [] == of_values(recording, limit_s=100)


def test_a_stretch_knows_the_files_that_it_was_read_from() -> None:
    recording = Recording()
    connect(recording)
    ticks(recording, 1, 2, 3, 4)
    recording.note("frames_lost", connection=1, frames=1, bytes=9, reason="overflow")
    recording.next_file()
    ticks(recording, 5, 6, 7)
    recording.next_file()
    ticks(recording, 8, 9, 10)
    recording.note("disconnected", connection=1, outcome="closed", detail="")
    recording.next_file()
    connect(recording)
    ticks(recording, 11, 12, 13, 14)

    assert [(1, 1), (2, 3), (4, 4)] == [item[2:] for item in read(recording).stretches()[TICKS]]


OPENING = Stretch(TEN * MS, (TEN + 600_000) * MS)


def opened(told_s: float | None, seconds: range, *, behind_s: float = 0, lost: bool = False) -> Recording:
    """A connection that is there before the opening or later, the machine's clock behind it, and values."""
    recording = Recording()
    connect(recording, accepted=[str(VALUES)])
    if lost:
        recording.note("frames_lost", connection=1, frames=1, bytes=9, reason="overflow")
    if told_s is not None:
        recording.note("clock", connection=1, session_ns=round((TEN + (told_s - behind_s) * 1_000) * MS))
    for second in seconds:
        recording.frame(value(second), received_ns=round((TEN + (second - behind_s) * 1_000) * MS))
    return recording


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize(
    ("recording", "begins_s"),
    [
        pytest.param(opened(-300, range(14, 600, 15)), 0, id="told before the opening"),
        pytest.param(opened(None, range(14, 600, 15)), 29.001, id="not told"),
        pytest.param(opened(-300, range(60, 600, 15)), 75.001, id="silent for too long behind it"),
        pytest.param(opened(100, range(114, 600, 15)), 105, id="told later"),
        pytest.param(opened(127, range(114, 600, 15)), 129.001, id="told behind the first frames"),
        pytest.param(opened(9, range(14, 600, 15), behind_s=3_600), 29.001, id="the clock is behind the events"),
        pytest.param(opened(-300, range(14, 600, 15), lost=True), 29.001, id="something was lost before it was told"),
        pytest.param(opened(None, [-200, -199, *range(14, 600, 15)]), 0, id="heard before the opening"),  # type: ignore[arg-type]
    ],
)
def test_a_stretch_begins_with_the_opening_where_the_connection_was_there(
    recording: Recording, begins_s: float, chunk: int | None
) -> None:
    found = of_values(recording, chunk=chunk, limit_s=60, hours=OPENING)

    assert begins_s == found[-1][0]


def test_what_the_clock_told_is_among_the_files_that_prove_a_beginning() -> None:
    recording = opened(-300, range(0))
    recording.next_file()
    for second in range(14, 600, 15):
        recording.frame(value(second), received_ns=(TEN + second * 1_000) * MS)

    (found,) = read(recording, feed=AssetClass.INDICES, limit_s=60, hours=OPENING).stretches()[VALUES]
    assert (TEN * MS, 1, 2) == (found.start_ns, found.first_file, found.last_file)


def test_bars_behind_the_close_tell_that_all_before_it_came() -> None:
    recording = opened(-300, range(14, 600, 15))
    recording.note("subscribed", connection=1, accepted=[str(INDEX_MINUTES)], refused=[])
    recording.frame(index_minute(9), received_ns=(TEN + 602_000) * MS)
    recording.frame(index_minute(9) | {"sym": "I:SPX"}, received_ns=(TEN + 602_000) * MS)

    assert [(0, 600)] == of_values(recording, limit_s=60, hours=OPENING)


def halted_until(recording: Recording, *, begin_s: int = 100) -> list[tuple[float, float]]:
    found = [tuple((edge / MS - TEN) / 1_000 for edge in item[:2]) for item in read(recording).halts()]
    assert all(edge == begin_s for edge, _ in found)
    return found  # type: ignore[return-value]


def halted() -> Recording:
    """Trades for 100 s, and quotes for 300."""
    recording = Recording()
    connect(recording)
    for second in range(300):
        quote = {"ev": "Q", "sym": "SPY", "bp": 1.0, "ap": 1.1, "t": TEN + second * 1_000}
        recording.frame(*([trade(TEN + second * 1_000)] if second <= 100 else []), quote)
        if second == 110:
            recording.note("halted", connection=1, since_ns=(TEN + 100_000) * MS, until_ns=(TEN + 110_000) * MS)
    return recording


def test_a_halt_without_an_end_reaches_to_what_came_last() -> None:
    assert [(100, 298)] == halted_until(halted())


def test_a_halt_ends_with_the_recorder_that_saw_it() -> None:
    """The next one begins without knowing of it, and never tells that it ended."""
    recording = halted()
    recording.next_file()
    recording.note("started", pid=2)
    connect(recording)
    quotes = [{"ev": "Q", "sym": "SPY", "bp": 1.0, "ap": 1.1, "t": TEN + second * 1_000} for second in range(300, 900)]
    for quote in quotes:
        recording.frame(quote)

    assert [(100, 298)] == halted_until(recording)


@pytest.mark.parametrize(
    ("event", "until_s"),
    [
        pytest.param(trade(TEN + 310_500), 310.5, id="a trade"),
        pytest.param(trade(TEN + 99_000), 298, id="a late print from before"),
        pytest.param(minute(TEN + 360_000), 360, id="a bar of later trades"),
        pytest.param(minute(TEN + 60_000), 298, id="a bar that began before"),
    ],
)
def test_a_halt_ends_with_what_is_traded_behind_it(event: Event, until_s: float) -> None:
    recording = halted()
    recording.frame(event)

    assert [(100, until_s)] == halted_until(recording)
    recording.note("resumed", connection=1, since_ns=(TEN + 100_000) * MS, until_ns=(TEN + 299_000) * MS)
    assert [(100, 299 if until_s == 298 else until_s)] == halted_until(recording)


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
                if self.chance.random() < 0.8:
                    # As far behind as a clock may be.
                    self.recording.note("clock", connection=number, session_ns=(now - 5_000) * MS)
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
                self.recording.frame(*frame, received_ns=now * MS)
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


LIMIT_S, OPENS_S, CLOSES_S, ENDS_S = 60, 0, 600, 900
QUOTES = Subscription.parse("Q.SPY")


@dataclass
class _Day:
    """Two topics that come steadily from 10:00 to 10:10 and as they like outside; one of them stalls for some time.

    A stall that takes no longer than a silence may is none that could be told, and so is not made.
    """

    chance: Random
    stalls: bool = True
    longest_s: float = 20
    recording: Recording = field(default_factory=Recording)
    sent: list[tuple[float, str, bool]] = field(default_factory=list)  # when, topic, whether it was received

    def run(self) -> "_Day":
        connected_s = self.chance.choice([-290, -150, -20, 30, 250]) + self.chance.random()
        stalled = self.chance.choice(["T", "Q", "TQ"]) if self.stalls else ""
        begin_s = self.chance.uniform(-300, 700)
        end_s = begin_s + self.chance.uniform(LIMIT_S, 700)
        self.longest_s = self.chance.choice([20, 55])
        came_s = min(end_s, ENDS_S) - max(begin_s, connected_s)
        in_hours_s = min(end_s, CLOSES_S) - max(begin_s, connected_s, OPENS_S)
        if came_s <= LIMIT_S + 60 or 0 < in_hours_s <= LIMIT_S + 60:
            stalled = ""
        for topic in "TQ":
            at_s = self.chance.uniform(-300, -200)
            while (at_s := round(at_s + self.pause(at_s), 3)) < ENDS_S:
                is_lost = at_s < connected_s or (topic in stalled and begin_s <= at_s < end_s)
                self.sent.append((at_s, topic, not is_lost))
        connect(self.recording, accepted=[str(TICKS), str(QUOTES)])
        if self.chance.random() < 0.7:
            told_s = connected_s + self.chance.uniform(-5, 10)
            self.recording.note("clock", connection=1, session_ns=round((TEN + told_s * 1_000) * MS))
        for at_s, topic, is_received in sorted(self.sent):
            if is_received:
                at_ms = TEN + round(at_s * 1_000)
                quote = {"ev": "Q", "sym": "SPY", "bp": 1.0, "ap": 1.1, "t": at_ms}
                self.recording.frame(trade(at_ms) if topic == "T" else quote, received_ns=at_ms * MS)
        return self

    def pause(self, at_s: float) -> float:
        longest_s = self.longest_s if OPENS_S < at_s < CLOSES_S else 300
        return self.chance.uniform(1, min(longest_s, OPENS_S - at_s + self.longest_s) if at_s <= OPENS_S else longest_s)

    def claimed(self, **options: Any) -> list[tuple[float, str, bool]]:
        hours = Stretch(TEN * MS + OPENS_S * SECOND, TEN * MS + CLOSES_S * SECOND)
        found = covered(self.recording, limit_s=LIMIT_S, hours=hours, **options)
        return [
            event
            for event in self.sent
            for item in found.get(Subscription.parse(f"{event[1]}.SPY"), ())
            if item.start_ns <= (TEN + round(event[0] * 1_000)) * MS < item.end_ns
        ]


def test_nothing_is_claimed_of_a_topic_that_was_lost_in_a_stall() -> None:
    """Each way to get it wrong shows on a few days in a thousand."""
    days = {seed: _Day(Random(seed)).run() for seed in range(1_200)}

    assert {} == {
        seed: wrong for seed, day in days.items() if (wrong := [item for item in day.claimed() if not item[2]])
    }


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_how_the_spool_is_read_changes_nothing(seed: int, batch: int) -> None:
    day = _Day(Random(seed)).run()

    assert day.claimed() == day.claimed(chunk=batch)


def test_nearly_all_of_a_day_without_stalls_is_claimed() -> None:
    days = [_Day(Random(seed), stalls=False).run() for seed in range(50)]
    came, claimed = (
        sum(OPENS_S <= at_s < CLOSES_S and is_received for events in found for at_s, _, is_received in events)
        for found in ([day.sent for day in days], [day.claimed() for day in days])
    )

    assert came > 3_500
    assert claimed > 0.97 * came


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
