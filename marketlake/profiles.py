"""What a partition looks like in a few numbers, so that one session can be held against those before it.

A profile is made once for each content: it is kept under ``reports/profiles`` by the content's hash. What differs too
much is decided by :mod:`expectations.drift`, within the bands that the sessions before give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketlake.capture import Captures
from marketlake.lake import Lake
from marketlake.ledger import Record
from marketlake.tables import Partition, Period, Table
from marketlake.vendor_rows import UNREADABLE

ROWS: Final = "rows"
# How far outside of what was seen a value may lie: rows by this factor, ranges by this part of their size.
_ROWS_FACTOR: Final = 4.0
_MARGIN: Final = 0.5
_NULLS_MARGIN: Final = 0.1
# A session more or less tells little: from so many on, ranges are looked at.
LEAST_SESSIONS: Final = 3
_ROWS_READ_FOR_FIELDS: Final = 1_000
_NUMBERS: Final = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)


class Profile(msgspec.Struct, frozen=True):
    """The columns of a partition's file with their types, the vendor's fields in its answers, and its statistics.

    ``statistics`` are by name: ``rows``, and of each column of numbers its ``minimum``, ``median`` and ``maximum``, of
    each column the part that is null.
    """

    columns: dict[str, str]
    fields: list[str]
    statistics: dict[str, float]


class _Envelope(msgspec.Struct):
    results: list[dict[str, msgspec.Raw]] = []


@dataclass(frozen=True, slots=True)
class Series:
    """A session's profile, and those of the sessions before it, newest first."""

    partition: Partition
    profile: Profile
    before: tuple[Profile, ...]


def series_of(lake: Lake, table: Table, session: date, most: int) -> list[Series]:
    """The profiles of a table's partitions of a session, each with those of up to ``most`` sessions before it."""
    if table.period is not Period.SESSION:
        return []
    found = []
    by_owner: dict[str, list[Partition]] = {}
    for partition in lake.partitions(table):
        if partition.session <= session:
            by_owner.setdefault(partition.owner, []).append(partition)
    for partitions in by_owner.values():
        newest, *before = sorted(partitions, key=lambda item: item.session, reverse=True)[: most + 1]
        profile = profile_of(lake, newest) if newest.session == session else None
        if profile is not None:
            others = (profile_of(lake, item) for item in before)
            found.append(Series(newest, profile, tuple(item for item in others if item is not None)))
    return sorted(found, key=lambda item: item.partition.owner)


def profile_of(lake: Lake, partition: Partition) -> Profile | None:
    """The profile of a partition; None where it is not in the lake, or not whole."""
    record = lake.record(partition)
    if record is None:
        return None
    path = f"reports/profiles/{partition.path.removesuffix('/data.parquet')}/{record.content_hash[:12]}.json"
    if lake.store.size(path) is not None:
        return msgspec.json.decode(lake.store.read(path), type=Profile)
    profile = _made(lake, partition, record)
    lake.store.write(path, msgspec.json.format(msgspec.json.encode(profile)))
    return profile


def bands(before: Sequence[Profile]) -> Mapping[str, tuple[float, float]]:
    """Between which two values each statistic is expected; none while there are too few sessions."""
    if len(before) < LEAST_SESSIONS:
        return {}
    found = {}
    for name in before[0].statistics:
        values = [profile.statistics[name] for profile in before if name in profile.statistics]
        if len(values) < LEAST_SESSIONS:
            continue
        low, high = min(values), max(values)
        if name == ROWS:
            found[name] = low / _ROWS_FACTOR, high * _ROWS_FACTOR
        elif name.endswith(".nulls"):
            found[name] = low - _NULLS_MARGIN, high + _NULLS_MARGIN
        else:
            margin = _MARGIN * max(high - low, abs(high), abs(low))
            found[name] = low - margin, high + margin
    return found


def _made(lake: Lake, partition: Partition, record: Record) -> Profile:
    file = pq.ParquetFile(pa.BufferReader(lake.store.read(partition.path)))
    statistics = {ROWS: float(file.metadata.num_rows)}
    for field in file.schema_arrow if file.metadata.num_rows else ():
        column = file.read(columns=[field.name]).column(0)
        statistics[f"{field.name}.nulls"] = column.null_count / file.metadata.num_rows
        is_number = any(is_of(field.type) for is_of in _NUMBERS)
        if is_number and column.null_count < len(column):
            numbers = pc.drop_null(column.cast(pa.float64()))
            ends = pc.min_max(numbers).as_py()
            statistics[f"{field.name}.minimum"] = ends["min"]
            statistics[f"{field.name}.median"] = pc.quantile(numbers, 0.5)[0].as_py()
            statistics[f"{field.name}.maximum"] = ends["max"]
    columns = {field.name: str(field.type) for field in file.schema_arrow}
    return Profile(columns, sorted(_fields_of(lake, record)), statistics)


def _fields_of(lake: Lake, record: Record) -> set[str]:
    """The fields that the vendor's rows have on the first page of each answer that the partition was made of."""
    captures = Captures(lake.store)
    paths = {
        item.proof[0].path for item in record.coverage if item.proof and item.proof[0].path.startswith("capture/rest/")
    }
    fields: set[str] = set()
    for path in sorted(paths):
        try:
            rows = msgspec.json.decode(captures.read(path).body, type=_Envelope).results
        except (*UNREADABLE, FileNotFoundError):
            continue  # an answer of another form, or one that is kept no longer
        for row in rows[:_ROWS_READ_FOR_FIELDS]:
            fields |= row.keys()
    return fields
