"""Files of rows: one file for one set of rows, and what readers may rely upon in it."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_rows import ALL_TABLES, rows_of

from marketlake.errors import LakeError, UsageError
from marketlake.table_files import ROWS_PER_GROUP, from_parquet, in_declared_form, in_total_order, to_parquet
from marketlake.tables import TABLES, Table

TRADES = TABLES["stock_trades"]
SMALL = st.sampled_from
TIED = st.fixed_dictionaries(
    {
        "id": SMALL([None, "a", "b"]),
        "sequence_number": SMALL([None, 1, 2]),
        "price": SMALL([0.0, -0.0, 1.5, float("nan")]),
        "conditions": SMALL([None, [], [1], [1, 2], [2]]),
        "correction": SMALL([None, 0, 1]),
    }
)


def _trades(rows: list[dict[str, object]]) -> pa.Table:
    base = rows_of(TRADES, 1).to_pylist()[0] | {"trf_timestamp": None, "participant_timestamp": None}
    return pa.Table.from_pylist([base | row for row in rows], schema=TRADES.schema)


@settings(deadline=None)
@given(st.lists(TIED, max_size=8), st.randoms(use_true_random=False))
def test_whatever_the_receive_order_the_bytes_are_the_same(
    rows: list[dict[str, object]], chance: random.Random
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)

    assert to_parquet(in_total_order(_trades(rows), TRADES.order)) == to_parquet(
        in_total_order(_trades(shuffled), TRADES.order)
    )


def test_rows_that_differ_in_the_sign_of_a_zero_alone_have_an_order() -> None:
    rows = _trades([{"price": 0.0}, {"price": -0.0}])

    assert to_parquet(in_total_order(rows, TRADES.order)) == to_parquet(in_total_order(rows.take([1, 0]), TRADES.order))


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_rows_stand_in_the_declared_order_and_none_is_lost(table: Table) -> None:
    rows = rows_of(table, 30)
    ordered = in_total_order(rows.take(random.Random(1).sample(range(30), 30)), table.order)
    keys = [tuple((value is None, value) for value in row.values()) for row in ordered.select(table.order).to_pylist()]

    assert keys == sorted(keys)
    assert sorted(map(repr, ordered.to_pylist())) == sorted(map(repr, rows.to_pylist()))


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_how_rows_are_chunked_shows_in_no_byte(table: Table) -> None:
    rows = rows_of(table, 30)

    assert to_parquet(pa.concat_tables([rows.slice(0, 11), rows.slice(11, 0), rows.slice(11)])) == to_parquet(rows)


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_a_file_says_of_itself_what_readers_need(table: Table) -> None:
    data = to_parquet(rows_of(table, 30))
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        schema = file.schema_arrow

    assert schema.equals(table.schema)
    assert [schema.field(name).nullable for name in schema.names] == [field.nullable for field in table.schema]
    assert not schema.metadata  # nothing of pandas, nothing else
    assert file.metadata.format_version == "2.6"
    assert {column.compression for column in columns} == {"SNAPPY"}
    assert all(column.is_stats_set for column in columns)
    for column in columns:
        assert ("RLE_DICTIONARY" in column.encodings) == (column.physical_type == "BYTE_ARRAY")


def test_how_many_long_rows_are_chunked_shows_in_no_byte() -> None:
    """Pages end where so many bytes are full, and a chunk that ends earlier must not end a page."""
    texts = pa.array([f"{number:06} " * 150 for number in range(6_000)])
    rows = pa.table({"raw": texts})
    chunks = [rows.slice(start, 997) for start in range(0, rows.num_rows, 997)]

    assert to_parquet(pa.concat_tables(chunks)) == to_parquet(rows)


def test_a_row_group_holds_a_million_rows_at_most() -> None:
    splits = TABLES["splits"]
    rows = pa.concat_tables([rows_of(splits, 1)] * 1_000).combine_chunks()
    many = pa.concat_tables([rows] * (ROWS_PER_GROUP // 1_000) + [rows.slice(0, 1)])
    with pq.ParquetFile(pa.BufferReader(to_parquet(many))) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]

    assert sizes == [1_000_000, 1]


def test_what_memory_holds_beside_the_rows_shows_in_no_byte() -> None:
    whole = rows_of(TRADES, 30)
    copied = pa.Table.from_pylist(whole.slice(10, 10).to_pylist(), schema=TRADES.schema)

    assert to_parquet(whole.slice(10, 10)) == to_parquet(copied)


def test_metadata_and_looser_nullability_of_what_comes_in_are_dropped() -> None:
    rows = rows_of(TRADES, 3)
    fields = [field.with_nullable(nullable=True).with_metadata({"PARQUET:field_id": "7"}) for field in TRADES.schema]
    loose = pa.table(rows.columns, schema=pa.schema(fields, metadata={"pandas": "{}"}))

    assert in_declared_form(loose, TRADES.schema, "x").schema.equals(TRADES.schema, check_metadata=True)


def test_every_difference_from_the_declaration_is_named_at_once() -> None:
    rows = rows_of(TRADES, 3).drop_columns(["tape", "size"]).append_column("tapes", pa.nulls(3))
    with pytest.raises(LakeError) as refused:
        in_declared_form(rows, TRADES.schema, "raw/x")

    assert str(refused.value) == (
        "raw/x: the rows are not as the table is declared: size is missing; tape is missing; tapes is not declared"
    )


def test_columns_come_back_in_the_order_asked_for() -> None:
    rows = rows_of(TRADES, 3)
    data = to_parquet(rows)

    assert from_parquet(data, TRADES.schema, ["price", "ticker"], "x").equals(rows.select(["price", "ticker"]))
    assert from_parquet(data, TRADES.schema, None, "x").equals(rows)
    with pytest.raises(UsageError, match="no column 'nope'"):
        from_parquet(data, TRADES.schema, ["nope"], "x")


@pytest.mark.parametrize("cut", [0, 3, 4, 8, 100, -8, -1])
def test_a_cut_file_is_an_error_that_says_where(cut: int) -> None:
    data = to_parquet(rows_of(TRADES, 30))
    with pytest.raises(LakeError, match="raw/x: this is no whole Parquet file"):
        from_parquet(data[:cut], TRADES.schema, None, "raw/x")
