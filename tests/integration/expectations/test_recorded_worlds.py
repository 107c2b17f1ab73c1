"""What was recorded from real markets passes the rules; what is unusual in it is counted as a fact."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import expectations
from marketlake.checks import flag_counts
from marketlake.tables import TABLES, TIME, Table

WORLDS = (
    "aapl-options-2014-06-06",
    "goog-options-2015-12-23",
    "spx-options-2021-01",
    "spy-2013-10",
    "spy-options-2025-08-29",
    "spy-vix-2019-02",
)
BAR_FIELDS = {
    "ticker": "ticker", "timespan": "span", "t": "start", "o": "open", "h": "high", "l": "low", "c": "close",
    "v": "volume", "vw": "vwap", "n": "trades",
}  # fmt: skip
CONTRACT_FIELDS = {"expiration_date": "expiry", "strike_price": "strike", "contract_type": "right"}
PREFIXES = {"option": "O:", "index": "I:"}


def in_schema(source: pa.Table, table: Table) -> pa.Table:
    """The source's columns under the table's names and in its types; columns that it lacks are null."""
    columns = []
    for field in table.schema:
        if field.name not in source.column_names:
            columns.append(pa.nulls(source.num_rows, field.type))
        elif field.type == TIME:
            columns.append(source[field.name].cast(pa.timestamp("ns")).cast(TIME))
        elif pa.types.is_decimal(field.type):
            columns.append(source[field.name].cast(pa.decimal128(15, 3)).cast(field.type))
        elif field.type == pa.date32():
            columns.append(source[field.name].cast(pa.timestamp("s")).cast(pa.date32()))
        else:
            columns.append(source[field.name].cast(field.type))
    return pa.table(columns, schema=table.schema)


def of_kind(rows: pa.Table, kind: str) -> pa.Table:
    """The rows of shares, options or indices."""
    if kind in PREFIXES:
        return rows.filter(pc.starts_with(rows["ticker"], PREFIXES[kind]))
    return rows.filter(pc.invert(pc.match_substring_regex(rows["ticker"], "^[OI]:")))


def tables_of(world: Path) -> dict[str, pa.Table]:
    """Every row of a world in the table that it belongs to."""
    found: dict[str, pa.Table] = {}
    for file in sorted(world.glob("*.parquet")):
        rows = pq.read_table(file)
        if file.stem == "rates":
            found["treasury_yields"] = rows
            continue
        if file.stem == "contracts":
            rows = rows.append_column("chosen", pa.array([False] * rows.num_rows))
            found["option_contracts"] = rows.rename_columns([CONTRACT_FIELDS.get(x, x) for x in rows.column_names])
            continue
        if file.stem == "bars":
            rows = rows.rename_columns([BAR_FIELDS[name] for name in rows.column_names])
            rows = rows.set_column(2, "start", pc.multiply(rows["start"], 1_000_000))
        for kind in ("stock", "option", "index"):
            mine = of_kind(rows, kind)
            if mine.num_rows:
                found[f"{kind}_{file.stem}"] = mine
    return {name: in_schema(rows, TABLES[name]) for name, rows in found.items()}


@pytest.mark.parametrize("name", WORLDS)
def test_no_recorded_row_is_refused(worlds: Path, name: str) -> None:
    """Each of the six worlds was looked through: none of its rows is faulty."""
    tables = tables_of(worlds / name)
    verdicts = {table: expectations.check(TABLES[table], rows) for table, rows in tables.items()}

    assert tables != {}
    assert {table: {} for table in tables} == {table: Counter(verdict.rules) for table, verdict in verdicts.items()}
    assert dict.fromkeys(tables, ()) == {table: verdict.failed for table, verdict in verdicts.items()}


def test_facts_of_recorded_quotes_are_counted(worlds: Path) -> None:
    """Counted by hand in the source's own columns: the ask is 0 where nobody offers."""
    source = pq.read_table(worlds / "goog-options-2015-12-23" / "quotes.parquet").to_pylist()
    bid_only = sum(1 for row in source if row["bid_price"] > 0 == row["ask_price"])
    ask_only = sum(1 for row in source if row["ask_price"] > 0 == row["bid_price"])
    nothing = sum(1 for row in source if 0 == row["ask_price"] == row["bid_price"])
    equal = sum(1 for row in source if 0 < row["ask_price"] == row["bid_price"])
    # 09:30 to 16:00 New York (GOOG's options close with the share), 14:30 to 21:00 UTC in winter.
    first, last = 1450881000 * 10**9, 1450904400 * 10**9
    outside = sum(1 for row in source if not first <= row["sip_timestamp"] < last)
    counts = flag_counts(TABLES["option_quotes"], tables_of(worlds / "goog-options-2015-12-23")["option_quotes"])

    assert {
        "crossed": 0, "locked": equal, "no_side": nothing, "one_sided": bid_only + ask_only, "out_of_hours": outside,
    } == counts  # fmt: skip
    assert min(equal, nothing, outside) > 0
