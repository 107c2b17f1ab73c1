"""Half days, closed days and clock changes, from the vendor to the consolidated session."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from simulation import Simulation, marketlake, simulated

NEW_YORK = ZoneInfo("America/New_York")
TABLES = "stock_bars,index_bars,treasury_yields,option_contracts,option_bars"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", "2025-01-10") as simulation:
        yield simulation


@pytest.mark.parametrize(
    ("first", "last", "sessions"),
    [
        pytest.param("2024-03-08", "2024-03-11", {"2024-03-08": 390, "2024-03-11": 390}, id="clocks go forward"),
        pytest.param("2024-11-01", "2024-11-04", {"2024-11-01": 390, "2024-11-04": 390}, id="clocks go back"),
        pytest.param("2024-11-29", "2024-11-29", {"2024-11-29": 210}, id="half day"),
        pytest.param("2025-01-08", "2025-01-10", {"2025-01-08": 390, "2025-01-10": 390}, id="a closed day between"),
    ],
)
def test_sessions_around_odd_days_have_their_own_hours(
    first: str, last: str, sessions: dict[str, int], vendor: Simulation, tmp_path: Path
) -> None:
    env = vendor.environment(tmp_path / "lake", TZ="Asia/Tokyo")
    filled = marketlake("backfill", "--tables", TABLES, "--start", first, "--end", last, env=env)
    assert filled.returncode == 0, filled.stderr
    for session, minutes in sessions.items():
        made = marketlake("consolidate", "--underlying", "SPY", "--session", session, "--json", env=env)
        assert made.returncode == 0, made.stderr
        rows = {item["table"]: item for item in json.loads(made.stdout)["published"]}
        contracts = rows["option_minutes"]["rows"] / (minutes + 15)
        assert rows["market_minutes"]["rows"] == minutes
        assert contracts == int(contracts)
        assert 0 < contracts <= 30
        minute = pq.ParquetFile(tmp_path / "lake" / rows["market_minutes"]["path"]).read(["minute"])["minute"]
        opens = datetime.fromisoformat(session).replace(hour=9, minute=30, tzinfo=NEW_YORK)
        assert opens.timestamp() == minute[0].as_py().timestamp()
    stored = sorted(path.parent.name for path in (tmp_path / "lake/raw/stocks/bars/symbol=SPY").rglob("*.parquet"))
    assert [f"session={session}" for session in sessions] == stored


def test_a_closed_day_is_no_session(vendor: Simulation, tmp_path: Path) -> None:
    done = marketlake("backfill", "--start", "2025-01-09", env=vendor.environment(tmp_path / "lake"))

    assert done.returncode == 2
    assert "no trading session" in done.stderr


def test_the_lake_does_not_depend_on_the_size_of_pages(vendor: Simulation, tmp_path: Path) -> None:
    lakes = []
    for size in ("97", "5000", "50000"):
        env = vendor.environment(tmp_path / size, MARKETLAKE__SOURCES__PAGE_SIZE=size)
        done = marketlake(
            "backfill", "--tables", f"stock_bars,{'stock_trades,' if size != '97' else ''}index_bars",
            "--start", "2025-01-10", env=env | {"MARKETLAKE__SOURCES__SPANS__STOCK_BARS": '["minute", "day"]'},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        raw = tmp_path / size / "raw"
        lakes.append({str(path.relative_to(raw)): path.read_bytes() for path in raw.rglob("*.parquet")})

    bars = [{name: data for name, data in lake.items() if "/bars/" in name} for lake in lakes]
    assert bars[0]
    assert bars[0] == bars[1] == bars[2]
    assert lakes[1] == lakes[2]
