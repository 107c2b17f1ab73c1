"""The published partitions and the ledger that proves them: read, publish, list, and lease.

How bytes become durable is the business of :mod:`marketlake.store`, what a file looks like of
:mod:`marketlake.table_files`, what a record says of :mod:`marketlake.ledger`, who may write of :mod:`marketlake.lease`.
"""

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import pyarrow as pa

from marketlake.content_hash import content_hash
from marketlake.errors import LakeError, RecordMismatch, UsageError
from marketlake.lease import held_lease
from marketlake.ledger import (
    Coverage,
    Entry,
    NewerEntry,
    Operational,
    Record,
    UnreadableEntry,
    decode_entry,
    encode,
    encode_entry,
)
from marketlake.store import Store
from marketlake.table_files import from_parquet, in_declared_form, in_total_order, to_parquet
from marketlake.tables import TABLES, Owner, Partition, Period, Table, table_named
from marketlake.tickers import asset_class_of

logger = logging.getLogger(__name__)

_REFUSAL: Final = (
    pa.field("rule", pa.string(), nullable=False),
    pa.field("raw", pa.string(), nullable=False),  # the row's JSON as it was sent
    pa.field("page", pa.string()),  # path of the captured page
    pa.field("position", pa.int64()),  # index in the page's results
)
# By table: its key, as far as the refused row had one, and why and where from.
QUARANTINE: Final[Mapping[str, pa.Schema]] = {
    table.name: pa.schema([*(table.schema.field(name).with_nullable(nullable=True) for name in table.key), *_REFUSAL])
    for table in TABLES.values()
}
_QUARANTINE_ORDER: Final = ("page", "position")
_YEAR: Final = re.compile(r"[0-9]{4}")
# Records are small and far away on S3: so many are under way at once.
_READERS: Final = 16


@dataclass(frozen=True, slots=True)
class Lake:
    """All partitions under one root."""

    store: Store

    def record(self, partition: Partition, *, verify: bool = False) -> Record | None:
        """The record that proves the published file; None where there is none, or where it proves another file.

        Either way None means: do this partition again. Without ``verify`` a file counts as the proven one by its size,
        unless a publication was cut off; with it, by its hash, and the quarantine by its number of rows.

        Raises:
            LakeError: the record was written by a newer version of marketlake.
        """
        _require_sane(partition)
        entry = self._entry(partition)
        if entry is None:
            return None
        if entry.replaces is None and not verify:
            return entry.record if self.store.size(partition.path) == entry.record.file_bytes else None
        try:
            file_hash = _sha256(self.store.read(partition.path))
        except FileNotFoundError:
            return None
        proven = next((item for item in (entry.record, entry.replaces) if item and item.file_hash == file_hash), None)
        if proven is None or self._quarantined_rows(partition) != proven.quarantined:
            return None
        return proven

    def read(
        self, partition: Partition, columns: Sequence[str] | None = None, *, verify: bool = False
    ) -> pa.Table | None:
        """The published rows in the declared schema, all columns or these; None where nothing is published.

        Raises:
            RecordMismatch: with ``verify``, the file is not the one that its record proves.
            LakeError: the file is damaged, or has other columns than the table declares.
        """
        _require_sane(partition)
        data = self._bytes(partition.path)
        if data is None:
            return None
        if verify:
            entry = self._entry(partition)
            hashes = {item.file_hash for item in (entry.record, entry.replaces) if item} if entry else set()
            if _sha256(data) not in hashes:
                raise RecordMismatch(partition.path, "the file is not the one of its record; do the partition again")
        return from_parquet(data, partition.spec.schema, columns, partition.path)

    def quarantined(self, partition: Partition) -> pa.Table | None:
        """The refused rows in the schema of :data:`QUARANTINE`; None where none were refused."""
        _require_sane(partition)
        data = self._bytes(partition.quarantine_path)
        schema = QUARANTINE[partition.table]
        return None if data is None else from_parquet(data, schema, None, partition.quarantine_path)

    def publish(
        self,
        partition: Partition,
        rows: pa.Table,
        *,
        coverage: Iterable[Coverage],
        quarantined: pa.Table,
        flags: Mapping[str, int],
        operational: Operational,
        inputs: Iterable[tuple[str, str]] = (),
    ) -> Record:
        """Make these the partition's rows, and prove it; the caller holds the lease.

        Nothing is written where the same bytes stand already, and a record that says the same is kept. A kill at any
        instant leaves the old rows with the old record, the new with the new, or rows that no record proves, which are
        done again. While data and quarantine change places, quarantine holds what either holds: a row is rather seen
        twice than not at all.

        Raises:
            LakeError: the rows are not as the table is declared, or the store could not write.
        """
        _require_sane(partition)
        spec = partition.spec
        rows = in_total_order(in_declared_form(rows, spec.schema, partition.path), spec.order)
        refused = in_declared_form(quarantined, QUARANTINE[spec.name], partition.quarantine_path)
        data = to_parquet(rows)
        record = Record(
            partition=partition,
            coverage=tuple(coverage),
            rows=rows.num_rows,
            quarantined=refused.num_rows,
            flags=flags,
            content_hash=content_hash(rows),
            file_hash=_sha256(data),
            file_bytes=len(data),
            inputs=tuple(inputs),
            operational=operational,
        )
        refused = in_total_order(refused, _QUARANTINE_ORDER)
        old = self.record(partition)
        data_changes = self._bytes_of_size(partition.path, len(data)) != data
        if data_changes or not self._holds_quarantine(partition, refused):
            if old is None:
                # A record that proves nothing now must not happen to fit the new file's size.
                self.store.delete(partition.ledger_path)
            else:
                self.store.write(partition.ledger_path, encode_entry(Entry(record, replaces=old)))
            if data_changes:
                self._publish_quarantine(partition, self._with_those_in_quarantine(partition, refused))
                self.store.write(partition.path, data)
            self._publish_quarantine(partition, refused)
        if old is not None and old.says_the_same_as(record):
            record = old
        settled = encode(record)
        if self._bytes(partition.ledger_path) != settled:
            self.store.write(partition.ledger_path, settled)
        return record

    def partitions(self, table: Table, owner: str | None = None) -> list[Partition]:
        """The partitions of a table, or of one owner, that have a record, sorted; whether it holds is not looked at."""
        folder = f"ledger/{table.path}"
        if owner is not None and table.owner is not Owner.NONE:
            asset_class_of(owner)
            first = Partition(table.name, owner, "").keys.split("/")[0]
            folder = f"{folder}/{first}"
        return partitions_at(self.store.list(folder), "record.json")

    def entries(self, *, verify: bool = False) -> Iterator[tuple[Partition, Record | None]]:
        """Every partition that has a record or a file, table by table, with its record, or None where that fails it."""
        partitions = []
        for table in TABLES.values():
            published = partitions_at(self.store.list(table.path), "data.parquet")
            partitions += sorted({*self.partitions(table), *published})
        with ThreadPoolExecutor(_READERS, thread_name_prefix="ledger") as readers:
            records = readers.map(lambda partition: self.record(partition, verify=verify), partitions)
            yield from zip(partitions, records, strict=True)

    def lease(
        self, partition: Partition, *, owner: str, now: Callable[[], datetime], ttl: timedelta
    ) -> AbstractContextManager[None]:
        """Hold the right to write the partition while the block runs.

        Raises:
            LeaseHeld: another live writer holds it. One that expired, or whose process is dead, is taken over.
        """
        _require_sane(partition)
        return held_lease(self.store, partition.lease_path, owner=owner, now=now, ttl=ttl)

    def _entry(self, partition: Partition) -> Entry | None:
        data = self._bytes(partition.ledger_path)
        if data is None:
            return None
        try:
            entry = decode_entry(data)
        except NewerEntry as error:
            raise LakeError(partition.ledger_path, str(error)) from error
        except UnreadableEntry as error:
            facts = {"path": partition.ledger_path, "problem": str(error)}
            logger.warning("a ledger record is unreadable and proves nothing; its partition is done again", extra=facts)
            return None
        if entry.record.partition != partition:
            raise LakeError(partition.ledger_path, f"this is the record of {entry.record.partition}; remove it")
        return entry

    def _publish_quarantine(self, partition: Partition, refused: pa.Table) -> None:
        path = partition.quarantine_path
        if not refused.num_rows:
            self.store.delete(path)
            return
        data = to_parquet(refused)
        if self._bytes_of_size(path, len(data)) != data:
            self.store.write(path, data)

    def _holds_quarantine(self, partition: Partition, refused: pa.Table) -> bool:
        if not refused.num_rows:
            return self.store.size(partition.quarantine_path) is None
        data = to_parquet(refused)
        return self._bytes_of_size(partition.quarantine_path, len(data)) == data

    def _with_those_in_quarantine(self, partition: Partition, refused: pa.Table) -> pa.Table:
        """The refused rows and those of before that are not among them, by page and position."""
        before = self.quarantined(partition)
        if before is None:
            return refused
        places = set(zip(*(refused[name].to_pylist() for name in _QUARANTINE_ORDER), strict=True))
        of_before = zip(*(before[name].to_pylist() for name in _QUARANTINE_ORDER), strict=True)
        gone = before.filter(pa.array([place not in places for place in of_before], pa.bool_()))
        return in_total_order(pa.concat_tables([refused, gone]), _QUARANTINE_ORDER)

    def _quarantined_rows(self, partition: Partition) -> int:
        refused = self.quarantined(partition)
        return 0 if refused is None else int(refused.num_rows)

    def _bytes(self, path: str) -> bytes | None:
        try:
            return self.store.read(path)
        except FileNotFoundError:
            return None

    def _bytes_of_size(self, path: str, size: int) -> bytes | None:
        return self._bytes(path) if self.store.size(path) == size else None


def partitions_at(paths: Iterable[str], name: str) -> list[Partition]:
    """The partitions of the files of a name among some paths, sorted; somebody's own files are passed over."""
    found = []
    for path in paths:
        if path.rpartition("/")[2] == name:
            with contextlib.suppress(UsageError):  # somebody's own file in the lake's folders
                partition = Partition.from_path(path)
                _require_sane(partition)
                found.append(partition)
    return sorted(found)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _require_sane(partition: Partition) -> None:
    spec = table_named(partition.table)
    if spec.owner is not Owner.NONE:
        asset_class_of(partition.owner)
    elif partition.owner:
        message = f"{spec.name} has no owner, but {partition.owner!r} was given"
        raise UsageError(message)
    if not _is_period(spec.period, partition.period):
        wanted = {Period.SESSION: "a date like 2025-08-29", Period.YEAR: "a year like 2025", Period.ALL: "nothing"}
        message = f"{partition.period!r} is no period of {spec.name}: give {wanted[spec.period]}"
        raise UsageError(message)


def _is_period(period: Period, text: str) -> bool:
    if period is Period.SESSION:
        try:
            return date.fromisoformat(text).isoformat() == text
        except ValueError:
            return False
    return bool(_YEAR.fullmatch(text)) if period is Period.YEAR else not text
