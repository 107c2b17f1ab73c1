"""Under a real server and worker: deploy, schedule, run by name, and tell a person about a failure."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import pytest
from echoes import leaks
from live_feeds import told as control
from prefect_server import PrefectServer, ask, prefect_server, worker
from simulation import Simulation, marketlake, simulated
from slack_api import SlackApiDouble

from marketlake.recorder_files import read_report
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass

__all__ = ["prefect_server"]
ROOT = Path(__file__).parents[3]
PATIENCE_S = 180
SESSION = "2025-08-29"
PAGE = 200  # the most that the server gives at once
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", "2025-08-29") as simulation:
        yield simulation


@pytest.fixture(scope="module")
def slack() -> Iterator[SlackApiDouble]:
    with SlackApiDouble() as double:
        yield double


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    """The commands of the README, in a checkout."""
    prefect_server.run("work-pool", "create", "marketlake", "--type", "process", cwd=ROOT)
    prefect_server.run("deploy", "--all", cwd=ROOT)
    return prefect_server


def told(server: PrefectServer) -> str:
    """Everything that the server was told of its runs, as it gives it to anybody who asks."""
    found: list[dict[str, object]] = []
    for kind in ("logs", "artifacts", "flow_runs", "task_runs"):
        offset = 0
        while page := ask(server, f"/{kind}/filter", limit=PAGE, offset=offset):
            found += page
            offset += PAGE
    return json.dumps(found)


def test_a_cron_deployment_has_scheduled_runs(deployed: PrefectServer) -> None:
    """With a newer SQLAlchemy the scheduler silently inserts none."""
    deadline = time.monotonic() + PATIENCE_S
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "deployments": {"name": {"any_": ["weekday"]}}}
    while not (runs := ask(deployed, "/flow_runs/filter", **wanted)):
        assert time.monotonic() < deadline
        time.sleep(0.5)

    assert all(run["auto_scheduled"] for run in runs)


def test_the_daily_consolidation_runs_by_name_to_completed(
    deployed: PrefectServer, vendor: Simulation, tmp_path: Path
) -> None:
    environment = {**vendor.environment(tmp_path / "lake"), **deployed.environment}
    filled = marketlake(
        "backfill", "--tables", "stock_bars,index_bars,treasury_yields,option_contracts,option_bars",
        "--start", "2025-08-29", env={**environment, "PREFECT_API_URL": ""},
    )  # fmt: skip
    assert filled.returncode == 0, filled.stderr

    with worker(deployed, environment):
        said = deployed.run("deployment", "run", "consolidate/daily", "--watch", cwd=ROOT)

    assert "Completed" in said
    assert list((tmp_path / "lake" / "consolidated").rglob("session=2025-08-29/data.parquet"))


@pytest.mark.soak
def test_a_feed_is_recorded_by_one_deployment_and_brought_into_the_lake_by_another(
    deployed: PrefectServer, vendor: Simulation, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    environment = {
        **vendor.environment(tmp_path / "lake", XDG_STATE_HOME=str(tmp_path)),
        **deployed.environment,
        "MARKETLAKE__STREAM__CLOCK": "vendor",
        "MARKETLAKE__STREAM__SPOOL": str(spool),
    }
    control(vendor, "/clock", {"pause": True, "set": f"{SESSION}T09:59:50"})
    recording = ["deployment", "run", "stream/indices", "-p", f"session={SESSION}", "-p", f"until={SESSION}T10:32:00"]

    with worker(deployed, environment):
        deployed.run(*recording, cwd=ROOT)
        deadline = time.monotonic() + PATIENCE_S
        folder = local_folder(spool, AssetClass.INDICES, date.fromisoformat(SESSION))
        while (report := read_report(folder)) is None or not report.is_subscribed:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        control(vendor, "/clock", {"speed": 120})
        wanted = {"flows": {"name": {"any_": ["stream"]}}}
        while [run["state_type"] for run in ask(deployed, "/flow_runs/filter", **wanted)] != ["COMPLETED"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        control(vendor, "/clock", {"pause": True, "set": f"{SESSION}T20:05:00"})
        healing = ["deployment", "run", "heal/after-close", "--watch", "-p", f"start={SESSION}"]
        said = deployed.run(*healing, "-p", 'tables=["index_bars"]', "-p", 'tickers=["I:VIX"]', cwd=ROOT)

    assert "Completed" in said
    (run,) = ask(deployed, "/flow_runs/filter", **wanted)
    assert f"stream indices {SESSION}" == run["name"]
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    names = {task["name"] for task in ask(deployed, "/task_runs/filter", **of_run)}
    assert {"plan indices", "indices 10:00–10:15", "indices 10:15–10:30"} <= names  # noqa: RUF001
    window = [
        row
        for item in ask(deployed, "/artifacts/filter", **of_run)
        if str(item["description"]).startswith("indices 10:00–10:15: ")  # noqa: RUF001
        for row in json.loads(str(item["data"]))
    ]
    asked = urlencode(
        {"subscription": "V.I:VIX", "after": f"{SESSION}T09:59:59.999", "until": f"{SESSION}T10:14:59.999"}
    )
    with urllib.request.urlopen(f"{vendor.control}/published?{asked}", timeout=60) as answer:
        sent = len(json.loads(answer.read()))
    assert [sent] == [row["rows"] for row in window if row["table"] == "index_values"]
    assert sent > 50
    assert list((tmp_path / "lake" / "raw" / "indices" / "values").rglob(f"session={SESSION}/data.parquet"))
    assert not list((tmp_path / "lake" / "live").rglob("*.parquet"))


def test_a_failing_run_posts_one_message(
    deployed: PrefectServer, vendor: Simulation, slack: SlackApiDouble, tmp_path: Path
) -> None:
    environment = {
        **vendor.environment(tmp_path / "lake"),
        **deployed.environment,
        "POLYGON_API_KEY": "a-key-that-nobody-knows",
        "SLACK_BOT_TOKEN": slack.token,
        "MARKETLAKE__SLACK__CHANNEL": "C0123456789",
        "MARKETLAKE__SLACK__API_URL": slack.url,
    }

    with worker(deployed, environment):
        deployed.run("deployment", "run", "backfill/history", "-p", "start=2025-08-29", cwd=ROOT)
        deadline = time.monotonic() + PATIENCE_S
        while not slack.messages:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        wanted = {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
        while not ask(deployed, "/flow_runs/filter", **wanted):
            assert time.monotonic() < deadline
            time.sleep(0.2)

    (message,) = slack.messages
    text = str(message["text"])
    assert "backfill" in text
    assert "2025-08-29" in text
    assert "POLYGON_API_KEY" in text, "the cause says what to do"
    assert "/runs/flow-run/" in text
    assert "a-key-that-nobody-knows" not in text
    kept = told(deployed)
    assert "Unknown API Key" in kept, "the cause is in the run's log"
    assert "a-key-that-nobody-knows" not in kept
    assert [] == leaks(tmp_path, "a-key-that-nobody-knows")


BACKFILL = """
import datetime, logging, os
from flows.backfill import backfill
for name in ("marketlake", "urllib3"):
    logging.getLogger(name).setLevel(os.environ["TEST_LOGGERS_AT"])
day = datetime.date(2025, 8, 29)
backfill(["stock_bars", "index_bars", "option_contracts", "option_bars"], ["SPY", "I:VIX", "@chosen"], day, day)
"""


@pytest.fixture(scope="module")
def undisturbed(prefect_server: PrefectServer, vendor: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of a run at DEBUG that nobody kills, from a vendor that repeats the key in pages and errors."""
    folder = tmp_path_factory.mktemp("undisturbed")
    bars = {"path": "/v2/aggs/*"}
    repeated = {"action": "set_field", "field": "note", "value": f"apiKey={vendor.key}", "places": [0]}
    vendor.misbehave(
        {"match": bars, "when": {"nth": 1}, "do": {"action": "status", "code": 500, "body": f"key={vendor.key}"}},
        {"match": bars, "when": {"nth": 2}, "do": repeated},
    )
    env = {
        **vendor.environment(folder / "lake", XDG_STATE_HOME=str(folder), TEST_LOGGERS_AT="DEBUG"),
        **prefect_server.environment,
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "marketlake,urllib3",
    }
    done = subprocess.run(
        [sys.executable, "-c", BACKFILL],
        env=env, cwd=ROOT, check=True, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert vendor.key not in done.stdout + done.stderr
    assert vendor.struck() == 2, "the key was repeated twice"
    vendor.misbehave()
    return folder / "lake"


def test_a_flow_run_that_is_killed_ends_like_an_undisturbed_one(
    prefect_server: PrefectServer, vendor: Simulation, undisturbed: Path, tmp_path: Path
) -> None:
    env = {
        **vendor.environment(tmp_path / "lake", XDG_STATE_HOME=str(tmp_path), TEST_LOGGERS_AT="INFO"),
        **prefect_server.environment,
    }
    before = len(vendor.requests())
    run = subprocess.Popen(
        [sys.executable, "-c", BACKFILL], env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE_S
    while len(vendor.requests()) < before + 40:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait(PATIENCE_S)
    subprocess.run(
        [sys.executable, "-c", BACKFILL], env=env, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_S
    )

    assert partitions(undisturbed)
    assert partitions(undisturbed) == partitions(tmp_path / "lake")


def test_a_key_that_the_vendor_repeats_is_in_nothing_that_a_run_at_debug_leaves(
    prefect_server: PrefectServer, vendor: Simulation, undisturbed: Path
) -> None:
    kept = told(prefect_server)

    assert "urllib3.connectionpool" in kept, "nothing can leak from a silent log"
    assert ask(prefect_server, "/artifacts/filter", limit=1)
    assert vendor.key not in kept
    assert [] == leaks(undisturbed.parent, vendor.key)


def partitions(lake: Path) -> dict[str, bytes]:
    raw = lake / "raw"
    return {str(path.relative_to(raw)): path.read_bytes() for path in raw.rglob("*.parquet")}
