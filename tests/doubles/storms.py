"""A short session of three feeds, and the faults that a storm of a seed brings over it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

SESSION = date(2024, 3, 11)
NEW_YORK = ZoneInfo("America/New_York")
BEGIN_S = int(datetime(2024, 3, 11, 9, 30, tzinfo=NEW_YORK).timestamp())
LENGTH_S = 480
CALL, PUT = "O:SPY240315C00500000", "O:SPY240315P00500000"
FEEDS = {
    "stocks": ["A.SPY", "AM.SPY", "T.SPY"],
    "options": [f"{topic}.{ticker}" for topic in ("AM", "Q", "T") for ticker in (CALL, PUT)],
    "indices": ["AM.I:VIX", "V.I:VIX"],
}
TABLES = "stock_bars,stock_trades,index_bars,option_bars,option_trades,option_quotes"
TICKERS = f"SPY,I:VIX,{CALL},{PUT}"


def write_world(folder: Path) -> Path:
    """Eight minutes in which something happens every second."""
    folder.mkdir(parents=True)
    (folder / "world.json").write_text(json.dumps({"underlying": "SPY", "sessions": [str(SESSION)]}))
    tables = {"bars": list(_bars()), "trades": list(_trades()), "quotes": list(_quotes()), "index_values": _values()}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def _bars() -> Iterator[dict[str, Any]]:
    for ticker in ("SPY", "I:VIX", CALL, PUT):
        for timespan, width in (("minute", 60), ("second", 1)):
            if width == 1 and ticker != "SPY":
                continue
            for second in range(0, LENGTH_S, width):
                price = 500 + second % 97 / 64
                own = (
                    {"v": 100.0 + second, "vw": price, "n": 3} if ticker != "I:VIX" else dict.fromkeys(("v", "vw", "n"))
                )
                yield {
                    "ticker": ticker, "timespan": timespan, "t": (BEGIN_S + second) * 1_000,
                    "o": price, "h": price + 0.5, "l": price - 0.5, "c": price + 0.25, **own,
                }  # fmt: skip


def _trades() -> Iterator[dict[str, Any]]:
    for number in range(LENGTH_S * 3):
        stamp = BEGIN_S * 1_000_000_000 + number * 333_000_001
        yield {
            "ticker": "SPY", "sip_timestamp": stamp, "participant_timestamp": stamp - 1_000, "price": 500.25,
            "size": 1.0 + number, "exchange": 11, "id": f"t{number}", "sequence_number": number + 1, "tape": 2,
        }  # fmt: skip
        if number % 5 == 0:
            yield {
                "ticker": CALL if number % 10 else PUT, "sip_timestamp": stamp, "participant_timestamp": stamp,
                "price": 3.5, "size": 1.0 + number, "exchange": 302, "id": "", "sequence_number": number + 1,
            }  # fmt: skip


def _quotes() -> Iterator[dict[str, Any]]:
    for number in range(LENGTH_S * 2):
        yield {
            "ticker": CALL if number % 2 else PUT, "sip_timestamp": BEGIN_S * 1_000_000_000 + number * 500_000_003,
            "bid_price": 3.0, "bid_size": 5.0, "bid_exchange": 302, "ask_price": 3.25, "ask_size": 1.0 + number,
            "ask_exchange": 302, "sequence_number": number + 1,
        }  # fmt: skip


def _values() -> list[dict[str, Any]]:
    return [
        {"ticker": "I:VIX", "timestamp": (BEGIN_S + second) * 1_000_000_000 + 5_000_000, "value": 15 + second / 64}
        for second in range(LENGTH_S)
    ]


@dataclass(frozen=True)
class Storm:
    """The faults of a seed: rules for the exchange, and who is killed at which session second."""

    seed: int
    rules: tuple[dict[str, Any], ...]
    kills: tuple[tuple[int, str, str], ...]  # session second, "recorder" or "flow", feed

    @property
    def count(self) -> int:
        return len(self.rules) + len(self.kills)


# What may strike at any time, and what waits for a further connection; by weight.
_AT_A_TIME: tuple[dict[str, Any], ...] = (
    {"action": "close"},
    {"action": "close", "code": 1011},
    {"action": "abort"},
    {"action": "abort_in_frame"},
    {"action": "silence"},
    {"action": "stall", "session_s": 20},
    {"action": "stall"},
    {"action": "slow_consumer"},
    {"action": "slow_consumer", "tells": False},
    {"action": "malformed"},
    {"action": "duplicate", "frames": 3},
    {"action": "disorder"},
    {"action": "postpone"},
    {"action": "null_fields", "fields": ["p", "val", "c"]},
    {"action": "unknown_ev"},
    {"action": "without_ev"},
)
_GONE = [{"action": "abort"}, {"action": "refuse_tcp", "wall_s": 0.6}]
_AT_A_CONNECTION: tuple[tuple[str, dict[str, Any]], ...] = (
    ("accepted", {"action": "silence"}),
    ("accepted", {"action": "http_status", "code": 503}),
    ("connected", {"action": "silence"}),
    ("connected", {"action": "abort"}),
    ("authenticated", {"action": "silence"}),
    ("authenticated", {"action": "abort"}),
    ("authenticated", {"action": "drop_acks"}),
    ("authenticated", {"action": "drop_acks", "of": ["AM.SPY", "V.I:VIX", f"Q.{CALL}"]}),
    ("subscribed", {"action": "silence"}),
    ("subscribed", {"action": "abort"}),
    ("connected", {"action": "auth_failed"}),
    ("subscribed", {"action": "max_connections"}),
)
_TURNS_AWAY = {"auth_failed", "max_connections"}
_MOST_TURNED_AWAY = 2  # of one feed: the recorder gives up at the third


def storm_of(seed: int) -> Storm:
    """One to fifty faults over the three feeds."""
    chance = Random(seed)
    rules: list[dict[str, Any]] = []
    kills: list[tuple[int, str, str]] = []
    turned_away = dict.fromkeys(FEEDS, 0)
    for number in range(chance.randint(1, 50)):
        market = chance.choice(list(FEEDS))
        second = chance.randint(5, LENGTH_S - 30)
        at = datetime.fromtimestamp(BEGIN_S + second, NEW_YORK).isoformat()
        name = f"{seed}-{number}"
        kind = chance.random()
        if kind < 0.06:
            kills.append((second, chance.choice(["recorder", "flow"]), market))
        elif kind < 0.12:
            rules.append({"name": name, "stream": {"market": market}, "when": {"at": at}, "do": _GONE})
        elif kind < 0.45:
            stage, do = chance.choice(_AT_A_CONNECTION)
            if do["action"] in _TURNS_AWAY:
                if turned_away[market] == _MOST_TURNED_AWAY:
                    continue
                turned_away[market] += 1
            when = {"stage": stage}
            # The first of a feed strikes its first connection; a later one may wait for a connection that never comes.
            known = sum(rule["stream"]["market"] == market for rule in rules)
            which = {"market": market, "connection": chance.randint(1, 1 + min(known, 7))}
            rules.append({"name": name, "stream": which, "when": when, "do": do})
        else:
            rules.append(
                {"name": name, "stream": {"market": market}, "when": {"at": at}, "do": chance.choice(_AT_A_TIME)}
            )
    return Storm(seed, tuple(rules), tuple(sorted(kills)))
