"""The spool: what came over a stream, in the order in which it came. The format, and reading it.

``{root}/{feed}/session=2025-08-29/000001.spool``: eight magic bytes, then records. A record is a little-endian header
(length, CRC-32, receive time, kind) and its payload; the checksum is of everything behind itself. A file is only ever
appended to, by one process that holds a lock on it for life, so that a kill leaves a *torn* tail at most. A bad record
that is followed by good ones is *damage*. Neither is ever guessed at.

Writing is the business of :mod:`marketlake.spool_writing`, moving finished files into the lake of
:mod:`marketlake.sealing`; what the payloads mean, of :mod:`marketlake.frames` and :mod:`marketlake.coverage`.
"""

import fcntl
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from marketlake.errors import LakeError
from marketlake.store import Store
from marketlake.tickers import AssetClass

MAGIC: Final = b"MLSPOOL1"
CAPTURED_STREAMS: Final = "capture/stream/"
_HEADER: Final = struct.Struct("<IIqB")  # length, checksum, received_ns, kind
_CHECKED: Final = struct.Struct("<qB")
_CHECKED_FROM: Final = 8
_FILE_NAME: Final = re.compile(r"(\d{6,})\.spool")
_CAPTURED_NAME: Final = re.compile(r"(\d{6,})\.spool\.zst")
_CHUNK: Final = 2**20
# The vendor's JSON holds no such byte: behind a bad record only headers do.
_KIND_BYTE: Final = re.compile(rb"[\x01\x02]")


class Kind(IntEnum):
    """What a record holds."""

    FRAME = 1
    """A WebSocket message, exactly the bytes as received."""
    EVENT = 2
    """JSON: what happened to the recorder or to its connection."""


_KINDS: Final = {int(kind): kind for kind in Kind}


class Position(NamedTuple):
    """Where a record ends: the number of its file, and the offset behind its last byte. Later records are greater."""

    file: int
    offset: int


class Record(NamedTuple):
    """One record; ``received_ns`` is the machine's clock, nanoseconds since the epoch."""

    position: Position
    received_ns: int
    kind: Kind
    payload: bytes


class Tail(StrEnum):
    """What stands behind the last record of a file that can be read."""

    NOTHING = "nothing"
    GROWING = "growing"
    """The writer lives: what is not whole yet may become so."""
    TORN = "torn"
    """The writer is gone in the middle of a record: this was never reported as synced."""
    DAMAGED = "damaged"
    """Good records follow a bad one: the file is not as it was written."""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What of a file is not read: ``unread_bytes`` from the end of the last good record on, and why."""

    position: Position
    unread_bytes: int
    tail: Tail


def pack_record(received_ns: int, kind: Kind, payload: bytes) -> bytes:
    """The bytes of a record in its file."""
    checked = _CHECKED.pack(received_ns, kind)
    return _HEADER.pack(len(payload), crc32(payload, crc32(checked)), received_ns, kind) + payload


def local_folder(root: Path, feed: AssetClass, session: date) -> Path:
    """Where the files of a session's feed are written."""
    return root / feed / f"session={session}"


def captured_folder(feed: AssetClass, session: date) -> str:
    """Where they stand in the lake once they are finished."""
    return f"{CAPTURED_STREAMS}{feed}/session={session}"


def file_name(number: int) -> str:
    """The name of a file on this machine."""
    return f"{number:06}.spool"


def captured_path(feed: AssetClass, session: date, number: int) -> str:
    """The path of a finished file in the lake."""
    return f"{captured_folder(feed, session)}/{file_name(number)}.zst"


def local_numbers(folder: Path) -> list[int]:
    """The numbers of the files in a folder, ascending; a folder that is missing has none."""
    with suppress(FileNotFoundError):
        return sorted(int(match[1]) for path in folder.iterdir() if (match := _FILE_NAME.fullmatch(path.name)))
    return []


def captured_numbers(store: Store, feed: AssetClass, session: date) -> list[int]:
    """The numbers of the finished files in the lake, ascending."""
    found = map(captured_number, store.list(captured_folder(feed, session)))
    return sorted(number for number in found if number is not None)


def captured_number(path: str) -> int | None:
    """The number of the file that stands at a path in the lake; None where that is no file of a stream."""
    match = _CAPTURED_NAME.fullmatch(path.rpartition("/")[2])
    return int(match[1]) if match is not None else None


def is_being_written(path: Path) -> bool:
    """Whether the process that began a file still lives: it holds a lock on it, which the kernel takes back."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class SpoolFile(Protocol):
    """The bytes of one file of a spool, from the beginning on."""

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end."""
        ...

    def skip(self, size: int) -> None:
        """Pass over the next bytes."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class WrittenFile:
    """A file on this machine, as far as it had been written when it was opened; that much is durable."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._left = os.fstat(self._file.fileno()).st_size
        # The writer's own sync may still be to come; nothing may be derived from what a power cut could take back.
        os.fdatasync(self._file.fileno())

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over the next bytes."""
        size = min(size, self._left)
        self._file.seek(size, os.SEEK_CUR)
        self._left -= size

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


class Spool:
    """The records of one session of one feed, wherever their files stand now: here, or already in the lake.

    What is read is durable: the bytes of a file that is still being written are synced before they are given out.
    """

    def __init__(self, root: Path, feed: AssetClass, session: date, store: Store | None = None) -> None:
        self.folder = local_folder(root, feed, session)
        self._feed = feed
        self._session = session
        self._store = store
        self._here: frozenset[int] = frozenset()
        self._there: frozenset[int] | None = None

    def numbers(self) -> list[int]:
        """The numbers of all files, ascending."""
        # Here first: a file that moves to the lake in between is seen twice rather than not at all.
        here = frozenset(local_numbers(self.folder))
        # A listing of S3 takes long, and this is asked several times a second: files only move there from here.
        if self._store is not None and (self._there is None or not self._here <= here):
            self._there = frozenset(captured_numbers(self._store, self._feed, self._session))
        self._here = here
        return sorted(here | (self._there or frozenset()))

    def read(self, after: Position | None = None) -> Iterator[Record]:
        """All records behind a position, as far as they are whole now; the last one's position goes on from there.

        Raises:
            LakeError: a file cannot be read.
        """
        for block in self._blocks(after):
            yield from block

    def read_blocks(self, after: Position | None = None) -> Iterator[list[tuple[Position, int, bytes]]]:
        """The frames alone, with their positions and receive times, about a megabyte at a time."""
        frame = Kind.FRAME
        for block in self._blocks(after):
            frames = [(position, received_ns, data) for position, received_ns, kind, data in block if kind is frame]
            if frames:
                yield frames

    def remainder(self, position: Position) -> Remainder:
        """What stands behind the last record of a file that can be read; it is looked for from a position on."""
        path = self.folder / file_name(position.file)
        # Before it is read: what a writer that is gone by now has left does not change any more.
        is_growing = path.exists() and is_being_written(path)
        with self._opened(position.file) as file:
            if not _has_magic(file):
                return Remainder(Position(position.file, 0), len(file.read(sys.maxsize)), Tail.DAMAGED)
            offset = max(position.offset, len(MAGIC))
            file.skip(offset - len(MAGIC))
            rest = file.read(sys.maxsize)
        records, used, _ = _parse(rest, position.file, offset)
        position = records[-1].position if records else Position(position.file, offset)
        rest = rest[used:]
        if _holds_good_record(rest):
            return Remainder(position, len(rest), Tail.DAMAGED)
        if is_growing:
            return Remainder(position, len(rest), Tail.GROWING)
        return Remainder(position, len(rest), Tail.TORN if rest else Tail.NOTHING)

    def _blocks(self, after: Position | None) -> Iterator[list[Record]]:
        for number in self.numbers():
            if after is not None and number < after.file:
                continue
            offset = after.offset if after is not None and number == after.file else 0
            with self._opened(number) as file:
                if _has_magic(file):
                    file.skip(max(offset - len(MAGIC), 0))
                    yield from _blocks_of(file, number, max(offset, len(MAGIC)))

    @contextmanager
    def _opened(self, number: int) -> Iterator[SpoolFile]:
        path = self.folder / file_name(number)
        try:
            file: SpoolFile = WrittenFile(path)
        except FileNotFoundError:
            if self._store is None:
                raise LakeError(str(path), "the file is gone, and there is no lake to look into") from None
            from marketlake.sealing import CapturedFile  # noqa: PLC0415 - pyarrow: a recorder reads no lake

            file = CapturedFile(self._store, captured_path(self._feed, self._session, number))
        try:
            yield file
        except OSError as error:
            raise LakeError(str(path), error.strerror or str(error)) from error
        finally:
            file.close()


def _has_magic(file: SpoolFile) -> bool:
    return file.read(len(MAGIC)) == MAGIC


def _blocks_of(file: SpoolFile, number: int, offset: int) -> Iterator[list[Record]]:
    """The whole records from an offset on; ends at the first that is not whole, or not as it was written."""
    buffer, missing = b"", _CHUNK
    while chunk := file.read(max(missing, _CHUNK)):
        buffer += chunk
        records, used, missing = _parse(buffer, number, offset)
        if records:
            yield records
        if not missing:
            return
        buffer = buffer[used:]
        offset += used


def _parse(buffer: bytes, number: int, offset: int) -> tuple[list[Record], int, int]:
    """The records at the start of a buffer, the bytes that they take, and how many the next one still misses.

    Nothing is missing where the next one is bad.
    """
    records: list[Record] = []
    view = memoryview(buffer)
    size, used, header = len(buffer), 0, _HEADER.size
    while used + header <= size:
        length, checksum, received_ns, kind = _HEADER.unpack_from(buffer, used)
        end = used + header + length
        if end > size:
            return records, used, end - size
        if kind not in _KINDS or crc32(view[used + _CHECKED_FROM : end]) != checksum:
            return records, used, 0
        payload = buffer[used + header : end]
        records.append(Record(Position(number, offset + end), received_ns, _KINDS[kind], payload))
        used = end
    return records, used, used + header - size


def _holds_good_record(rest: bytes) -> bool:
    """Whether a record that can be read begins anywhere behind the first byte."""
    place = _HEADER.size - 1  # of the kind, seen from the header's start
    for match in _KIND_BYTE.finditer(rest, place + 1):
        start = match.start() - place
        length, checksum, _, _ = _HEADER.unpack_from(rest, start)
        end = start + _HEADER.size + length
        if end <= len(rest) and crc32(memoryview(rest)[start + _CHECKED_FROM : end]) == checksum:
            return True
    return False
