"""Rows of any table, made from its schema alone: what a file has to carry, not what a market would do."""

import random
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.types as pt

from marketlake.lake import QUARANTINE
from marketlake.tables import TABLES, Owner, Partition, Period, Table

_EPOCH_NS = 1_756_474_200_000_000_000  # 2025-08-29 13:30 UTC
_NULL_SHARE = 0.15


def rows_of(table: Table, count: int, seed: int = 1) -> pa.Table:
    """So many rows, different in their first key column or time, with nulls where the schema allows them."""
    return _rows(table.schema, count, seed)


def refused_rows_of(table: Table, count: int, seed: int = 1) -> pa.Table:
    """So many rows in the quarantine's schema of a table."""
    return _rows(QUARANTINE[table.name], count, seed)


def a_partition(table: Table, period: str | None = None) -> Partition:
    """One partition of a table: SPY, the VIX for indices; of 2025-08-29 unless a period is given."""
    owner = "I:VIX" if table.folder.startswith("indices") else "SPY"
    periods = {Period.SESSION: "2025-08-29", Period.YEAR: "2025", Period.ALL: ""}
    usual = periods[table.period]
    return Partition(table.name, owner if table.owner is not Owner.NONE else "", usual if period is None else period)


ALL_TABLES = tuple(TABLES.values())


def _rows(schema: pa.Schema, count: int, seed: int) -> pa.Table:
    chance = random.Random(seed)
    columns = [pa.array([_cell(field, number, chance) for number in range(count)], type=field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _cell(field: pa.Field, number: int, chance: random.Random) -> object:
    if field.nullable and chance.random() < _NULL_SHARE:
        return None
    return _value(field.type, number, chance)


def _value(kind: pa.DataType, number: int, chance: random.Random) -> object:  # noqa: PLR0911 - one line a type
    if pt.is_timestamp(kind):
        return _EPOCH_NS + number * 60_000_000_001
    if pt.is_fixed_size_list(kind):
        return [_value(kind.value_type, number, chance) for _ in range(kind.list_size)]
    if pt.is_list(kind):
        return [_value(kind.value_type, number, chance) for _ in range(chance.randrange(3))]
    if pt.is_decimal(kind):
        return Decimal(600_000 + 500 * chance.randrange(200)).scaleb(-3)
    if pt.is_date(kind):
        return date(2025, 1, 2) + timedelta(days=number)
    if pt.is_boolean(kind):
        return chance.random() < 0.5
    if pt.is_integer(kind):
        return chance.randrange(1_000_000)
    if pt.is_floating(kind):
        return round(chance.uniform(0.01, 700), 4)
    return f"text {number:06} é {chance.randrange(10)}"
