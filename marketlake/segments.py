"""The segments of a running session: pieces of a stream judged, reduced to their last revisions, and kept as files.

``live/stocks/bars/symbol=SPY/session=2025-08-29/window=1015.parquet`` has the rows of a window,
``late=0041.parquet`` those that came for sealed windows while the 42nd of the day was open. ``filled=0930.parquet`` has
what the stream did not bring from then on, as history had it at the moment: nothing is composed of it. Refused rows
stand beside,
``live/quarantine/{the same folders}/window=1015.parquet``; what belongs to no partition, because nobody can read what
it is about, in ``live/quarantine/{feed}/session=…/``. Each file is written whole, and making it again from the same
spool gives the same bytes: there is no other state. Which rows belong together is :mod:`marketlake.windows`'; making a
partition of segments, :mod:`marketlake.composing`'s.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.checks import Check
from marketlake.dedupe import last_revision
from marketlake.errors import CheckFailed, RecordMismatch, UsageError
from marketlake.frames import Undecodable, raw_text
from marketlake.lake import QUARANTINE
from marketlake.spool import Position, Record, captured_path
from marketlake.store import Store
from marketlake.table_files import from_parquet, in_declared_form, in_total_order, to_parquet
from marketlake.tables import TABLES, Owner, Partition, Table
from marketlake.tickers import AssetClass, asset_class_of, underlying_of_option
from marketlake.windows import Grid, Part, Piece, Rejects

type Ints = NDArray[np.int64]

ReadAfter = Callable[[Position | None], Iterator[Record]]
"""The records behind a position, in order: :meth:`marketlake.spool.Spool.read`."""

UNDECODABLE: Final = "undecodable"
_FILLED: Final = "filled"
_NAME: Final = re.compile(r"(?P<part>[a-z_]+)=(?P<number>\d{4})\.parquet")
_BY_PLACE: Final = ("page", "position")
_UNOWNED_AT: Final = re.compile(r"quarantine/stream/([a-z]+)/session=(\d{4}-\d\d-\d\d)/data\.parquet").fullmatch
_UNOWNED: Final = pa.schema(
    [pa.field(name, kind) for name, kind in (("rule", pa.string()), ("raw", pa.string()), ("page", pa.string()))]
    + [pa.field("position", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What became of a piece: how many of its rows came, and where each of them went.

    ``lag_p50_ns`` and ``lag_p99_ns`` are quantiles over the rows of the time from publication to receipt, on the
    receiver's clock.
    """

    table: str
    part: Part
    name: str
    received: int
    stored: int
    refused: int
    duplicates: int
    superseded: int
    lag_p50_ns: int
    lag_p99_ns: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Segments:
    """The live files of one feed's session."""

    store: Store
    feed: AssetClass
    grid: Grid

    def seal(self, piece: Piece, check: Check, read_after: ReadAfter) -> Sealed:
        """Judge a piece and keep it; quarantine goes first: a row is rather seen twice than not at all.

        ``read_after`` finds the texts of refused rows in the spool.

        Raises:
            CheckFailed: a rule about the whole does not hold; nothing was written.
            RecordMismatch: the spool does not hold a row that was read from it.
        """
        name = self._name(piece.part, piece.number)
        if piece.raw:
            passed, frame = piece.rows.slice(0, 0), piece.frame[:0]
            refused = np.arange(piece.rows.num_rows)
            rules, texts = [piece.part.value] * refused.size, list(piece.raw)
        else:
            verdict = check(piece.table, piece.rows)
            if verdict.failed:
                raise CheckFailed(f"{piece.table.name} {self.grid.session} {name}", verdict.failed)
            stays = np.ones(piece.rows.num_rows, dtype=np.bool_)
            stays[verdict.rows] = False
            passed, frame = piece.rows.filter(pa.array(stays)), piece.frame[stays]
            refused, rules = verdict.rows, list(verdict.rules)
            texts = _texts(piece, refused, read_after)
        paths = self._quarantine(piece, name, refused, rules, texts)
        fresh = last_revision(piece.table, passed, frame)
        for partition, rows in self._by_partition(piece.table, fresh.rows):
            paths.append(path := f"{live_folder(partition)}/{name}")
            ordered = in_total_order(in_declared_form(rows, piece.table.schema, path), piece.table.order)
            self._write(path, ordered)
        p50_ns, p99_ns = np.percentile(piece.lag_ns, [50, 99]).tolist()
        return Sealed(
            table=piece.table.name,
            part=piece.part,
            name=name,
            received=piece.rows.num_rows,
            stored=fresh.rows.num_rows,
            refused=int(refused.size),
            duplicates=fresh.duplicates,
            superseded=fresh.superseded,
            lag_p50_ns=round(p50_ns),
            lag_p99_ns=round(p99_ns),
            paths=tuple(paths),
        )

    def reject(self, rejects: Rejects) -> tuple[str, ...]:
        """Keep what could not be read in quarantine, with its text; the paths of the files."""
        name = f"{UNDECODABLE}={rejects.number:04}.parquet"
        by_folder: dict[str, list[Undecodable]] = defaultdict(list)
        for item in rejects.events:
            by_folder[self._folder_of(item)].append(item)
        paths = []
        for folder, items in sorted(by_folder.items()):
            table = next((item.table for item in items if not folder.startswith(self._unowned_folder)), None)
            schema = _UNOWNED if table is None else QUARANTINE[table]
            rows = pa.table(
                {
                    "rule": [item.rule for item in items],
                    "raw": [item.raw for item in items],
                    "page": [self._page(item.position) for item in items],
                    "position": [item.element for item in items],
                }
            )
            paths.append(path := f"{folder}/{name}")
            self._write(path, in_total_order(_in_schema(rows, schema), _BY_PLACE))
        return tuple(paths)

    def keep_filled(self, table: Table, rows: pa.Table, from_ns: int) -> tuple[str, ...]:
        """Keep rows of history that the stream did not bring, ``from_ns`` on; what was kept before stays; the paths.

        Rows are in the order in which they were received.
        """
        name = f"{_FILLED}={self.grid.name(int(self.grid.ended(np.array([from_ns]))[0]))}.parquet"
        paths = []
        for partition, fresh in self._by_partition(table, rows):
            paths.append(path := f"{live_folder(partition)}/{name}")
            kept = [read_segment(self.store, partition, path)] if self.store.size(path) is not None else []
            pages = np.repeat(np.arange(len(kept) + 1), [*(item.num_rows for item in kept), fresh.num_rows])
            merged = last_revision(table, pa.concat_tables([*kept, fresh]), pages).rows
            self._write(path, in_total_order(in_declared_form(merged, table.schema, path), table.order))
        return tuple(paths)

    def _name(self, part: Part, number: int) -> str:
        return f"{part}={self.grid.name(number) if part is Part.WINDOW else f'{number:04}'}.parquet"

    @property
    def _unowned_folder(self) -> str:
        return f"live/quarantine/{self.feed}/session={self.grid.session}"

    def _page(self, position: Position) -> str:
        return frame_path(self.feed, self.grid.session, position)

    def _folder_of(self, item: Undecodable) -> str:
        owner = None if item.table is None else _owner_of(TABLES[item.table], item.ticker)
        if item.table is None or owner is None:
            return self._unowned_folder
        return quarantine_folder(Partition.of_session(TABLES[item.table], owner, self.grid.session))

    def _by_partition(self, table: Table, rows: pa.Table) -> Iterator[tuple[Partition, pa.Table]]:
        for owner, places in _places_by_owner(table, rows["ticker"]):
            if owner is not None:  # what has none was refused: its ticker is none of the table's class
                yield Partition.of_session(table, owner, self.grid.session), rows.take(pa.array(places))

    def _quarantine(
        self, piece: Piece, name: str, refused: Ints, rules: Sequence[str], texts: Sequence[str]
    ) -> list[str]:
        if not refused.size:
            return []
        origins = piece.origins(refused)
        keys = piece.rows.select(list(piece.table.key)).take(pa.array(refused))
        rows = keys.append_column("rule", pa.array(rules, pa.string()))
        rows = rows.append_column("raw", pa.array(texts, pa.string()))
        rows = rows.append_column("page", pa.array([self._page(item.position) for item in origins], pa.string()))
        rows = rows.append_column("position", pa.array([item.element for item in origins], pa.int64()))
        paths = []
        for owner, places in _places_by_owner(piece.table, rows["ticker"]):
            folder, schema = self._unowned_folder, _UNOWNED
            if owner is not None:
                folder = quarantine_folder(Partition.of_session(piece.table, owner, self.grid.session))
                schema = QUARANTINE[piece.table.name]
            paths.append(path := f"{folder}/{name}" if owner is not None else f"{folder}/{piece.table.name}-{name}")
            self._write(path, in_total_order(_in_schema(rows.take(pa.array(places)), schema), _BY_PLACE))
        return paths

    def _write(self, path: str, rows: pa.Table) -> None:
        data = to_parquet(rows)
        if self.store.size(path) != len(data) or self.store.read(path) != data:
            self.store.write(path, data)


def frame_path(feed: AssetClass, session: date, position: Position) -> str:
    """The captured file of a frame and, behind #, the offset at which the frame ends in it; sorted as the spool is."""
    return f"{captured_path(feed, session, position.file)}#{position.offset:012}"


def live_folder(partition: Partition) -> str:
    """Where the segments of a partition stand."""
    return f"live/{partition.spec.folder}/{partition.keys}"


def quarantine_folder(partition: Partition) -> str:
    """Where the refused rows of its segments stand."""
    return f"live/quarantine/{partition.spec.folder}/{partition.keys}"


def segment_paths(store: Store, partition: Partition) -> list[str]:
    """The segments of a partition in the order in which they are merged: windows, then what came late."""
    order = {Part.WINDOW.value: 0, Part.LATE.value: 1}
    found = [(path, match) for path, match in _named(store, live_folder(partition)) if match["part"] in order]
    return [path for path, match in sorted(found, key=lambda item: (order[item[1]["part"]], item[1]["number"]))]


def filled_paths(store: Store, partition: Partition) -> list[str]:
    """What of a partition the stream did not bring and history had meanwhile, sorted."""
    return sorted(path for path, match in _named(store, live_folder(partition)) if match["part"] == _FILLED)


def quarantine_paths(store: Store, partition: Partition) -> list[str]:
    """The files of its refused rows, sorted."""
    return sorted(path for path, _ in _named(store, quarantine_folder(partition)))


def live_partitions(store: Store, session: date) -> list[Partition]:
    """The partitions of a session that have segments or refused rows, sorted."""
    found = set()
    for table in TABLES.values():
        if table.streamed:
            for folder in (f"live/{table.folder}", f"live/quarantine/{table.folder}"):
                found |= {_partition_at(path) for path in store.list(folder) if f"/session={session}/" in path}
    return sorted(found)


def read_segment(store: Store, partition: Partition, path: str) -> pa.Table:
    """The rows of a segment."""
    return from_parquet(store.read(path), partition.spec.schema, None, path)


def read_quarantine(store: Store, partition: Partition) -> pa.Table:
    """All refused rows of a partition's segments, in the order in which they came."""
    schema = QUARANTINE[partition.table]
    files = [from_parquet(store.read(path), schema, None, path) for path in quarantine_paths(store, partition)]
    return in_total_order(pa.concat_tables([schema.empty_table(), *files]), _BY_PLACE)


def remove_segments(store: Store, partition: Partition) -> None:
    """Remove the segments of a partition and what was refused of them: they are published."""
    for path in (
        *segment_paths(store, partition),
        *filled_paths(store, partition),
        *quarantine_paths(store, partition),
    ):
        store.delete(path)


def remove_others(store: Store, feed: AssetClass, session: date, written: Collection[str]) -> None:
    """Remove the live files of a feed's session that are not among those ``written``."""
    found = [f"live/quarantine/{feed}/session={session}"]
    for partition in live_partitions(store, session):
        if partition.spec.asset_class is feed:
            found += [live_folder(partition), quarantine_folder(partition)]
    for folder in found:
        for path in store.list(folder):
            if path not in written:
                store.delete(path)


def move_unowned(store: Store, feed: AssetClass, session: date) -> None:
    """Bring what belongs to no partition out of ``live/``: ``quarantine/stream/{feed}/session=…/data.parquet``."""
    folder = f"live/quarantine/{feed}/session={session}"
    paths = sorted(store.list(folder))
    if not paths:
        return
    kept = unowned_path(feed, session)
    tables = [from_parquet(store.read(path), _UNOWNED, None, path) for path in paths]
    rows = in_total_order(pa.concat_tables([read_unowned(store, feed, session), *tables]), _BY_PLACE)
    # A kill in between leaves both: the same row is found twice then, at the same place.
    places = [*zip(*(rows[name].to_pylist() for name in _BY_PLACE), strict=True)]
    fresh = [number for number, place in enumerate(places) if number == 0 or place != places[number - 1]]
    store.write(kept, to_parquet(rows.take(pa.array(fresh, pa.int64()))))
    for path in paths:
        store.delete(path)


def unowned_path(feed: AssetClass, session: date) -> str:
    """Where what of a session's stream belongs to no partition is kept, with its raw text."""
    return f"quarantine/stream/{feed}/session={session}/data.parquet"


def unowned_at(paths: Iterable[str]) -> list[tuple[AssetClass, date]]:
    """The feeds and sessions of such files among some paths, sorted."""
    return sorted((AssetClass(match[1]), date.fromisoformat(match[2])) for match in map(_UNOWNED_AT, paths) if match)


def read_unowned(store: Store, feed: AssetClass, session: date) -> pa.Table:
    """What of a session's stream belongs to no partition: rule, raw text, and where it stood."""
    path = unowned_path(feed, session)
    return _UNOWNED.empty_table() if store.size(path) is None else from_parquet(store.read(path), _UNOWNED, None, path)


def _named(store: Store, folder: str) -> Iterator[tuple[str, re.Match[str]]]:
    for path in store.list(folder):
        if match := _NAME.fullmatch(path.removeprefix(f"{folder}/")):
            yield path, match


def _partition_at(path: str) -> Partition:
    # The folders below ``live`` are those of ``raw``.
    return Partition.from_path(f"raw/{path.removeprefix('live/').removeprefix('quarantine/')}")


def _owner_of(table: Table, ticker: str | None) -> str | None:
    """The owner of a ticker's partition; None where the text is no ticker of the table's class."""
    try:
        if ticker is None or asset_class_of(ticker) is not table.asset_class:
            return None
        return underlying_of_option(ticker) if table.owner is Owner.UNDERLYING else ticker
    except UsageError:
        return None


def _places_by_owner(table: Table, tickers: pa.ChunkedArray) -> Iterator[tuple[str | None, Ints]]:
    encoded = tickers.combine_chunks().dictionary_encode()
    owners = [_owner_of(table, ticker) for ticker in encoded.dictionary.to_pylist()]
    codes = pc.fill_null(encoded.indices, len(owners)).to_numpy(zero_copy_only=False)
    by_owner: Mapping[str | None, list[int]] = {
        owner: [code for code, other in enumerate([*owners, None]) if other == owner] for owner in [*owners, None]
    }
    for owner in sorted(by_owner, key=lambda owner: owner or ""):
        places = np.flatnonzero(np.isin(codes, by_owner[owner])).astype(np.int64)
        if places.size:
            yield owner, places


def _texts(piece: Piece, refused: Ints, read_after: ReadAfter) -> list[str]:
    """The raw texts of rows: their chunks are read once more, which is cheaper than keeping all frames in memory."""
    origins = piece.origins(refused)
    wanted: dict[Position | None, set[Position]] = defaultdict(set)
    for origin in origins:
        wanted[origin.after].add(origin.position)
    payloads: dict[Position, bytes] = {}
    for after, positions in wanted.items():
        last = max(positions)
        for record in read_after(after):
            if record.position in positions:
                payloads[record.position] = record.payload
            if record.position >= last:
                break
    missing = {origin.position for origin in origins} - payloads.keys()
    if missing:
        raise RecordMismatch(str(min(missing)), "the spool does not hold this record any more")
    return [raw_text(payloads[origin.position], origin.element) for origin in origins]


def _in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, null where the rows have none."""
    have = set(rows.column_names)
    arrays = [
        rows[field.name].cast(field.type) if field.name in have else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
