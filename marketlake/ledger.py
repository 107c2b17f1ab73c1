"""What the ledger says of a partition, as values and as JSON: what is covered, how, by which proof, and what is stored.

Pure. Where records stand and how they are kept true to their files is the business of :mod:`marketlake.lake`; what they
add up to over the whole lake is shown by :mod:`marketlake.status`.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import msgspec

from marketlake.tables import Partition

# Raised when a record of before could be read wrongly; a newer one than this is refused, never overwritten.
FORMAT_VERSION: Final = 1


class How(StrEnum):
    """How it came to be known what happened in a stretch of time; where several apply, the first here is its label."""

    HALTED = "halted"
    STREAMED = "streamed"
    HEALED = "healed"
    VERIFIED_EMPTY = "verified_empty"
    BACKFILLED = "backfilled"
    UNAVAILABLE = "unavailable"


class Lack(StrEnum):
    """Why the vendor did not give what only its present has."""

    SESSION_PAST = "session_past"
    NOT_IN_PLAN = "not_in_plan"


@dataclass(frozen=True, slots=True)
class Proof:
    """A captured page: its path under the lake's root, and the SHA-256 of its body."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of a ticker (and span, for bars) in a stretch of time, and what became of its rows.

    The stretch is half-open, ``start_ns <= t < end_ns``, in nanoseconds since the epoch. ``reason`` is given of tables
    that only the vendor's present has, where they are unavailable.
    """

    ticker: str
    span: str | None
    start_ns: int
    end_ns: int
    how: How
    rows: int
    refused: int
    duplicates: int
    superseded: int
    proof: tuple[Proof, ...]
    reason: Lack | None = None

    @property
    def place(self) -> tuple[str, str, int, int, str]:
        """What records sort their coverage by."""
        return self.ticker, self.span or "", self.start_ns, self.end_ns, self.how


@dataclass(frozen=True, slots=True)
class Operational:
    """Who wrote a record and when (ISO 8601, UTC): the only part in which two undisturbed runs may differ."""

    run_id: str
    written_at: str


@dataclass(frozen=True, slots=True)
class Record:
    """The proof of one published file.

    ``content_hash`` is of the rows, whatever file holds them; ``file_hash`` is the SHA-256 of the file's bytes.
    ``inputs`` names what a consolidated partition was made from: partition paths with their content hashes.
    """

    partition: Partition
    coverage: tuple[Coverage, ...]
    rows: int
    quarantined: int
    flags: Mapping[str, int]
    content_hash: str
    file_hash: str
    file_bytes: int
    inputs: tuple[tuple[str, str], ...]
    operational: Operational
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        # One order for one meaning: equal records are equal bytes.
        object.__setattr__(self, "coverage", tuple(sorted(self.coverage, key=lambda item: item.place)))
        object.__setattr__(self, "flags", dict(sorted(self.flags.items())))
        object.__setattr__(self, "inputs", tuple(sorted(self.inputs)))

    def covers(self, ticker: str, span: str | None, start_ns: int, end_ns: int) -> bool:
        """Whether all of the time from ``start_ns`` to before ``end_ns`` carries a label for this ticker and span.

        Unavailable is a label: it was asked, and asking again gives nothing else.
        """
        reached = start_ns
        first = bisect_left(self.coverage, (ticker, span or ""), key=lambda item: item.place[:2])
        for item in islice(self.coverage, first, None):
            if (item.ticker, item.span) != (ticker, span) or item.start_ns > reached:
                break
            reached = max(reached, item.end_ns)
        return reached >= end_ns

    def says_the_same_as(self, other: "Record") -> bool:
        """Whether two records differ in their operational part at most."""
        return replace(self, operational=other.operational) == other


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a record's file: the record and, while its file is being replaced, the one that was in force.

    The published file itself tells which of the two is true, so that a kill between the replacing of the file and the
    settling of its record loses nothing that was known before.
    """

    record: Record
    replaces: Record | None = None


class UnreadableEntry(ValueError):
    """The bytes are no ledger entry."""


class NewerEntry(ValueError):
    """The entry was written by a newer version of marketlake."""


def encode(record: Record) -> bytes:
    """The JSON of a record, indented for people: equal records are equal bytes."""
    return encode_entry(Entry(record))


def decode(data: bytes) -> Record:
    """The record of the JSON that :func:`encode` or :func:`encode_entry` made.

    Raises:
        UnreadableEntry: the bytes are something else.
        NewerEntry: they were written by a newer version.
    """
    return decode_entry(data).record


def encode_entry(entry: Entry) -> bytes:
    """The JSON of an entry: that of its record; what it replaces is told in the operational part."""
    fields = _fields_of(entry.record)
    if entry.replaces is not None:
        fields["operational"]["replaces"] = _fields_of(entry.replaces)
    return msgspec.json.format(msgspec.json.encode(fields, order="sorted"), indent=1) + b"\n"


def _fields_of(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(record)
    for item in fields["coverage"]:
        if item["reason"] is None:  # most have none
            del item["reason"]
    return fields


def decode_entry(data: bytes) -> Entry:
    """The entry that :func:`encode_entry` gave the JSON of.

    Raises:
        UnreadableEntry: the bytes are something else.
        NewerEntry: they were written by a newer version.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).format_version
        if version > FORMAT_VERSION:
            message = f"format {version} is newer than {FORMAT_VERSION}: upgrade marketlake"
            raise NewerEntry(message)
        record = msgspec.json.decode(data, type=Record)
        return Entry(record, msgspec.json.decode(data, type=_Unsettled).operational.replaces)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEntry(str(error)) from error


class _Version(msgspec.Struct):
    format_version: int


class _Replaces(msgspec.Struct):
    replaces: Record | None = None


class _Unsettled(msgspec.Struct):
    operational: _Replaces
