"""A chain's snapshot is taken while the vendor has it, whole and once; what was not taken is said to be missing.

The truth is the synthetic market itself, made again in this process, and the files of a small world.
"""

import json
import math
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_world
from live_feeds import told
from simulation import KILLED_AT_SYNC, Done, Simulation, marketlake, simulated, started

from marketlake.lake import Lake
from marketlake.ledger import Coverage, How, Lack
from marketlake.store import LocalStore
from marketlake.tables import Partition
from simulator.synthetic.world import SyntheticWorld

FRIDAY, MONDAY = small_world.SESSIONS
CHAIN = "/v3/snapshot/options/"
# Three pages of the small world's 24 contracts, of which one has no open interest.
QUIET = {
    "MARKETLAKE__SOURCES__PAGE_SIZE": "10",
    "MARKETLAKE__SOURCES__STREAMS__STOCKS": "[]",
    "MARKETLAKE__SOURCES__STREAMS__OPTIONS": "[]",
    "MARKETLAKE__SOURCES__STREAMS__INDICES": "[]",
    "MARKETLAKE__RETRY__REST__FIRST_WAIT_S": "0",
}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("small")
    world = small_world.write_small_world(folder / "world")
    rows = [row | {"open_interest": place or None} for place, row in enumerate(small_world.contracts())]
    pq.write_table(pa.Table.from_pylist(rows), world / "contracts.parquet")
    with simulated(world, folder) as simulation:
        yield simulation


@pytest.fixture
def exchange(small: Simulation) -> Iterator[Simulation]:
    """The small world on its Friday evening; whatever it was told to do wrong ends with the test."""
    told(small, "/clock", {"pause": True, "set": f"{FRIDAY}T20:06"})
    yield small
    small.misbehave()


def heal(exchange: Simulation, folder: Path, *more: str, tables: str = "option_snapshots", **env: str) -> Done:
    """Heal Friday's session."""
    words = ("heal", "--tables", tables, "--tickers", "SPY", "--start", str(FRIDAY), "--json", *more)
    return marketlake(*words, env=exchange.environment(folder / "lake", **QUIET, **env))


def partition(owner: str = "SPY", session: date = FRIDAY) -> Partition:
    return Partition("option_snapshots", owner, str(session))


def lake(folder: Path) -> Lake:
    return Lake(LocalStore(folder / "lake"))


def coverage(folder: Path) -> Sequence[Coverage]:
    record = lake(folder).record(partition(), verify=True)
    return () if record is None else record.coverage


def pages_asked(exchange: Simulation, since: int) -> list[object]:
    return [item["query"] for item in exchange.requests()[since:] if str(item["path"]).startswith(CHAIN)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def near(one: float | None, two: float | None) -> bool:
    return one is two if one is None or two is None else math.isclose(one, two, rel_tol=1e-12)


def test_heal_brings_the_whole_chain_as_the_market_has_it(tmp_path: Path) -> None:
    session = date(2025, 8, 29)
    with simulated("synthetic", tmp_path, "--session", str(session)) as exchange:
        told(exchange, "/clock", {"pause": True, "set": f"{session}T20:06"})
        env = exchange.environment(tmp_path / "lake", **QUIET | {"MARKETLAKE__SOURCES__PAGE_SIZE": "50000"})
        words = ("--tables", "option_snapshots", "--tickers", "AAPL", "--start", str(session), "--json")
        done = marketlake("heal", *words, env=env)
        asked = len(exchange.requests())
        again = marketlake("heal", *words, env=env)

        assert done.returncode == 0, done.stderr
        assert again.returncode == 0, again.stderr
        assert [] == pages_asked(exchange, asked), "what is covered is not asked for again"
    world, now_ns = SyntheticWorld(), int(datetime(2025, 8, 30, 0, 6, tzinfo=UTC).timestamp()) * 10**9
    listed = world.contracts("AAPL", session, expired=False, expiry_from=None, expiry_to=None).to_pylist()
    found = lake(tmp_path).read(partition("AAPL", session), verify=True)
    report = json.loads(done.stdout)
    assert found is not None
    assert (9, len(listed), 0) == (report["pages"], report["stored"], report["refused"])
    assert sorted(item["ticker"] for item in listed) == found["ticker"].to_pylist()
    rows = {row["ticker"]: row for row in found.to_pylist()}
    for item in listed:
        row, values = rows[item["ticker"]], world.option_values(item["ticker"], now_ns)
        assert item["contract_type"] == row["right"]
        assert str(item["expiration_date"]) == str(row["expiry"])
        assert round(item["strike_price"] * 1_000) == int(row["strike"].scaleb(3))
        assert item["shares_per_contract"] == row["shares_per_contract"]
        assert values.get("open_interest") == row["open_interest"]
        assert near(values.get("implied_volatility"), row["vendor_implied_volatility"])
        assert near(values.get("delta"), row["vendor_delta"])
        assert near(values.get("gamma"), row["vendor_gamma"])
        assert near(values.get("theta"), row["vendor_theta_per_day"])
        assert near(values.get("vega"), row["vendor_vega_per_point"])
    assert sum(row["vendor_delta"] is not None for row in rows.values()) > 100
    for item in listed[::40]:
        assert_newest(rows[item["ticker"]], world, now_ns)


def assert_newest(row: dict[str, Any], world: SyntheticWorld, now_ns: int) -> None:
    """The newest quote and trade of a contract are the last ones that the market made, of two sessions."""
    since_ns = int(datetime(2025, 8, 28, 4, tzinfo=UTC).timestamp()) * 10**9
    quotes = world.quotes(row["ticker"], since_ns, now_ns).to_pylist()
    trades = world.trades(row["ticker"], since_ns, now_ns).to_pylist()
    quote, trade = (quotes or [{}])[-1], (trades or [{}])[-1]
    assert quote.get("bid_price") == row["bid_price"]
    assert quote.get("ask_size") == row["ask_size"]
    assert quote.get("sip_timestamp") == (row["quote_updated"].value if quotes else None)
    assert trade.get("price") == row["trade_price"]
    assert trade.get("sip_timestamp") == (row["trade_sip_timestamp"].value if trades else None)


def test_what_is_missing_of_a_contract_is_null(exchange: Simulation, tmp_path: Path) -> None:
    assert heal(exchange, tmp_path).returncode == 0

    found = lake(tmp_path).read(partition())

    assert found is not None
    by_ticker = {row["ticker"]: row for row in found.to_pylist()}
    own = {row["ticker"]: place for place, row in enumerate(small_world.contracts())}
    assert {ticker: place or None for ticker, place in own.items()} == {
        ticker: row["open_interest"] for ticker, row in by_ticker.items()
    }
    assert {None} == set(found["vendor_delta"].to_pylist()) | set(found["vendor_implied_volatility"].to_pylist())
    call = by_ticker[small_world.CALL]
    assert (3.0, 3.5, 1.0) == (call["bid_price"], call["trade_price"], call["trade_size"])
    assert by_ticker[small_world.HALF]["trade_price"] is None
    assert by_ticker[small_world.HALF]["day_updated"] is None


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_chain_that_was_cut_is_asked_for_from_its_beginning(exchange: Simulation, tmp_path: Path, page: int) -> None:
    assert heal(exchange, tmp_path / "undisturbed").returncode == 0
    exchange.misbehave({"match": {"path": f"{CHAIN}*"}, "when": {"nth": page}, "do": {"action": "hang"}})
    env = exchange.environment(tmp_path / "lake", **QUIET)
    words = ("heal", "--tables", "option_snapshots", "--tickers", "SPY", "--start", str(FRIDAY))
    killed = started(*words, env=env, folder=tmp_path)
    deadline = time.monotonic() + 60
    while not exchange.struck():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.kill()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    exchange.misbehave()
    before = len(exchange.requests())

    again = heal(exchange, tmp_path)

    assert again.returncode == 0, again.stderr
    asked = pages_asked(exchange, before)
    assert len(asked) == 3
    assert "cursor" not in str(asked[0])
    assert files(tmp_path / "undisturbed" / "lake" / "raw") == files(tmp_path / "lake" / "raw")


# Within a page, between pages, behind the last one, under the lease, and before and behind the data and its record.
@pytest.mark.parametrize(
    "sync", [12, 14, 29, 30, *(pytest.param(sync, marks=pytest.mark.soak) for sync in (9, 13, 21, 28, 31))]
)
def test_a_heal_that_is_killed_while_it_writes_ends_in_the_same_bytes(
    exchange: Simulation, tmp_path: Path, sync: int
) -> None:
    assert heal(exchange, tmp_path / "undisturbed").returncode == 0
    words = ("heal", "--tables", "option_snapshots", "--tickers", "SPY", "--start", str(FRIDAY))
    env = exchange.environment(tmp_path / "lake", **QUIET, **{KILLED_AT_SYNC: str(sync)})
    killed = started(*words, env=env, folder=tmp_path)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    whole = len(list((tmp_path / "lake").rglob("page-*.zst"))) == 3
    before = len(exchange.requests())

    again = heal(exchange, tmp_path)

    assert again.returncode == 0, again.stderr
    assert (0 if whole else 3) == len(pages_asked(exchange, before))
    assert files(tmp_path / "undisturbed" / "lake" / "raw") == files(tmp_path / "lake" / "raw")
    assert not list((tmp_path / "lake").rglob(".writing*"))


def test_a_session_that_has_passed_is_unavailable_and_never_another_days(exchange: Simulation, tmp_path: Path) -> None:
    told(exchange, "/clock", {"set": f"{MONDAY}T03:31"})
    before = len(exchange.requests())

    late = heal(exchange, tmp_path)
    again = heal(exchange, tmp_path)

    assert late.returncode == 0, late.stderr
    report = json.loads(late.stdout)
    assert [{"batch": f"option_snapshots SPY {FRIDAY}", "reason": "session_past"}] == report["unavailable"]
    assert (0, 0) == (report["stored"], report["failed"])
    assert [] == pages_asked(exchange, before)
    (item,) = coverage(tmp_path)
    assert (How.UNAVAILABLE, Lack.SESSION_PAST, ()) == (item.how, item.reason, item.proof)
    found = lake(tmp_path).read(partition(), verify=True)
    assert found is not None
    assert found.num_rows == 0
    assert json.loads(again.stdout)["batches"] == 0


@pytest.mark.parametrize("sync", [8, 14, *(pytest.param(sync, marks=pytest.mark.soak) for sync in (6, 10, 12, 16, 18))])
def test_a_label_that_was_cut_off_is_written_again(exchange: Simulation, tmp_path: Path, sync: int) -> None:
    told(exchange, "/clock", {"set": f"{MONDAY}T12:00"})
    words = ("heal", "--tables", "option_snapshots", "--tickers", "SPY", "--start", str(FRIDAY))
    env = exchange.environment(tmp_path / "lake", **QUIET, **{KILLED_AT_SYNC: str(sync)})
    killed = started(*words, env=env, folder=tmp_path)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL

    again = heal(exchange, tmp_path)

    assert again.returncode == 0, again.stderr
    (item,) = coverage(tmp_path)
    assert (How.UNAVAILABLE, Lack.SESSION_PAST) == (item.how, item.reason)


def test_the_last_moment_is_half_an_hour_before_the_pre_market(exchange: Simulation, tmp_path: Path) -> None:
    told(exchange, "/clock", {"set": f"{MONDAY}T03:30"})

    assert heal(exchange, tmp_path).returncode == 0

    (item,) = coverage(tmp_path)
    assert item.how is How.BACKFILLED


def test_a_session_that_is_not_over_is_postponed(exchange: Simulation, tmp_path: Path) -> None:
    told(exchange, "/clock", {"set": f"{FRIDAY}T20:04:59"})
    before = len(exchange.requests())

    early = heal(exchange, tmp_path)

    assert early.returncode == 0, early.stderr
    assert [str(FRIDAY)] == json.loads(early.stdout)["postponed"]
    assert [] == pages_asked(exchange, before)
    assert () == coverage(tmp_path)


def test_a_chain_that_was_captured_in_time_is_published_later(exchange: Simulation, tmp_path: Path) -> None:
    assert heal(exchange, tmp_path).returncode == 0
    raw = files(tmp_path / "lake" / "raw")
    shutil.rmtree(tmp_path / "lake" / "raw")
    shutil.rmtree(tmp_path / "lake" / "ledger")
    told(exchange, "/clock", {"set": f"{MONDAY}T12:00"})
    before = len(exchange.requests())

    late = heal(exchange, tmp_path)

    assert late.returncode == 0, late.stderr
    assert [] == pages_asked(exchange, before)
    assert raw == files(tmp_path / "lake" / "raw")
    (item,) = coverage(tmp_path)
    assert (How.BACKFILLED, 24) == (item.how, item.rows)


def test_what_was_published_stays_when_it_cannot_be_had_again(exchange: Simulation, tmp_path: Path) -> None:
    assert heal(exchange, tmp_path).returncode == 0
    raw, (proved,) = files(tmp_path / "lake" / "raw"), coverage(tmp_path)
    shutil.rmtree(tmp_path / "lake" / "capture")
    told(exchange, "/clock", {"set": f"{MONDAY}T12:00"})

    kept = heal(exchange, tmp_path, "--refresh")

    assert kept.returncode == 0, kept.stderr
    assert "what was published stays" in kept.stderr
    assert (raw, (proved,)) == (files(tmp_path / "lake" / "raw"), coverage(tmp_path))

    shutil.rmtree(tmp_path / "lake" / "ledger")
    unproved = heal(exchange, tmp_path)

    assert unproved.returncode == 4
    assert "cannot be taken again" in unproved.stderr
    assert raw == files(tmp_path / "lake" / "raw")


def test_a_refresh_in_time_asks_again(exchange: Simulation, tmp_path: Path) -> None:
    assert heal(exchange, tmp_path).returncode == 0
    before = len(exchange.requests())

    again = heal(exchange, tmp_path, "--refresh")

    assert again.returncode == 0, again.stderr
    assert len(pages_asked(exchange, before)) == 3
    assert {"attempt-002"} == {Path(proof.path).parent.name for item in coverage(tmp_path) for proof in item.proof}


def test_a_plan_without_snapshots_says_so_and_the_rest_is_healed(exchange: Simulation, tmp_path: Path) -> None:
    key = {"POLYGON_API_KEY": exchange.keys["stocks_only"]}

    done = heal(exchange, tmp_path, tables="stock_bars,option_snapshots", **key)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [{"batch": f"option_snapshots SPY {FRIDAY}", "reason": "not_in_plan"}] == report["unavailable"]
    assert 1 == done.stderr.count("labelled unavailable")
    (item,) = coverage(tmp_path)
    assert (How.UNAVAILABLE, Lack.NOT_IN_PLAN) == (item.how, item.reason)
    assert lake(tmp_path).record(Partition("stock_bars", "SPY", str(FRIDAY))) is not None

    upgraded = heal(exchange, tmp_path, "--refresh")

    assert upgraded.returncode == 0, upgraded.stderr
    (item,) = coverage(tmp_path)
    assert (How.BACKFILLED, None, 24) == (item.how, item.reason, item.rows)

    lapsed = heal(exchange, tmp_path, "--refresh", **key)

    assert lapsed.returncode == 3
    assert (item,) == coverage(tmp_path), "what the plan gave once stays"


def test_a_delayed_plan_waits_a_quarter_of_an_hour(exchange: Simulation, tmp_path: Path) -> None:
    plan = {"POLYGON_API_KEY": exchange.keys["starter"], "MARKETLAKE__VENDOR__PLAN": "starter"}
    told(exchange, "/clock", {"set": f"{FRIDAY}T20:19"})
    unaware = heal(exchange, tmp_path, POLYGON_API_KEY=plan["POLYGON_API_KEY"])
    early = heal(exchange, tmp_path, **plan)
    told(exchange, "/clock", {"set": f"{FRIDAY}T20:20"})
    done = heal(exchange, tmp_path, **plan)

    assert unaware.returncode == 2
    assert "set vendor.plan" in unaware.stderr
    assert [str(FRIDAY)] == json.loads(early.stdout)["postponed"]
    assert done.returncode == 0, done.stderr
    found = lake(tmp_path).read(partition())
    assert found is not None
    assert (24, {None}) == (found.num_rows, set(found["bid_price"].to_pylist())), "a plan without quotes"


def test_judging_nothing_again_makes_no_proof_of_a_label(exchange: Simulation, tmp_path: Path) -> None:
    told(exchange, "/clock", {"set": f"{MONDAY}T12:00"})
    assert heal(exchange, tmp_path).returncode == 0
    env = exchange.environment(tmp_path / "lake", **QUIET)

    replayed = marketlake("quarantine", "replay", "option_snapshots", "SPY", str(FRIDAY), env=env)

    assert replayed.returncode == 0, replayed.stderr
    (item,) = coverage(tmp_path)
    assert (How.UNAVAILABLE, Lack.SESSION_PAST) == (item.how, item.reason)
