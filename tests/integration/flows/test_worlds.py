"""Recorded markets through simulator, real client, flows and lake: every row is stored or quarantined."""

import json
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from simulation import marketlake, simulated

from marketlake.tables import TABLES

WORLDS = (
    "spy-2013-10",
    "spy-vix-2019-02",
    "spy-options-2025-08-29",
    "spx-options-2021-01",
    "aapl-options-2014-06-06",
    "goog-options-2015-12-23",
)
BARS = "ticker, timespan AS span, t * 1000000 AS time, o, h, l, c, v, vw, n"
STORED_BARS = "ticker, span, epoch_ns(start) AS time, open, high, low, close, volume, vwap, trades"
TRADES = "ticker, sip_timestamp AS time, participant_timestamp, price, size, exchange, id, sequence_number, tape"
STORED_TRADES = (
    "ticker, epoch_ns(sip_timestamp) AS time, epoch_ns(participant_timestamp), price, size, exchange, id, "
    "sequence_number, tape"
)
QUOTES = (
    "ticker, sip_timestamp AS time, bid_price, bid_size, bid_exchange, ask_price, ask_size, ask_exchange, "
    "sequence_number"
)
STORED_QUOTES = QUOTES.replace("sip_timestamp AS", "epoch_ns(sip_timestamp) AS")
IS_OF = {"stocks": "ticker NOT LIKE '%:%'", "options": "ticker LIKE 'O:%'", "indices": "ticker LIKE 'I:%'"}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.timeout(400)
def test_every_row_of_a_recorded_world_is_stored_or_quarantined(worlds: Path, name: str, tmp_path: Path) -> None:
    world = worlds / name
    facts = json.loads((world / "world.json").read_text())
    sessions, lake = facts["sessions"], tmp_path / "lake"
    source = _Source(world, sessions)
    tables = [table for table in TABLES if table in source.tables()]
    # Asking two thousand contracts for spans that the world has not would only take its time.
    spans = {
        f"MARKETLAKE__SOURCES__SPANS__{table.upper()}": json.dumps(source.spans(table))
        for table in tables
        if table.endswith("_bars")
    }
    with simulated(world, tmp_path) as simulator:
        done = marketlake(
            "backfill", "--tables", ",".join(tables), "--tickers", ",".join([*source.tickers(), "@all"]),
            "--start", sessions[0], "--end", sessions[-1], "--json",
            env=simulator.environment(lake, **spans),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        calls = len(simulator.requests())
        again = marketlake(
            "backfill", "--tables", ",".join(tables), "--tickers", ",".join([*source.tickers(), "@all"]),
            "--start", sessions[0], "--end", sessions[-1], "--json",
            env=simulator.environment(lake, **spans),
        )  # fmt: skip
        assert json.loads(again.stdout)["pages"] == 0
        assert len(simulator.requests()) - calls <= 1, "a second run asks for the vendor's time and nothing else"

    for table in tables:
        stored, quarantined = source.stored(lake, table), source.quarantined(lake, table)
        missing = Counter(source.rows(table))
        missing.subtract(stored)
        assert min(missing.values()) >= 0, f"{table} holds rows that the world has not"
        assert missing.total() == quarantined, f"{table}: rows neither stored nor quarantined"


class _Source:
    """What a world's files hold of the requested sessions, as sets of rows."""

    def __init__(self, world: Path, sessions: list[str]) -> None:
        self.world = world
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        dates = ", ".join(f"'{day}'" for day in sessions)
        local = "CAST(timezone('America/New_York', timezone('UTC', make_timestamp({time} // 1000))) AS DATE)"
        self.bars_within = f"{local.format(time='t * 1000000')} IN ({dates})"
        self.ticks_within = f"{local.format(time='sip_timestamp')} IN ({dates})"

    def tables(self) -> set[str]:
        found = set()
        for kind in ("bars", "trades", "quotes"):
            for asset_class, condition in IS_OF.items():
                file = self.world / f"{kind}.parquet"
                if file.exists() and self._count(f"SELECT count(*) FROM '{file}' WHERE {condition}"):
                    found.add(f"{ {'stocks': 'stock', 'options': 'option', 'indices': 'index'}[asset_class] }_{kind}")
        if (self.world / "contracts.parquet").exists():
            found.add("option_contracts")
        return found

    def spans(self, table: str) -> list[str]:
        condition = IS_OF[TABLES[table].folder.split("/")[0]]
        sql = f"SELECT DISTINCT timespan FROM '{self.world / 'bars.parquet'}' WHERE {condition} ORDER BY 1"
        return [row[0] for row in self.db.sql(sql).fetchall()]

    def tickers(self) -> list[str]:
        sql = f"SELECT DISTINCT ticker FROM '{self.world / 'bars.parquet'}' WHERE ticker NOT LIKE 'O:%' ORDER BY 1"
        return [row[0] for row in self.db.sql(sql).fetchall()]

    def rows(self, table: str) -> list[tuple[object, ...]]:
        if table == "option_contracts":
            columns = "ticker, CAST(expiration_date AS DATE), CAST(strike_price AS DECIMAL(10,3)), contract_type"
            return self.db.sql(f"SELECT {columns} FROM '{self.world / 'contracts.parquet'}'").fetchall()
        kind = table.split("_")[1]
        condition = IS_OF[TABLES[table].folder.split("/")[0]]
        columns = {"bars": BARS, "trades": TRADES, "quotes": QUOTES}[kind]
        within = self.bars_within if kind == "bars" else self.ticks_within
        file = self.world / f"{kind}.parquet"
        return self.db.sql(f"SELECT {columns} FROM '{file}' WHERE {condition} AND {within}").fetchall()

    def stored(self, lake: Path, table: str) -> list[tuple[object, ...]]:
        kind = table.split("_")[1]
        columns = {
            "bars": STORED_BARS,
            "trades": STORED_TRADES,
            "quotes": STORED_QUOTES,
            "contracts": 'ticker, expiry, strike, "right"',
        }[kind]
        return self.db.sql(f"SELECT {columns} FROM '{lake / TABLES[table].path}/**/*.parquet'").fetchall()

    def quarantined(self, lake: Path, table: str) -> int:
        folder = lake / "quarantine" / TABLES[table].folder
        if not list(folder.rglob("*.parquet")):
            return 0
        unnamed = self._count(f"SELECT count(*) FROM '{folder}/**/*.parquet' WHERE rule IS NULL OR rule = ''")
        assert unnamed == 0
        return self._count(f"SELECT count(*) FROM '{folder}/**/*.parquet'")

    def _count(self, sql: str) -> int:
        return int(self.db.sql(sql).fetchall()[0][0])


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
