"""What a later answer of history changes in a published partition: row by row, from what to what.

A restatement is durable before the partition it is about is replaced, and its name is made of what stood and what will
stand: a run that is killed in between leaves it, and the next one writes the same again. It has no time of day in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.backfill import Outcome, is_answer, run_batch
from marketlake.content_hash import content_hash
from marketlake.desk import Desk
from marketlake.errors import BrokenAnswer
from marketlake.lake import Lake
from marketlake.plan import Batch, Want
from marketlake.receiving import receive
from marketlake.table_files import in_declared_form, in_total_order, to_parquet
from marketlake.tables import TABLES, Owner, Partition, Span, Table
from marketlake.tickers import Underlying

BEFORE, AFTER = "before", "after"
# A contract's one trade may be cancelled, and its bar with it. More bars than these do not vanish together: an answer
# without any of them is none.
MOST_THAT_VANISH: Final = 10
_PLACE: Final = "place in the table "  # no column of a table has a blank in its name


class Change(StrEnum):
    """What happened to a row."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Restatement:
    """What was changed in a partition, and where each row of it is written down."""

    partition: Partition
    path: str
    changed: int
    added: int
    removed: int

    @property
    def rows(self) -> int:
        """How many rows are not what they were."""
        return self.changed + self.added + self.removed

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "partition": str(self.partition),
            "path": self.path,
            "changed": self.changed,
            "added": self.added,
            "removed": self.removed,
        }


@dataclass
class Restating:
    """Writes down what is about to change in partitions of a lake, one after the other."""

    lake: Lake
    found: list[Restatement] = field(default_factory=list)

    def __call__(self, partition: Partition, after: pa.Table) -> None:
        """Hold what stands against what will be published; what was never published is not restated."""
        before = self.lake.read(partition)
        if before is None:
            return
        table = partition.spec
        ordered = in_total_order(in_declared_form(after, table.schema, partition.path), table.order)
        rows = restated(table, before, ordered)
        if not rows.num_rows:
            return
        name = f"{content_hash(before)[:12]}-{content_hash(ordered)[:12]}.parquet"
        path = f"reports/restatements/{partition.path.removesuffix('/data.parquet')}/{name}"
        self.lake.store.write(path, to_parquet(rows))
        counts = {change: pc.sum(pc.equal(rows["change"], change.value)).as_py() for change in Change}
        self.found.append(
            Restatement(partition, path, counts[Change.CHANGED], counts[Change.ADDED], counts[Change.REMOVED])
        )


def restated(table: Table, before: pa.Table, after: pa.Table) -> pa.Table:
    """The rows in which two versions of a partition differ, in the order of their keys.

    Columns: ``change``, the key, and each other column twice, ``open_before`` and ``open_after``; null where there was
    no such row. Two nulls are the same.
    """
    keys, values = list(table.key), [name for name in before.column_names if name not in table.key]
    sides = [
        rows.select(keys).append_column(f"{_PLACE}{side}", pa.array(np.arange(rows.num_rows)))
        for side, rows in ((BEFORE, before), (AFTER, after))
    ]
    both = sides[0].join(sides[1], keys, join_type="full outer").sort_by([(name, "ascending") for name in keys])
    places = {side: both[f"{_PLACE}{side}"].combine_chunks() for side in (BEFORE, AFTER)}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in values:
        columns[f"{name}_{BEFORE}"] = before[name].take(places[BEFORE])
        columns[f"{name}_{AFTER}"] = after[name].take(places[AFTER])
    is_new, is_gone = pc.is_null(places[BEFORE]), pc.is_null(places[AFTER])
    differs = pc.or_(is_new, is_gone)
    for name in values:
        differs = pc.or_(differs, _distinct(columns[f"{name}_{BEFORE}"], columns[f"{name}_{AFTER}"]))
    change = pc.if_else(is_new, Change.ADDED.value, pc.if_else(is_gone, Change.REMOVED.value, Change.CHANGED.value))
    found = pa.table({"change": change, **{name: both[name] for name in keys}, **columns})
    return found.filter(differs).combine_chunks()


def _distinct(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where two columns differ; null is like null and like nothing else."""
    unequal = pc.fill_null(pc.not_equal(left, right), False)
    return pc.or_(unequal, pc.xor(pc.is_null(left), pc.is_null(right)))


def published_bars(
    lake: Lake, session: date, tables: Sequence[str], underlyings: Sequence[str], indices: Sequence[str]
) -> list[Batch]:
    """What was asked of the bars of a session that are published, to be asked again: one batch a partition.

    What is not published has nothing that could be corrected. Above all, a stream that history could not prove whole
    is not published behind its back.
    """
    found = []
    for partition in _partitions_of(session, tables, underlyings, indices):
        record = lake.record(partition, verify=True)
        wants = tuple(
            Want(item.ticker, Span(item.span), session, session)
            for item in (record.coverage if record is not None else ())
            if item.span is not None and is_answer(item, partition)
        )
        if wants:
            found.append(Batch(partition.table, partition.owner, (partition,), wants, refresh=True))
    return found


def _partitions_of(
    session: date, tables: Sequence[str], underlyings: Sequence[str], indices: Sequence[str]
) -> Iterator[Partition]:
    meant = [Underlying.parse(text) for text in underlyings]
    for table in (TABLES[name] for name in tables):
        if table.owner is Owner.UNDERLYING:
            owners = [item.symbol for item in meant]
        else:
            owners = [item.price_ticker for item in meant if item.asset_class is table.asset_class]
            owners += indices if table.name == "index_bars" else []
        for owner in dict.fromkeys(owners):
            yield Partition.of_session(table, owner, session)


def ask_again(batch: Batch, desk: Desk) -> tuple[Outcome, tuple[Restatement, ...]]:
    """Ask for one published partition again, write down what that changes, and publish it.

    Raises:
        BrokenAnswer: history has not one of many bars any more; what is published stays.
        VendorError: history could not be had whole.
        LeaseHeld: another process is writing the partition.
    """
    (partition,) = batch.partitions
    record = desk.lake.record(partition)
    stored = {
        (item.ticker, item.span): item.rows
        for item in (record.coverage if record is not None else ())
        if is_answer(item, partition)
    }
    asked_at, page_size = desk.now(), desk.settings.sources.page_size
    for want in batch.wants:
        answer = receive(partition.spec, batch.owner, want, desk.vendor, page_size, newer_than=asked_at)
        before = stored.get((want.ticker, want.span), 0)
        if before > MOST_THAT_VANISH and not answer.came:
            problem = f"history has none any more of the {before} {want.span} bars of {want.ticker} that are published"
            raise BrokenAnswer(batch.title, problem)
    restating = Restating(desk.lake)
    # What was just captured serves.
    outcome = run_batch(replace(batch, refresh=False), desk, restate=restating)
    return outcome, tuple(restating.found)
