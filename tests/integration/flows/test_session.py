"""A session runs itself: from the morning's decision to the consolidated set, under a real server and worker."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest
from live_feeds import told
from prefect_server import PrefectServer, ask, prefect_server, worker
from simulation import Simulation, marketlake, simulated
from slack_api import SlackApiDouble

from marketlake.recorder_files import read_report
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass

__all__ = ["prefect_server"]
ROOT = Path(__file__).parents[3]
SESSION = date(2025, 8, 29)
PATIENCE_S = 240
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(
        ["stock_bars", "index_bars", "option_contracts", "option_bars", "treasury_yields"]
    ),
    "MARKETLAKE__SOURCES__STREAMS__STOCKS": json.dumps(["minute_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__OPTIONS": json.dumps(["minute_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__INDICES": json.dumps(["minute_bars", "values"]),
    "MARKETLAKE__SELECTION__LIMIT": "4",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("exchange"), "--session", str(SESSION)) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    prefect_server.run("work-pool", "create", "marketlake", "--type", "process", "--overwrite", cwd=ROOT)
    prefect_server.run("deploy", "--all", cwd=ROOT)
    prefect_server.run("automation", "create", "--from-file", "automations.yaml", cwd=ROOT)
    return prefect_server


def wait_for(what: str, server: PrefectServer, is_so: Callable[[], bool]) -> None:
    """Wait; a run that fails ends it at once, with what was logged last."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        failed = ask(server, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["FAILED"]}}})
        is_hopeless = bool(failed) or time.monotonic() > deadline
        assert not is_hopeless, f"waited for {what}: {_last_words(server)}"
        time.sleep(0.5)


def _last_words(server: PrefectServer) -> list[str]:
    states = [f"{run['name']}: {run['state_type']}" for run in ask(server, "/flow_runs/filter")]
    lines = ask(server, "/logs/filter", limit=20, sort="TIMESTAMP_DESC")
    return [*states, *(str(line["message"]) for line in lines)]


def runs(server: PrefectServer, flow: str) -> list[tuple[str, str]]:
    """State and message of the runs of a flow, oldest first."""
    found = ask(server, "/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="EXPECTED_START_TIME_ASC")
    return [(str(run["state_type"]), str(run["state"].get("message"))) for run in found]  # type: ignore[attr-defined]


def _ended(server: PrefectServer, flow: str, before: Mapping[str, int]) -> list[str]:
    """The states of the runs of a flow that were added, sorted."""
    return sorted(state for state, _ in runs(server, flow)[before[flow] :])


def files(lake: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for layer in ("raw", "consolidated")
        for path in sorted((lake / layer).rglob("*.parquet"))
    }


@pytest.mark.parametrize("is_killed", [pytest.param(False, marks=pytest.mark.soak), True])
def test_a_session_runs_itself_from_the_morning_to_the_consolidated_set(
    deployed: PrefectServer, exchange: Simulation, tmp_path: Path, is_killed: bool
) -> None:
    before = {flow: len(runs(deployed, flow)) for flow in ("stream", "consolidate")}
    spool = tmp_path / "spool"
    environment = {
        **exchange.environment(tmp_path / "lake", **SETTINGS, XDG_STATE_HOME=str(tmp_path)),
        **deployed.environment,
        "MARKETLAKE__STREAM__CLOCK": "vendor",
        "MARKETLAKE__STREAM__SPOOL": str(spool),
    }

    def is_subscribed(feed: AssetClass) -> bool:
        report = read_report(local_folder(spool, feed, SESSION))
        return report is not None and report.is_subscribed

    told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T09:20:00"})
    with worker(deployed, environment):
        deployed.run("deployment", "run", "market-open/weekday", cwd=ROOT)
        wait_for(
            "shares and VIX", deployed, lambda: is_subscribed(AssetClass.STOCKS) and is_subscribed(AssetClass.INDICES)
        )
        told(exchange, "/clock", {"advance_s": 670})
        wait_for("options", deployed, lambda: is_subscribed(AssetClass.OPTIONS))
        told(exchange, "/clock", {"speed": 300})
        if is_killed:
            report = read_report(local_folder(spool, AssetClass.INDICES, SESSION))
            assert report is not None
            flow_run = int(Path(f"/proc/{report.pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(flow_run, signal.SIGKILL)
            wait_for("one in its place", deployed, lambda: len(runs(deployed, "stream")) >= before["stream"] + 4)
        told(exchange, "/clock", {"speed": 2000})
        wait_for("the consolidated set", deployed, lambda: "COMPLETED" in _ended(deployed, "consolidate", before))

    env = exchange.environment(tmp_path / "oracle", **SETTINGS, XDG_STATE_HOME=str(tmp_path))
    for command in ("discover --session", "backfill --start", "consolidate --session"):
        done = marketlake(*command.split(), str(SESSION), env=env)
        assert done.returncode == 0, done.stderr
    found, oracle = files(tmp_path / "lake"), files(tmp_path / "oracle")
    # A trigger may start a run twice, of which the second finds nothing to do, if its turn comes at all.
    states = _ended(deployed, "stream", before)
    assert ("FAILED" not in states, is_killed) == (True, states.count("CRASHED") == 1)
    assert states.count("COMPLETED") >= len(AssetClass)
    assert oracle == {path: data for path, data in found.items() if "/indices/values/" not in path}
    assert len(found) == len(oracle) + 1
    assert not list((tmp_path / "lake" / "live").rglob("*.parquet"))


def test_a_holiday_is_completed_with_its_reason_and_nothing_is_started(
    deployed: PrefectServer, exchange: Simulation, tmp_path: Path
) -> None:
    environment = {
        **exchange.environment(tmp_path / "lake", **SETTINGS, XDG_STATE_HOME=str(tmp_path)),
        **deployed.environment,
        "MARKETLAKE__STREAM__CLOCK": "vendor",
    }
    before = len(runs(deployed, "stream"))
    told(exchange, "/clock", {"pause": True, "set": "2025-09-01T09:20:00"})
    with worker(deployed, environment):
        said = deployed.run("deployment", "run", "market-open/weekday", "--watch", cwd=ROOT)

    assert "Completed" in said
    assert ("COMPLETED", "market closed: Labor Day") in runs(deployed, "market-open")
    assert before == len(runs(deployed, "stream"))


def test_a_watchdog_outside_of_prefect_tells_a_person_who_is_not_heard(tmp_path: Path) -> None:
    with SlackApiDouble() as slack:
        env = {
            **os.environ,
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
            "MARKETLAKE__STREAM__SPOOL": str(tmp_path / "spool"),
            "SLACK_BOT_TOKEN": slack.token,
            "MARKETLAKE__SLACK__CHANNEL": "C0123456789",
            "MARKETLAKE__SLACK__API_URL": slack.url,
        }
        done = marketlake("watchdog", "--session", str(SESSION), env=env)
        closed = marketlake("watchdog", "--session", "2025-09-01", env=env)

    assert done.returncode == 7, done.stderr
    (message,) = slack.messages
    for feed in AssetClass:
        assert f"{feed}: no recorder has reported" in done.stderr
        assert f"{feed}: no recorder has reported" in str(message["text"])
    assert (0, "2025-09-01: market closed: Labor Day\n") == (closed.returncode, closed.stdout)
