"""News while a session runs: each article once, with its last insights, whatever the vendor and the machine do."""

import hashlib
import json
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from live_feeds import told
from simulation import Simulation, marketlake, simulated, started

from marketlake.content_hash import content_hash
from marketlake.ledger import decode, encode
from marketlake.table_files import to_parquet

SESSION = date(2025, 8, 29)
PATIENCE_S = 120
PARTITION = f"raw/news/underlying=SPY/session={SESSION}/data.parquet"
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(["news"]),
    "MARKETLAKE__STREAM__CLOCK": "vendor",
    "MARKETLAKE__RETRY__REST__ATTEMPTS": "2",
    "MARKETLAKE__RETRY__REST__FIRST_WAIT_S": "0.05",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
NEWS = {"path": "/v2/reference/news"}


def at(clock: str) -> str:
    return f"{SESSION}T{clock}:00"


FAULTS: list[dict[str, Any]] = [
    # Published in the night, and not to be had before half past eleven.
    {"match": NEWS, "when": {"before": at("11:30")}, "do": {"action": "remove_rows", "places": [3], "counts": "agree"}},
    # Without insights until noon.
    {"match": NEWS, "when": {"before": at("12:00")}, "do": {"action": "set_field", "field": "insights", "places": [1]}},
    {"match": NEWS, "when": {"after": at("13:00"), "before": at("14:00")}, "do": {"action": "status", "code": 503}},
    {
        "match": NEWS,
        "when": {"after": at("14:30"), "before": at("15:00")},
        "do": {"action": "duplicate_rows", "count": 5, "counts": "agree"},
    },
    # Taken back, and given again half an hour later.
    {
        "match": NEWS,
        "when": {"after": at("15:00"), "before": at("15:30")},
        "do": {"action": "remove_rows", "places": [2], "counts": "agree"},
    },
    # Pages that lead nowhere, though each of them is an answer.
    {
        "match": NEWS,
        "when": {"after": at("15:30"), "before": at("16:00")},
        "do": {"action": "next_url", "to": "self"},
    },
]


def rows_of(lake: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(lake / PARTITION, partitioning=None).to_pylist()
    return rows


def sounds(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[object, ...]]:
    told_of = ("sentiment", "sentiment_source", "sentiment_reasoning", "sentiment_compound")
    return {(row["id"], row["ticker"]): tuple(row[name] for name in told_of) for row in rows}


def pass_by(exchange: Simulation, clock: str) -> None:
    """Wait until the session's clock shows a time."""
    deadline = time.monotonic() + PATIENCE_S
    while str(told(exchange, "/clock", {})["clock"]) < at(clock):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_article_is_there_once_with_its_last_insights_and_none_is_missed(tmp_path: Path) -> None:
    lake, oracle = tmp_path / "lake", tmp_path / "oracle"
    with simulated("synthetic", tmp_path, "--session", str(SESSION)) as exchange:
        env = exchange.environment(lake, **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state"))
        exchange.misbehave(*FAULTS)
        told(exchange, "/clock", {"pause": True, "set": at("09:25")})
        polling = ("poll-news", "--session", str(SESSION), "--json")
        first = started(*polling, env=env, folder=tmp_path)
        deadline = time.monotonic() + PATIENCE_S
        while not (lake / PARTITION).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        in_the_morning = rows_of(lake)
        told(exchange, "/clock", {"speed": 600})
        pass_by(exchange, "10:30")
        first.kill()
        first.join(PATIENCE_S)
        second = started(*polling, env=env, folder=tmp_path)
        second.join(PATIENCE_S)
        stderr = (tmp_path / "stderr").read_text()
        assert second.exitcode == 0, stderr
        report = json.loads((tmp_path / "stdout").read_text())
        polled = rows_of(lake)
        exchange.misbehave()
        told(exchange, "/clock", {"pause": True, "set": "2025-08-30T01:00:00"})
        own = exchange.environment(oracle, **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state"))
        for command, of in (("heal", env), ("backfill", own)):
            done = marketlake(command, "--start", str(SESSION), env=of)
            assert done.returncode == 0, done.stderr

    final = rows_of(oracle)
    by_the_close = {key: source for key, source in sounds(final).items() if key in sounds(polled)}
    assert len(polled) == len(sounds(polled)), "each once"
    assert by_the_close == sounds(polled), "with their last insights"
    late = [row for row in final if f"{row['published']:%H:%M}" > "20:05"]
    assert set(sounds(final)) - set(sounds(polled)) == set(sounds(late)), "and none is missed but of the evening"
    assert set(sounds(in_the_morning)) < set(sounds(polled))
    assert sounds(in_the_morning) != {key: sounds(polled)[key] for key in sounds(in_the_morning)}
    assert report["missed"] > 0
    assert report["added"] > 0
    assert report["withdrawn"] > 0
    assert "has taken back news of SPY" in stderr
    assert "Nothing of this answer was used" in stderr
    assert (lake / PARTITION).read_bytes() == (oracle / PARTITION).read_bytes()


def test_news_that_an_older_release_stored_are_replaced_by_a_refresh(tmp_path: Path) -> None:
    with simulated("synthetic", tmp_path, "--session", str(SESSION)) as exchange:
        env = exchange.environment(tmp_path / "lake", **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state"))
        filling = ("backfill", "--tables", "news", "--start", str(SESSION))
        assert marketlake(*filling, env=env).returncode == 0
        now = rows_of(tmp_path / "lake")
        forget_columns(tmp_path / "lake", "sentiment_source", "sentiment_compound")

        done = marketlake(*filling, "--refresh", env=env)

    assert done.returncode == 0, done.stderr
    assert now == rows_of(tmp_path / "lake")


def forget_columns(lake: Path, *names: str) -> None:
    """Make a partition and its record what a release without these columns left."""
    path, of_ledger = (
        lake / PARTITION,
        lake / PARTITION.replace("raw", "ledger/raw").replace("data.parquet", "record.json"),
    )
    rows = pq.read_table(path, partitioning=None).drop_columns(list(names))
    path.write_bytes(to_parquet(rows))
    record = decode(of_ledger.read_bytes())
    hashed = hashlib.sha256(path.read_bytes()).hexdigest()
    of_ledger.write_bytes(
        encode(replace(record, content_hash=content_hash(rows), file_hash=hashed, file_bytes=path.stat().st_size))
    )
