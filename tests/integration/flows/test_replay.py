"""A stored session as if it were live: what comes out is what is stored, and what cannot be replayed is said."""

import json
import signal
import time
from datetime import date
from pathlib import Path

import pytest
from simulation import marketlake, simulated, started

SESSION = date(2025, 8, 29)
PATIENCE_S = 60
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(
        ["stock_bars", "index_bars", "option_contracts", "option_bars", "news", "treasury_yields", "dividends"]
    ),
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": json.dumps(["minute", "day"]),
    "MARKETLAKE__SOURCES__STREAMS__STOCKS": json.dumps(["minute_bars", "trades"]),
    "MARKETLAKE__SELECTION__LIMIT": "4",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a lake with one consolidated session; no vendor is up any more."""
    folder = tmp_path_factory.mktemp("stored")
    with simulated("synthetic", folder, "--session", str(SESSION)) as exchange:
        env = exchange.environment(folder / "lake", **SETTINGS, XDG_STATE_HOME=str(folder / "state"))
        for command in ("discover --session", "backfill --start", "consolidate --session"):
            done = marketlake(*command.split(), str(SESSION), env=env)
            assert done.returncode == 0, done.stderr
    return env


def test_a_stored_session_replayed_comes_out_as_it_is_stored(stored: dict[str, str], tmp_path: Path) -> None:
    lake = Path(stored["MARKETLAKE_LAKE"])
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    done = marketlake(
        "replay", str(SESSION), "--speed", "2000", "--into", str(tmp_path / "again"), "--json", env=stored
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [] == found["differing"]
    tables = {name.split()[0] for name in found["equal"]}
    assert {"stock_bars", "index_bars", "option_contracts", "option_bars", "news", "market_minutes"} <= tables
    assert "the session is served at http://127.0.0.1:" in done.stderr
    assert before == {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}, "it is only read"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["2025-08-30"], "no trading session", id="closed"),
        pytest.param(["2025-08-28"], "run marketlake backfill first", id="not stored"),
        pytest.param(["2025-08-29", "--speed", "20000"], "choose one from 0.1 to 10,000", id="too fast"),
        pytest.param(["2025-08-29", "--into", "LAKE"], "name another with --into", id="into the lake"),
        pytest.param(["2025-08-29", "--into", "FULL"], "is not empty", id="into something else"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    arguments: list[str], says: str, stored: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").touch()
    places = {"LAKE": f"{stored['MARKETLAKE_LAKE']}/raw", "FULL": str(tmp_path / "full")}
    into = [] if "--into" in arguments else ["--into", str(tmp_path / "again")]
    done = marketlake("replay", *(places.get(text, text) for text in arguments), *into, env=stored)

    assert 2 == done.returncode, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replay_that_is_ended_leaves_no_process_behind(stored: dict[str, str], tmp_path: Path) -> None:
    again = tmp_path / "again"
    replaying = started("replay", str(SESSION), "--speed", "1", "--into", str(again), env=stored, folder=tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while not (again / "stream-stocks.log").exists():
        assert replaying.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert replaying.pid is not None
    replaying.terminate()
    replaying.join(PATIENCE_S)

    assert 128 + signal.SIGTERM == replaying.exitcode
    left = [path.parent for path in Path("/proc").glob("[0-9]*/environ") if str(again).encode() in read(path)]
    assert [] == left


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
