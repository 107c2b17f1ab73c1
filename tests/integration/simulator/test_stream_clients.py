"""The vendor's own clients read the stream, unmodified: the two Python ones, and the JavaScript one where node is."""

import asyncio
import importlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

JAVASCRIPT_CLIENT = "@polygon.io/client-js@8.2.0"
READ_WITH_JAVASCRIPT = """
import { websocketClient } from "@polygon.io/client-js";
const [url, key, ...pairs] = process.argv.slice(2);
const socket = websocketClient(key, url).stocks();
const seen = [];
socket.onerror = (error) => { console.error(error.message); process.exit(1); };
socket.onmessage = ({ data }) => {
  for (const event of JSON.parse(data)) {
    if (event.ev === "status") {
      const wanted = JSON.stringify({ action: "subscribe", params: pairs.join(",") });
      if (event.status === "auth_success") socket.send(wanted);
      if (event.message === "subscribed to: " + pairs[pairs.length - 1]) console.log("ready");
    } else {
      seen.push(event);
      if (seen.length === 200) { console.log(JSON.stringify(seen)); process.exit(0); }
    }
  }
};
"""


@pytest.mark.parametrize("package", ["polygon", "massive"])
@pytest.mark.parametrize(
    ("feed_name", "pairs", "kinds"),
    [
        ("stocks", ["T.SPY", "Q.SPY", "A.SPY", "AM.SPY"], {"EquityTrade", "EquityQuote", "EquityAgg"}),
        ("options", ["T.O:SPY250829C00605000", "AM.O:SPY250829C00605000"], {"EquityTrade", "EquityAgg"}),
        ("indices", ["V.I:VIX", "AM.I:VIX"], {"IndexValue", "EquityAgg"}),
    ],
)
def test_the_vendors_python_client_reads_parsed_messages(market, package, feed_name, pairs, kinds) -> None:
    library = pytest.importorskip(f"{package}.websocket")
    client = library.WebSocketClient(
        market.ready["key"],
        feed=urlsplit(market.ready["ws"]).netloc,
        market=feed_name,
        secure=False,
        subscriptions=pairs,
        max_reconnects=0,
    )
    messages: list[object] = []

    class EnoughError(Exception):
        """The handler's own, which leaves connect(): close() waits behind the frames that are still unread."""

    async def keep(batch: list[object]) -> None:
        messages.extend(batch)
        if kinds <= {type(message).__name__ for message in messages} and len(messages) > 20:
            raise EnoughError

    async def run() -> None:
        reading = asyncio.create_task(client.connect(keep, proxy=None))
        while not _is_subscribed(market, len(pairs)):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(market.control, "POST", "/clock", {"speed": 1000})
        try:
            await asyncio.wait_for(reading, 20)
        finally:
            client.websocket.transport.abort()
            await client.websocket.wait_closed()

    with pytest.raises(EnoughError):
        asyncio.run(run())

    assert kinds <= {type(message).__name__ for message in messages}
    for message in messages:
        assert {"EquityTrade": "T", "EquityQuote": "Q", "EquityAgg": "A", "IndexValue": "V"}[
            type(message).__name__
        ] == message.event_type[0]
        ticker = message.ticker if type(message).__name__ == "IndexValue" else message.symbol
        assert ticker in {pair.partition(".")[2] for pair in pairs}
        given = {
            "EquityTrade": ("price", "size", "timestamp", "exchange"),
            "EquityQuote": ("bid_price", "ask_price", "bid_size", "ask_size", "timestamp"),
            "EquityAgg": ("open", "high", "low", "close", "start_timestamp", "end_timestamp"),
            "IndexValue": ("value", "timestamp"),
        }[type(message).__name__]
        assert None not in [getattr(message, name) for name in given]
    market.control("POST", "/clock", {"pause": True})
    trades = {_of_message(message) for message in messages if type(message).__name__ == "EquityTrade"}
    assert trades <= _trades_by_rest(market, pairs[0].partition(".")[2], trades)


def _trades_by_rest(market, ticker: str, like: set[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """What REST has of a ticker within the time of streamed trades."""
    if not like:
        return set()
    first_ms, last_ms = min(like)[0], max(like)[0]
    asked = f"timestamp.gte={first_ms}000000&timestamp.lt={last_ms + 1}000000"
    return {_of_row(row) for row in market.rows(f"/v3/trades/{ticker}?limit=50000&{asked}")}


def _of_message(trade: Any) -> tuple[Any, ...]:
    return (trade.timestamp, trade.exchange, trade.price, trade.size, trade.sequence_number)


def _of_row(row: dict[str, Any]) -> tuple[Any, ...]:
    sip_ms = row["sip_timestamp"] // 10**6
    return (sip_ms, row["exchange"], row["price"], row["size"], row["sequence_number"])


def _is_subscribed(market, count: int) -> bool:
    connections = market.control("GET", "/stream")["connections"]
    return bool(connections) and len(connections[0]["subscriptions"]) == count


@pytest.mark.parametrize("package", ["polygon", "massive"])
def test_the_vendors_python_client_raises_its_error_for_a_refused_key(market, package) -> None:
    library = pytest.importorskip(f"{package}.websocket")
    errors = importlib.import_module(f"{package}.exceptions")
    client = library.WebSocketClient(
        "nonsense", feed=urlsplit(market.ready["ws"]).netloc, secure=False, subscriptions=["T.SPY"]
    )

    async def ignore(_: list[object]) -> None: ...

    with pytest.raises(errors.AuthError, match="authentication failed"):
        asyncio.run(asyncio.wait_for(client.connect(ignore, proxy=None), 10))


@pytest.fixture(scope="session")
def javascript_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vendor's JavaScript client installed from the package registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not here")
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", JAVASCRIPT_CLIENT]
    try:
        installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package registry does not answer in time")
    if installed.returncode:
        pytest.skip(f"the package registry does not give {JAVASCRIPT_CLIENT}: {installed.stderr.strip()[-200:]}")
    (folder / "read.mjs").write_text(READ_WITH_JAVASCRIPT)
    return folder


def test_the_vendors_javascript_client_reads_the_stream(market, javascript_client) -> None:
    command = ["node", "read.mjs", market.ready["ws"], market.ready["key"], "T.SPY", "Q.SPY"]
    with subprocess.Popen(command, cwd=javascript_client, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "ready" == process.stdout.readline().strip()
            market.control("POST", "/clock", {"speed": 100})
            events = json.loads(process.stdout.readline())
        finally:
            process.kill()

    assert 200 == len(events)
    assert {"T", "Q"} == {event["ev"] for event in events}
    assert {"SPY"} == {event["sym"] for event in events}
    market.control("POST", "/clock", {"pause": True})
    trades = {tuple(event[key] for key in "txpsq") for event in events if event["ev"] == "T"}
    assert trades
    assert trades <= _trades_by_rest(market, "SPY", trades)
