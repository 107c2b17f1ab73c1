"""The spool on a disk: what was taken is read back in its order, and what is broken is told from what is good."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.errors import LakeError, RecordMismatch, UsageError
from marketlake.sealing import remove_sealed, seal
from marketlake.spool import (
    MAGIC,
    Kind,
    Position,
    Record,
    Remainder,
    Spool,
    Tail,
    captured_numbers,
    local_folder,
    pack_record,
)
from marketlake.spool_writing import SpoolWriter
from marketlake.store import open_store
from marketlake.tickers import AssetClass

FEED: Final = AssetClass.STOCKS
SESSION: Final = date(2025, 8, 29)
FRAME: Final = b'[{"ev":"T","sym":"SPY","x":4,"i":"71711","z":2,"p":585.33,"s":25,"t":1734705000412,"q":104377}]'

type Taken = tuple[int, Kind, bytes]

TEXTS = st.text(max_size=40).map(str.encode) | st.sampled_from([FRAME, FRAME * 20])
RECORDS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.sampled_from(Kind), TEXTS), max_size=12)


@contextmanager
def writing(root: Path, after: int = 0, most_pending_bytes: int = 2**26) -> Iterator[SpoolWriter]:
    writer = SpoolWriter(
        local_folder(root, FEED, SESSION), after=after, sync_s=0.01, most_pending_bytes=most_pending_bytes
    )
    try:
        yield writer
    finally:
        writer.close()


def write(root: Path, records: list[Taken]) -> Path:
    """A finished file that holds the records."""
    with writing(root) as writer:
        for record in records:
            assert writer.append(*record)
    return max(local_folder(root, FEED, SESSION).glob("*.spool"))


def write_at_once(root: Path, number: int, records: list[Taken]) -> Path:
    """The same without a writer."""
    path = local_folder(root, FEED, SESSION) / f"{number:06}.spool"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + b"".join(pack_record(*record) for record in records))
    return path


def taken(records: Iterator[Record]) -> list[Taken]:
    return [(received_ns, kind, payload) for _, received_ns, kind, payload in records]


@given(RECORDS)
def test_what_was_taken_is_read_back_in_its_order(records: list[Taken]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), records)
        read = list(Spool(Path(folder), FEED, SESSION).read())

    assert records == taken(iter(read))
    assert sorted({record.position for record in read}) == [record.position for record in read]


@given(RECORDS, st.data())
def test_a_file_that_is_cut_gives_the_records_that_are_whole_and_tells_the_rest(
    records: list[Taken], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_at_once(Path(folder), 1, records)
        spool = Spool(Path(folder), FEED, SESSION)
        ends = [record.position.offset for record in spool.read()]
        cut = data.draw(st.integers(len(MAGIC), path.stat().st_size))
        os.truncate(path, cut)
        read = list(spool.read())
        last = read[-1].position if read else Position(1, len(MAGIC))
        remainder = spool.remainder(last)

    assert records[: sum(end <= cut for end in ends)] == taken(iter(read))
    assert cut - last.offset == remainder.unread_bytes
    assert (Tail.TORN if cut > last.offset else Tail.NOTHING) == remainder.tail


@given(RECORDS.filter(bool), st.data())
def test_a_file_with_a_wrong_byte_gives_no_wrong_record(records: list[Taken], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_at_once(Path(folder), 1, records)
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        spool = Spool(Path(folder), FEED, SESSION)
        ends = [record.position.offset for record in spool.read()]
        path.write_bytes(content)
        read = list(spool.read())
        remainder = spool.remainder(read[-1].position if read else Position(1, 0))

    good = sum(end <= place for end in ends)
    assert records[: good if place >= len(MAGIC) else 0] == taken(iter(read))
    follows = place < len(MAGIC) or good < len(records) - 1
    assert (Tail.DAMAGED if follows else Tail.TORN) == remainder.tail


@given(RECORDS, st.integers(0, 12))
def test_reading_goes_on_behind_the_position_of_any_record(records: list[Taken], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_at_once(Path(folder), 1, records[:count])
        write_at_once(Path(folder), 2, records[count:])
        spool = Spool(Path(folder), FEED, SESSION)
        read = list(spool.read())
        for number, record in enumerate(read):
            assert read[number + 1 :] == list(spool.read(record.position))

    assert records == taken(iter(read))


def test_frames_alone_come_in_blocks(tmp_path: Path) -> None:
    events = [(number, Kind.EVENT, b"{}") for number in range(0, 30_000, 100)]
    frames = [(number, Kind.FRAME, FRAME) for number in range(30_000)]
    write(tmp_path, sorted([*events, *frames]))
    spool = Spool(tmp_path, FEED, SESSION)

    blocks = list(spool.read_blocks())

    assert 2 <= len(blocks) <= 6
    assert [(number, FRAME) for number in range(30_000)] == [item[1:] for block in blocks for item in block]
    assert [blocks[-1][-1]] == [item for block in spool.read_blocks(blocks[-1][-2][0]) for item in block]


def test_a_reader_follows_a_writer_from_file_to_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, FEED, SESSION)
    read: list[Record] = []
    with writing(tmp_path) as writer:
        for number in range(48):
            writer.append(number, Kind.FRAME, FRAME)
            if number % 7 == 0:
                writer.begin_file()
            read += spool.read(read[-1].position if read else None)
        while len(read) < 48:
            read += spool.read(read[-1].position if read else None)
        behind = spool.remainder(read[-1].position)

    assert list(range(48)) == [record.received_ns for record in read]
    assert list(range(1, 9)) == sorted({record.position.file for record in read})
    assert [Tail.GROWING, Tail.NOTHING] == [behind.tail, spool.remainder(behind.position).tail]


def test_each_start_gets_a_file_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, [(number, Kind.FRAME, FRAME)])
    with writing(tmp_path, after=7) as writer:
        writer.append(3, Kind.FRAME, FRAME)

    assert [1, 2, 3, 8] == Spool(tmp_path, FEED, SESSION).numbers()
    assert [0, 1, 2, 3] == [record.received_ns for record in Spool(tmp_path, FEED, SESSION).read()]


def test_writers_that_begin_at_once_share_no_file(tmp_path: Path) -> None:
    with writing(tmp_path) as first, writing(tmp_path) as second:
        first.append(1, Kind.FRAME, FRAME)
        second.append(2, Kind.FRAME, FRAME)

    assert [1, 2] == [record.received_ns for record in Spool(tmp_path, FEED, SESSION).read()]


def test_what_a_slow_disk_does_not_take_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    sync = os.fdatasync

    def slow_sync(descriptor: int) -> None:
        gate.wait(60)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    with writing(tmp_path, most_pending_bytes=20_000) as writer:
        begun = writer.synced
        fits = [writer.append(number, Kind.FRAME, FRAME) for number in range(1_000)]
        event_fits = writer.append(1_000, Kind.EVENT, b"{}")
        still_synced = writer.synced
        gate.set()
    read = list(Spool(tmp_path, FEED, SESSION).read())

    assert 19_000 < 17 * 175 + len(FRAME) * sum(fits) < 25_000
    assert sorted(fits, reverse=True) == fits
    assert event_fits
    assert begun == still_synced
    assert [*range(sum(fits)), 1_000] == [record.received_ns for record in read]
    assert read[-1].position == writer.synced


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_disk_that_fails_is_told_and_nothing_is_claimed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    writer = SpoolWriter(local_folder(tmp_path, FEED, SESSION), after=0, sync_s=0.01, most_pending_bytes=2**20)
    monkeypatch.setattr(os, "fdatasync", fail)
    writer.append(1, Kind.FRAME, FRAME)
    with pytest.raises(LakeError, match=os.strerror(number)):
        writer.close()

    assert Position(1, len(MAGIC)) == writer.synced
    with pytest.raises(LakeError, match=os.strerror(number)):
        writer.append(2, Kind.FRAME, FRAME)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "stocks").write_text("in the way")

    with pytest.raises(LakeError, match="stocks"), writing(tmp_path):
        pass


def test_sealed_files_are_read_as_if_they_were_here(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "lake"))
    root = tmp_path / "spool"
    records = [(number, Kind.FRAME, FRAME) for number in range(5_000)]
    write(root, records[:2_000])
    torn = write(root, records[2_000:4_000])
    with torn.open("ab") as file:
        file.write(b"\x10\0\0\0torn")
    write(root, records[4_000:])
    spool = Spool(root, FEED, SESSION, store)
    before = list(spool.read())

    proofs = [seal(root, FEED, SESSION, number, store) for number in (1, 2)]
    assert before == list(spool.read())
    remove_sealed(root, FEED, SESSION, proofs)

    assert records == taken(iter(before))
    assert before == list(spool.read())
    assert before[2_500:] == list(spool.read(before[2_499].position))
    assert Remainder(before[3_999].position, 8, Tail.TORN) == spool.remainder(Position(2, 0))
    assert [3] == [int(path.stem) for path in spool.folder.glob("*.spool")]
    assert [1, 2] == captured_numbers(store, FEED, SESSION)
    assert proofs == [seal(root, FEED, SESSION, number, store) for number in (1, 2)]


def test_sealing_again_after_a_kill_before_the_removal_changes_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "lake"))
    path = write(tmp_path, [(1, Kind.FRAME, FRAME)])
    proof = seal(tmp_path, FEED, SESSION, 1, store)

    assert path.exists(), "it is what tells that its session is not healed"
    assert proof == seal(tmp_path, FEED, SESSION, 1, store)
    for _ in range(2):
        remove_sealed(tmp_path, FEED, SESSION, [proof])
        assert not path.exists()


def test_only_what_is_proved_is_removed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "lake"))
    first = write(tmp_path, [(1, Kind.FRAME, FRAME)])
    proof = seal(tmp_path, FEED, SESSION, 1, store)
    second = write(tmp_path, [(2, Kind.FRAME, FRAME)])

    remove_sealed(tmp_path, FEED, SESSION, [proof])

    assert [False, True] == [first.exists(), second.exists()]


def test_another_file_under_a_sealed_number_is_not_thrown_away(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "lake"))
    write(tmp_path, [(1, Kind.FRAME, FRAME)])
    remove_sealed(tmp_path, FEED, SESSION, [seal(tmp_path, FEED, SESSION, 1, store)])
    path = write(tmp_path, [(2, Kind.FRAME, FRAME)])

    with pytest.raises(RecordMismatch, match="another spool"):
        seal(tmp_path, FEED, SESSION, 1, store)
    assert path.exists()


def test_a_file_that_is_being_written_is_not_sealed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "lake"))
    with writing(tmp_path) as writer:
        writer.append(1, Kind.FRAME, FRAME)

        with pytest.raises(UsageError, match="still being written"):
            seal(tmp_path, FEED, SESSION, 1, store)
