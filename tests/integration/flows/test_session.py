"""Sessions run themselves: from the morning's decision to the consolidated set, under a real server and worker."""

import json
import os
import signal
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
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
PATIENCE_S = 240
# What a backfill gives again on any later day; a chain's snapshot is not of them.
OF_HISTORY = ("stock_bars", "index_bars", "option_contracts", "option_bars", "news", "treasury_yields")
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(OF_HISTORY),
    "MARKETLAKE__SOURCES__STREAMS__STOCKS": json.dumps(["minute_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__OPTIONS": json.dumps(["minute_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__INDICES": json.dumps(["minute_bars", "values"]),
    "MARKETLAKE__SELECTION__LIMIT": "4",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
pytestmark = pytest.mark.timeout(1500)


@dataclass(frozen=True)
class Day:
    """One day, and what happens to it: faults of the exchange by New York time, and a feed's flow that is killed."""

    day: date
    faults: tuple[tuple[str, str, str], ...] = ()  # when, on which feed, what
    killed: AssetClass | None = None
    closed: str | None = None

    def rules(self) -> list[dict[str, object]]:
        """The faults as the simulator takes them."""
        return [
            {
                "name": f"{self.day} {clock} {feed}",
                "stream": {"market": feed},
                "when": {"at": f"{self.day}T{clock}:00"},
                "do": {"action": action},
            }
            for clock, feed, action in self.faults
        ]


ORDINARY = Day(
    date(2025, 11, 26),
    (("10:17", "stocks", "close"), ("11:02", "options", "abort"), ("13:40", "stocks", "abort_in_frame")),
    AssetClass.INDICES,
)
HOLIDAY = Day(date(2025, 11, 27), closed="market closed: Thanksgiving")
HALF = Day(date(2025, 11, 28), (("10:31", "options", "close"), ("11:45", "indices", "silence")))
WEEK = (
    Day(
        date(2025, 11, 24),
        (("10:05", "stocks", "stall"), ("12:12", "options", "malformed"), ("14:59", "indices", "abort")),
    ),
    Day(date(2025, 11, 25), (("09:50", "options", "slow_consumer"), ("15:30", "stocks", "close")), AssetClass.OPTIONS),
    ORDINARY,
    HOLIDAY,
    HALF,
)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("exchange")) as simulation:
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
    """State and message of the runs of a flow, oldest first; without those that wait for the clock of a schedule."""
    found = ask(server, "/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="EXPECTED_START_TIME_ASC")
    return [(str(run["state_type"]), str(run["state"].get("message"))) for run in found if not run["auto_scheduled"]]  # type: ignore[attr-defined]


def files(lake: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for layer in ("raw", "consolidated")
        for path in sorted((lake / layer).rglob("*.parquet"))
    }


@dataclass(frozen=True)
class Lived:
    """A day as it went: its flow runs with state and message, how many faults struck, and drops by feed."""

    day: Day
    runs: tuple[tuple[str, str, str], ...]
    struck: int
    drops: Mapping[str, int]

    def count(self, flow: str, state: str) -> int:
        return sum(name == flow and found == state for name, found, _ in self.runs)


class Market:
    """An exchange and the worker that is up all week; days are lived through one by one."""

    def __init__(self, server: PrefectServer, exchange: Simulation, spool: Path) -> None:
        self._server = server
        self._exchange = exchange
        self._spool = spool

    def live_through(self, day: Day) -> Lived:
        """From 09:20 on, without anybody touching anything."""
        server, exchange = self._server, self._exchange
        before = {flow: len(runs(server, flow)) for flow in FLOWS}
        exchange.misbehave(*day.rules())
        told(exchange, "/clock", {"pause": True, "set": f"{day.day}T09:20:00"})
        server.run("deployment", "run", "market-open/weekday", cwd=ROOT)
        if day.closed is None:
            self._session(day, before)
        wait_for("the morning", server, lambda: "COMPLETED" in _ended(server, "market-open", before))
        added = [(flow, *found) for flow in FLOWS for found in runs(server, flow)[before[flow] :]]
        reports = {feed: read_report(local_folder(self._spool, feed, day.day)) for feed in AssetClass}
        drops = {feed.value: report.reconnects for feed, report in reports.items() if report is not None}
        return Lived(day, tuple(added), exchange.struck(), drops)

    def _session(self, day: Day, before: Mapping[str, int]) -> None:
        server, exchange = self._server, self._exchange
        wait_for(
            "shares and VIX",
            server,
            lambda: self._is_subscribed(day, AssetClass.STOCKS) and self._is_subscribed(day, AssetClass.INDICES),
        )
        told(exchange, "/clock", {"advance_s": 670})
        wait_for("options", server, lambda: self._is_subscribed(day, AssetClass.OPTIONS))
        told(exchange, "/clock", {"speed": 300})
        if day.killed is not None:
            report = read_report(local_folder(self._spool, day.killed, day.day))
            assert report is not None
            flow_run = int(Path(f"/proc/{report.pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(flow_run, signal.SIGKILL)
            wait_for(
                "one in its place", server, lambda: _ended(server, "stream", before).count("RUNNING") >= len(AssetClass)
            )
        told(exchange, "/clock", {"speed": 2000})
        # Between the close and the vendor's whole history lie hours, which at this speed are seconds.
        evening = f"{day.day}T{'13:30' if day.day == HALF.day else '16:30'}"
        wait_for("the close", server, lambda: str(told(exchange, "/clock", {})["clock"]) >= evening)
        told(exchange, "/clock", {"pause": True})
        wait_for(
            "the last windows", server, lambda: _ended(server, "stream", before).count("COMPLETED") >= len(AssetClass)
        )
        told(exchange, "/clock", {"speed": 2000})
        # The night, in which the chain's snapshot is to be had, would be over in seconds.
        settled = f"{day.day}T20:06"
        wait_for("the vendor's history", server, lambda: str(told(exchange, "/clock", {})["clock"]) >= settled)
        told(exchange, "/clock", {"pause": True})
        wait_for("the consolidated set", server, lambda: "COMPLETED" in _ended(server, "consolidate", before))
        self._morning_after(day)

    def _morning_after(self, day: Day) -> None:
        """What the vendor had only by then: the evening's news, and corrections."""
        server = self._server
        healed = _ended(server, "heal", {"heal": 0}).count("COMPLETED")
        told(self._exchange, "/clock", {"set": f"{day.day + timedelta(days=1)}T08:00:00"})
        server.run("deployment", "run", "heal/next-day", cwd=ROOT)
        wait_for("the morning after", server, lambda: _ended(server, "heal", {"heal": 0}).count("COMPLETED") > healed)

    def _is_subscribed(self, day: Day, feed: AssetClass) -> bool:
        report = read_report(local_folder(self._spool, feed, day.day))
        return report is not None and report.is_subscribed


FLOWS = ("market-open", "discover-options", "stream", "poll-news", "heal", "consolidate")


def _ended(server: PrefectServer, flow: str, before: Mapping[str, int]) -> list[str]:
    """The states of the runs of a flow that were added, sorted."""
    return sorted(state for state, _ in runs(server, flow)[before[flow] :])


def lived_through(days: Sequence[Day], deployed: PrefectServer, exchange: Simulation, folder: Path) -> list[Lived]:
    """The days in a row, held against what a backfill makes of the same sessions."""
    spool = folder / "spool"
    environment = {
        **exchange.environment(folder / "lake", **SETTINGS, XDG_STATE_HOME=str(folder)),
        **deployed.environment,
        "MARKETLAKE__SOURCES__TABLES": json.dumps([*OF_HISTORY, "option_snapshots"]),
        "MARKETLAKE__STREAM__CLOCK": "vendor",
        "MARKETLAKE__STREAM__SPOOL": str(spool),
    }
    with worker(deployed, environment):
        market = Market(deployed, exchange, spool)
        lived = [market.live_through(day) for day in days]

    env = exchange.environment(folder / "oracle", **SETTINGS, XDG_STATE_HOME=str(folder))
    sessions = [str(day.day) for day in days if day.closed is None]
    for command in (
        *(f"discover --session {session}" for session in sessions),
        f"backfill --start {sessions[0]} --end {sessions[-1]}",
        *(f"consolidate --session {session}" for session in sessions),
    ):
        done = marketlake(*command.split(), env=env)
        assert done.returncode == 0, done.stderr
    found, oracle = files(folder / "lake"), files(folder / "oracle")
    of_the_stream_alone = {path for path in found if "/indices/values/" in path}
    of_the_evening_alone = {path for path in found if "/options/snapshots/" in path}
    # A curve is used from the day after its own; whoever asks later finds some more in the year's partition.
    of_the_year = {path for path in found if "/treasury_yields/" in path}
    held_by_rows = of_the_stream_alone | of_the_evening_alone | of_the_year
    assert {path: data for path, data in oracle.items() if path not in of_the_year} == {
        path: data for path, data in found.items() if path not in held_by_rows
    }
    assert of_the_year == {path for path in oracle if "/treasury_yields/" in path}
    for path in of_the_year:
        known, all_of_them = (yields_before(folder / name / path, days[-1].day) for name in ("lake", "oracle"))
        assert known.num_rows > 0, path
        assert known.equals(all_of_them), path
    assert len(sessions) == len(of_the_stream_alone) == len(of_the_evening_alone)
    for path in of_the_evening_alone:
        assert pq.read_metadata(folder / "lake" / path).num_rows > 1_000, path
    assert not list((folder / "lake" / "live").rglob("*.parquet"))
    for item in lived:
        check_runs(item)
    return lived


def yields_before(path: Path, session: date) -> pa.Table:
    table = pq.read_table(path, partitioning=None)
    return table.filter(pc.less(table["date"], session))


def check_runs(lived: Lived) -> None:
    day = lived.day
    assert not [run for run in lived.runs if run[1] == "FAILED"]
    if day.closed is not None:
        assert [("market-open", "COMPLETED", day.closed)] == list(lived.runs)
        return
    # A trigger may start a run twice, of which the second finds nothing to do, if its turn comes at all.
    assert (day.killed is not None) == lived.count("stream", "CRASHED")
    assert lived.count("stream", "COMPLETED") >= len(AssetClass)
    assert lived.count("poll-news", "COMPLETED") == 1
    assert len(day.faults) == lived.struck


def test_a_holiday_and_a_half_day_run_themselves(deployed: PrefectServer, exchange: Simulation, tmp_path: Path) -> None:
    lived_through([HOLIDAY, replace(HALF, killed=AssetClass.INDICES)], deployed, exchange, tmp_path)


@pytest.mark.soak
def test_an_ordinary_session_a_holiday_and_a_half_day_run_themselves(
    deployed: PrefectServer, exchange: Simulation, tmp_path: Path
) -> None:
    lived_through([ORDINARY, HOLIDAY, HALF], deployed, exchange, tmp_path)


@pytest.mark.soak
def test_a_week_runs_itself(deployed: PrefectServer, exchange: Simulation, tmp_path: Path) -> None:
    lived = lived_through(WEEK, deployed, exchange, tmp_path)

    (ROOT / "docs" / "work-log.md").write_text("\n".join(work_log(lived, tmp_path / "lake")) + "\n")


def work_log(lived: Sequence[Lived], lake: Path) -> Iterator[str]:
    """What a week's runs did and said, for a person to read."""
    yield "# A week that ran itself"
    yield ""
    yield "Written by `pytest -m soak tests/integration/flows/test_session.py -k week`: a simulated week under a real"
    yield "Prefect server and worker, faults on the lines, flows killed, nobody touching anything. Every raw and"
    yield "consolidated file that history gives again was held against a backfill and is equal, byte for byte; of the"
    yield "year's Treasury curves, those that the sessions use."
    for item in lived:
        day = item.day
        yield f"\n## {day.day:%A, %Y-%m-%d}\n"
        if day.faults or day.killed:
            told_faults = [f"{feed}: {action} at {clock}" for clock, feed, action in day.faults]
            killed = [f"the flow of {day.killed} killed"] if day.killed else []
            yield f"Faults: {'; '.join([*told_faults, *killed])}. {item.struck} struck."
            drops = ", ".join(f"{feed} {count}" for feed, count in item.drops.items())
            yield f"Connections lost, by the last recorder's count: {drops}.\n"
        yield "| flow | state | said |"
        yield "|---|---|---|"
        for flow, state, said in item.runs:
            yield f"| {flow} | {state.lower()} | {said if said != 'None' else ''} |"
        if day.closed is None:
            yield "\n| table | how | seconds | rows |"
            yield "|---|---|---|---|"
            for (table, how), (seconds, rows) in sorted(covered(lake, day.day).items()):
                yield f"| {table} | {how} | {seconds:,} | {rows:,} |"


def covered(lake: Path, session: date) -> dict[tuple[str, str], tuple[int, int]]:
    """Seconds and rows by table and label, over all tickers, from the ledger's records."""
    seconds: Counter[tuple[str, str]] = Counter()
    rows: Counter[tuple[str, str]] = Counter()
    for path in (lake / "ledger" / "raw").rglob(f"session={session}/record.json"):
        table = "/".join(path.relative_to(lake / "ledger" / "raw").parts[:2])
        for item in json.loads(path.read_text())["coverage"]:
            key = table, str(item["how"])
            seconds[key] += (item["end_ns"] - item["start_ns"]) // 10**9
            rows[key] += item["rows"]
    return {key: (seconds[key], rows[key]) for key in seconds}


@pytest.mark.soak
def test_a_run_whose_machine_died_is_ended_and_started_again(
    deployed: PrefectServer, exchange: Simulation, tmp_path: Path
) -> None:
    """Nobody is left who could tell the server: it misses the heartbeat. Another application's run is left alone."""
    spool, day = tmp_path / "spool", ORDINARY.day
    environment = {
        **exchange.environment(tmp_path / "lake", **SETTINGS, XDG_STATE_HOME=str(tmp_path)),
        **deployed.environment,
        "MARKETLAKE__STREAM__CLOCK": "vendor",
        "MARKETLAKE__STREAM__SPOOL": str(spool),
    }
    stranger = run_of_another(deployed)
    folder = local_folder(spool, AssetClass.STOCKS, day)
    before = {"stream": len(runs(deployed, "stream"))}
    told(exchange, "/clock", {"pause": True, "set": f"{day}T09:20:00"})
    with worker(deployed, environment):
        deployed.run("deployment", "run", "stream/stocks", "--param", f"session={day}", cwd=ROOT)
        wait_for("a recorder", deployed, lambda: (found := read_report(folder)) is not None and found.is_subscribed)
        # Two heartbeats at least.
        time.sleep(40)
    report = read_report(folder)
    assert report is not None
    flow_run = int(Path(f"/proc/{report.pid}/stat").read_text().rpartition(")")[2].split()[1])
    if flow_run > 1:
        os.kill(flow_run, signal.SIGKILL)
    assert ["RUNNING"] == _ended(deployed, "stream", before)
    wait_for("its end", deployed, lambda: "CRASHED" in _ended(deployed, "stream", before))
    with worker(deployed, environment):
        wait_for("one in its place", deployed, lambda: "RUNNING" in _ended(deployed, "stream", before))
        (state,) = [
            str(run["state_type"]) for run in ask(deployed, "/flow_runs/filter", flow_runs={"id": {"any_": [stranger]}})
        ]
        assert "RUNNING" == state
        told(exchange, "/clock", {"set": f"{day}T16:30:00"})
        wait_for("the evening", deployed, lambda: "COMPLETED" in _ended(deployed, "stream", before))


def run_of_another(server: PrefectServer) -> str:
    """The id of a flow run that is none of ours, runs, and has given a heartbeat."""
    flow = ask_one(server, "/flows/", name="somebody else's")
    run = ask_one(server, "/flow_runs/", flow_id=flow["id"], state={"type": "RUNNING"})
    occurred = datetime.now(UTC).isoformat()
    event = {
        "occurred": occurred,
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}"},
        "related": [],
        "payload": {},
        "id": str(uuid.uuid4()),
    }
    request = urllib.request.Request(
        f"{server.api_url}/events", json.dumps([event]).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=30).close()
    return str(run["id"])


def ask_one(server: PrefectServer, path: str, **body: object) -> dict[str, object]:
    found: object = ask(server, path, **body)
    assert isinstance(found, dict)
    return found


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
        done = marketlake("watchdog", "--session", "2025-08-29", env=env)
        closed = marketlake("watchdog", "--session", "2025-09-01", env=env)

    assert done.returncode == 7, done.stderr
    (message,) = slack.messages
    for feed in AssetClass:
        assert f"{feed}: no recorder has reported" in done.stderr
        assert f"{feed}: no recorder has reported" in str(message["text"])
    assert (0, "2025-09-01: market closed: Labor Day\n") == (closed.returncode, closed.stdout)
