"""Recorded market data through the real client: every row that a world holds comes back, and equal."""

from collections import defaultdict

import pyarrow.parquet as pq
import pytest
from polygon import RESTClient

BAR_NAMES = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap", "n": "transactions"}


@pytest.mark.parametrize("name", ["spy-vix-2019-02", "spx-options-2021-01", "spy-options-2025-08-29"])
def test_every_recorded_row_comes_back_equal(start_simulator, worlds, name) -> None:
    folder = worlds / name
    simulator = start_simulator(folder)
    client = RESTClient(simulator.ready["key"], base=simulator.ready["rest"], retries=0)
    recorded = defaultdict(list)
    for row in pq.read_table(folder / "bars.parquet").to_pylist():
        recorded[row["ticker"], row["timespan"]].append(row)

    for (ticker, span), rows in recorded.items():
        served = list(client.list_aggs(ticker, 1, span, "2000-01-01", "2030-01-01", adjusted=False, limit=700))
        assert sorted(row["t"] for row in rows) == [bar.timestamp for bar in served]
        by_time = {row["t"]: row for row in rows}
        for bar in served:
            expected = {name: by_time[bar.timestamp][short] for short, name in BAR_NAMES.items()}
            assert expected == {name: getattr(bar, name) for name in BAR_NAMES.values()}
    _check_quotes(folder, simulator)
    _check_contracts(folder, simulator)


def _check_quotes(folder, simulator) -> None:
    path = folder / "quotes.parquet"
    if not path.exists():
        return
    recorded = defaultdict(list)
    for row in pq.read_table(path).to_pylist():
        recorded[row.pop("ticker")].append({name: value for name, value in row.items() if value is not None})
    for ticker, rows in recorded.items():
        assert rows == simulator.rows(f"/v3/quotes/{ticker}?order=asc&limit=150")


def _check_contracts(folder, simulator) -> None:
    path = folder / "contracts.parquet"
    if not path.exists():
        return
    rows = pq.read_table(path).to_pylist()
    assert sorted(rows, key=lambda row: row["ticker"]) == simulator.rows("/v3/reference/options/contracts?limit=1000")


def test_a_day_of_ticks_comes_back_equal_page_by_page(start_simulator, worlds) -> None:
    """700,000 trades: each page must be a slice, or this test is as slow as the square of them."""
    simulator = start_simulator(worlds / "spy-2013-10")
    table = pq.read_table(worlds / "spy-2013-10" / "trades.parquet")
    served = []
    for page in simulator.pages("/v3/trades/SPY?order=asc&limit=50000"):
        served += [(row["sip_timestamp"], row["price"], row["size"], row["id"]) for row in page["results"]]

    columns = (table[name].to_pylist() for name in ("sip_timestamp", "price", "size", "id"))
    assert list(zip(*columns, strict=True)) == served
