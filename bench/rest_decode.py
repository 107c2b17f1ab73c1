"""A page of 50,000 minute bars to typed columns, on one core."""

import json
from datetime import date

import numpy as np

from bench.baselines.rest_decode import frame_of
from bench.harness import Comparison, compare
from marketlake.asks import bars_ask
from marketlake.tables import TABLES, Span
from marketlake.wire import parse

GOAL = 20.0
ROWS = 50_000


def body_of(rows: int) -> bytes:
    draw = np.random.default_rng(7)
    close = np.round(500 + draw.normal(0, 0.1, rows).cumsum(), 2)
    spread = np.round(draw.uniform(0.01, 0.5, rows), 2)
    results = [
        {"v": float(volume), "vw": round(float(price) + 0.0012, 4), "o": float(price), "c": float(price),
         "h": round(float(price + gap), 2), "l": round(float(price - gap), 2), "t": 1_704_067_200_000 + 60_000 * place,
         "n": int(volume) // 90 + 1}
        for place, (price, gap, volume) in enumerate(zip(close, spread, draw.integers(100, 900_000, rows), strict=True))
    ]  # fmt: skip
    envelope = {"ticker": "SPY", "queryCount": rows, "resultsCount": rows, "adjusted": False, "results": results}
    return json.dumps({**envelope, "status": "OK", "request_id": "0", "count": rows}, separators=(",", ":")).encode()


def run() -> Comparison:
    body = body_of(ROWS)
    ask = bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, date(2024, 1, 2), date(2024, 2, 5), ROWS)
    ours, peer = parse(ask, body).rows, frame_of(body)
    expected = {name: peer[name] for name in ("open", "high", "low", "close", "volume", "vwap")}
    expected |= {"start": peer["timestamp"] * 1_000_000, "trades": peer["transactions"]}
    for name in set(ours.column_names) - {"ticker", "span"}:
        found = ours[name].cast("int64") if name == "start" else ours[name]
        assert np.array_equal(found.to_numpy(), expected[name].to_numpy()), name
    assert ours.select(["ticker", "span"]).to_pylist() == [{"ticker": "SPY", "span": "minute"}] * ROWS
    return compare(lambda: parse(ask, body), lambda: frame_of(body), GOAL)
