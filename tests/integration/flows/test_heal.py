"""Healing where history is short, refuses, or work is cut off: nothing is claimed that is not so, and nothing lost."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from live_feeds import streaming, told
from simulation import KILLED_AT_SYNC, Simulation, marketlake, simulated, started
from storms import BEGIN_S, LENGTH_S, SESSION, write_world

from marketlake.lake import Lake
from marketlake.lease import held_lease
from marketlake.ledger import How
from marketlake.store import LocalStore
from marketlake.tables import Partition

FEEDS = {"stocks": ["AM.SPY", "T.SPY"], "indices": ["V.I:VIX"]}
TRADES, VALUES = Partition("stock_trades", "SPY", str(SESSION)), Partition("index_values", "I:VIX", str(SESSION))
HEAL = ("heal", "--tables", "stock_trades", "--tickers", "SPY", "--start", str(SESSION), "--json")
SETTINGS = {
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": "minute",
    "MARKETLAKE__STREAM__WINDOW_MINUTES": "5",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
    "MARKETLAKE__RETRY__REST__FIRST_WAIT_S": "0",
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("exchange")
    with simulated(write_world(folder / "world"), folder) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def recorded(exchange: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the lake and the spool of two feeds that were recorded whole, and are not healed yet."""
    folder = tmp_path_factory.mktemp("recorded")
    told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T09:29:55"})
    env = exchange.environment(folder / "lake", **SETTINGS, XDG_STATE_HOME=str(folder / "state"))
    with streaming(exchange, FEEDS, folder, session=SESSION, until="09:38:20", env=env) as streams:
        streams.run(240)
    told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T20:05"})
    return folder


@pytest.fixture
def mine(recorded: Path, exchange: Simulation, tmp_path: Path) -> Iterator[Path]:
    """A copy of it; whatever the exchange was told to do wrong ends with the test."""
    shutil.copytree(recorded, tmp_path / "mine")
    yield tmp_path / "mine"
    exchange.misbehave()


def environment(exchange: Simulation, folder: Path, **more: str) -> dict[str, str]:
    spool = {"MARKETLAKE__STREAM__SPOOL": str(folder / "spool"), "XDG_STATE_HOME": str(folder / "state")}
    return exchange.environment(folder / "lake", **SETTINGS, **spool, **more)


def lake(folder: Path) -> Lake:
    return Lake(LocalStore(folder / "lake"))


LACKS_TWO = {
    "match": {"path": "/v3/trades/*"},
    "do": {"action": "remove_rows", "places": [3, 700], "counts": "agree"},
}


def test_a_heal_that_lacks_what_was_streamed_is_none(exchange: Simulation, mine: Path) -> None:
    exchange.misbehave(LACKS_TWO)

    short = marketlake(*HEAL, env=environment(exchange, mine))

    assert short.returncode == 3
    assert "history lacks 2 of 1440 streamed rows" in short.stderr
    assert "--accept-short" in short.stderr
    assert lake(mine).record(TRADES) is None
    assert list((mine / "lake/live/stocks/trades").rglob("*.parquet"))
    assert lake(mine).record(VALUES) is not None, "the others are done"

    exchange.misbehave()
    healed = marketlake(*HEAL, env=environment(exchange, mine))

    assert healed.returncode == 0, healed.stderr
    rows = lake(mine).read(TRADES, verify=True)
    assert rows is not None
    assert LENGTH_S * 3 == rows.num_rows
    assert not list((mine / "lake/live").rglob("*.parquet"))


def test_a_person_may_take_history_for_the_truth_and_what_it_lacks_is_kept(exchange: Simulation, mine: Path) -> None:
    exchange.misbehave(LACKS_TWO)

    done = marketlake(*HEAL, "--accept-short", env=environment(exchange, mine))

    assert done.returncode == 0, done.stderr
    rows, refused = lake(mine).read(TRADES, verify=True), lake(mine).quarantined(TRADES)
    assert rows is not None
    assert refused is not None
    assert LENGTH_S * 3 - 2 == rows.num_rows
    assert ["not_in_history"] * 2 == refused["rule"].to_pylist()
    texts = [json.loads(text) for text in refused["raw"].to_pylist()]
    assert {("T", "t3"), ("T", "t700")} == {(text["ev"], text["i"]) for text in texts}
    assert {"t3", "t700"}.isdisjoint(rows["id"].to_pylist())
    assert not list((mine / "lake/live").rglob("*.parquet"))
    shown = marketlake("quarantine", "list", "--json", env=environment(exchange, mine))
    assert {("stock_trades", "not_in_history", 2)} == {
        (item["table"], item["rule"], item["rows"]) for item in json.loads(shown.stdout)
    }
    again = marketlake("quarantine", "replay", "stock_trades", "SPY", str(SESSION), env=environment(exchange, mine))
    assert again.returncode == 0, again.stderr
    kept = lake(mine).quarantined(TRADES)
    assert kept is not None
    assert refused.equals(kept), "judging the captured pages again says nothing about what they never held"


def test_where_the_plan_has_no_history_the_stream_is_published(exchange: Simulation, mine: Path) -> None:
    exchange.misbehave({"match": {"path": "/v3/trades/*"}, "do": {"action": "status", "code": 403}})

    done = marketlake(*HEAL, env=environment(exchange, mine))

    assert done.returncode == 0, done.stderr
    record, rows = lake(mine).record(TRADES, verify=True), lake(mine).read(TRADES)
    assert record is not None
    assert rows is not None
    assert LENGTH_S * 3 == rows.num_rows
    labels = {item.how for item in record.coverage}
    assert {How.STREAMED, How.UNAVAILABLE} == labels
    assert not list((mine / "lake/live").rglob("*.parquet"))


def test_what_a_feed_could_not_prove_is_not_fetched_behind_its_back(exchange: Simulation, mine: Path) -> None:
    held = held_lease(
        LocalStore(mine / "lake"),
        f"ledger/stream/stocks/session={SESSION}/lease.json",
        owner="another heal",
        now=lambda: datetime.now(UTC),
        ttl=timedelta(minutes=5),
    )
    with held:
        refused = marketlake(*HEAL, env=environment(exchange, mine))

    assert refused.returncode == 6
    assert "another heal" in refused.stderr
    assert lake(mine).record(TRADES) is None
    assert lake(mine).record(VALUES) is not None, "the other feed is healed"
    assert marketlake(*HEAL, env=environment(exchange, mine)).returncode == 0
    assert lake(mine).record(TRADES) is not None


@pytest.mark.parametrize("sync", [3, 9, 14, 20, 27])
def test_a_heal_that_is_killed_is_done_again_to_the_same_bytes(exchange: Simulation, mine: Path, sync: int) -> None:
    undisturbed = mine.parent / "undisturbed"
    shutil.copytree(mine, undisturbed)
    assert marketlake(*HEAL, env=environment(exchange, undisturbed)).returncode == 0
    killed = started(*HEAL, env=environment(exchange, mine, **{KILLED_AT_SYNC: str(sync)}), folder=mine)
    killed.join(120)
    assert killed.exitcode == -9

    again = marketlake(*HEAL, env=environment(exchange, mine))

    assert again.returncode == 0, again.stderr
    for layer in ("raw", "quarantine", "capture/stream", "live"):
        assert files(undisturbed / "lake" / layer) == files(mine / "lake" / layer)
    assert files(mine / "spool") == files(undisturbed / "spool")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in {".parquet", ".zst", ".spool"}
    }


def test_every_trade_of_the_session_is_told_by_the_second_that_it_fell_in(exchange: Simulation, mine: Path) -> None:
    assert marketlake(*HEAL, env=environment(exchange, mine)).returncode == 0

    record = lake(mine).record(TRADES, verify=True)

    assert record is not None
    streamed = [item for item in record.coverage if item.how is How.STREAMED]
    rows = pq.read_table(mine / "lake" / TRADES.path, partitioning=None)
    assert rows.num_rows >= sum(item.rows for item in streamed) > LENGTH_S * 3 - 30
    assert all(BEGIN_S * 10**9 <= item.start_ns < item.end_ns <= (BEGIN_S + LENGTH_S) * 10**9 for item in streamed)
    assert {"capture/stream/stocks"} == {proof.path.rsplit("/", 2)[0] for item in streamed for proof in item.proof}
