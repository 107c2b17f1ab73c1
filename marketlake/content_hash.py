"""A hash of rows that depends on nothing but the rows.

Neither Parquet, nor the version of pyarrow, nor chunks, offsets, or what lies in memory under a null changes it; any
changed cell, name, type or order of rows does. All NaN are one value; 0.0 and -0.0 are two. How rows become a file is
the business of :mod:`marketlake.table_files`.
"""

import hashlib
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

# Part of the hash: raised when the same rows would get another one.
_SCHEME: Final = b"marketlake rows 1"


def content_hash(rows: pa.Table) -> str:
    """The SHA-256, in hexadecimal, of the rows of a table in their order.

    Each column adds its name, its type, the positions of its nulls, the lengths of its strings and lists, and its
    values as little-endian bytes. Nullability is no content.

    Raises:
        TypeError: a column is of a type that no table of the lake has.
    """
    whole = hashlib.sha256(_SCHEME)
    whole.update(rows.num_rows.to_bytes(8, "little"))
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        text = f"{name}\n{_type_name(column.type)}\n".encode()
        whole.update(len(text).to_bytes(4, "little") + text)
        digest = _ColumnDigest(column.type)
        for chunk in column.chunks:
            digest.update(chunk)
        whole.update(digest.digest())
    return whole.hexdigest()


class _ColumnDigest:
    """Nulls, lengths and values of one column, each hashed apart, so that a column may come in any pieces."""

    def __init__(self, kind: pa.DataType) -> None:
        self._slots = 0
        self._nulls = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()
        self._items = _ColumnDigest(kind.value_type) if _is_list(kind) else None

    def update(self, piece: pa.Array) -> None:
        if piece.null_count:
            missing = np.flatnonzero(piece.is_null().to_numpy(zero_copy_only=False)) + self._slots
            self._nulls.update(missing.astype(np.int64).data)
        self._slots += len(piece)
        present = piece.drop_null() if piece.null_count else piece
        if not len(present):
            return
        if self._items is not None:
            self._lengths.update(_memory(pc.list_value_length(present).cast(pa.int64())))
            self._items.update(present.flatten())
        elif pt.is_string(present.type):
            self._lengths.update(_memory(pc.binary_length(present).cast(pa.int64())))
            self._values.update(_text(present))
        else:
            self._values.update(_memory(present))

    def digest(self) -> bytes:
        parts = [self._slots.to_bytes(8, "little")]
        parts += [part.digest() for part in (self._nulls, self._lengths, self._values)]
        parts += [self._items.digest()] if self._items is not None else []
        return b"".join(parts)


def _text(present: pa.Array) -> memoryview:
    _, offsets, data = present.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32, offset=4 * present.offset, count=len(present) + 1)
    return memoryview(data)[ends[0] : ends[-1]] if data is not None else memoryview(b"")


def _memory(present: pa.Array) -> memoryview:
    if pt.is_boolean(present.type):
        present = present.cast(pa.uint8())
    width = present.type.bit_width // 8
    values = memoryview(present.buffers()[1])[present.offset * width : (present.offset + len(present)) * width]
    if pt.is_float64(present.type):
        numbers = np.frombuffer(values, dtype=np.float64)
        missing = np.isnan(numbers)
        if missing.any():
            return np.where(missing, np.nan, numbers).data
    return values


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_fixed_size_list(kind))


def _type_name(kind: pa.DataType) -> str:
    # Names of our own: pyarrow's may change with its version.
    if _is_list(kind):
        size = f"[{kind.list_size}]" if pt.is_fixed_size_list(kind) else ""
        return f"list<{_type_name(kind.value_type)}>{size}"
    if pt.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    for name, known in _NAMED.items():
        if kind == known:
            return name
    message = f"no column of the lake is of type {kind}"
    raise TypeError(message)


_NAMED: Final = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "time_ns_utc": pa.timestamp("ns", tz="UTC"),
}
