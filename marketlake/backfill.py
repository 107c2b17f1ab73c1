"""Run one batch of a backfill: ask, capture, parse, check, publish.

What to ask is :mod:`marketlake.plan`'s; how to ask is :mod:`marketlake.rest`'s; what may pass comes in as a function. A
batch may be killed at any instant and run again: captured pages are not asked for twice, and a partition whose ledger
record does not prove its file is done again.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.capture import Captures
from marketlake.checks import Check, flag_counts
from marketlake.composing import not_among
from marketlake.dedupe import Deduped, last_revision
from marketlake.desk import Desk
from marketlake.discover import with_choice
from marketlake.errors import CheckFailed, LeaseHeld, UsageError
from marketlake.lake import QUARANTINE, Lake
from marketlake.ledger import Coverage, How, Lack, Operational, Record
from marketlake.plan import Batch, Pick, Request, Sources, Want, batches_of, covered_range
from marketlake.receiving import Ints, Received, lacking, receive, receive_again
from marketlake.sessions import settled_at, to_ns
from marketlake.spool import CAPTURED_STREAMS
from marketlake.tables import TABLES, Layer, Partition, Period, Span, Table
from marketlake.tickers import Underlying
from marketlake.wire import raw_texts

logger = logging.getLogger(__name__)

LISTED_CONTRACTS: Final = 9_000  # of SPY on a day of 2025, for a preview before they are known
# A row whose New York day is no session of its batch: a print on a holiday, say.
OUTSIDE_SESSIONS: Final = "outside_sessions"
PASSED: Final = ""
_OF_STREAM: Final = frozenset({How.STREAMED, How.HEALED, How.HALTED})
VENDORS_DELAY: Final = timedelta(minutes=15)  # of every plan that is not real-time
END_OF_TIME_NS: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: how many rows came, and where each of them went."""

    title: str
    sessions: tuple[date, ...]
    partitions: int
    pages: int
    fetched_pages: int
    received: int
    stored: int
    refused: int
    dropped: int  # whole-row duplicates and superseded revisions
    lack: Lack | None = None  # why nothing came, where the vendor has nothing to give


def pending_batches(request: Request, table_name: str, desk: Desk) -> Iterator[Batch]:
    """The batches of one table that the ledger does not cover yet."""

    def contracts_of(underlying: Underlying, session: date) -> list[str]:
        return listed_contracts(desk.lake, underlying, session, request.pick)

    return batches_of(request, table_name, desk.lake.record, contracts_of, sources_of(desk))


def expected_batches(request: Request, table_name: str, desk: Desk) -> Iterator[Batch]:
    """The same for a preview: contracts that are not in the lake yet are counted as so many chosen or listed ones."""
    limit = LISTED_CONTRACTS if request.pick is Pick.ALL else desk.settings.selection.limit

    def contracts_of(underlying: Underlying, session: date) -> list[str]:
        try:
            return listed_contracts(desk.lake, underlying, session, request.pick)
        except UsageError:
            return [f"contract {number + 1} of {underlying.symbol} on {session}" for number in range(limit)]

    return batches_of(request, table_name, desk.lake.record, contracts_of, sources_of(desk))


def sources_of(desk: Desk) -> Sources:
    """The settings that shape a plan."""
    given = desk.settings.sources
    return Sources({name: tuple(Span(span) for span in spans) for name, spans in given.spans.items()}, given.chunk_days)


def listed_contracts(lake: Lake, underlying: Underlying, session: date, pick: Pick) -> list[str]:
    """The contracts of a session that are in the lake: the chosen ones, or all.

    Raises:
        UsageError: the session's contracts have not been discovered yet.
    """
    partition = Partition.of_session(TABLES["option_contracts"], underlying.symbol, session)
    contracts = lake.read(partition, columns=["ticker", "chosen"])
    if contracts is None:
        message = (
            f"the contracts of {underlying.symbol} on {session} are not in the lake yet: "
            f"run `marketlake discover --underlying {underlying.symbol} --session {session}`, or add option_contracts"
        )
        raise UsageError(message)
    picked = contracts.filter(contracts["chosen"]) if pick is Pick.CHOSEN else contracts
    tickers: list[str] = picked["ticker"].to_pylist()
    if not tickers:
        logger.warning(
            "no contract of %s is %s on %s", underlying.symbol, "chosen" if contracts.num_rows else "listed", session
        )
    return sorted(tickers)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What the stream adds to what history gave for a partition: labels, and refused rows that history lacks."""

    labels: tuple[Coverage, ...]
    refused: pa.Table
    inputs: tuple[tuple[str, str], ...]  # the segments, with the content hash of each


Witness = Callable[[pa.Table, pa.Table, Sequence[Coverage]], Witnessed]
"""Told the rows, the refused rows and the coverage that are about to be published; raises where that is not whole."""

Restate = Callable[[Partition, pa.Table], None]
"""What is told, under the lease, of the rows that a partition will have, before it has them."""


def run_batch(batch: Batch, desk: Desk, witness: Witness | None = None, *, restate: Restate | None = None) -> Outcome:
    """Ask for everything a batch wants, then check and publish its partitions one by one.

    Raises:
        VendorError: an answer could not be had whole; nothing of it was published, and the ledger claims nothing.
        UsageError: the key's data is late, the settings do not say so, and a session is not over for it yet.
        CheckFailed: a rule about the whole answer failed.
        LeaseHeld: another process is writing one of the partitions.
    """
    table = TABLES[batch.table]
    # Taken before asking: what is published must not claim to know what the vendor learned while it answered.
    goes_on = table.period is not Period.SESSION or table.name == "news"
    asked_at_ns = to_ns(desk.vendor.server_time()) if goes_on else 0
    page_size = desk.settings.sources.page_size
    # What goes on is asked anew: an answer of some hours ago does not know what this one is published as knowing.
    newer_than = desk.now() if batch.refresh or goes_on else None
    answers = [receive(table, batch.owner, want, desk.vendor, page_size, newer_than=newer_than) for want in batch.wants]
    if any(answer.is_delayed for answer in answers):
        _require_over_when_delayed(batch, desk)
    return _publish_answers(batch, answers, asked_at_ns, desk, witness=witness, restate=restate)


def label_unavailable(batch: Batch, lack: Lack, desk: Desk) -> Outcome:
    """Publish a batch's partitions without a row, and let the ledger say why the vendor gives none.

    Raises:
        LeaseHeld: another process is writing one of the partitions.
    """
    answers = [lacking(TABLES[batch.table], want, lack) for want in batch.wants]
    return replace(_publish_answers(batch, answers, 0, desk), lack=lack)


def _publish_answers(
    batch: Batch,
    answers: Sequence[Received],
    asked_at_ns: int,
    desk: Desk,
    *,
    witness: Witness | None = None,
    restate: Restate | None = None,
) -> Outcome:
    rows = _Rows.judged(TABLES[batch.table], batch.title, batch.partitions, answers, desk.check)
    stored = refused = dropped = 0
    for number, partition in enumerate(batch.partitions):
        published = _publish(partition, rows, number, asked_at_ns, desk, witness=witness, restate=restate)
        stored += sum(item.rows for item in published)
        refused += sum(item.refused for item in published)
        dropped += sum(item.duplicates + item.superseded for item in published)
    came = sum(answer.came for answer in answers)
    if came != stored + refused + dropped:
        message = f"{batch.title}: {came} rows came, {stored} + {refused} + {dropped} are accounted for"
        raise AssertionError(message)
    return Outcome(
        title=batch.title,
        sessions=batch.sessions,
        partitions=len(batch.partitions),
        pages=sum(len(answer.pages) for answer in answers),
        fetched_pages=sum(answer.fetched_pages for answer in answers),
        received=came,
        stored=stored,
        refused=refused,
        dropped=dropped,
    )


def _require_over_when_delayed(batch: Batch, desk: Desk) -> None:
    if not batch.sessions or desk.settings.vendor.delay_minutes:
        return
    session = batch.sessions[-1]
    over = settled_at(session, VENDORS_DELAY)
    if desk.vendor.server_time() < over:
        message = (
            f"the vendor gives this key data of 15 minutes ago, so {session} is whole only from "
            f"{over:%Y-%m-%d %H:%M} UTC on: set vendor.plan to the key's plan, and run again then"
        )
        raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Replay:
    """What judging the captured rows of a partition again has changed."""

    partition: Partition
    accepted: int  # rows that were in quarantine and are not any more
    still_refused: int
    newly_refused: int

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "partition": str(self.partition),
            "accepted": self.accepted,
            "still_refused": self.still_refused,
            "newly_refused": self.newly_refused,
        }


def replay(partition: Partition, desk: Desk) -> Replay:
    """Make a partition again from its captured pages by today's rules; the vendor is not asked for rows.

    Raises:
        UsageError: the partition is not in the lake.
        LeaseHeld: another process is writing it, or has written it meanwhile.
    """
    if partition.spec.layer is not Layer.RAW:
        message = f"{partition} was made by consolidate, and nothing of it is in quarantine"
        raise UsageError(message)
    record = desk.lake.record(partition)
    if record is None:
        message = f"{partition} is not in the lake, or not whole: run marketlake backfill for it"
        raise UsageError(message)
    before = _refused_places(desk.lake, partition)
    inside = covered_range(partition, max(item.end_ns for item in record.coverage))
    answered = [item for item in record.coverage if is_answer(item, partition)]
    answers = [receive_again(partition, item, inside, before, desk.lake.store) for item in answered]
    rows = _Rows.judged(partition.spec, str(partition), (partition,), answers, desk.check)
    _publish(partition, rows, 0, inside[1], desk, replaces=record)
    after = _refused_places(desk.lake, partition)
    return Replay(partition, len(before - after), len(before & after), len(after - before))


def _refused_places(lake: Lake, partition: Partition) -> set[tuple[str, int]]:
    """Page and position of each row of a partition that is in quarantine."""
    rows = lake.quarantined(partition)
    return set() if rows is None else set(zip(rows["page"].to_pylist(), rows["position"].to_pylist(), strict=True))


@dataclass(frozen=True)
class _Rows:
    """Every row that came for a batch, judged.

    ``rule`` is the rule that refused a row, PASSED where none did; ``place`` is the number of its partition.
    """

    table: Table
    answers: Sequence[Received]
    rows: pa.Table
    answer: Ints
    rule: NDArray[np.object_]
    place: Ints
    unparsed_place: Sequence[Ints]  # an answer, a row that did not parse

    @classmethod
    def judged(
        cls, table: Table, title: str, partitions: Sequence[Partition], answers: Sequence[Received], check: Check
    ) -> "_Rows":
        rows = pa.concat_tables([answer.rows for answer in answers])
        verdict = check(table, rows)
        if verdict.failed:
            raise CheckFailed(title, verdict.failed)
        rule = np.full(rows.num_rows, PASSED, dtype=object)
        rule[verdict.rows] = verdict.rules
        place, inside = _places(table, rows, partitions)
        rule[~inside & (rule == PASSED)] = OUTSIDE_SESSIONS
        counts = [answer.rows.num_rows for answer in answers]
        unparsed_place = []
        for answer, start in zip(answers, np.cumsum([0, *counts[:-1]]), strict=True):
            own = place[start : start + answer.rows.num_rows]
            first = _first_place(answer.want, partitions)
            unparsed_place.append(_places_of_unparsed(answer, own, first))
        return cls(table, answers, rows, np.repeat(np.arange(len(answers)), counts), rule, place, unparsed_place)

    @cached_property
    def position(self) -> Ints:
        return np.concatenate([answer.position for answer in self.answers])

    @cached_property
    def page(self) -> Ints:
        return np.concatenate([answer.page for answer in self.answers])

    def last_revisions(self, number: int, answer: int | None = None) -> Deduped:
        """The rows that passed in one partition, of one answer or all, each key once."""
        mask = (self.place == number) & (self.rule == PASSED)
        if answer is not None:
            mask &= self.answer == answer
        page = self.answer[mask] * (1 << 32) + self.page[mask]
        return last_revision(self.table, self.rows.filter(pa.array(mask)), page)

    def counted(self, number: int) -> tuple[Ints, Ints]:
        """Rows that passed and rows that were refused in one partition, an answer."""
        here = self.place == number
        size = len(self.answers)
        passed = np.bincount(self.answer[here & (self.rule == PASSED)], minlength=size)
        refused = np.bincount(self.answer[here & (self.rule != PASSED)], minlength=size)
        refused += [int((place == number).sum()) for place in self.unparsed_place]
        return passed, refused

    def quarantined(self, number: int, lake: Lake) -> pa.Table:
        """The refused rows of one partition with their rule and raw text, in receive order."""
        schema = QUARANTINE[self.table.name]
        pieces = [schema.empty_table()]
        refused = np.flatnonzero((self.place == number) & (self.rule != PASSED))
        keys = self.rows.select(list(self.table.key))
        for code in np.unique(self.answer[refused] * (1 << 32) + self.page[refused]):
            number_of_answer, page = int(code) >> 32, int(code) & 0xFFFFFFFF
            mine = refused[(self.answer[refused] == number_of_answer) & (self.page[refused] == page)]
            path = self.answers[number_of_answer].pages[page].path
            texts = raw_texts(Captures(lake.store).read(path).body, self.position[mine].tolist())
            found = keys.take(pa.array(mine))
            pieces.append(_quarantine(found, self.rule[mine].tolist(), texts, path, self.position[mine]))
        for answer, places in zip(self.answers, self.unparsed_place, strict=True):
            for (page, row), place in zip(answer.unparsed, places.tolist(), strict=True):
                if place == number:
                    nothing = pa.table({name: pa.nulls(1, schema.field(name).type) for name in self.table.key})
                    position = np.array([row.position])
                    pieces.append(_quarantine(nothing, [row.rule], [row.raw], answer.pages[page].path, position))
        return pa.concat_tables([piece.cast(schema) for piece in pieces])


def _publish(
    partition: Partition,
    rows: _Rows,
    number: int,
    asked_at_ns: int,
    desk: Desk,
    *,
    replaces: Record | None = None,
    witness: Witness | None = None,
    restate: Restate | None = None,
) -> list[Coverage]:
    """Merge what came for a partition with what the lake holds of other tickers and spans, and publish it.

    Where it ``replaces`` a record, that record must still be the partition's.
    """
    table = partition.spec
    fresh = rows.last_revisions(number)
    coverage = _coverage(partition, rows, number, asked_at_ns, has_drops=bool(fresh.duplicates + fresh.superseded))
    asked = {(item.ticker, item.span) for item in coverage}
    ttl = timedelta(minutes=desk.settings.lake.lease_minutes)
    with desk.lake.lease(partition, owner=desk.run_id, now=desk.now, ttl=ttl):
        record = desk.lake.record(partition)
        if replaces is not None and record != replaces:
            raise LeaseHeld(partition.path, "another process has published it meanwhile; run again")
        kept = _kept(desk.lake, partition, record, asked, with_stream=witness is None)
        merged = pa.concat_tables([kept.rows, fresh.rows])
        if table.name == "option_contracts":
            merged = with_choice(merged, Underlying.parse(partition.owner), partition.session, desk)
        streamed = not_among(table, kept.streamed, merged)
        refused = pa.concat_tables([kept.refused, streamed, rows.quarantined(number, desk.lake)])
        inputs: tuple[tuple[str, str], ...] = ()
        labels = _told_anew(partition, kept.labels, merged)
        if witness is not None:
            seen = witness(merged, refused, coverage)
            labels, refused, inputs = seen.labels, pa.concat_tables([refused, seen.refused]), seen.inputs
        if restate is not None:
            restate(partition, merged)
        desk.lake.publish(
            partition,
            merged,
            coverage=(*kept.coverage, *coverage, *labels),
            quarantined=refused,
            flags=flag_counts(table, merged),
            operational=Operational(desk.run_id, desk.now().isoformat()),
            inputs=inputs,
        )
    return coverage


def _coverage(partition: Partition, rows: _Rows, number: int, asked_at_ns: int, *, has_drops: bool) -> list[Coverage]:
    start_ns, end_ns = covered_range(partition, asked_at_ns)
    passed, refused = rows.counted(number)
    # A share or an index that has not one minute in a whole session was not silent: its history does not reach so far.
    is_minutes_of_market = partition.table in {"stock_bars", "index_bars"}
    coverage = []
    for index, answer in enumerate(rows.answers):
        if _first_place(answer.want, (partition,)) is None:
            continue
        own = rows.last_revisions(number, index) if has_drops else None
        duplicates, superseded = (own.duplicates, own.superseded) if own is not None else (0, 0)
        came = int(passed[index]) + int(refused[index])
        was_silent = answer.lack is None and not (is_minutes_of_market and answer.want.span is Span.MINUTE)
        coverage.append(
            Coverage(
                ticker=answer.want.ticker,
                span=answer.want.span,
                start_ns=start_ns,
                end_ns=end_ns,
                how=How.BACKFILLED if came else How.VERIFIED_EMPTY if was_silent else How.UNAVAILABLE,
                rows=int(passed[index]) - duplicates - superseded,
                refused=int(refused[index]),
                duplicates=duplicates,
                superseded=superseded,
                proof=answer.pages,
                reason=answer.lack,
            )
        )
    return coverage


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of a partition stays: rows, refused rows and coverage of what was not asked for this time.

    ``labels`` and ``streamed`` are what the stream is known to have covered and refused of what was.
    """

    rows: pa.Table
    refused: pa.Table
    streamed: pa.Table
    coverage: tuple[Coverage, ...] = ()
    labels: tuple[Coverage, ...] = ()


def _kept(
    lake: Lake, partition: Partition, record: Record | None, asked: set[tuple[str, str | None]], *, with_stream: bool
) -> _Kept:
    table = partition.spec
    nothing = _Kept(
        table.schema.empty_table(), QUARANTINE[table.name].empty_table(), QUARANTINE[table.name].empty_table()
    )
    if record is None:
        return nothing
    others = tuple(item for item in record.coverage if (item.ticker, item.span) not in asked)
    labels = tuple(
        item
        for item in record.coverage
        if with_stream and (item.ticker, item.span) in asked and not is_answer(item, partition)
    )
    # Read only where something of it stays: a file with the columns of an older release is replaced whole.
    stored = lake.read(partition) if others or labels else None
    if stored is None:
        return replace(nothing, coverage=others, labels=labels)
    if "span" in table.key:
        codes = pc.binary_join_element_wise(stored["ticker"], stored["span"], " ")
        wanted = [f"{item.ticker} {item.span}" for item in others]
    else:
        codes, wanted = stored["ticker"], [item.ticker for item in others]
    rows = stored.filter(pc.is_in(codes, value_set=pa.array(wanted, pa.string())))
    refused = lake.quarantined(partition)
    if refused is None:
        return replace(nothing, rows=rows, coverage=others, labels=labels)
    # By page and not by ticker: a row that did not parse has no ticker.
    pages = pa.array(sorted({proof.path for item in others for proof in item.proof}), pa.string())
    of_stream = pc.starts_with(refused["page"], CAPTURED_STREAMS)
    own = refused.filter(pc.is_in(refused["page"], value_set=pages))
    streamed = refused.filter(of_stream) if with_stream else nothing.streamed
    return _Kept(rows, own, streamed, others, labels)


def _told_anew(partition: Partition, labels: Sequence[Coverage], rows: pa.Table) -> tuple[Coverage, ...]:
    """What the stream covered, with the rows that history has of it by now, and what these rows disprove left out."""
    found = []
    for item in labels:
        count = rows_covered(partition.spec, rows, item)
        if item.how is How.UNAVAILABLE or (item.how is How.HALTED and count):
            continue  # history has answered; and there was trading
        how = item.how
        if how in {How.HEALED, How.VERIFIED_EMPTY}:
            how = How.HEALED if count else How.VERIFIED_EMPTY
        found.append(replace(item, how=how, rows=count))
    return tuple(found)


def rows_covered(table: Table, rows: pa.Table, item: Coverage) -> int:
    """How many rows of a partition are of a stretch's ticker, span and time."""
    own = pc.equal(rows["ticker"], item.ticker)
    if item.span is not None:
        own = pc.and_(own, pc.equal(rows["span"], item.span))
    times_ns = rows.filter(own)[table.time_column].cast(pa.int64()).to_numpy()
    return int(np.count_nonzero((times_ns >= item.start_ns) & (times_ns < item.end_ns)))


def is_answer(item: Coverage, partition: Partition) -> bool:
    """Whether a record's entry is about a whole answer of REST, and no label of what the stream covered of it."""
    is_of_stream = item.how in _OF_STREAM or any(proof.path.startswith(CAPTURED_STREAMS) for proof in item.proof)
    return not is_of_stream and item.start_ns == covered_range(partition, item.end_ns)[0]


def _places(table: Table, rows: pa.Table, partitions: Sequence[Partition]) -> tuple[Ints, NDArray[np.bool_]]:
    """The number of each row's partition, and whether its time lies inside it; the nearest earlier one where not."""
    if table.time_column is None or table.period is not Period.SESSION:
        return np.zeros(rows.num_rows, dtype=np.int64), np.ones(rows.num_rows, dtype=bool)
    ranges = np.array([covered_range(partition, END_OF_TIME_NS) for partition in partitions], dtype=np.int64)
    times = rows[table.time_column].cast(pa.int64()).to_numpy()
    place = np.clip(np.searchsorted(ranges[:, 0], times, side="right") - 1, 0, None)
    return place, (ranges[place, 0] <= times) & (times < ranges[place, 1])


def _places_of_unparsed(answer: Received, places: Ints, first: int | None) -> Ints:
    """A row that did not parse is put where the row before it in the answer went."""
    if not answer.unparsed:
        return np.empty(0, dtype=np.int64)
    parsed = answer.page * (1 << 32) + answer.position
    lost = np.array([page * (1 << 32) + row.position for page, row in answer.unparsed], dtype=np.int64)
    before = np.searchsorted(parsed, lost) - 1
    return np.where(before >= 0, places[np.clip(before, 0, None)] if places.size else 0, first or 0)


def _first_place(want: Want, partitions: Sequence[Partition]) -> int | None:
    """The number of the first partition that a want is about."""
    for number, partition in enumerate(partitions):
        if partition.spec.period is not Period.SESSION or want.first <= partition.session <= want.last:
            return number
    return None


def _quarantine(keys: pa.Table, rules: list[str], texts: list[str], page: str, positions: Ints) -> pa.Table:
    rows = keys.append_column("rule", pa.array(rules, pa.string()))
    rows = rows.append_column("raw", pa.array(texts, pa.string()))
    rows = rows.append_column("page", pa.array([page] * len(rules), pa.string()))
    return rows.append_column("position", pa.array(positions, pa.int64()))
