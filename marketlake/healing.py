"""After the session: what the stream brought held against history, filled, published, and ``live/`` emptied.

A table that REST serves is published as REST has it, so that live equals batch; the stream is the witness. Every row
that it brought has to be in the answer: an answer that lacks one is not complete, whatever its pages say. What no
stream covered is labelled healed, verified empty where history has nothing either, or unavailable where history does
not reach so far. A table that the stream alone carries is composed of its segments, and what is not covered is labelled
unavailable.

How a session's spool becomes segments is :mod:`marketlake.live`'s business, asking REST :mod:`marketlake.backfill`'s.
A kill at any instant leaves spool, segments and partitions from which the same is done again.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake import backfill
from marketlake.backfill import Outcome, Replay, Witnessed, is_answer, rows_covered, run_batch, sources_of
from marketlake.checks import flag_counts
from marketlake.composing import (
    Composed,
    compose,
    not_among,
    proof_of,
    readmit,
    reconcile,
    streamed_coverage,
    with_stored_rows,
    without_places_of,
)
from marketlake.coverage import difference, expected_of
from marketlake.desk import Desk
from marketlake.errors import HealFellShort, NotEntitled, UsageError
from marketlake.feeds import Subscription, Topic, table_of
from marketlake.frames import decode, raw_text
from marketlake.lake import QUARANTINE
from marketlake.lease import kept_lease
from marketlake.ledger import Coverage, How, Operational, Proof
from marketlake.live import LiveSession, SealedWindow, Window
from marketlake.plan import Batch, Want, covered_range
from marketlake.reach import Received, Stretch
from marketlake.sealing import remove_sealed, seal
from marketlake.segments import (
    frame_path,
    live_partitions,
    move_unowned,
    read_segment,
    remove_others,
    remove_segments,
    segment_paths,
)
from marketlake.spool import Spool, local_folder, local_numbers
from marketlake.tables import TABLES, Owner, Partition, Span, Table
from marketlake.tickers import AssetClass, underlying_of_option
from marketlake.unrecorded import unrecorded

logger = logging.getLogger(__name__)

_SECOND_NS: Final = 1_000_000_000
NOT_IN_HISTORY: Final = "not_in_history"
_EVENT: Final = "event"
_OF_TRADES: Final = frozenset({Topic.TRADES, Topic.SECONDS, Topic.MINUTES})


@dataclass(frozen=True)
class Streamed:
    """What the stream brought of one session of one feed: what it covers, and the captured files that prove it."""

    feed: AssetClass
    session: date
    stretches: Mapping[Subscription, tuple[Received, ...]]
    halts: tuple[Received, ...]
    partitions: tuple[Partition, ...]
    proof: tuple[Proof, ...]

    def of(self, partition: Partition) -> dict[Subscription, tuple[Received, ...]]:
        """What is covered of one partition."""
        return {
            subscription: stretches
            for subscription, stretches in self.stretches.items()
            if self.partition_of(subscription) == partition
        }

    def partition_of(self, subscription: Subscription) -> Partition:
        """Where the rows of a subscription go."""
        table = TABLES[table_of(subscription)[0]]
        ticker = subscription.ticker
        owner = underlying_of_option(ticker) if table.owner is Owner.UNDERLYING else ticker
        return Partition.of_session(table, owner, self.session)


def unhealed_feeds(desk: Desk, session: date) -> list[AssetClass]:
    """The feeds of which a session was recorded and not published since, or should have been recorded."""
    live = {partition.spec.asset_class for partition in live_partitions(desk.lake.store, session)}
    spool = Path(desk.settings.stream.spool)
    return [
        feed
        for feed in AssetClass
        if feed in live or local_numbers(local_folder(spool, feed, session)) or unrecorded(feed, session, desk)
    ]


def finish_stream(
    feed: AssetClass, session: date, desk: Desk, seal_window: Callable[[LiveSession, Window], SealedWindow]
) -> Streamed:
    """Bring a session's spool into the lake's capture, and seal every window that is not sealed yet.

    Raises:
        UsageError: a recorder is still writing.
        RecordMismatch: the captured stream is not as it was written.
        CheckFailed: a rule about a whole window does not hold.
    """
    store, root = desk.lake.store, Path(desk.settings.stream.spool)
    numbers = Spool(root, feed, session, store).numbers()
    proof = tuple(seal(root, feed, session, number, store) for number in numbers)
    live = LiveSession.of(feed, session, desk.settings, store)
    written = {path for window in live.close() for path in seal_window(live, window).paths}
    if numbers:
        # What other settings once made of the same frames would stand beside.
        remove_others(store, feed, session, written)
    # What was asked for and never came has to be labelled as well.
    covered = live.stretches()
    wanted = live.wanted() | covered.keys() | unrecorded(feed, session, desk)
    stretches = {item: covered.get(item, ()) for item in sorted(wanted)}
    found = Streamed(feed, session, stretches, live.halts(), (), proof)
    own = {partition for partition in live_partitions(store, session) if partition.spec.asset_class is feed}
    own |= {found.partition_of(subscription) for subscription in stretches}
    move_unowned(store, feed, session)
    return replace(found, partitions=tuple(sorted(own)))


def stream_lease(feed: AssetClass, session: date, desk: Desk) -> AbstractContextManager[Callable[[], None]]:
    """Be the only one who heals a session of a feed: two would take each other's segments away.

    What is given raises LeaseHeld where that was lost meanwhile.

    Raises:
        LeaseHeld: another process does.
    """
    return kept_lease(
        desk.lake.store,
        f"ledger/stream/{feed}/session={session}/lease.json",
        owner=desk.run_id,
        now=desk.now,
        ttl=timedelta(minutes=desk.settings.lake.lease_minutes),
    )


def leave_spool(streamed: Streamed, desk: Desk) -> None:
    """Remove the spool's files from this machine: all that they brought is published, and they stand in the lake.

    Raises:
        LakeError: one cannot be removed.
    """
    remove_sealed(Path(desk.settings.stream.spool), streamed.feed, streamed.session, streamed.proof)


def batch_of(partition: Partition, streamed: Streamed, desk: Desk, *, refresh: bool) -> Batch:
    """What to ask of REST for a streamed partition: every ticker and span that was streamed or is configured."""
    tickers = sorted(
        {subscription.ticker for subscription in streamed.of(partition)} | _tickers_in_live(partition, desk)
    )
    spans: Sequence[Span | None] = (None,)
    if "span" in partition.spec.key:
        of_stream = {span for item in streamed.of(partition) if (span := table_of(item)[1]) is not None}
        spans = sorted(of_stream | set(sources_of(desk).spans[partition.table]))
    day = partition.session
    wants = tuple(Want(ticker, span, day, day) for ticker in tickers for span in spans)
    return Batch(partition.table, partition.owner, (partition,), wants, refresh)


def heal_partition(batch: Batch, streamed: Streamed, desk: Desk, *, accept_short: bool = False) -> Outcome:
    """Publish one streamed partition as history has it, proved by what the stream brought; then empty its segments.

    Where the plan has no history of the table, what the stream brought is published. What was published of the very
    same segments is left as it is: a person may have decided about it since.

    Raises:
        HealFellShort: history lacks rows that the stream brought, and that is not accepted.
        NotEntitled: the key has no history of it any more, and what it gave once is in the lake.
        VendorError: history could not be had whole.
        LeaseHeld: another process is writing the partition.
    """
    (partition,) = batch.partitions
    composed = compose(desk.lake.store, partition)
    before = desk.lake.record(partition, verify=True)
    if composed.is_in(before) and not batch.refresh:
        return _left_as_it_is(partition, desk)
    witness = _Stream(partition, streamed, composed, desk, accept_short)
    try:
        try:
            outcome = run_batch(batch, desk, witness)
        except HealFellShort:
            if batch.refresh:
                raise
            # The pages may be some hours old: it has to be history as it is now that lacks the rows.
            outcome = run_batch(replace(batch, refresh=True), desk, witness)
    except NotEntitled as error:
        if before is not None and any(is_answer(item, partition) for item in before.coverage):
            raise
        logger.warning("%s has no history for this key, the stream's rows are published: %s", partition, error)
        return publish_streamed(partition, streamed, desk)
    remove_segments(desk.lake.store, partition)
    return outcome


def publish_streamed(partition: Partition, streamed: Streamed, desk: Desk) -> Outcome:
    """Publish what the segments of a partition add up to, with what is missing labelled; then empty them.

    What was published of the very same segments is left as it is.

    Raises:
        LeaseHeld: another process is writing the partition.
    """
    store, table = desk.lake.store, partition.spec
    composed = compose(store, partition)
    if composed.is_in(desk.lake.record(partition, verify=True)):
        return _left_as_it_is(partition, desk)
    known = with_stored_rows(table, composed.rows, streamed.of(partition))
    coverage = [*streamed_coverage(table, composed.rows, known, streamed.proof)]
    for subscription, stretches in known.items():
        expected = expected_of(table, subscription.ticker, partition.session)
        coverage += [
            _label(
                subscription, gap, How.UNAVAILABLE, _rows_in(table, composed.rows, subscription, gap), streamed.proof
            )
            for gap in difference(expected, stretches)
        ]
        if table.over_rest:
            # History was asked for all of the day and is not given to this key: nothing is to be asked again.
            day = Stretch(*covered_range(partition, expected.end_ns))
            coverage.append(_label(subscription, day, How.UNAVAILABLE, 0, streamed.proof))
    with desk.lake.lease(
        partition, owner=desk.run_id, now=desk.now, ttl=timedelta(minutes=desk.settings.lake.lease_minutes)
    ):
        desk.lake.publish(
            partition,
            composed.rows,
            coverage=coverage,
            quarantined=composed.quarantined,
            flags=flag_counts(table, composed.rows),
            operational=Operational(desk.run_id, desk.now().isoformat()),
            inputs=composed.inputs,
        )
    remove_segments(store, partition)
    dropped, refused = composed.duplicates + composed.superseded, composed.quarantined.num_rows
    return Outcome(
        title=str(partition),
        sessions=(partition.session,),
        partitions=1,
        pages=0,
        fetched_pages=0,
        received=composed.rows.num_rows + dropped + refused,
        stored=composed.rows.num_rows,
        refused=refused,
        dropped=dropped,
    )


def _left_as_it_is(partition: Partition, desk: Desk) -> Outcome:
    remove_segments(desk.lake.store, partition)
    return Outcome(
        title=str(partition),
        sessions=(partition.session,),
        partitions=0,
        pages=0,
        fetched_pages=0,
        received=0,
        stored=0,
        refused=0,
        dropped=0,
    )


def replay(partition: Partition, desk: Desk) -> Replay:
    """Judge the refused rows of a partition again: those of its answers, or of its stream where that is all it has.

    Raises:
        UsageError: the partition is not in the lake.
        LeaseHeld: another process is writing it.
        CheckFailed: a rule about the whole does not hold.
    """
    record = desk.lake.record(partition)
    is_of_stream = not partition.spec.over_rest or (
        record is not None and not any(is_answer(item, partition) for item in record.coverage)
    )
    return _replay_streamed(partition, desk) if is_of_stream else backfill.replay(partition, desk)


def _replay_streamed(partition: Partition, desk: Desk) -> Replay:
    """Let in the rows of a streamed partition that were refused for their lateness alone; again changes nothing."""
    table, ttl = partition.spec, timedelta(minutes=desk.settings.lake.lease_minutes)
    with desk.lake.lease(partition, owner=desk.run_id, now=desk.now, ttl=ttl):
        record, stored = desk.lake.record(partition), desk.lake.read(partition)
        if record is None or stored is None:
            message = f"{partition} is not in the lake, or not whole: run marketlake heal for its session"
            raise UsageError(message)
        refused = desk.lake.quarantined(partition)
        if refused is None:
            return Replay(partition, 0, 0, 0)
        again = readmit(table, stored, refused, desk.check)
        desk.lake.publish(
            partition,
            again.rows,
            coverage=[replace(item, rows=rows_covered(table, again.rows, item)) for item in record.coverage],
            quarantined=again.quarantined,
            flags=flag_counts(table, again.rows),
            operational=Operational(desk.run_id, desk.now().isoformat()),
            inputs=record.inputs,
        )
    return Replay(partition, again.accepted, again.quarantined.num_rows, 0)


def _tickers_in_live(partition: Partition, desk: Desk) -> set[str]:
    store = desk.lake.store
    columns = (read_segment(store, partition, path)["ticker"] for path in segment_paths(store, partition))
    return {ticker for column in columns for ticker in pc.unique(column).to_pylist()}


@dataclass(frozen=True, slots=True)
class _Stream:
    """What the stream brought of a partition, as the witness of what history gives."""

    partition: Partition
    streamed: Streamed
    composed: Composed
    desk: Desk
    accept_short: bool

    def __call__(self, rows: pa.Table, refused: pa.Table, coverage: Sequence[Coverage]) -> Witnessed:
        """Hold one against the other.

        Raises:
            HealFellShort: history lacks some of what was streamed, and that is not accepted.
        """
        partition, table, composed = self.partition, self.partition.spec, self.composed
        found = reconcile(table, composed.rows, rows)
        lacking = not_among(table, found.lacking, refused)
        nameless = found.lacking_without_key
        if (lacking.num_rows or nameless) and not self.accept_short:
            problem = f"history lacks {lacking.num_rows + nameless} of {composed.rows.num_rows} streamed rows"
            if lacking.num_rows:
                problem += f", such as { ({name: lacking[name][0].as_py() for name in table.key}) }"
            if nameless:
                problem += f", {nameless} of them without a key"
            raise HealFellShort(str(partition), problem)
        if found.differing:
            logger.info("history has revised what was streamed of %s: %s", partition, dict(found.revised))
        if nameless:
            logger.warning(
                "%d streamed rows of %s without a key are not in history: they are in the capture alone",
                nameless,
                partition,
            )
        kept = not_among(table, not_among(table, composed.quarantined, rows), refused)
        if lacking.num_rows:
            texts = _with_raw_texts(partition, lacking, self.streamed, self.desk)
            kept = pa.concat_tables([kept, without_places_of(texts, composed.quarantined)])
        return Witnessed(_labels(partition, rows, coverage, self.streamed), kept, composed.inputs)


def _labels(
    partition: Partition, rows: pa.Table, coverage: Sequence[Coverage], streamed: Streamed
) -> tuple[Coverage, ...]:
    table, known = partition.spec, streamed.of(partition)
    answers = {(item.ticker, item.span): item for item in coverage}
    labels = [*streamed_coverage(table, rows, known, streamed.proof)]
    for subscription, stretches in known.items():
        span = table_of(subscription)[1]
        answer = answers[subscription.ticker, span.value if span is not None else None]
        for gap in difference(expected_of(table, subscription.ticker, partition.session), stretches):
            count = _rows_in(table, rows, subscription, gap)
            if answer.how is How.UNAVAILABLE:
                how = How.UNAVAILABLE
            else:
                # A refused row may have been in the gap: it came, and is in quarantine.
                how = How.HEALED if count or answer.refused else How.VERIFIED_EMPTY
            labels.append(_label(subscription, gap, how, count, answer.proof))
    return (*labels, *_halts(partition, rows, streamed))


def _halts(partition: Partition, rows: pa.Table, streamed: Streamed) -> Iterator[Coverage]:
    """The halts that history confirms: it has no trade of the ticker in them either."""
    for subscription in streamed.of(partition):
        expected = expected_of(partition.spec, subscription.ticker, partition.session)
        for halt in streamed.halts:
            stretch = Stretch(max(halt.start_ns, expected.start_ns), min(halt.end_ns, expected.end_ns))
            is_of_trades = subscription.topic in _OF_TRADES and stretch.start_ns < stretch.end_ns
            if is_of_trades and not _rows_in(partition.spec, rows, subscription, stretch):
                yield _label(subscription, stretch, How.HALTED, 0, proof_of(halt, streamed.proof))


def _with_raw_texts(partition: Partition, lacking: pa.Table, streamed: Streamed, desk: Desk) -> pa.Table:
    """Rows that history does not have, as quarantine keeps them: with their text and place in the stream.

    Each key is looked for in the captured frames; of several revisions all are kept.
    """
    table = partition.spec
    spool = Spool(Path(desk.settings.stream.spool), streamed.feed, streamed.session, desk.lake.store)
    schema = QUARANTINE[table.name]
    pieces = [schema.empty_table()]
    for chunk in decode(spool.read(), streamed.feed):
        for topic in chunk.rows:
            if topic.table.name != table.name:
                continue
            came = topic.rows.append_column(_EVENT, pa.array(topic.event))
            others = not_among(table, came, lacking)[_EVENT].to_numpy()
            events = np.setdiff1d(topic.event, others)
            keys = topic.rows.filter(pa.array(np.isin(topic.event, events))).select(list(table.key))
            records = [chunk.records[number] for number in chunk.record[events].tolist()]
            elements = chunk.element[events].tolist()
            rows = keys.append_column("rule", pa.array([NOT_IN_HISTORY] * events.size, pa.string()))
            texts = [raw_text(record.payload, element) for record, element in zip(records, elements, strict=True)]
            rows = rows.append_column("raw", pa.array(texts, pa.string()))
            pages = [frame_path(streamed.feed, streamed.session, record.position) for record in records]
            rows = rows.append_column("page", pa.array(pages, pa.string()))
            pieces.append(rows.append_column("position", pa.array(elements, pa.int64())).cast(schema))
    return pa.concat_tables(pieces)


def _label(subscription: Subscription, stretch: Stretch, how: How, rows: int, proof: tuple[Proof, ...]) -> Coverage:
    span = table_of(subscription)[1]
    return Coverage(
        ticker=subscription.ticker,
        span=span.value if span is not None else None,
        start_ns=stretch.start_ns,
        end_ns=stretch.end_ns,
        how=how,
        rows=rows,
        refused=0,
        duplicates=0,
        superseded=0,
        proof=proof,
    )


def _rows_in(table: Table, rows: pa.Table, subscription: Subscription, stretch: Stretch) -> int:
    return rows_covered(table, rows, _label(subscription, stretch, How.STREAMED, 0, ()))
