"""`make demo` as a newcomer runs it: one process, one embedded Prefect, a lake and a picture at the end."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from simulation import unmeasured

pytestmark = pytest.mark.timeout(400)


def demo(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "flows", "demo", "--folder", str(folder), *arguments]
    done = subprocess.run(command, env=unmeasured(os.environ), capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def priced(folder: Path) -> int:
    (file,) = (folder / "lake" / "consolidated" / "option_minutes").rglob("*.parquet")
    rows = pq.read_table(file)
    assert rows["reason"].null_count == rows.num_rows - rows["implied_volatility"].null_count
    return int(rows.num_rows - rows["implied_volatility"].null_count)


def test_the_demo_prices_a_synthetic_session_and_draws_it(tmp_path: Path) -> None:
    said = demo(tmp_path / "demo")

    assert priced(tmp_path / "demo") > 1_000
    assert "Five rows of it" in said
    page = (tmp_path / "demo" / "session.html").read_text()
    assert "Smile of the nearest expiry" in page
    for table in ("stock_trades", "option_quotes", "news", "treasury_yields", "market_minutes"):
        assert table in page


def test_the_demo_takes_a_recorded_world_whatever_it_lacks(worlds: Path, tmp_path: Path) -> None:
    demo(tmp_path / "demo", "--world", str(worlds / "spy-options-2025-08-29"))

    assert priced(tmp_path / "demo") == 1_692


def test_the_demo_never_empties_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = subprocess.run(
        [sys.executable, "-m", "flows", "demo", "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "not made by the demo" in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"
