"""The VIX of a session, live and by history: where both have it, they say the same."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from live_feeds import streaming, told
from simulation import marketlake, simulated

from marketlake.tables import TABLES

SESSION = date(2025, 8, 29)
START, END = "09:30", "16:15"


def rows_of(lake: Path, layer: str, table: str) -> pa.Table:
    """Those of the VIX's own hours; late ones last, as they came."""
    folder = lake / layer / TABLES[table].folder / "symbol=I%3AVIX" / f"session={SESSION}"
    paths = sorted(folder.glob("*.parquet"), key=lambda path: (path.name.startswith("late"), path.name))
    rows = pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])
    at = rows["start" if table == "index_bars" else "event_time"]
    clock = pc.strftime(pc.cast(at, pa.timestamp("ns", "America/New_York")), "%H:%M")
    return rows.filter(pc.and_(pc.greater_equal(clock, START), pc.less(clock, END)))


def test_the_vix_is_the_same_live_and_by_history(tmp_path: Path) -> None:
    with simulated("synthetic", tmp_path, "--session", str(SESSION)) as exchange:
        env = exchange.environment(tmp_path / "lake", XDG_STATE_HOME=str(tmp_path / "state"))
        told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T09:25:00"})
        feeds = {"indices": ["AM.I:VIX", "V.I:VIX"]}
        with streaming(exchange, feeds, tmp_path, session=SESSION, until="16:20:00", env=env) as streams:
            streams.run(1_000)
        told(exchange, "/clock", {"pause": True, "set": "2025-08-30T00:00:00"})
        own = exchange.environment(tmp_path / "batch", XDG_STATE_HOME=str(tmp_path / "state"))
        done = marketlake("backfill", "--start", str(SESSION), "--tables", "index_bars", "--tickers", "I:VIX", env=own)
        assert done.returncode == 0, done.stderr

    streamed, history = (
        rows_of(tmp_path / "lake", "live", "index_bars"),
        rows_of(tmp_path / "batch", "raw", "index_bars"),
    )
    of_history = {bar["start"]: bar for bar in history.to_pylist() if bar["span"] == "minute"}
    values = rows_of(tmp_path / "lake", "live", "index_values").to_pylist()
    assert of_history == {bar["start"]: bar for bar in streamed.to_pylist()}
    # 405 minutes with a value every 15 seconds, of which the index's own filter withholds some.
    assert 400 < len(of_history) <= 405
    assert 1_500 < len(values) <= 1_620
    for value in values:
        bar = of_history[value["event_time"].replace(second=0, microsecond=0, nanosecond=0)]
        assert bar["low"] <= value["value"] <= bar["high"]
