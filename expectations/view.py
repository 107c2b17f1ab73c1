"""How an Arrow table is shown to Great Expectations: a pandas frame in which a rule can be asked quickly and exactly.

Types are not judged here: :mod:`expectations.judging` compares them with the declared schema first.
"""

from datetime import date
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

type Mask = NDArray[np.bool_]
type Numbers = NDArray[np.float64]

FINITE: Final = float(np.finfo(np.float64).max)
"""The largest number that is one; a rule that allows up to here refuses infinity."""


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """The rows as a frame whose index is the position in ``rows``.

    - Texts become categories: a rule about a text looks at each distinct one once.
    - Instants become nanoseconds, dates days since the epoch; decimals become floats.
    - A number that is not one (NaN) becomes infinity: pandas has one mark for it and for null, and rules skip nulls.
    - Lists of fixed length become a column for each place, ``momentum_returns_0`` on; other lists are left out.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for field in rows.schema:
        column = rows[field.name]
        if pa.types.is_fixed_size_list(field.type):
            for place in range(field.type.list_size):
                columns[f"{field.name}_{place}"] = _shown(pc.list_element(column, place))
        elif not pa.types.is_list(field.type):
            columns[field.name] = _shown(column)
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    return frame


def _shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string(kind):
        return column.dictionary_encode()
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64())
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(column), np.inf, column)
    return column


def numbers(frame: pd.DataFrame, column: str) -> Numbers:
    """A column of numbers, instants or dates; NaN where it is null."""
    return np.asarray(frame[column], dtype=np.float64)


def whole_numbers(frame: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """A column that has no null, exactly: a float holds instants only to 256 nanoseconds."""
    return np.asarray(frame[column], dtype=np.int64)


def is_null(frame: pd.DataFrame, column: str) -> Mask:
    """Where a column is null."""
    return np.asarray(frame[column].isna(), dtype=np.bool_)


def values(frame: pd.DataFrame) -> Numbers:
    """All columns, which are numbers, as one array of rows by columns."""
    return np.asarray(frame, dtype=np.float64)


def in_all_columns(holds: Mask) -> Mask:
    """Of rows by columns, the rows in which it holds everywhere."""
    everywhere: Mask = np.logical_and.reduce(holds, axis=1)
    return everywhere


def unknown(numbers: Numbers) -> Mask:
    """Where a number is null."""
    nan: Mask = np.isnan(numbers)
    return nan


def same(left: Numbers, right: Numbers) -> Mask:
    """Where two numbers are equal; null equals nothing."""
    equal: Mask = np.equal(left, right)
    return equal


def equals(frame: pd.DataFrame, column: str, text: str) -> Mask:
    """Where a column of texts holds one text."""
    return np.asarray(frame[column] == text, dtype=np.bool_)


def days(day: date) -> int:
    """What a date becomes in the frame."""
    return (day - date(1970, 1, 1)).days
