"""pandas, pyarrow, DuckDB and Polars read every folder of the lake as it lies there, on a folder and on S3.

The expected rows are those that went in: nothing of the lake's own reading code is used.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest
import s3fs
from lake_places import Place, new_bucket
from lake_workers import coverage_of
from table_rows import ALL_TABLES, a_partition, refused_rows_of, rows_of

from marketlake.lake import QUARANTINE, Lake
from marketlake.ledger import Operational
from marketlake.tables import Owner, Partition, Period, Table

ROWS = 12
PERIODS = {Period.SESSION: ("2025-08-27", "2025-08-28", "2025-08-29"), Period.YEAR: ("2024", "2025"), Period.ALL: ("",)}

Reader = Callable[[Place, str], pa.Table]


def _partitions(table: Table) -> list[Partition]:
    return [a_partition(table, period) for period in PERIODS[table.period]]


def _fill(place: Place) -> None:
    """Rows in each partition of each table but the second, which is empty, as a session without trades is."""
    lake = Lake(place.open())
    for table in ALL_TABLES:
        for number, partition in enumerate(_partitions(table)):
            rows = rows_of(table, 0 if number == 1 else ROWS, seed=number)
            refused = refused_rows_of(table, 2 if number == 0 else 0, seed=number)
            lake.publish(
                partition,
                rows,
                coverage=coverage_of(rows, refused, number),
                quarantined=refused,
                flags={},
                operational=Operational("run", "2025-08-29T21:00:00+00:00"),
            )
        _disturb(place, table)


def _disturb(place: Place, table: Table) -> None:
    """What may lie between the files of a folder: notes of people, and what a killed writer leaves."""
    folder = a_partition(table).path.rpartition("/")[0]
    if place.endpoint:
        return
    here = Path(place.root, folder)
    (here / ".writing-0a1b2c3d-1-2-3-4").write_bytes(b"PAR1 torn")
    (here / "_note.json").write_text("{}")


@pytest.fixture(scope="module")
def local_lake(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(str(tmp_path_factory.mktemp("readers") / "lake"))
    _fill(place)
    return place


@pytest.fixture(scope="module")
def s3_lake(s3_server: str) -> Iterator[Place]:
    place = new_bucket(s3_server, "readers")
    _fill(place)
    return place


def _pandas(place: Place, folder: str) -> pa.Table:
    options = {"storage_options": _fsspec(place)} if place.endpoint else {}
    frame = pd.read_parquet(f"{place.root}/{folder}", dtype_backend="pyarrow", **options)
    return pa.Table.from_pandas(frame, preserve_index=False)


def _pyarrow(place: Place, folder: str) -> pa.Table:
    path, filesystem = f"{place.root}/{folder}", None
    if place.endpoint:
        path = path.removeprefix("s3://")
        filesystem = pafs.S3FileSystem(
            access_key="a-key", secret_key="a-secret", endpoint_override=place.endpoint, region="us-east-1"
        )
    return ds.dataset(path, format="parquet", partitioning="hive", filesystem=filesystem).to_table()


def _duckdb(place: Place, folder: str) -> pa.Table:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if place.endpoint:
        # DuckDB's own way to S3 is an extension that it downloads; an fsspec file system needs none.
        connection.register_filesystem(s3fs.S3FileSystem(**_fsspec(place)))
    query = f"SELECT * FROM read_parquet('{place.root}/{folder}/**/data.parquet', hive_partitioning = true)"
    return connection.sql(query).to_arrow_table()


def _polars(place: Place, folder: str) -> pa.Table:
    options = None
    if place.endpoint:
        options = {
            "aws_access_key_id": "a-key",
            "aws_secret_access_key": "a-secret",
            "aws_endpoint_url": place.endpoint,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    scan = pl.scan_parquet(f"{place.root}/{folder}/**/data.parquet", hive_partitioning=True, storage_options=options)
    return scan.collect().to_arrow()


def _fsspec(place: Place) -> dict[str, object]:
    return {
        "key": "a-key",
        "secret": "a-secret",
        "client_kwargs": {"endpoint_url": place.endpoint, "region_name": "us-east-1"},
    }


READERS = [
    pytest.param(_pandas, id="pandas"),
    pytest.param(_pyarrow, id="pyarrow"),
    pytest.param(_duckdb, id="duckdb"),
    pytest.param(_polars, id="polars"),
]


def _expected(table: Table, schema: pa.Schema, rows: Callable[[int], pa.Table]) -> list[tuple[object, ...]]:
    found = []
    for number, partition in enumerate(_partitions(table)):
        keys = tuple(text for text in (partition.owner, partition.period) if text)
        found += [(*_plain(tuple(row.values())), *keys) for row in rows(number).select(schema.names).to_pylist()]
    return sorted(found, key=repr)


def _found(read: pa.Table, table: Table, schema: pa.Schema) -> list[tuple[object, ...]]:
    keys = [key for key in (table.owner.value, table.period.value) if key]
    assert set(read.column_names) == {*schema.names, *keys}
    columns = [*_comparable(read.select(schema.names), schema), *(_texts(read[key]) for key in keys)]
    return sorted((_plain(row) for row in zip(*columns, strict=True)), key=repr)


def _comparable(read: pa.Table, schema: pa.Schema) -> list[list[object]]:
    # Readers have types of their own for the same values (large strings, a time zone by another name).
    return [read[field.name].cast(field.type).to_pylist() for field in schema]


def _texts(column: pa.ChunkedArray) -> list[str]:
    return [value.isoformat() if isinstance(value, date) else str(value) for value in column.to_pylist()]


def _plain(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(value.value if isinstance(value, pd.Timestamp) else value for value in row)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("where", ["local_lake", "s3_lake"])
def test_a_tables_folder_is_read_with_its_partitions(
    request: pytest.FixtureRequest, where: str, table: Table, read: Reader
) -> None:
    place: Place = request.getfixturevalue(where)

    def rows(number: int) -> pa.Table:
        return rows_of(table, 0 if number == 1 else ROWS, seed=number)

    assert _found(read(place, table.path), table, table.schema) == _expected(table, table.schema, rows)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("where", ["local_lake", "s3_lake"])
def test_a_quarantines_folder_is_read_like_its_tables(
    request: pytest.FixtureRequest, where: str, table: Table, read: Reader
) -> None:
    place: Place = request.getfixturevalue(where)
    schema = QUARANTINE[table.name]

    def rows(number: int) -> pa.Table:
        return refused_rows_of(table, 2 if number == 0 else 0, seed=number)

    found = _found(read(place, f"quarantine/{table.folder}"), table, schema)
    assert found == _expected(table, schema, rows)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("where", ["local_lake", "s3_lake"])
def test_a_colon_in_a_symbol_survives_the_path(request: pytest.FixtureRequest, where: str, read: Reader) -> None:
    found = read(request.getfixturevalue(where), "raw/indices/bars")

    assert set(_texts(found["symbol"])) == {"I:VIX"}


@pytest.mark.parametrize("read", READERS)
def test_one_partition_alone_and_an_empty_one_are_read_too(local_lake: Place, read: Reader) -> None:
    full = read(local_lake, "raw/stocks/bars/symbol=SPY/session=2025-08-29")
    empty = read(local_lake, "raw/stocks/bars/symbol=SPY/session=2025-08-28")

    assert full.num_rows == ROWS
    assert empty.num_rows == 0
    assert {"ticker", "start", "close"} <= set(empty.column_names)


@pytest.mark.parametrize("read", READERS)
def test_a_layer_of_one_shape_is_read_across_owners(tmp_path: object, read: Reader) -> None:
    place = Place(f"{tmp_path}/lake")
    lake = Lake(place.open())
    bars = next(table for table in ALL_TABLES if table.name == "stock_bars")
    assert bars.owner is Owner.SYMBOL
    for owner in ("SPY", "BRK.B"):
        rows = rows_of(bars, 3)
        lake.publish(
            Partition("stock_bars", owner, "2025-08-29"),
            rows,
            coverage=(),
            quarantined=QUARANTINE["stock_bars"].empty_table(),
            flags={},
            operational=Operational("run", ""),
        )

    found = read(place, bars.path)
    assert sorted(_texts(found["symbol"])) == ["BRK.B"] * 3 + ["SPY"] * 3
