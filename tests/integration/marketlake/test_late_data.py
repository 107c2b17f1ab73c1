"""Late rows in many orders of arrival: what may still come in does, what may not is counted, and no order shows.

Each event is as late in every order: within an allowance, a rejection time, or beyond both. How late exactly, how
events are framed, and where recorder and windows are cut off and begun again is drawn anew. Revisions of one key come
in their order, each at least as late as the one before.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seam import seam

import expectations
from marketlake.checks import Check, Verdict
from marketlake.desk import Desk
from marketlake.healing import finish_stream, publish_streamed, replay
from marketlake.lake import Lake
from marketlake.live import LiveSession
from marketlake.settings import Settings, StreamSettings
from marketlake.spool import Kind, local_folder
from marketlake.spool_writing import SpoolWriter
from marketlake.store import LocalStore
from marketlake.tables import Partition, Table
from marketlake.tickers import AssetClass
from marketlake.windows import Part

SESSION = date(2025, 8, 29)
MEMORY = Path("/dev/shm")
OPENING_MS = 1_756_474_200_000  # 09:30 in New York
LENGTH_S = 5_400
SUBSCRIPTIONS = ["V.I:VIX", "AM.I:VIX"]
# A value every 15 s and a bar every minute: the watermark is up to a minute behind the newest of what is on time, and a
# window is sealed, for what is refused, half an hour and a minute after its first row at the latest.
ALLOWANCE_S, REJECTION_S, WINDOW_MINUTES = 60, 1_500, 30
DELAYS_S = {"punctual": (0, 0), "allowed": (1, 55), "late": (120, 1_400), "too late": (2_000, 3_000)}
TABLES = ("index_values", "index_bars")
TIME_OF = {"index_values": "event_time", "index_bars": "start"}
VALUE_OF = {"index_values": "value", "index_bars": "close"}


@dataclass(frozen=True)
class Sent:
    """One event of the vendor, when it was published (seconds since the opening), and how late it comes."""

    table: str
    time_ms: int
    value: float
    published_s: int
    lateness: str

    @property
    def key(self) -> tuple[str, int]:
        return self.table, self.time_ms

    @property
    def event(self) -> dict[str, Any]:
        if self.table == "index_values":
            return {"ev": "V", "T": "I:VIX", "t": self.time_ms, "val": self.value}
        prices = {"o": self.value, "h": self.value + 1, "l": self.value - 1, "c": self.value}
        return {"ev": "AM", "sym": "I:VIX", "s": self.time_ms, "e": self.time_ms + 60_000, **prices}


def what_is_sent() -> list[Sent]:
    """The session's events in the order of publication; one key in five is revised once or twice."""
    chance, sent = Random(5), []
    keys = [("index_values", at, at) for at in range(0, LENGTH_S, 15)]
    keys += [("index_bars", at, at + 60) for at in range(0, LENGTH_S, 60)]
    for table, at_s, published_s in sorted(keys, key=lambda key: key[2]):
        is_early = published_s < LENGTH_S - DELAYS_S["too late"][0] - 120
        revisions = chance.choices([1, 2, 3], [8, 1, 1])[0]
        drawn = chance.choices([*DELAYS_S], [70, 10, 10, 10 if is_early else 0], k=revisions)
        for revision, lateness in enumerate(sorted(drawn, key=[*DELAYS_S].index)):
            value = round(15 + at_s / 1_000 + revision / 7, 4)
            sent.append(Sent(table, OPENING_MS + at_s * 1_000, value, published_s, lateness))
    return sent


SENT = what_is_sent()
REFUSED = [item for item in SENT if item.lateness == "too late"]


def last_values(table: str, *, without_refused: bool) -> dict[int, float]:
    """By time, the value that was sent last: the vendor's truth, with or without what comes too late."""
    return {
        item.time_ms: item.value
        for item in SENT
        if item.table == table and not (without_refused and item.lateness == "too late")
    }


def arrivals(chance: Random) -> list[Sent]:
    """The events as they come in one order."""
    drawn: dict[tuple[str, int], list[float]] = {}
    for item in SENT:
        drawn.setdefault(item.key, []).append(item.published_s + chance.uniform(*DELAYS_S[item.lateness]))
    waiting = {key: iter(sorted(times)) for key, times in drawn.items()}
    timed = [(next(waiting[item.key]), number, item) for number, item in enumerate(SENT)]
    return [item for _, _, item in sorted(timed, key=lambda entry: entry[:2])]


def pass_all(_table: Table, _rows: pa.Table) -> Verdict:
    return Verdict(np.array([], dtype=np.int64), (), ())


def desk_at(folder: Path, check: Check) -> Desk:
    streamed = dict.fromkeys(TABLES, ALLOWANCE_S), dict.fromkeys(TABLES, REJECTION_S)
    stream = StreamSettings(
        spool=str(folder / "spool"), window_minutes=WINDOW_MINUTES, allowance_s=streamed[0], rejection_s=streamed[1]
    )
    settings = Settings().model_copy(update={"stream": stream})
    return Desk(
        vendor=seam("http://127.0.0.1:9", folder / "lake"),
        lake=Lake(LocalStore(folder / "lake")),
        check=check,
        settings=settings,
        now=lambda: datetime(2025, 8, 30, tzinfo=UTC),
        run_id="a test",
    )


def cut(items: list[Sent], pieces: int, chance: Random) -> Iterator[list[Sent]]:
    places = sorted(chance.sample(range(1, len(items)), pieces - 1))
    for begin, end in zip([0, *places], [*places, len(items)], strict=True):
        yield items[begin:end]


def record(items: list[Sent], desk: Desk, frames: int, chance: Random) -> None:
    """One life of a recorder: a file of the spool."""
    folder = local_folder(Path(desk.settings.stream.spool), AssetClass.INDICES, SESSION)
    writer = SpoolWriter(folder, after=0, sync_s=60, most_pending_bytes=2**24)
    for event in ({"event": "started"}, {"event": "connected"}, {"event": "subscribed", "accepted": SUBSCRIPTIONS}):
        writer.append(0, Kind.EVENT, json.dumps(event).encode())
    for frame in cut(items, frames, chance):
        writer.append(0, Kind.FRAME, json.dumps([item.event for item in frame]).encode())
    writer.append(0, Kind.EVENT, b'{"event": "stopped"}')
    writer.close()


@dataclass(frozen=True)
class Came:
    """What became of a session."""

    desk: Desk
    received: int
    refused: int
    repeated: int
    late_segments: int

    def bytes_of(self, table: str) -> bytes:
        path = Partition(table, "I:VIX", str(SESSION)).path
        data: bytes = self.desk.lake.store.read(path)
        return data

    def values(self, table: str) -> dict[int, float]:
        rows = pq.read_table(pa.BufferReader(self.bytes_of(table)))
        times_ms = rows[TIME_OF[table]].cast(pa.int64()).to_numpy() // 1_000_000
        return dict(zip(times_ms.tolist(), rows[VALUE_OF[table]].to_pylist(), strict=True))

    def in_quarantine(self, table: str) -> list[tuple[str, str]]:
        rows = self.desk.lake.quarantined(Partition(table, "I:VIX", str(SESSION)))
        return [] if rows is None else list(zip(rows["rule"].to_pylist(), rows["raw"].to_pylist(), strict=True))

    def replayed(self, table: str) -> tuple[int, int]:
        """How many rows a replay lets in, and how many stay out."""
        again = replay(Partition(table, "I:VIX", str(SESSION)), self.desk)
        return again.accepted, again.still_refused


def session_of(items: list[Sent], folder: Path, chance: Random, check: Check = pass_all) -> Came:
    """These events through spool, windows, segments and into the lake.

    The recorder may be started again once or twice, the windows are taken up from the beginning behind each of its
    files, and the last of them are sealed by the healing.
    """
    desk = desk_at(folder, check)
    for life in cut(items, chance.randint(1, 3), chance):
        record(life, desk, chance.randint(1, len(life)) if len(life) > 1 else 1, chance)
        live = LiveSession.of(AssetClass.INDICES, SESSION, desk.settings, desk.lake.store)
        if chance.random() < 0.3:
            for window in live.advance():
                live.seal(window, check)
    sealed = []

    def seal(live: LiveSession, window: Any) -> Any:
        sealed.append(live.seal(window, check))
        return sealed[-1]

    streamed = finish_stream(AssetClass.INDICES, SESSION, desk, seal)
    pieces = [piece for window in sealed for piece in window.pieces]
    for table in TABLES:
        publish_streamed(Partition(table, "I:VIX", str(SESSION)), streamed, desk)
    return Came(
        desk,
        received=sum(piece.received for piece in pieces),
        refused=sum(piece.refused for piece in pieces),
        repeated=sum(piece.duplicates + piece.superseded for piece in pieces),
        late_segments=sum(piece.part is Part.LATE for piece in pieces),
    )


@pytest.fixture(scope="module")
def quick_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for some thousand small files: that they survive a power cut is the subject of other tests."""
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def undisturbed(quick_disk: Path) -> Came:
    """The same events, each at its time."""
    return session_of(SENT, quick_disk / "undisturbed", Random(0))


@pytest.mark.parametrize("orders", [range(25), pytest.param(range(25, 200), marks=pytest.mark.soak)], ids=str)
def test_no_order_of_arrival_shows_and_a_replay_brings_in_what_came_too_late(
    undisturbed: Came, quick_disk: Path, orders: range
) -> None:
    assert {*DELAYS_S} == {item.lateness for item in SENT}
    published: dict[str, set[bytes]] = {table: set() for table in TABLES}
    for number in orders:
        chance = Random(number)

        came = session_of(arrivals(chance), quick_disk / str(number), chance)

        assert (len(SENT), len(REFUSED)) == (came.received, came.refused), f"order {number}"
        assert came.late_segments > 0
        for table in TABLES:
            own = sorted(json.dumps(item.event) for item in REFUSED if item.table == table)
            assert [("too_late", text) for text in own] == sorted(came.in_quarantine(table)), f"order {number}"
            assert last_values(table, without_refused=True) == came.values(table), f"order {number}"
            published[table].add(came.bytes_of(table))

            first, second = came.replayed(table), came.replayed(table)

            assert ((len(own), 0), (0, 0)) == (first, second), f"order {number}"
            assert last_values(table, without_refused=False) == came.values(table), f"order {number}"
            assert undisturbed.bytes_of(table) == came.bytes_of(table), f"order {number}"
            assert [] == came.in_quarantine(table)
    assert dict.fromkeys(TABLES, 1) == {table: len(files) for table, files in published.items()}


@pytest.mark.soak
def test_by_the_rules_of_the_tables_it_is_the_same(undisturbed: Came, quick_disk: Path) -> None:
    chance = Random(1)

    came = session_of(arrivals(chance), quick_disk / "judged", chance, expectations.check)

    for table in TABLES:
        assert sum(item.table == table for item in REFUSED) == came.replayed(table)[0]
        assert undisturbed.bytes_of(table) == came.bytes_of(table)
