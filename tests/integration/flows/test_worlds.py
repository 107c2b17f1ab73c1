"""Markets through simulator, real client, flows and lake: every row is stored or quarantined, whole and once.

The worlds are recorded ones, which hold no faulty row, and a small one with faults of which the rule is known.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
import pytest
import small_world
from simulation import marketlake, simulated

from marketlake.tables import TABLES, Table

WORLDS = (
    "spy-2013-10",
    "spy-vix-2019-02",
    "spy-options-2025-08-29",
    "spx-options-2021-01",
    "aapl-options-2014-06-06",
    "goog-options-2015-12-23",
)
IS_OF = {"stock": "ticker NOT LIKE '%:%'", "option": "ticker LIKE 'O:%'", "index": "ticker LIKE 'I:%'"}
FILES = {"treasury_yields": "rates", "option_contracts": "contracts"}
# What the lake's columns are in a world's fields, where they do not have the same name.
FIELDS = {
    "bars": {
        "span": "timespan", "start": "t * 1000000", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v",
        "vwap": "vw", "trades": "n",
    },
    "contracts": {"expiry": "expiration_date", "strike": "strike_price", "right": "contract_type"},
}  # fmt: skip
# Made by the lake itself; of contracts, what was chosen.
OWN = {"chosen", "rank", "refusal", "opening_price", "opening_price_source"}
NEW_YORK_DATE = "CAST(timezone('America/New_York', timezone('UTC', make_timestamp({} // 1000))) AS DATE)"


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.timeout(400)
def test_every_row_of_a_recorded_world_is_stored(worlds: Path, name: str, tmp_path: Path) -> None:
    source = _Source(worlds / name)
    backfill_twice(source, tmp_path)

    for table in source.tables():
        assert {} == source.refused(table, tmp_path / "lake")
        assert [] == source.unbalanced(table, tmp_path / "lake")


def where(**equal: object) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(row[name] == value for name, value in equal.items())


FRIDAY, MONDAY = small_world.SESSIONS
CALL = small_world.CALL
OPEN_MS = small_world.instant_ms(FRIDAY, 9, 30)
OPEN_NS = OPEN_MS * 1_000_000
# File, which rows, the faulty values, the table that they belong to, and the rule that refuses them.
DAMAGE = [
    ("bars", where(ticker="SPY", timespan="minute", t=OPEN_MS), {"o": -1.5}, "stock_bars", "open_above_zero"),
    ("bars", where(ticker="I:VIX", timespan="minute", t=OPEN_MS), {"h": 499.0}, "index_bars", "high_is_highest"),
    ("bars", where(ticker=CALL, t=OPEN_MS), {"vw": -1.0}, "option_bars", "vwap_is_price"),
    ("trades", where(ticker="SPY", id="t4"), {"price": 0.0}, "stock_trades", "price_above_zero"),
    ("trades", where(ticker="SPY", id="t9"), {"exchange": None}, "stock_trades", "missing_field"),
    ("trades", where(ticker=CALL, sip_timestamp=OPEN_NS), {"size": -1.0}, "option_trades", "size_not_negative"),
    ("quotes", where(ticker="SPY", sequence_number=4), {"bid_price": -0.01}, "stock_quotes", "bid_price_not_negative"),
    ("quotes", where(ticker=CALL, sequence_number=5), {"ask_size": -7.0}, "option_quotes", "ask_size_not_negative"),
    (
        "contracts", where(ticker=small_world.HALF), {"strike_price": 600.0}, "option_contracts", "strike_as_in_symbol",
    ),
    ("rates", where(date="2024-02-07"), {"yield_1_month": 5_070.0}, "treasury_yields", "yields_in_range"),
]  # fmt: skip


def damaged_world(folder: Path) -> dict[str, dict[str, int]]:
    """Write the small world with its faults, and say how many rows of each table each rule has to refuse."""
    expected: dict[str, dict[str, int]] = {}
    small_world.write_small_world(folder)
    for file, is_hit, values, table, rule in DAMAGE:
        path = folder / f"{file}.parquet"
        before = pq.read_table(path)
        rows = [row | values if is_hit(row) else row for row in before.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=before.schema), path)
        hit = sum(map(is_hit, before.to_pylist()))
        assert hit, f"no row of {file} is made faulty for {rule}"
        # Each session has its own list of the contracts that live on it.
        expected.setdefault(table, {})[rule] = hit * (len(small_world.SESSIONS) if file == "contracts" else 1)
    return expected


def test_every_row_of_a_damaged_world_is_stored_or_quarantined_under_its_rule(tmp_path: Path) -> None:
    expected = damaged_world(tmp_path / "world")
    source = _Source(tmp_path / "world")
    backfill_twice(source, tmp_path)

    assert set(source.tables()) == set(expected), "every table has a fault"
    for table in source.tables():
        assert expected[table] == source.refused(table, tmp_path / "lake")
        assert [] == source.unbalanced(table, tmp_path / "lake")


def backfill_twice(source: "_Source", folder: Path) -> None:
    """Backfill all of a world's sessions, and see that a second run asks for nothing."""
    tables = source.tables()
    # Asking two thousand contracts for spans that the world has not would only take its time.
    spans = {
        f"MARKETLAKE__SOURCES__SPANS__{table.upper()}": json.dumps(source.spans(table))
        for table in tables
        if table.endswith("_bars")
    }
    command = (
        "backfill", "--tables", ",".join(tables), "--tickers", ",".join([*source.tickers(), "@all"]),
        "--start", source.sessions[0], "--end", source.sessions[-1], "--json",
    )  # fmt: skip
    with simulated(source.world, folder) as simulator:
        env = simulator.environment(folder / "lake", **spans)
        done = marketlake(*command, env=env)
        assert done.returncode == 0, done.stderr
        calls = len(simulator.requests())
        again = marketlake(*command, env=env)
        assert json.loads(again.stdout)["pages"] == 0
        assert len(simulator.requests()) - calls <= 1, "a second run asks for the vendor's time and nothing else"


class _Source:
    """What a world's files hold of its sessions, beside what a lake holds: all columns of every row."""

    def __init__(self, world: Path) -> None:
        self.world = world
        self.sessions: list[str] = json.loads((world / "world.json").read_text())["sessions"]
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")

    def tables(self) -> list[str]:
        """The tables for which the world has rows."""
        found = {"treasury_yields"}
        for kind in ("bars", "trades", "quotes", "contracts"):
            file = self.world / f"{kind}.parquet"
            if file.exists():
                found |= {
                    f"{prefix}_{kind}" for prefix, condition in IS_OF.items()
                    if self._rows(f"SELECT 1 FROM '{file}' WHERE {condition} LIMIT 1")
                }  # fmt: skip
        return [table for table in TABLES if table in found]

    def spans(self, table: str) -> list[str]:
        condition = IS_OF[table.split("_", maxsplit=1)[0]]
        sql = f"SELECT DISTINCT timespan FROM '{self.world / 'bars.parquet'}' WHERE {condition} ORDER BY 1"
        return [row[0] for row in self._rows(sql)]

    def tickers(self) -> list[str]:
        sql = f"SELECT DISTINCT ticker FROM '{self.world / 'bars.parquet'}' WHERE ticker NOT LIKE 'O:%' ORDER BY 1"
        return [row[0] for row in self._rows(sql)]

    def refused(self, table: str, lake: Path) -> dict[str, int]:
        """How many rows of a table each rule refused."""
        files = self._quarantine(table, lake)
        return dict(self._rows(f"SELECT rule, count(*) FROM {files} GROUP BY 1")) if files else {}

    def unbalanced(self, table: str, lake: Path) -> list[tuple[object, ...]]:
        """Rows that the world holds more or less often than raw and quarantine together, or that both of these hold."""
        spec = TABLES[table]
        columns = ", ".join(_in_lake(field) for field in spec.schema if field.name not in OWN)
        world = self._world_rows(spec)
        stored = f"SELECT {columns} FROM '{lake / spec.path}/**/*.parquet'"
        refused = self._refused_rows(spec, lake)
        both = f"{stored} UNION ALL {refused}" if refused else stored
        differences = [f"({world}) EXCEPT ALL ({both})", f"({both}) EXCEPT ALL ({world})"]
        if refused:
            differences.append(f"({stored}) INTERSECT ({refused})")
        assert self._rows(f"SELECT 1 FROM ({world}) LIMIT 1")
        return [row for sql in differences for row in self._rows(f"{sql} LIMIT 3")]

    def _world_rows(self, table: Table) -> str:
        kind = table.name.split("_")[1]
        file = f"'{self._file(table)}'"
        dates = ", ".join(f"DATE '{day}'" for day in self.sessions)
        if kind == "contracts":
            # Each session has its own list of the contracts that live on it.
            file = f"{file} JOIN (SELECT unnest([{dates}]) AS listed) ON CAST(expiration_date AS DATE) >= listed"
        condition = {
            "bars": f"{NEW_YORK_DATE.format('t * 1000000')} IN ({dates})",
            "trades": f"{NEW_YORK_DATE.format('sip_timestamp')} IN ({dates})",
            "quotes": f"{NEW_YORK_DATE.format('sip_timestamp')} IN ({dates})",
            # A curve can be had from the day after its date, and the world's clock stands at the last session.
            "yields": f"date < '{self.sessions[-1]}'",
        }.get(kind, "true")
        prefix = table.name.split("_")[0]
        return self._in_lakes_columns(table, f"SELECT * FROM {file} WHERE {condition} AND {IS_OF.get(prefix, 'true')}")

    def _refused_rows(self, table: Table, lake: Path) -> str:
        """The quarantined rows as the vendor's JSON has them; what the path of the request says comes from the key."""
        files = self._quarantine(table.name, lake)
        if not files:
            return ""
        # The key of a row that lacks a field is null; the partition of a share's row names it all the same.
        ticker = "coalesce(ticker, symbol)" if table.name.startswith("stock_") else "ticker"
        keys = {"ticker": ticker, "timespan": "span"}
        fields = self._fields(table)
        given = {name: kind for name, kind in fields.items() if name not in keys}
        named = ", ".join(f"{keys[name]} AS {name}" for name in fields if name in keys) or "NULL AS nothing"
        shape = json.dumps(given).replace("'", "''")
        return self._in_lakes_columns(
            table, f"SELECT * EXCLUDE row, row.* FROM (SELECT {named}, from_json(raw, '{shape}') AS row FROM {files})"
        )

    def _in_lakes_columns(self, table: Table, rows: str) -> str:
        fields, names = self._fields(table), FIELDS.get(table.name.split("_")[1], {})
        columns = []
        for field in table.schema:
            if field.name not in OWN:
                name = names.get(field.name, field.name)
                value = name if name.split(" ")[0] in fields else "NULL"
                columns.append(f"CAST({value} AS {_kind_of(field)}) AS {field.name!r}".replace("'", '"'))
        return f"SELECT {', '.join(columns)} FROM ({rows})"

    def _fields(self, table: Table) -> dict[str, str]:
        described: Iterable[Any] = self._rows(f"DESCRIBE SELECT * FROM '{self._file(table)}'")
        return {name: kind for name, kind, *_ in described}

    def _file(self, table: Table) -> Path:
        return self.world / f"{FILES.get(table.name, table.name.split('_')[1])}.parquet"

    def _quarantine(self, table: str, lake: Path) -> str:
        folder = lake / "quarantine" / TABLES[table].folder
        return f"'{folder}/**/*.parquet'" if list(folder.rglob("*.parquet")) else ""

    def _rows(self, sql: str) -> list[Any]:
        return self.db.sql(sql).fetchall()


def _kind_of(field: pa.Field) -> str:
    """The type in which a column is compared: instants as nanoseconds."""
    if pt.is_list(field.type):
        return "BIGINT[]"
    for is_it, name in ((pt.is_timestamp, "BIGINT"), (pt.is_integer, "BIGINT"), (pt.is_floating, "DOUBLE")):
        if is_it(field.type):
            return name
    if pt.is_decimal(field.type):
        return f"DECIMAL({field.type.precision}, {field.type.scale})"
    return "DATE" if pt.is_date(field.type) else "VARCHAR"


def _in_lake(field: pa.Field) -> str:
    value = f'epoch_ns("{field.name}")' if pt.is_timestamp(field.type) else f'"{field.name}"'
    return f'CAST({value} AS {_kind_of(field)}) AS "{field.name}"'


def test_a_session_before_the_vendors_history_is_unavailable_and_not_silent(worlds: Path, tmp_path: Path) -> None:
    with simulated(worlds / "spy-2013-10", tmp_path) as simulator:
        done = marketlake(
            "backfill", "--tables", "stock_bars", "--tickers", "SPY", "--start", "2012-08-29", "--json",
            env=simulator.environment(tmp_path / "lake"),
        )  # fmt: skip
    (record,) = (tmp_path / "lake" / "ledger").rglob("record.json")
    how = {item["span"]: item["how"] for item in json.loads(record.read_text())["coverage"]}

    assert done.returncode == 0, done.stderr
    assert how == {"minute": "unavailable", "second": "verified_empty", "day": "verified_empty"}
