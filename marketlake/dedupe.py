"""Repeated rows: a copy of a whole row is dropped, and of several revisions of a key the one received last stays.

Which columns are a table's key is declared in :mod:`marketlake.tables`; whether a row may pass at all, by the rules.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.tables import Table

type Positions = NDArray[np.int64]

_POSITION: Final = "position received"  # no column of a table has a blank in its name
_REPETITION: Final = "repetition within the page"


@dataclass(frozen=True, slots=True)
class Deduped:
    """The rows that stay, in receive order, and how many did not; nothing else is lost."""

    rows: pa.Table
    duplicates: int  # equal in every column to a row received later
    superseded: int  # same key as a row received later, other values


def last_revision(table: Table, rows: pa.Table, page: Positions) -> Deduped:
    """The last revision of each key among ``rows``, which are in receive order; ``page`` numbers the page of each.

    A row with a null in its key has no identity to be revised by, unless the table says that null is a value there.
    Such rows can be equal and yet not the same: two prints of one millisecond, price and size. Repetitions within a
    page therefore stay, and only a page that shows once more what another one showed adds nothing. Null equals null;
    NaN equals NaN; 0.0 and -0.0 differ, because they would be stored as different bytes.
    """
    keyed = np.ones(rows.num_rows, dtype=np.bool_)
    for name in set(table.key) - table.null_in_key:
        keyed &= pc.is_valid(rows[name]).to_numpy()
    by_key = _Groups.of(rows, table.key, np.flatnonzero(keyed))
    # Equal rows agree in any few columns: most rows are cleared by the cheap ones, and only the rest is compared whole.
    alike = _Groups.of(rows, tuple(dict.fromkeys((*table.key, *table.order))), np.flatnonzero(~keyed))
    suspects = np.union1d(by_key.repeated, alike.repeated)
    if suspects.size == 0:
        return Deduped(rows, 0, 0)
    numbered = rows.append_column(_REPETITION, pa.array(_repetitions(rows, suspects[~keyed[suspects]], page)))
    equal = _Groups.of(numbered, tuple(numbered.column_names), suspects)
    stays = np.ones(rows.num_rows, dtype=np.bool_)
    stays[suspects] = False
    stays[equal.last] = True
    superseded = stays & keyed
    superseded[by_key.last] = False
    stays &= ~superseded
    return Deduped(
        rows.filter(pa.array(stays)), int(suspects.size - equal.last.size), int(np.count_nonzero(superseded))
    )


def _repetitions(rows: pa.Table, positions: Positions, page: Positions) -> Positions:
    """How many equal rows of the same page stand before each of the rows at ``positions``; 0 for all others."""
    repetition = np.zeros(rows.num_rows, dtype=np.int64)
    if positions.size:
        some = rows.take(pa.array(positions))
        code = page[positions]
        for name in some.column_names:
            groupable = _groupable(some[name])
            whole = groupable.combine_chunks() if isinstance(groupable, pa.ChunkedArray) else groupable
            indices = whole.dictionary_encode(null_encoding="encode").indices
            code = _pair(code, indices.to_numpy().astype(np.int64))
        order = np.argsort(code, kind="stable")
        first = np.concatenate([[True], code[order][1:] != code[order][:-1]])
        places = np.arange(order.size)
        repetition[positions[order]] = places - np.maximum.accumulate(np.where(first, places, 0))
    return repetition


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows that are equal in some columns, null equal to null; positions in the whole."""

    last: Positions  # of each group, the row received last
    repeated: Positions  # every row that is not alone in its group

    @classmethod
    def of(cls, rows: pa.Table, columns: tuple[str, ...], positions: Positions) -> Self:
        """The groups among the rows at ``positions``."""
        some = rows.select(columns)
        if positions.size < rows.num_rows:
            some = some.take(pa.array(positions))
        keys = {name: _groupable(some[name]) for name in columns}
        numbered = pa.table(keys | {_POSITION: pa.array(positions, pa.int64())})
        groups = numbered.group_by(list(keys), use_threads=False).aggregate([(_POSITION, "max"), (_POSITION, "count")])
        last = groups[f"{_POSITION}_max"].to_numpy()
        alone = np.zeros(rows.num_rows, dtype=np.bool_)
        alone[last[groups[f"{_POSITION}_count"].to_numpy() == 1]] = True
        return cls(last, positions[~alone[positions]])


def _groupable(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """The column, or for lists, which Arrow does not group by, a number that is equal where the lists are."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return column
    lists = column.combine_chunks()
    values = lists.flatten().dictionary_encode(null_encoding="encode").indices.to_numpy()
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy().astype(np.int64)
    starts = np.cumsum(np.maximum(lengths, 0)) - np.maximum(lengths, 0)
    number = lengths
    # One element at a time: lists are equal where length and each element are.
    for place in range(int(lengths.max(initial=0))):
        long_enough = lengths > place
        element = np.full(lengths.size, -1, dtype=np.int64)
        element[long_enough] = values[starts[long_enough] + place]
        number = _pair(number, element)
    return pa.array(number)


def _pair(left: Positions, right: Positions) -> Positions:
    """A number a row that is equal where both ``left`` and ``right`` are."""
    width = int(right.max(initial=-1)) + 2
    codes = pa.array(left * width + (right + 1)).dictionary_encode().indices.to_numpy()
    numbers: Positions = codes.astype(np.int64)
    return numbers
