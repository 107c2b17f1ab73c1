"""Segments to the rows of a partition, and the rows of the stream held against those of REST.

Composing merges by key, the last revision wins, so that neither the order of arrival nor batching nor where windows
were sealed shows in the result. Segments themselves are :mod:`marketlake.segments`'; publishing what comes out, and
deciding what is missing, is for the caller.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.checks import Check
from marketlake.content_hash import content_hash
from marketlake.dedupe import last_revision
from marketlake.errors import CheckFailed
from marketlake.feeds import Subscription, table_of
from marketlake.frames import decode
from marketlake.ledger import Coverage, How, Proof, Record
from marketlake.reach import SPAN_NS, Received, joined
from marketlake.segments import read_quarantine, read_segment, segment_paths
from marketlake.spool import Kind, Position, captured_number
from marketlake.spool import Record as SpoolRecord
from marketlake.store import Store
from marketlake.table_files import in_total_order
from marketlake.tables import Carrier, Partition, Table
from marketlake.vendor_rows import NS_PER_MS
from marketlake.windows import Part

type Ints = NDArray[np.int64]

_OURS: Final = "number ours"  # no column of a table has a blank in its name
_THEIRS: Final = "number theirs"
_NAMELESS: Final = "number nameless"
_NO_TRF: Final = -1


@dataclass(frozen=True)
class Composed:
    """The rows of a partition as its stream brought them, in declared order.

    ``duplicates`` and ``superseded`` count rows that later segments repeated or revised; those inside one segment were
    counted when it was sealed. ``inputs`` names the segments with the content hash of each.
    """

    partition: Partition
    rows: pa.Table
    quarantined: pa.Table
    duplicates: int
    superseded: int
    inputs: tuple[tuple[str, str], ...]

    def is_in(self, record: Record | None) -> bool:
        """Whether a published partition was made from all of these segments, so that they may be removed.

        A kill between publishing and the removal of the last segment leaves some of them. No segments are in nothing.
        """
        return record is not None and bool(self.inputs) and set(self.inputs) <= set(record.inputs)


def compose(store: Store, partition: Partition) -> Composed:
    """Merge the segments of a partition; no segments give no rows."""
    segments = [(path, read_segment(store, partition, path)) for path in segment_paths(store, partition)]
    table = partition.spec
    number = np.repeat(np.arange(len(segments)), [rows.num_rows for _, rows in segments]).astype(np.int64)
    rows = pa.concat_tables([table.schema.empty_table(), *(rows for _, rows in segments)])
    merged = last_revision(table, rows, number)
    return Composed(
        partition=partition,
        rows=in_total_order(merged.rows, table.order),
        quarantined=read_quarantine(store, partition),
        duplicates=merged.duplicates,
        superseded=merged.superseded,
        inputs=tuple((path, content_hash(rows)) for path, rows in segments),
    )


@dataclass(frozen=True)
class Readmitted:
    """A partition's rows after those that had come too late were let in, and what stays in quarantine."""

    rows: pa.Table
    quarantined: pa.Table
    accepted: int


def readmit(table: Table, rows: pa.Table, quarantined: pa.Table, check: Check) -> Readmitted:
    """Let in the rows that were refused for nothing but their lateness, as the last revisions of their keys.

    Doing it again changes nothing: what was let in is not in quarantine any more. One that breaks a rule besides stays,
    under that rule.

    Raises:
        CheckFailed: a rule about the whole does not hold.
    """
    is_late = pc.equal(quarantined["rule"], Part.TOO_LATE.value)
    late = quarantined.filter(is_late)
    if not late.num_rows or table.asset_class is None:
        return Readmitted(rows, quarantined, 0)
    body = b"[%b]" % ",".join(late["raw"].to_pylist()).encode()
    frame = SpoolRecord(Position(1, len(body)), 0, Kind.FRAME, body)
    # Every one was a row of this table when it was refused.
    topics = [item for chunk in decode([frame], table.asset_class) for item in chunk.rows]
    event = np.concatenate([item.event for item in topics])
    came = pa.concat_tables([item.rows for item in topics]).take(pa.array(np.argsort(event)))
    verdict = check(table, came)
    if verdict.failed:
        raise CheckFailed(table.name, verdict.failed)
    stays = np.zeros(came.num_rows, dtype=np.bool_)
    stays[verdict.rows] = True
    still = late.filter(pa.array(stays))
    still = still.set_column(
        still.column_names.index("rule"), still.schema.field("rule"), pa.array(verdict.rules, pa.string())
    )
    let_in = came.filter(pa.array(~stays))
    number = np.repeat(np.arange(2), [rows.num_rows, let_in.num_rows]).astype(np.int64)
    merged = last_revision(table, pa.concat_tables([rows, let_in]), number)
    kept = pa.concat_tables([quarantined.filter(pc.invert(is_late)), still])
    return Readmitted(
        in_total_order(merged.rows, table.order),
        in_total_order(kept, ("page", "position")),
        int(np.count_nonzero(~stays)),
    )


def streamed_coverage(
    table: Table, rows: pa.Table, stretches: Mapping[Subscription, Iterable[Received]], proof: Sequence[Proof]
) -> tuple[Coverage, ...]:
    """The stretches of a partition's subscriptions as its ledger says them, with the rows stored in each.

    What was refused or repeated is counted by window, not by stretch, and is zero here. ``stretches`` may hold those of
    other tables too, and ``proof`` all files of the session: each stretch is proved by those that it was read from.
    """
    found = []
    if table.time_column is None:
        return ()
    for subscription, items in stretches.items():
        name, span = table_of(subscription)
        if name != table.name:
            continue
        own_ns = _own_times_ns(table, rows, subscription)
        found += [
            Coverage(
                ticker=subscription.ticker,
                span=span.value if span is not None else None,
                start_ns=item.start_ns,
                end_ns=item.end_ns,
                how=How.STREAMED,
                rows=int(np.count_nonzero((own_ns >= item.start_ns) & (own_ns < item.end_ns))),
                refused=0,
                duplicates=0,
                superseded=0,
                proof=proof_of(item, proof),
            )
            for item in items
        ]
    return tuple(sorted(found, key=lambda item: item.place))


def with_stored_rows(
    table: Table, rows: pa.Table, stretches: Mapping[Subscription, Iterable[Received]]
) -> dict[Subscription, tuple[Received, ...]]:
    """The stretches of a partition's subscriptions, and the time of the rows that are stored beside them.

    A row that came is nothing that is missing, whatever was lost around it: a bar tells of its span, any other row of
    its millisecond, the stream's least step. Which file it stands in is not known, and so it is all of them.
    """
    found = {}
    for subscription, items in stretches.items():
        known, span = tuple(items), table_of(subscription)[1]
        own_ns = np.unique(_own_times_ns(table, rows, subscription))
        for item in known:
            own_ns = own_ns[(own_ns < item.start_ns) | (own_ns >= item.end_ns)]
        width_ns = NS_PER_MS if span is None else SPAN_NS[span]
        beside = (Received(at_ns, at_ns + width_ns, 0, sys.maxsize) for at_ns in own_ns.tolist())
        found[subscription] = tuple(sorted([*known, *joined(beside)]))
    return found


def _own_times_ns(table: Table, rows: pa.Table, subscription: Subscription) -> Ints:
    _, span = table_of(subscription)
    is_own = pc.equal(rows["ticker"], subscription.ticker)
    if span is not None:
        is_own = pc.and_(is_own, pc.equal(rows["span"], span.value))
    times_ns: Ints = rows.filter(is_own)[table.time_column].cast(pa.int64()).to_numpy()
    return times_ns


def proof_of(item: Received, proof: Iterable[Proof]) -> tuple[Proof, ...]:
    """Of a session's captured files those that a stretch was read from."""
    numbers = range(item.first_file, item.last_file + 1)
    return tuple(file for file in proof if captured_number(file.path) in numbers)


@dataclass(frozen=True)
class Reconciliation:
    """What holding the rows of the stream against those of REST has shown.

    ``lacking`` are rows that the stream brought and REST does not have. ``revised`` counts by column the keys whose
    values differ by more than the stream's precision; ``differing`` counts those keys once. Rows that a null leaves
    without a key are held against those of the same instant and values: ``lacking_without_key`` counts those of which
    REST has fewer.
    """

    lacking: pa.Table
    differing: int
    revised: Mapping[str, int]
    lacking_without_key: int


def reconcile(table: Table, streamed: pa.Table, rest: pa.Table) -> Reconciliation:
    """Hold the composed rows of a partition against those that REST gives; each key is there at most once in each."""
    ours, theirs = _keyed(table, streamed), _keyed(table, rest)
    places, others = _matches(table, ours, theirs)
    mine, other = ours.take(pa.array(places)), theirs.take(pa.array(others))
    revised: dict[str, int] = {}
    differs = np.zeros(places.size, dtype=np.bool_)
    for name in table.schema.names:
        if table.carrier(name) is Carrier.BOTH and name not in table.key:
            changed = _differs(mine[name], other[name], table.stream_step_ns(name))
            if changed.any():
                revised[name] = int(np.count_nonzero(changed))
            differs |= changed
    is_lacking = np.ones(ours.num_rows, dtype=np.bool_)
    is_lacking[places] = False
    return Reconciliation(
        lacking=ours.filter(pa.array(is_lacking)),
        differing=int(np.count_nonzero(differs)),
        revised=revised,
        lacking_without_key=_lacking_without_key(table, streamed, rest),
    )


def _lacking_without_key(table: Table, streamed: pa.Table, rest: pa.Table) -> int:
    """How many streamed rows without a key REST cannot have: of their instant and values it has fewer."""
    nameless = streamed.filter(pc.invert(_has_key(table, streamed)))
    if not nameless.num_rows:
        return 0
    names = [
        name
        for name in streamed.schema.names
        if table.carrier(name) is Carrier.BOTH and not nameless[name].null_count and not _is_list(nameless[name])
    ]
    counts = [
        pa.table({name: _cut(rows[name], table.stream_step_ns(name)) for name in names})
        .group_by(names)
        .aggregate([([], "count_all")])
        .rename_columns([*names, place])
        for rows, place in ((nameless, _NAMELESS), (streamed, _OURS), (rest, _THEIRS))
    ]
    joined_counts = counts[0].join(counts[1], names).join(counts[2], names)
    there = pc.fill_null(joined_counts[_THEIRS], 0).to_numpy()
    short = joined_counts[_OURS].to_numpy() - there
    return int(np.clip(short, 0, joined_counts[_NAMELESS].to_numpy()).sum())


def _is_list(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_list(column.type))


def _cut(column: pa.ChunkedArray, step_ns: int) -> pa.ChunkedArray:
    """Instants, to the precision of the stream; anything else as it is."""
    if not pa.types.is_timestamp(column.type) or not step_ns:
        return column
    return pa.chunked_array([pa.array(column.cast(pa.int64()).to_numpy() // step_ns)])


def _keyed(table: Table, rows: pa.Table) -> pa.Table:
    """The rows that a key tells apart."""
    return rows.filter(_has_key(table, rows))


def _has_key(table: Table, rows: pa.Table) -> pa.Array:
    mask = np.ones(rows.num_rows, dtype=np.bool_)
    for name in set(table.key) - table.null_in_key:
        mask &= pc.is_valid(rows[name]).to_numpy()
    return pa.array(mask)


def not_among(table: Table, rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose key is not among those of others; a row that a null leaves without a key is among none."""
    numbered = rows.append_column(_OURS, pa.array(np.arange(rows.num_rows)))
    places, _ = _matches(table, _keyed(table, numbered.drop_columns([_OURS])), _keyed(table, others))
    mine = _keyed(table, numbered)[_OURS].to_numpy()[places]
    stays = np.ones(rows.num_rows, dtype=np.bool_)
    stays[mine] = False
    return rows.filter(pa.array(stays))


def without_places_of(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The quarantined rows whose page and position are not among those of others: each event is kept once."""
    known = set(zip(others["page"].to_pylist(), others["position"].to_pylist(), strict=True))
    places = zip(rows["page"].to_pylist(), rows["position"].to_pylist(), strict=True)
    return rows.filter(pa.array([place not in known for place in places], pa.bool_()))


def _matches(table: Table, ours: pa.Table, theirs: pa.Table) -> tuple[Ints, Ints]:
    """The places of rows with equal keys, in both."""
    left, right = (
        pa.table({name: _joinable(rows[name]) for name in table.key} | {number: pa.array(np.arange(rows.num_rows))})
        for rows, number in ((ours, _OURS), (theirs, _THEIRS))
    )
    found = left.join(right, keys=list(table.key), join_type="inner", use_threads=False).sort_by(_OURS)
    return found[_OURS].to_numpy(), found[_THEIRS].to_numpy()


def _joinable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # A join takes no null for equal; the only column in which null is a value holds the vendor's numbers, from 0 on.
    return pc.fill_null(column, _NO_TRF) if pa.types.is_int64(column.type) else column


def _differs(ours: pa.ChunkedArray, theirs: pa.ChunkedArray, step_ns: int) -> NDArray[np.bool_]:
    """Where two columns differ by a step or more; what the stream left out is no difference."""
    kind = ours.type
    if pa.types.is_timestamp(kind):
        apart = pc.abs(pc.subtract(ours.cast(pa.int64()), theirs.cast(pa.int64())))
        different = pc.greater_equal(apart, step_ns)
    elif pa.types.is_list(kind):
        different = pc.not_equal(_as_text(ours), _as_text(theirs))
    else:
        different = pc.not_equal(ours, theirs)
    one_sided = pc.and_(pc.is_valid(ours), pc.is_null(theirs))
    result: NDArray[np.bool_] = pc.or_(pc.fill_null(different, fill_value=False), one_sided).to_numpy()
    return result


def _as_text(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join(lists.cast(pa.list_(pa.string())), ",")
