"""Two recorded days of SPY, every trade of them, as a stream: what the lake holds in the end is what the tape held.

The bars of these days were made by another vendor of the same prints, who left some out: odd conditions and suspicious
prints carry no code here. A bar can therefore be made again from its trades in most minutes, and never reaches beyond
them.
"""

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest
from live_feeds import streaming, told
from simulation import marketlake, simulated

from marketlake.composing import compose
from marketlake.store import LocalStore
from marketlake.tables import Partition

MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
TRADE = "epoch_ns(sip_timestamp), price, size, exchange, id, sequence_number, tape"
# Minutes, seconds and trades; shares in minute bars and in trades, in millions: of the source, by day.
EXPECTED = {MONDAY: (828, 16_675, 250_601, 92.72, 97.06), TUESDAY: (828, 22_383, 451_545, 175.03, 178.35)}


MINUTES = "SELECT start::TIMESTAMPTZ AS minute, open, high, low, close, volume FROM bars WHERE span = 'minute'"
FROM_SECONDS = f"""
    WITH made AS (
        SELECT date_trunc('minute', start::TIMESTAMPTZ) AS minute, arg_min(open, start) AS open, max(high) AS high,
            min(low) AS low, arg_max(close, start) AS close, sum(volume) AS volume
        FROM bars WHERE span = 'second' GROUP BY minute),
    given AS ({MINUTES})
    SELECT count(*) FILTER ((given.open, given.high, given.low, given.close) =
            (made.open, made.high, made.low, made.close)), sum(given.volume) = sum(made.volume)
    FROM given JOIN made USING (minute)
"""
FROM_TRADES = f"""
    WITH made AS (
        SELECT date_trunc('minute', sip_timestamp::TIMESTAMPTZ) AS minute, arg_min(price, sequence_number) AS open,
            max(price) AS high, min(price) AS low, arg_max(price, sequence_number) AS close, sum(size) AS volume
        FROM stored GROUP BY minute),
    given AS ({MINUTES})
    SELECT count(*), count(*) FILTER (given.high <= made.high AND given.low >= made.low),
        count(*) FILTER (given.volume = made.volume),
        count(*) FILTER ((given.open, given.high, given.low, given.close, given.volume) =
            (made.open, made.high, made.low, made.close, made.volume))
    FROM given JOIN made USING (minute)
"""


@pytest.mark.parametrize(
    ("session", "speed", "topics"),
    [
        (MONDAY, 10_000, "T"),
        pytest.param(MONDAY, 1_000, "T A AM", marks=pytest.mark.soak),
        pytest.param(TUESDAY, 1_000, "T A AM", marks=pytest.mark.soak),
    ],
    ids=str,
)
def test_the_lake_equals_the_tape(worlds: Path, tmp_path: Path, session: date, speed: float, topics: str) -> None:
    world, lake = one_day_of(worlds / "spy-2013-10", session, tmp_path / "world"), tmp_path / "lake"
    with simulated(world, tmp_path, "--session", str(session), "--clock", f"{session}T03:59") as exchange:
        env = exchange.environment(
            lake, MARKETLAKE__STREAM__SPOOL=str(tmp_path / "spool"), MARKETLAKE__STREAM__WINDOW_MINUTES="30",
            MARKETLAKE__SOURCES__TABLES='["stock_bars", "stock_trades"]', MARKETLAKE__LOGGING__LEVEL="WARNING",
        )  # fmt: skip
        feeds = {"stocks": [f"{topic}.SPY" for topic in topics.split()]}
        with streaming(exchange, feeds, tmp_path, session=session, until="20:05:00", env=env) as streams:
            report = streams.run(speed)["stocks"]
        trades = compose(LocalStore(lake), Partition("stock_trades", "SPY", str(session))).rows
        told(exchange, "/clock", {"set": f"{session}T20:30", "pause": True})
        healed = marketlake("heal", "--start", str(session), "--json", env=env)

    minutes, seconds, prints, bar_millions, print_millions = EXPECTED[session]
    assert healed.returncode == 0, healed.stderr
    assert (0, 0, 0) == (report["failed"], report["refused"], report["frames_lost"])
    sent = {"T": prints, "A": seconds, "AM": minutes}
    assert sum(sent[topic] for topic in topics.split()) == report["stored"], "the stream alone brought everything"

    db = duckdb.connect()
    db.execute("SET TimeZone = 'America/New_York'")
    db.register("streamed", trades)
    db.execute(f"CREATE VIEW stored AS SELECT * FROM '{lake}/raw/stocks/trades/**/*.parquet'")
    db.execute(f"CREATE VIEW bars AS SELECT * FROM '{lake}/raw/stocks/bars/**/*.parquet'")
    db.execute(
        "CREATE VIEW source AS SELECT * REPLACE (make_timestamptz(sip_timestamp // 1000) AS sip_timestamp) "
        f"FROM '{world}/trades.parquet'"
    )
    assert [(prints,)] == db.sql("SELECT count(*) FROM source").fetchall()
    for rows in ("streamed", "stored"):
        for one, other in (("source", rows), (rows, "source")):
            missing = db.sql(f"SELECT {TRADE} FROM {one} EXCEPT ALL SELECT {TRADE} FROM {other}").fetchall()
            assert [] == missing, f"in {one} and not in {other}"

    totals = "SELECT round((SELECT sum(volume) FROM bars WHERE span = 'minute') / 1e6, 2), round(sum(size) / 1e6, 2)"
    assert [(bar_millions, print_millions)] == db.sql(f"{totals} FROM stored").fetchall()
    counts = "SELECT count(*) FILTER (span = 'minute'), count(*) FILTER (span = 'second') FROM bars"
    assert [(minutes, seconds)] == db.sql(counts).fetchall()
    assert [(minutes, True)] == db.sql(FROM_SECONDS).fetchall()
    ((both, inside, same_volume, same),) = db.sql(FROM_TRADES).fetchall()
    assert (minutes, minutes) == (both, inside)
    assert minutes - 3 <= same_volume
    assert same > 0.8 * minutes


def one_day_of(world: Path, session: date, folder: Path) -> Path:
    """A world with nothing behind the day: the clock runs on while a flow at such a speed hears that it is over."""
    folder.mkdir()
    db = duckdb.connect()
    db.execute("SET TimeZone = 'America/New_York'")
    for name, time in (("trades", "sip_timestamp // 1000"), ("bars", "t * 1000")):
        rows = f"SELECT * FROM '{world}/{name}.parquet' WHERE make_timestamptz({time})::DATE = '{session}'"
        db.execute(f"COPY ({rows}) TO '{folder}/{name}.parquet'")
    (folder / "world.json").write_text(json.dumps({"underlying": "SPY", "sessions": [str(session)]}))
    return folder
