"""The hash of rows depends on the rows and on nothing else."""

import hashlib
import struct
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_rows import ALL_TABLES, rows_of

from marketlake.content_hash import content_hash
from marketlake.tables import TABLES, Table

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("small", pa.int32()),
        ("price", pa.float64()),
        ("flag", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("ns", tz="UTC")),
        ("strike", pa.decimal128(10, 3)),
        ("codes", pa.list_(pa.int32())),
        ("words", pa.list_(pa.string())),
        ("momentum", pa.list_(pa.float64(), 2)),
    ]
)
NUMBERS = st.floats(allow_nan=False)
CELLS = {
    "text": st.text(max_size=4),
    "count": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-(2**31), 2**31 - 1),
    "price": NUMBERS,
    "flag": st.booleans(),
    "day": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "at": st.integers(0, 2**62),
    "strike": st.integers(0, 9_999_999).map(lambda thousandths: Decimal(thousandths).scaleb(-3)),
    "codes": st.lists(st.none() | st.integers(0, 99), max_size=3),
    "words": st.lists(st.none() | st.text(max_size=2), max_size=3),
    "momentum": st.lists(st.none() | NUMBERS, min_size=2, max_size=2),
}
Pack = Callable[[object], bytes]
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | cell for name, cell in CELLS.items()}), max_size=6)


def _table(rows: list[dict[str, object]]) -> pa.Table:
    columns = [pa.array([row[field.name] for row in rows], type=field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _plain_digest(values: list[object], pack: Pack, items: Callable[[list[object]], bytes] | None) -> bytes:
    present = [value for value in values if value is not None]
    nulls = b"".join(struct.pack("<q", place) for place, value in enumerate(values) if value is None)
    sized = [value.encode() if isinstance(value, str) else value for value in present]
    lengths = b"".join(struct.pack("<q", len(value)) for value in sized if isinstance(value, bytes | list))
    packed = b"".join(value if isinstance(value, bytes) else b"" if items else pack(value) for value in sized)
    parts = struct.pack("<q", len(values)) + _sha(nulls) + _sha(lengths) + _sha(packed)
    return parts + (items([item for value in present for item in value]) if items else b"")  # type: ignore[attr-defined]


def _of_no_fixed_size(value: object) -> bytes:
    raise AssertionError(value)


def _plain_hash(rows: list[dict[str, object]]) -> str:
    """The same definition once more, cell by cell, with struct."""
    packers: dict[str, tuple[str, Pack]] = {
        "text": ("string", _of_no_fixed_size),
        "count": ("int64", lambda value: struct.pack("<q", value)),
        "small": ("int32", lambda value: struct.pack("<i", value)),
        "price": ("float64", lambda value: struct.pack("<d", value)),
        "flag": ("bool", lambda value: struct.pack("<B", value)),
        "day": ("date", lambda value: struct.pack("<i", (value - date(1970, 1, 1)).days)),  # type: ignore[operator]
        "at": ("time_ns_utc", lambda value: struct.pack("<q", value)),
        "strike": ("decimal(10,3)", lambda value: int(value * 1000).to_bytes(16, "little")),  # type: ignore[operator]
        "codes": ("list<int32>", lambda value: struct.pack("<i", value)),
        "words": ("list<string>", _of_no_fixed_size),
        "momentum": ("list<float64>[2]", lambda value: struct.pack("<d", value)),
    }
    whole = b"marketlake rows 1" + struct.pack("<q", len(rows))
    for name, (kind, pack) in packers.items():
        head = f"{name}\n{kind}\n".encode()
        values = [row[name] for row in rows]
        nested = (lambda items, pack=pack: _plain_digest(items, pack, None)) if kind.startswith("list") else None
        whole += struct.pack("<i", len(head)) + head + _plain_digest(values, pack, nested)
    return hashlib.sha256(whole).hexdigest()


@settings(deadline=None)
@given(ROWS)
def test_it_is_the_hash_that_its_definition_gives(rows: list[dict[str, object]]) -> None:
    assert content_hash(_table(rows)) == _plain_hash(rows)


@settings(deadline=None)
@given(ROWS, st.lists(st.integers(0, 6), max_size=4), ROWS)
def test_pieces_and_offsets_change_nothing(
    rows: list[dict[str, object]], cuts: list[int], around: list[dict[str, object]]
) -> None:
    expected = content_hash(_table(rows))
    inside = _table([*around, *rows, *around]).slice(len(around), len(rows))
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    pieces = [inside.slice(start, end - start) for start, end in pairwise(edges)]
    cut = pa.concat_tables([SCHEMA.empty_table(), *pieces, SCHEMA.empty_table()])

    assert content_hash(inside) == expected
    assert content_hash(cut) == expected
    assert content_hash(cut.combine_chunks()) == expected


@settings(deadline=None)
@given(ROWS.filter(bool), st.data())
def test_any_changed_cell_changes_it(rows: list[dict[str, object]], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    changed = [dict(item) for item in rows]
    changed[row][name] = data.draw((st.none() | CELLS[name]).filter(lambda value: repr(value) != repr(rows[row][name])))

    assert content_hash(_table(changed)) != content_hash(_table(rows))


def test_what_lies_under_a_null_does_not_count() -> None:
    def garbage(values: list[int], width: type) -> pa.Buffer:
        return pa.py_buffer(np.array(values, dtype=width).tobytes())

    bits = pa.py_buffer(bytes([0b101]))
    for kind, width in ((pa.int64(), np.int64), (pa.float64(), np.float64), (pa.int32(), np.int32)):
        one, two = (pa.Array.from_buffers(kind, 3, [bits, garbage([1, junk, 3], width)]) for junk in (7, 8))
        assert content_hash(pa.table({"a": one})) == content_hash(pa.table({"a": two}))
    texts = [
        pa.StringArray.from_buffers(3, garbage(ends, np.int32), pa.py_buffer(data), bits)
        for ends, data in (([0, 1, 4, 5], b"ajunkb"[:4] + b"b"), ([0, 1, 1, 2], b"ab"))
    ]
    assert texts[0].to_pylist() == texts[1].to_pylist() == ["a", None, "b"]
    assert content_hash(pa.table({"a": texts[0]})) == content_hash(pa.table({"a": texts[1]}))
    lists = [
        pa.ListArray.from_buffers(pa.list_(pa.int32()), 3, [bits, garbage(ends, np.int32)], children=[pa.array(items)])
        for ends, items in (
            ([0, 1, 2, 3], pa.array([1, 9, 2], pa.int32())),
            ([0, 1, 1, 2], pa.array([1, 2], pa.int32())),
        )
    ]
    assert lists[0].to_pylist() == lists[1].to_pylist() == [[1], None, [2]]
    assert content_hash(pa.table({"a": lists[0]})) == content_hash(pa.table({"a": lists[1]}))


def test_every_nan_is_one_value_and_the_two_zeros_are_two() -> None:
    quiet, payload = (np.frombuffer(struct.pack("<Q", bits))[0] for bits in (0x7FF8000000000000, 0xFFF80000DEADBEEF))

    def hash_of(value: float) -> str:
        return content_hash(pa.table({"a": pa.array([1.0, value], pa.float64())}))

    assert hash_of(quiet) == hash_of(payload)
    assert hash_of(quiet) != hash_of(float("inf"))
    assert hash_of(0.0) != hash_of(-0.0)


def test_names_types_and_the_order_of_rows_count() -> None:
    table = pa.table({"a": pa.array([1, 2]), "b": pa.array([1, 2])})
    hashes = {
        content_hash(other)
        for other in (
            table,
            table.rename_columns(["b", "a"]),
            table.take([1, 0]),
            table.slice(1),
            table.select(["a"]),
            table.select(["b", "a"]),
            table.cast(pa.schema([("a", pa.int64()), ("b", pa.timestamp("ns", tz="UTC"))])),
        )
    }

    assert len(hashes) == 7 - 1  # columns a and b hold the same: renaming both is exchanging them


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_table_of_the_lake_has_one(table: Table) -> None:
    rows = rows_of(table, 20)

    assert content_hash(rows) == content_hash(pa.concat_tables([rows.slice(0, 7), rows.slice(7)]))
    assert content_hash(rows) != content_hash(rows_of(table, 20, seed=2))


def test_a_type_that_no_table_has_is_refused() -> None:
    with pytest.raises(TypeError, match="large_string"):
        content_hash(pa.table({"a": pa.array(["x"], pa.large_string())}))


def test_nullability_is_no_content() -> None:
    schema = TABLES["splits"].schema
    rows = rows_of(TABLES["splits"], 5)
    loose = pa.table(rows.columns, schema=pa.schema([field.with_nullable(nullable=True) for field in schema]))

    assert content_hash(loose) == content_hash(rows)
