"""What the vendor sent, kept: one file a page, under the chain and the attempt that it belongs to.

``capture/rest/{table}/{owner}/{first}_{last}/{ask}/attempt-001/page-00001.zst``. A file is a zstd frame (``zstd -d``
reads it) of one line of JSON, the :class:`Slip`, and then the body: the vendor's bytes after the transfer's gzip and
chunks were undone, unchanged but for the key, should a server ever echo it. ``refused-00003-1.zst`` is what came for
page 3 and was not usable; ``refused.json`` closes an attempt that can never be completed. Nothing here is ever
overwritten. Whether a page is usable is :mod:`marketlake.answers`' question; asking is :mod:`marketlake.rest`'s.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import msgspec
import pyarrow as pa

from marketlake.asks import Ask
from marketlake.errors import LeaseHeld, RecordMismatch
from marketlake.store import Store
from marketlake.vendor_rows import UNREADABLE

_PAGE: Final = re.compile(r"page-(\d{5})\.zst")
_ATTEMPT: Final = re.compile(r"attempt-(\d{3,})")
_CLOSED: Final = "refused.json"


class Slip(msgspec.Struct, frozen=True):
    """What is known about a page besides its body. ``request`` is path and query; it never holds a key."""

    request: str
    number: int
    received_ns: int
    status: int
    request_id: str
    sha256: str  # of the body
    keys_removed: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """A page as it was kept."""

    path: str
    slip: Slip
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """One walk through the pages of an ask. ``pages`` are the paths of the accepted ones, in order."""

    folder: str
    number: int
    pages: tuple[str, ...]
    is_closed: bool

    def page_path(self, number: int) -> str:
        """Where page ``number`` stands."""
        return f"{self.folder}/page-{number:05}.zst"

    @classmethod
    def named(cls, ask: Ask, number: int) -> Self:
        """An attempt without pages yet."""
        return cls(f"{ask.folder}/attempt-{number:03}", number, (), is_closed=False)


class Captures:
    """The captured chains of a lake."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest_attempt(self, ask: Ask) -> Attempt | None:
        """The last attempt at an ask; None where nothing was ever captured."""
        return next(iter(self.attempts(ask)), None)

    def attempts(self, ask: Ask) -> list[Attempt]:
        """All attempts at an ask, newest first."""
        names: dict[int, list[str]] = {}
        for path in self._store.list(ask.folder):
            folder, _, name = path.removeprefix(f"{ask.folder}/").partition("/")
            match = _ATTEMPT.fullmatch(folder)
            if match:
                names.setdefault(int(match[1]), []).append(name)
        return [self._attempt(ask, number, names[number]) for number in sorted(names, reverse=True)]

    def keep(self, path: str, slip: Slip, body: bytes) -> Captured:
        """Make a page durable.

        Raises:
            LeaseHeld: another process is walking through the same chain and was first.
        """
        if not self._store.create(path, encode_page(slip, body)):
            raise LeaseHeld(path, "another process is asking the same question now")
        return Captured(path, slip, body)

    def read(self, path: str) -> Captured:
        """A kept page.

        Raises:
            RecordMismatch: the file is gone, or not what was kept.
        """
        try:
            data = self._store.read(path)
        except FileNotFoundError:
            raise RecordMismatch(path, "the captured page is gone") from None
        return decode_page(path, data)

    def set_aside(self, attempt: Attempt, page: Captured) -> None:
        """Move a page that is not usable to where nobody takes it for one."""
        kept = 1
        stem = f"{attempt.folder}/refused-{page.slip.number:05}"
        while not self._store.create(f"{stem}-{kept}.zst", encode_page(page.slip, page.body)):
            kept += 1
        self._store.delete(page.path)

    def close(self, attempt: Attempt, problem: str, at_ns: int) -> None:
        """Mark an attempt as one that will not be continued."""
        mark = {"problem": problem, "at_ns": at_ns}
        self._store.create(f"{attempt.folder}/{_CLOSED}", msgspec.json.encode(mark))

    def _attempt(self, ask: Ask, number: int, present: Sequence[str]) -> Attempt:
        attempt = Attempt.named(ask, number)
        numbers = {int(match[1]) for match in map(_PAGE.fullmatch, present) if match}
        count = next(number for number in range(1, len(numbers) + 2) if number not in numbers) - 1
        return Attempt(
            attempt.folder,
            attempt.number,
            tuple(attempt.page_path(number) for number in range(1, count + 1)),
            # A hole is the work of somebody who deleted a page: what stands behind it continues nothing.
            is_closed=_CLOSED in present or len(numbers) > count,
        )


def encode_page(slip: Slip, body: bytes) -> bytes:
    """The bytes of a page's file."""
    compressed: bytes = _CODEC.compress(msgspec.json.encode(slip) + b"\n" + body, asbytes=True)
    return compressed


def decode_page(path: str, data: bytes) -> Captured:
    """Read the bytes of a page's file.

    Raises:
        RecordMismatch: they are cut, or not what was kept.
    """
    try:
        text = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
        line, _, body = text.partition(b"\n")
        slip = msgspec.json.decode(line, type=Slip)
    except (OSError, *UNREADABLE) as error:
        raise RecordMismatch(path, f"the captured page cannot be read: {error}") from None
    if sha256_of(body) != slip.sha256:
        raise RecordMismatch(path, "the captured page is not the one that was kept")
    return Captured(path, slip, body)


def body_of(data: bytes) -> bytes:
    """The vendor's body in the bytes of a page's file."""
    return decode_page("a captured page", data).body


def sha256_of(body: bytes) -> str:
    """What a ledger record proves a page by."""
    return hashlib.sha256(body).hexdigest()


_CODEC: Final = pa.Codec("zstd", compression_level=3)
