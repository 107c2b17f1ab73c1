"""Rows to the bytes of a published file and back: declared schema, total order, the same bytes for the same rows.

Pure: bytes in and out. Where files stand is the business of :mod:`marketlake.lake`; what a row may say, of the checks.
"""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from marketlake.errors import LakeError, UsageError

# Enough for readers to work on pieces, few enough that a day of quotes has a handful.
ROWS_PER_GROUP: Final = 1_000_000


def in_declared_form(rows: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """The same rows under the declared schema, metadata dropped.

    Raises:
        LakeError: a column is missing, too much, in another place or of another type, or has a null where none may be.
    """
    wrong = [f"{name} is missing" for name in schema.names if name not in rows.column_names]
    wrong += [f"{name} is not declared" for name in rows.column_names if name not in schema.names]
    wrong += [
        f"{field.name} is {rows.schema.field(field.name).type} instead of {field.type}"
        for field in schema
        if rows.column_names.count(field.name) == 1 and rows.schema.field(field.name).type != field.type
    ]
    if not wrong and rows.column_names != schema.names:
        wrong = [f"the order is {', '.join(rows.column_names)} instead of {', '.join(schema.names)}"]
    if not wrong:
        nulls = {field.name: rows[field.name].null_count for field in schema if not field.nullable}
        wrong = [f"{name} has {count} nulls, and may have none" for name, count in nulls.items() if count]
    if wrong:
        raise LakeError(path, f"the rows are not as the table is declared: {'; '.join(wrong)}")
    return pa.Table.from_arrays([rows[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def in_total_order(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    """The rows sorted by ``order``, then by all other columns, so that the order in which they came shows nowhere.

    Nulls come last. Lists are compared after everything else.
    """
    if rows.num_rows < 2:
        return rows
    flat = [name for name in rows.column_names if not _is_list(rows.schema.field(name).type)]
    columns = [*order, *(name for name in flat if name not in order)]
    keys = pa.table([_sortable(rows[name]) for name in columns], names=columns)
    places = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in columns]).to_numpy()
    lists = [name for name in rows.column_names if name not in flat]
    if lists:
        places = _with_ties_by_lists(places, _ties(keys.take(pa.array(places))), rows.select(lists))
    if np.array_equal(places, np.arange(len(places))):
        return rows
    return rows.take(pa.array(places))


def to_parquet(rows: pa.Table) -> bytes:
    """The file of these rows: the same bytes for the same rows under the same version of pyarrow."""
    # Where a column is in pieces shows in the pages.
    whole = rows.combine_chunks()
    sink = io.BytesIO()
    pq.write_table(
        whole,
        sink,
        row_group_size=ROWS_PER_GROUP,
        version="2.6",  # the first with nanoseconds
        data_page_version="1.0",  # what every reader knows
        compression="snappy",
        use_dictionary=[path for field in whole.schema for path in _text_paths(field)],
        write_statistics=True,
    )
    return sink.getvalue()


def from_parquet(data: bytes, schema: pa.Schema, columns: Sequence[str] | None, path: str) -> pa.Table:
    """The rows of a file of this schema, all columns or these in this order.

    Raises:
        UsageError: a column is asked for that the table does not have.
        LakeError: the bytes are no Parquet file, or one with other columns.
    """
    unknown = [name for name in columns or () if name not in schema.names]
    if unknown:
        message = f"{path} has no column {unknown[0]!r}: choose from {', '.join(schema.names)}"
        raise UsageError(message)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            known = set(file.schema_arrow.names)
            rows = file.read(columns=[name for name in wanted.names if name in known])
    except (pa.ArrowException, OSError) as error:
        first_line = str(error).partition("\n")[0]
        raise LakeError(path, f"this is no whole Parquet file ({first_line}); do the partition again") from error
    return in_declared_form(rows.select([name for name in wanted.names if name in known]), wanted, path)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_fixed_size_list(kind))


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # The bits of a float are in a total order, whatever it is; its values are not: 0.0 equals -0.0.
    if not pt.is_float64(column.type):
        return column
    return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], type=pa.int64())


def _ties(ordered: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each row equals the one before it."""
    tied = np.ones(ordered.num_rows, dtype=bool)
    tied[0] = False
    for column in ordered.columns:
        later, earlier = column.slice(1), column.slice(0, len(column) - 1)
        both_null = pc.and_(later.is_null(), earlier.is_null())
        same = pc.if_else(both_null, True, pc.fill_null(pc.equal(later, earlier), fill_value=False))
        tied[1:] &= same.to_numpy()
        if not tied.any():
            break
    return tied


def _with_ties_by_lists(
    places: np.ndarray[tuple[int], np.dtype[np.uint64]],
    tied: np.ndarray[tuple[int], np.dtype[np.bool_]],
    lists: pa.Table,
) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    # Rows that differ in nothing but their condition codes are rare, so that Python may look at each.
    in_group = tied.copy()
    in_group[:-1] |= tied[1:]
    where = np.flatnonzero(in_group)
    if not len(where):
        return places
    group = np.cumsum(~tied[where])
    values = [column.to_pylist() for column in lists.take(pa.array(places[where])).columns]
    ranks = [repr(row) for row in zip(*values, strict=True)]
    result = places.copy()
    result[where] = places[where[sorted(range(len(where)), key=lambda index: (group[index], ranks[index]))]]
    return result


def _text_paths(field: pa.Field) -> list[str]:
    if pt.is_string(field.type):
        return [field.name]
    if pt.is_list(field.type) and pt.is_string(field.type.value_type):
        return [f"{field.name}.list.element"]
    return []
