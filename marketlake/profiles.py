"""What a partition looks like in a few numbers, so that one session can be held against those before it.

A profile is made once for each content: it is kept under ``reports/profiles`` by the content's hash. What differs too
much is decided by :mod:`expectations.drift`, within the bands that the sessions before give.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketlake.capture import Captures, sha256_of
from marketlake.errors import RecordMismatch
from marketlake.lake import Lake
from marketlake.ledger import Record
from marketlake.tables import Partition, Period, Table
from marketlake.vendor_rows import UNREADABLE

ROWS: Final = "rows"
# How far outside of what was seen a value may lie. What is found interrupts a person: a day of three times the usual
# volume is a day, a price of a hundred times the usual one is not.
_ROWS_FACTOR: Final = 4.0
_FACTOR: Final = 5.0
_NULLS_MARGIN: Final = 0.25
# Numbers that name something: that they are larger than yesterday says nothing.
_NAMES: Final = frozenset(
    {"sequence_number", "trf_id", "exchange", "bid_exchange", "ask_exchange", "tape", "correction", "rank"}
)
# A session more or less tells little: from so many on, ranges are looked at.
LEAST_SESSIONS: Final = 3
_ROWS_READ_FOR_FIELDS: Final = 1_000
_NUMBERS: Final = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)


class Profile(msgspec.Struct, frozen=True):
    """The columns of a partition's file with their types, the vendor's fields in its answers, and its statistics.

    ``fields`` has of each field the part of the rows in which it is. ``statistics`` are by name: ``rows``, and of each
    column of numbers its ``minimum``, ``median`` and ``maximum``, of each column the part that is null.
    """

    columns: dict[str, str]
    fields: dict[str, float]
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
    # Other answers may have other fields, and the same rows.
    answers = sha256_of("".join(proof.sha256 for item in record.coverage for proof in item.proof).encode())
    folder = f"reports/profiles/{partition.path.removesuffix('/data.parquet')}"
    path = f"{folder}/{record.content_hash[:12]}-{answers[:12]}.json"
    if lake.store.size(path) is not None:
        return msgspec.json.decode(lake.store.read(path), type=Profile)
    profile = _made(lake, partition, record)
    lake.store.write(path, msgspec.json.format(msgspec.json.encode(profile)))
    return profile


def bands(before: Sequence[Profile]) -> Mapping[str, tuple[float, float]]:
    """Between which two values each statistic is expected; none while there are too few sessions."""
    if len(before) < LEAST_SESSIONS:
        return {}
    columns = {name.partition(".")[0] for profile in before for name in profile.statistics}
    never_below_zero = {
        column for column in columns if all(profile.statistics.get(f"{column}.minimum", 1.0) > 0 for profile in before)
    }
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
        elif name.partition(".")[0] in never_below_zero:
            found[name] = low / _FACTOR, high * _FACTOR
        else:
            # Around zero a factor means nothing: as many times the size of the column's numbers.
            reach = _FACTOR * max(abs(value) for profile in before for value in _of_column(profile, name))
            if reach:  # a column of nothing but zeros, an age say, tells no size
                found[name] = low - reach, high + reach
    return found


def _of_column(profile: Profile, name: str) -> list[float]:
    column = name.partition(".")[0]
    ends = (f"{column}.{end}" for end in ("minimum", "median", "maximum"))
    return [profile.statistics[end] for end in ends if end in profile.statistics]


def _made(lake: Lake, partition: Partition, record: Record) -> Profile:
    file = pq.ParquetFile(pa.BufferReader(lake.store.read(partition.path)))
    statistics = {ROWS: float(file.metadata.num_rows)}
    for field in file.schema_arrow if file.metadata.num_rows else ():
        column = file.read(columns=[field.name]).column(0)
        statistics[f"{field.name}.nulls"] = column.null_count / file.metadata.num_rows
        is_number = any(is_of(field.type) for is_of in _NUMBERS)
        if is_number and field.name not in _NAMES and column.null_count < len(column):
            numbers = pc.drop_null(column.cast(pa.float64()))
            ends = pc.min_max(numbers).as_py()
            statistics[f"{field.name}.minimum"] = ends["min"]
            statistics[f"{field.name}.median"] = pc.quantile(numbers, 0.5)[0].as_py()
            statistics[f"{field.name}.maximum"] = ends["max"]
    # Parquet has a name of its own for what is in a list.
    columns = {field.name: str(field.type).replace("<element: ", "<item: ") for field in file.schema_arrow}
    return Profile(columns, _fields_of(lake, record), statistics)


def _fields_of(lake: Lake, record: Record) -> dict[str, float]:
    """In which part of the rows each of the vendor's fields is, by some rows of the first page of each answer."""
    captures = Captures(lake.store)
    paths = {
        item.proof[0].path for item in record.coverage if item.proof and item.proof[0].path.startswith("capture/rest/")
    }
    counts: Counter[str] = Counter()
    looked_at = 0
    for path in sorted(paths):
        try:
            rows = msgspec.json.decode(captures.read(path).body, type=_Envelope).results
        except (*UNREADABLE, RecordMismatch):
            continue  # an answer of another form, or one that is kept no longer
        some = rows[:: max(1, len(rows) // _ROWS_READ_FOR_FIELDS)]
        looked_at += len(some)
        for row in some:
            counts.update(row.keys())
    return {name: count / looked_at for name, count in sorted(counts.items())}
