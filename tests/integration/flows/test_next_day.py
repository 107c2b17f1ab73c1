"""What the vendor corrects overnight: written down row by row, published, and followed by what stands on it."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from live_feeds import told
from simulation import KILLED_AT_SYNC, Simulation, marketlake, simulated

SESSION = date(2025, 8, 29)
BUSY_EVENING = date(2025, 8, 27)  # with an article at 21:38
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(["stock_bars", "index_bars", "option_contracts", "option_bars"]),
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": json.dumps(["minute"]),
    "MARKETLAKE__SELECTION__LIMIT": "2",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
MINUTES = {"path": "/v2/aggs/ticker/SPY/range/1/minute/*"}
# By their places on the page of the day's minutes, which begins at four in the morning.
IN_THE_EVENING = [{"match": MINUTES, "do": {"action": "remove_rows", "places": [401], "counts": "agree"}}]
# With one row more, the places behind it are one higher.
OVERNIGHT = [
    {"match": MINUTES, "do": {"action": "set_field", "field": "v", "value": 123456.5, "places": [400, 600]}},
    {"match": MINUTES, "do": {"action": "remove_rows", "places": [500], "counts": "agree"}},
]
VIX_PEAK = [{"action": "set_field", "field": name, "value": 99.5, "places": [500]} for name in ("h", "c")]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("exchange"), "--session", str(SESSION)) as simulation:
        yield simulation


def environment(exchange: Simulation, lake: Path, **more: str) -> dict[str, str]:
    return exchange.environment(lake, **(SETTINGS | more), XDG_STATE_HOME=str(lake.parent / "state"))


def done(*arguments: str, env: dict[str, str]) -> str:
    ended = marketlake(*arguments, env=env)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def evening(exchange: Simulation, lake: Path) -> None:
    exchange.misbehave(*IN_THE_EVENING)
    for command in ("discover --session", "backfill --start", "consolidate --session"):
        done(*command.split(), str(SESSION), env=environment(exchange, lake))
    exchange.misbehave(*OVERNIGHT)


def files(lake: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for layer in ("raw", "consolidated", "quarantine")
        for path in sorted((lake / layer).rglob("*.parquet"))
    }


def by_start(lake: Path) -> dict[object, dict[str, Any]]:
    (path,) = (lake / "raw" / "stocks" / "bars").rglob("*.parquet")
    return {row["start"]: row for row in pq.read_table(path, partitioning=None).to_pylist()}


def check_restatement(lake: Path, before: dict[object, dict[str, Any]]) -> None:
    """It lists the corrections that were planted, and no others."""
    after = by_start(lake)
    (path,) = (lake / "reports" / "restatements").rglob("*.parquet")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    starts = sorted({*before, *after})
    added, changed, removed = starts[401], (starts[400], starts[600]), starts[500]
    assert [(changed[0], "changed"), (added, "added"), (removed, "removed"), (changed[1], "changed")] == [
        (row["start"], row["change"]) for row in rows
    ]
    for row in rows:
        was, now = before.get(row["start"], {}), after.get(row["start"], {})
        for name in ("open", "high", "low", "close", "volume", "vwap", "trades"):
            assert (was.get(name), now.get(name)) == (row[f"{name}_before"], row[f"{name}_after"])
    assert {123456.5} == {row["volume_after"] for row in rows if row["change"] == "changed"}


@pytest.fixture(scope="module")
def oracle(exchange: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a lake holds that was made after the corrections."""
    lake = tmp_path_factory.mktemp("oracle") / "lake"
    exchange.misbehave(*OVERNIGHT)
    for command in ("discover --session", "backfill --start", "consolidate --session"):
        done(*command.split(), str(SESSION), env=environment(exchange, lake))
    return files(lake)


def test_corrections_are_written_down_published_and_followed(
    exchange: Simulation, oracle: dict[str, bytes], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    evening(exchange, lake)
    before, rows = files(lake), by_start(lake)
    (found,) = json.loads(done("restate", "--session", str(SESSION), "--json", env=environment(exchange, lake)))[
        "restatements"
    ]
    after = files(lake)

    assert (2, 1, 1) == (found["changed"], found["added"], found["removed"])
    check_restatement(lake, rows)
    assert oracle == after
    changed = {path for path in after if before[path] != after[path]}
    assert {"raw/stocks/bars", "consolidated/market_minutes"} <= {"/".join(path.split("/")[:-3]) for path in changed}
    assert not [path for path in changed if path.startswith(("raw/indices", "raw/options", "quarantine"))]
    assert "Nothing was corrected.\n" == done("restate", "--session", str(SESSION), env=environment(exchange, lake))
    assert after == files(lake)
    assert 1 == len(list((lake / "reports" / "restatements").rglob("*.parquet")))


def test_the_news_of_the_evening_are_there_in_the_morning(exchange: Simulation, tmp_path: Path) -> None:
    exchange.misbehave()
    tables = {"MARKETLAKE__SOURCES__TABLES": json.dumps(["stock_bars", "news"])}
    env, batch = (environment(exchange, tmp_path / name, **tables) for name in ("lake", "batch"))
    clock = told(exchange, "/clock", {})["clock"]
    try:
        told(exchange, "/clock", {"pause": True, "set": f"{BUSY_EVENING}T20:06:00"})
        done("backfill", "--start", str(BUSY_EVENING), env=env)
        in_the_evening = files(tmp_path / "lake")
        told(exchange, "/clock", {"set": f"{BUSY_EVENING + timedelta(days=1)}T08:00:00"})
        assert "Nothing was corrected.\n" == done("restate", "--session", str(BUSY_EVENING), env=env)
        done("backfill", "--start", str(BUSY_EVENING), env=batch)
    finally:
        told(exchange, "/clock", {"set": clock})

    in_the_morning = files(tmp_path / "lake")
    assert files(tmp_path / "batch") == in_the_morning
    assert ["news"] == [path.split("/")[1] for path in in_the_morning if in_the_evening[path] != in_the_morning[path]]


def test_a_kill_at_any_moment_loses_no_restatement(
    exchange: Simulation, oracle: dict[str, bytes], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    evening(exchange, lake)
    rows = by_start(lake)
    kills = 0
    while True:
        # Each time a little further than what the runs before have made durable.
        env = environment(exchange, lake, **{KILLED_AT_SYNC: str(3 + 4 * kills)})
        ended = marketlake("restate", "--session", str(SESSION), env=env)
        if ended.returncode == 0:
            break
        kills += 1
        assert kills < 30

    assert kills > 3
    check_restatement(lake, rows)
    assert oracle == files(lake)


def test_a_vendor_who_has_nothing_any_more_is_not_believed_and_the_corrected_rest_is_followed(
    exchange: Simulation, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    evening(exchange, lake)
    before = files(lake)
    exchange.misbehave(
        {"match": MINUTES, "do": {"action": "remove_rows", "places": list(range(2_000)), "counts": "agree"}},
        {"match": {"path": "/v2/aggs/ticker/I:VIX/range/1/minute/*"}, "do": VIX_PEAK},
    )

    refused = marketlake("restate", "--session", str(SESSION), env=environment(exchange, lake))

    assert refused.returncode == 3, refused.stderr
    assert "history has none any more" in refused.stderr
    changed = {path.split("/session=")[0] for path, data in files(lake).items() if before[path] != data}
    assert {
        "raw/indices/bars/symbol=I%3AVIX",
        "consolidated/market_minutes/underlying=SPY",
        "consolidated/option_minutes/underlying=SPY",
    } == changed


def test_what_is_not_published_has_nothing_that_could_be_corrected(exchange: Simulation, tmp_path: Path) -> None:
    lake = tmp_path / "lake"

    said = done("restate", "--session", str(SESSION), "--json", env=environment(exchange, lake))

    assert {"restatements": []} == json.loads(said)
    assert {} == files(lake)
