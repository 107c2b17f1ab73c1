"""The evening's watch: a session that looks as those before says nothing, one that does not says it once."""

import json
from pathlib import Path

from simulation import Simulation, marketlake, simulated
from slack_api import SlackApiDouble

SESSION = "2025-08-29"
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(["stock_bars", "index_bars"]),
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": json.dumps(["minute"]),
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
MINUTES = {"path": f"/v2/aggs/ticker/SPY/range/1/minute/{SESSION}/*"}


def watched(exchange: Simulation, slack: SlackApiDouble, lake: Path) -> list[dict[str, str]]:
    env = environment(exchange, lake) | {
        "SLACK_BOT_TOKEN": slack.token,
        "MARKETLAKE__SLACK__CHANNEL": "C0123456789",
        "MARKETLAKE__SLACK__API_URL": slack.url,
    }
    done = marketlake("watch-schema", "--session", SESSION, "--json", env=env)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def environment(exchange: Simulation, lake: Path) -> dict[str, str]:
    return exchange.environment(lake, **SETTINGS, XDG_STATE_HOME=str(lake.parent / "state"))


def test_what_is_not_as_it_was_is_told_once(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with simulated("synthetic", tmp_path, "--session", SESSION) as exchange, SlackApiDouble() as slack:
        for days in (("--start", "2025-08-25", "--end", "2025-08-28"), ("--start", SESSION)):
            done = marketlake("backfill", *days, env=environment(exchange, lake))
            assert done.returncode == 0, done.stderr
        assert [] == watched(exchange, slack, lake)
        assert [] == slack.messages

        exchange.misbehave(
            {"match": MINUTES, "do": {"action": "set_field", "field": "auction", "value": 7}},
            {"match": MINUTES, "do": {"action": "set_field", "field": "v", "value": 1e12}},
        )
        done = marketlake("backfill", "--start", SESSION, "--refresh", env=environment(exchange, lake))
        assert done.returncode == 0, done.stderr
        slack.faults = [(400, {}, "no")]
        found = watched(exchange, slack, lake)
        assert [] == slack.messages, "Slack did not take it"
        again = watched(exchange, slack, lake)
        exchange.misbehave()
        done = marketlake("backfill", "--start", SESSION, "--refresh", env=environment(exchange, lake))
        assert done.returncode == 0, done.stderr
        assert [] == watched(exchange, slack, lake)

    assert {f"stock_bars SPY {SESSION}"} == {item["partition"] for item in found}
    whats = [item["what"] for item in found]
    assert "field of the vendor is new: auction" in whats
    assert {"volume.minimum", "volume.median", "volume.maximum"} <= {what.split()[0] for what in whats}
    assert found == again
    (message,) = slack.messages
    assert f"{len(found)} things are not as they were" in str(message["text"])
    assert "auction" in str(message["text"])
