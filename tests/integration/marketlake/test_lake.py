"""Published partitions and the records that prove them, on a folder and on S3."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from lake_places import Place
from lake_workers import coverage_of, publish_version
from table_rows import ALL_TABLES, a_partition, refused_rows_of, rows_of

from marketlake.content_hash import content_hash
from marketlake.errors import LakeError, RecordMismatch, UsageError
from marketlake.lake import QUARANTINE, Lake
from marketlake.ledger import FORMAT_VERSION, Operational, Record
from marketlake.store import Store
from marketlake.tables import TABLES, Owner, Partition, Table

SPY = Partition("stock_bars", "SPY", "2025-08-29")
SPEC = SPY.spec
NO_REFUSED = QUARANTINE["stock_bars"].empty_table()


@pytest.fixture
def lake(store: Store) -> Lake:
    return Lake(store)


def _publish(
    lake: Lake, rows: pa.Table, refused: pa.Table = NO_REFUSED, run: str = "run", partition: Partition = SPY
) -> Record:
    return lake.publish(
        partition,
        rows,
        coverage=coverage_of(rows, refused, 1),
        quarantined=refused,
        flags={},
        operational=Operational(run, "2025-08-29T21:00:00+00:00"),
    )


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_table_comes_back_as_it_was_published(tmp_path: Path, table: Table) -> None:
    lake = Lake(Place(str(tmp_path)).open())
    partition = a_partition(table)
    rows, refused = rows_of(table, 40), refused_rows_of(table, 3)
    record = _publish(lake, rows, refused, partition=partition)
    stored = lake.read(partition)

    assert stored is not None
    assert stored.schema.equals(table.schema, check_metadata=True)
    assert sorted(map(repr, stored.to_pylist())) == sorted(map(repr, rows.to_pylist()))
    assert [row["rule"] for row in lake.quarantined(partition).to_pylist()]
    assert (record.rows, record.quarantined) == (40, 3)
    assert record.content_hash == content_hash(stored)
    assert lake.record(partition) == lake.record(partition, verify=True) == record
    assert lake.partitions(table) == [partition]


def test_nothing_published_is_none_and_not_empty(lake: Lake) -> None:
    assert lake.record(SPY) is None
    assert lake.read(SPY) is None
    assert lake.quarantined(SPY) is None
    assert lake.partitions(SPEC) == []
    with pytest.raises(RecordMismatch):
        _publish_without_record(lake)


def _publish_without_record(lake: Lake) -> None:
    _publish(lake, rows_of(SPEC, 2))
    lake.store.delete(SPY.ledger_path)
    lake.read(SPY, verify=True)


def test_an_empty_session_is_published_as_one(lake: Lake) -> None:
    record = _publish(lake, SPEC.schema.empty_table())
    stored = lake.read(SPY)

    assert record.rows == 0
    assert stored is not None
    assert stored.num_rows == 0
    assert lake.record(SPY, verify=True) == record


def test_receive_order_chunks_and_run_show_in_no_byte(lake: Lake) -> None:
    rows = rows_of(SPEC, 30)
    _publish(lake, rows, run="first")
    before = {path: lake.store.read(path) for path in lake.store.list("")}
    shuffled = pa.concat_tables([rows.slice(20), rows.slice(3, 17), rows.slice(0, 3)])
    record = _publish(lake, shuffled, run="second")

    assert {path: lake.store.read(path) for path in lake.store.list("")} == before
    assert record.operational.run_id == "first"


def test_a_second_run_touches_no_file(tmp_path: Path) -> None:
    lake = Lake(Place(str(tmp_path)).open())
    _publish(lake, rows_of(SPEC, 30), refused_rows_of(SPEC, 2))
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    _publish(lake, rows_of(SPEC, 30), refused_rows_of(SPEC, 2), run="another")
    after = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}

    assert {path: (found.st_ino, found.st_mtime_ns) for path, found in after.items()} == {
        path: (found.st_ino, found.st_mtime_ns) for path, found in before.items()
    }
    assert len(after) == 3


def test_another_coverage_of_the_same_rows_renews_the_record_alone(lake: Lake) -> None:
    rows = rows_of(SPEC, 5)
    first = _publish(lake, rows)
    second = lake.publish(
        SPY, rows, coverage=(), quarantined=NO_REFUSED, flags={}, operational=Operational("later", "")
    )

    assert second.operational.run_id == "later"
    assert second.file_hash == first.file_hash
    assert lake.record(SPY) == second


def test_what_is_no_longer_refused_leaves_quarantine(lake: Lake) -> None:
    _publish(lake, rows_of(SPEC, 5), refused_rows_of(SPEC, 2))
    _publish(lake, rows_of(SPEC, 7))

    assert lake.quarantined(SPY) is None
    assert not lake.store.exists(SPY.quarantine_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.drop_columns(["vwap"]), "vwap is missing"),
        (lambda rows: rows.append_column("more", pa.nulls(len(rows))), "more is not declared"),
        (lambda rows: rows.set_column(7, "volume", rows["volume"].cast(pa.float32())), "volume is float instead"),
        (lambda rows: rows.select(rows.column_names[::-1]), "the order is trades, vwap"),
        (lambda rows: rows.set_column(3, "open", pa.nulls(len(rows), pa.float64())), "open has 4 nulls"),
        (lambda rows: rows.append_column("open", rows["open"]), "order"),
    ],
    ids=["missing", "additional", "type", "order", "null", "twice"],
)
def test_rows_that_are_not_as_declared_are_refused_before_anything_is_written(
    lake: Lake, change: object, told: str
) -> None:
    with pytest.raises(LakeError, match=told):
        _publish(lake, change(rows_of(SPEC, 4)))

    assert lake.store.list("") == []


def test_some_columns_may_be_read_in_the_order_asked_for(lake: Lake) -> None:
    _publish(lake, rows_of(SPEC, 4))
    few = lake.read(SPY, columns=["close", "start"])

    assert few is not None
    assert few.column_names == ["close", "start"]
    with pytest.raises(UsageError, match="no column 'nope': choose from ticker, span"):
        lake.read(SPY, columns=["nope"])


class TestWhatDoesNotProve:
    """A record that does not fit its file means: do the partition again."""

    def test_a_missing_file(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        lake.store.delete(SPY.path)

        assert lake.record(SPY) is None
        assert lake.record(SPY, verify=True) is None
        assert lake.read(SPY) is None

    def test_a_file_of_another_size(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        lake.store.write(SPY.path, lake.store.read(SPY.path) + b"x")

        assert lake.record(SPY) is None

    def test_a_file_of_the_same_size_is_found_by_its_hash(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        data = bytearray(lake.store.read(SPY.path))
        data[100] ^= 1
        lake.store.write(SPY.path, bytes(data))

        assert lake.record(SPY) is not None
        assert lake.record(SPY, verify=True) is None
        with pytest.raises(RecordMismatch, match="do the partition again"):
            lake.read(SPY, verify=True)
        record = _publish(lake, rows_of(SPEC, 4))
        assert lake.record(SPY, verify=True) == record

    def test_a_lost_quarantine(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4), refused_rows_of(SPEC, 2))
        lake.store.delete(SPY.quarantine_path)

        assert lake.record(SPY, verify=True) is None

    def test_a_record_that_is_no_record(self, lake: Lake) -> None:
        record = _publish(lake, rows_of(SPEC, 4))
        lake.store.write(SPY.ledger_path, b'{"rows": ')

        assert lake.record(SPY) is None
        assert _publish(lake, rows_of(SPEC, 4)) == record
        assert lake.record(SPY) == record

    def test_a_record_of_a_newer_version_is_never_overwritten(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        newer = f'{{"format_version": {FORMAT_VERSION + 1}, "something": "new"}}'.encode()
        lake.store.write(SPY.ledger_path, newer)
        for action in (lambda: lake.record(SPY), lambda: _publish(lake, rows_of(SPEC, 5))):
            with pytest.raises(LakeError, match="upgrade marketlake"):
                action()

        assert lake.store.read(SPY.ledger_path) == newer

    def test_a_record_that_was_copied_from_another_partition(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        other = Partition("stock_bars", "SPY", "2025-08-28")
        lake.store.write(other.path, lake.store.read(SPY.path))
        lake.store.write(other.ledger_path, lake.store.read(SPY.ledger_path))
        with pytest.raises(LakeError, match="this is the record of stock_bars SPY 2025-08-29"):
            lake.record(other)

    def test_a_damaged_file(self, lake: Lake) -> None:
        _publish(lake, rows_of(SPEC, 4))
        lake.store.write(SPY.path, lake.store.read(SPY.path)[:-50])
        with pytest.raises(LakeError, match="no whole Parquet file"):
            lake.read(SPY)

    def test_a_file_of_another_table(self, lake: Lake) -> None:
        trades = a_partition(TABLES["stock_trades"])
        _publish(lake, rows_of(trades.spec, 4), QUARANTINE["stock_trades"].empty_table(), partition=trades)
        lake.store.write(SPY.path, lake.store.read(trades.path))
        with pytest.raises(LakeError, match="span is missing; start is missing"):
            lake.read(SPY)


def test_partitions_are_listed_by_table_and_owner(lake: Lake) -> None:
    expected = [
        *(Partition("stock_bars", owner, f"2025-08-{day}") for owner in ("SPY", "SPYG") for day in (27, 28)),
        Partition("dividends", "SPY", ""),
        Partition("treasury_yields", "", "2025"),
        Partition("index_bars", "I:VIX", "2025-08-28"),
    ]
    for partition in expected:
        publish_version(lake, partition, 2)
    with lake.lease(SPY, owner="x", now=lambda: datetime(2025, 8, 29, tzinfo=UTC), ttl=timedelta(minutes=1)):
        assert lake.partitions(SPEC) == expected[:4]
    assert lake.partitions(SPEC, "SPY") == expected[:2]
    assert lake.partitions(TABLES["dividends"], "SPY") == [expected[4]]
    assert lake.partitions(TABLES["treasury_yields"]) == [expected[5]]
    assert lake.partitions(TABLES["index_bars"], "I:VIX") == [expected[6]]
    assert lake.partitions(SPEC, "QQQ") == []
    with pytest.raises(UsageError):
        lake.partitions(SPEC, "../../ledger")


def test_entries_hold_what_has_a_record_and_what_has_only_a_file(lake: Lake) -> None:
    proven = publish_version(lake, SPY, 2)
    other = Partition("stock_bars", "SPY", "2025-08-28")
    publish_version(lake, other, 2)
    lake.store.delete(other.ledger_path)
    lake.store.write("raw/stocks/bars/notes/data.parquet", b"somebody's own")
    lake.store.write("raw/stocks/bars/symbol=spy/session=2025-08-29/data.parquet", b"somebody's own")

    assert list(lake.entries()) == [(other, None), (SPY, proven)]


def test_every_key_of_a_table_is_nullable_in_quarantine_and_the_reason_never() -> None:
    for table in ALL_TABLES:
        schema = QUARANTINE[table.name]
        assert schema.names == [*table.key, "rule", "raw", "page", "position"]
        assert [schema.field(name).nullable for name in table.key] == [True] * len(table.key)
        assert [schema.field(name).type for name in table.key] == [table.schema.field(name).type for name in table.key]
        assert not schema.field("rule").nullable
        assert not schema.field("raw").nullable
        assert table.owner is Owner.NONE or not set(table.schema.names) & {table.owner.value, table.period.value}
