"""What the lake holds, as the ledger knows it: by table and owner, with what is missing and what does not add up.

Entries come from :meth:`marketlake.lake.Lake.entries`; adding them up and showing the sums is pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

import msgspec

from marketlake.lake import Lake
from marketlake.ledger import Record
from marketlake.sessions import sessions_between
from marketlake.tables import TABLES, Layer, Partition, Period

_NAMED_PERIODS: Final = 5  # a line names so many and counts the rest
_RIGHT: Final = frozenset({"partitions", "rows", "quarantined", "size"})


@dataclass(frozen=True, slots=True)
class Holding:
    """What is published of one table for one owner.

    ``partitions`` counts those whose record holds; ``first`` and ``last`` are their periods (dates, years, or "" for a
    table that is one file an owner). ``mismatched`` lists periods whose file is not the one of the record; ``missing``
    the trading sessions between the first and the last record that have none; ``stale`` those of a consolidated table
    that were made from partitions which have changed since.
    """

    table: str
    owner: str
    partitions: int
    first: str
    last: str
    rows: int
    quarantined: int
    bytes: int
    mismatched: tuple[str, ...]
    missing: tuple[str, ...]
    stale: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """All holdings, in the order of the tables, and their sums."""

    tables: tuple[Holding, ...]
    partitions: int
    rows: int
    quarantined: int
    bytes: int
    mismatched: int
    missing: int
    stale: int

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json: those of the fields."""
        fields: dict[str, object] = msgspec.to_builtins(self)
        return fields


def status_of(entries: Iterable[tuple[Partition, Record | None]]) -> Status:
    """What the given ledger entries add up to; None stands for a record that does not prove its file."""
    places = {name: number for number, name in enumerate(TABLES)}
    ordered = sorted(entries, key=lambda item: (places[item[0].table], item[0].owner, item[0].period))
    groups = groupby(ordered, key=lambda item: (item[0].table, item[0].owner))
    contents = {partition.path: record.content_hash for partition, record in ordered if record is not None}
    holdings = tuple(_holding(table, owner, list(items), contents) for (table, owner), items in groups)
    return Status(
        tables=holdings,
        partitions=sum(item.partitions for item in holdings),
        rows=sum(item.rows for item in holdings),
        quarantined=sum(item.quarantined for item in holdings),
        bytes=sum(item.bytes for item in holdings),
        mismatched=sum(len(item.mismatched) for item in holdings),
        missing=sum(len(item.missing) for item in holdings),
        stale=sum(len(item.stale) for item in holdings),
    )


def lake_status(lake: Lake, *, verify: bool = False) -> Status:
    """What a lake holds; with ``verify`` every file is hashed, which reads all of it."""
    return status_of(lake.entries(verify=verify))


def render(status: Status) -> str:
    """The status as a table for people, with a line below for everything that needs somebody."""
    if not status.tables:
        return "The lake is empty: nothing has been published yet."
    lines = [
        ("table", "owner", "partitions", "first", "last", "rows", "quarantined", "size"),
        *(_line(item.table, item.owner, item.first, item.last, item) for item in status.tables),
        _line(" ", " ", " ", " ", status),
    ]
    text = [_aligned(lines)]
    for item in status.tables:
        name = f"{item.table} {item.owner}".strip()
        if item.mismatched:
            text.append(f"{name}: the file does not match its record, backfill again: {_named(item.mismatched)}")
        if item.missing:
            text.append(f"{name}: not published: {_named(item.missing)}")
        if item.stale:
            text.append(f"{name}: made from partitions that have changed, consolidate again: {_named(item.stale)}")
    return "\n".join(text)


def _holding(
    table: str, owner: str, entries: list[tuple[Partition, Record | None]], contents: Mapping[str, str]
) -> Holding:
    records = [record for _, record in entries if record is not None]
    periods = [partition.period for partition, record in entries if record is not None]
    return Holding(
        table=table,
        owner=owner,
        partitions=len(records),
        first=periods[0] if periods else "",
        last=periods[-1] if periods else "",
        rows=sum(record.rows for record in records),
        quarantined=sum(record.quarantined for record in records),
        bytes=sum(record.file_bytes for record in records),
        mismatched=tuple(partition.period for partition, record in entries if record is None),
        missing=_missing(table, [partition.period for partition, _ in entries]),
        stale=tuple(partition.period for partition, record in entries if record and _is_stale(record, contents)),
    )


def _is_stale(record: Record, contents: Mapping[str, str]) -> bool:
    """Whether a consolidated partition was made from something else than the ledger has now."""
    is_consolidated = record.partition.spec.layer is Layer.CONSOLIDATED
    return is_consolidated and any(contents.get(path) != content for path, content in record.inputs)


def _missing(table: str, periods: list[str]) -> tuple[str, ...]:
    if TABLES[table].period is not Period.SESSION:
        return ()
    expected = sessions_between(date.fromisoformat(periods[0]), date.fromisoformat(periods[-1]))
    there = set(periods)
    return tuple(text for text in (day.isoformat() for day in expected) if text not in there)


def _named(periods: tuple[str, ...]) -> str:
    rest = len(periods) - _NAMED_PERIODS
    named = ", ".join(period or "all of it" for period in periods[:_NAMED_PERIODS])
    return f"{named} and {rest:,} more" if rest > 0 else named


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _line(table: str, owner: str, first: str, last: str, counted: Holding | Status) -> tuple[str, ...]:
    counts = (f"{counted.partitions:,}", f"{counted.rows:,}", f"{counted.quarantined:,}")
    return table, owner or "-", counts[0], first or "-", last or "-", *counts[1:], _size(counted.bytes)


def _aligned(lines: list[tuple[str, ...]]) -> str:
    """The lines in columns: counts to the right, a rule below the header and above the sums."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    text = [
        "  ".join(
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for cell, width, name in zip(line, widths, lines[0], strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, text))
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])
