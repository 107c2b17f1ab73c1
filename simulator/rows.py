"""Arrow tables to JSON rows in the vendor's manner, for REST and the stream: a null field is left out.

A page of 50,000 rows is on the hot path of every backfill, so columns are turned to Python lists at once and zipped
into structs that msgspec encodes without a dict a row.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc


def render_rows(table: pa.Table) -> list[msgspec.Struct]:
    """One encodable row for each row of the table, its null fields absent."""
    if table.num_rows == 0:
        return []
    names = [name for name in table.column_names if table[name].null_count < table.num_rows]
    if not names:
        return [row_type(())() for _ in range(table.num_rows)]
    return list(map(row_type(tuple(names)), *(column_values(table[name]) for name in names)))


def row_dicts(table: pa.Table) -> list[dict[str, object]]:
    """The rows as dicts without their null fields, for the few that an endpoint puts together itself."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


@lru_cache(maxsize=256)
def row_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A row with these keys, in this order; ``msgspec.UNSET`` leaves one out."""
    fields: list[tuple[str, Any, Any]] = [(f"f{place}", Any, msgspec.UNSET) for place in range(len(names))]
    wire_names = {f"f{place}": name for place, name in enumerate(names)}
    return msgspec.defstruct("Row", fields, rename=wire_names, gc=False)


def column_values(column: pa.ChunkedArray) -> Sequence[object]:
    """The column as Python values, ``msgspec.UNSET`` for a null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if pa.types.is_list(array.type) and pa.types.is_integer(array.type.value_type):
        values = _lists(array)
    elif pa.types.is_boolean(array.type) or pa.types.is_nested(array.type) or pa.types.is_null(array.type):
        values = array.to_pylist()
    elif array.null_count and not _is_text(array.type):
        # Through numpy a null would turn the whole column to float, and nanoseconds do not survive that.
        values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False).tolist()
        for place in pc.indices_nonzero(array.is_null()).to_numpy():
            values[place] = None
    else:
        values = array.to_numpy(zero_copy_only=False).tolist()
    if array.null_count:
        return [msgspec.UNSET if value is None else value for value in values]
    return values


def _lists(array: pa.Array) -> list[object]:
    offsets = array.offsets.to_numpy().tolist()
    first = offsets[0]
    flat = array.values.slice(first, offsets[-1] - first).to_numpy(zero_copy_only=False).tolist()
    values: list[object] = [flat[a - first : b - first] for a, b in pairwise(offsets)]
    if array.null_count:
        for place in pc.indices_nonzero(array.is_null()).to_numpy():
            values[place] = None
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
