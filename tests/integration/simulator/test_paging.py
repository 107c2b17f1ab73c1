"""Paging on the wire: whatever the page size, the rows are the same; only next_url says that there is more."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from massive import RESTClient as MassiveClient
from polygon import RESTClient as PolygonClient

BARS = "/v2/aggs/ticker/{}/range/{}/{}/2024-01-01/2024-03-11?sort={}"
LISTS = {
    "minute bars": BARS.format("SPY", 1, "minute", "asc"),
    "minute bars, newest first": BARS.format("SPY", 1, "minute", "desc"),
    "index minute bars": BARS.format("I:VIX", 1, "minute", "asc"),
    "option minute bars": BARS.format("O:SPY240311C00500000", 1, "minute", "asc"),
    "second bars": BARS.format("SPY", 1, "second", "asc"),
    "ten-second bars": BARS.format("SPY", 10, "second", "asc"),
    "seven-minute bars": BARS.format("SPY", 7, "minute", "asc"),
    "hour bars": BARS.format("SPY", 1, "hour", "asc"),
    "hour bars, newest first": BARS.format("SPY", 1, "hour", "desc"),
    "two-hour bars": BARS.format("SPY", 2, "hour", "asc"),
    "day bars": BARS.format("SPY", 1, "day", "asc"),
    "index day bars": BARS.format("I:VIX", 1, "day", "desc"),
    "three-day bars": BARS.format("SPY", 3, "day", "asc"),
    "week bars": BARS.format("SPY", 1, "week", "asc"),
    "month bars": BARS.format("SPY", 1, "month", "desc"),
    "quarter bars": BARS.format("SPY", 1, "quarter", "asc"),
    "year bars": BARS.format("SPY", 1, "year", "asc"),
    "trades": "/v3/trades/SPY?order=asc",
    "trades, newest first": "/v3/trades/SPY?order=desc",
    "trades of a day": "/v3/trades/SPY?timestamp=2024-03-11&order=asc",
    "option trades": "/v3/trades/O:SPY240311C00500000?order=desc",
    "quotes": "/v3/quotes/SPY?order=asc",
    "quotes, newest first": "/v3/quotes/SPY?timestamp.gte=2024-03-11",
    "contracts": "/v3/reference/options/contracts?underlying_ticker=SPY",
    "contracts by strike": "/v3/reference/options/contracts?underlying_ticker=SPY&sort=strike_price&order=desc",
    "expired contracts": "/v3/reference/options/contracts?underlying_ticker=SPY&expired=true",
    "chain snapshot": "/v3/snapshot/options/SPY?order=asc",
    "universal snapshot": "/v3/snapshot?ticker.any_of=SPY,AAA,I:VIX,XX,O:SPY240311C00500000,O:SPY240315C00500000",
    "indices snapshot": "/v3/snapshot/indices?ticker.any_of=I:VIX,I:SPX,I:NDX",
    "news": "/v2/reference/news?order=asc",
    "news of a ticker, newest first": "/v2/reference/news?ticker=SPY",
    "dividends": "/v3/reference/dividends?order=desc",
    "dividends of a ticker": "/v3/reference/dividends?ticker=SPY",
    "dividends, newer form": "/stocks/v1/dividends?sort=ex_dividend_date.desc",
    "splits": "/v3/reference/splits?order=asc",
    "splits, newer form": "/stocks/v1/splits?sort=ticker.asc",
    "conditions": "/v3/reference/conditions?sort=id",
    "treasury yields": "/fed/v1/treasury-yields?order=desc",
}


@pytest.mark.parametrize("path", LISTS.values(), ids=LISTS.keys())
def test_rows_are_the_same_for_every_page_size(sim, path) -> None:
    at_once = sim.rows(f"{path}&limit=50000")

    assert len(at_once) > 1 or "year" in path or "quarter" in path
    for limit in (1, 7, 5000):
        assert at_once == sim.rows(f"{path}&limit={limit}")


@pytest.mark.parametrize("path", LISTS.values(), ids=LISTS.keys())
def test_a_page_that_is_full_and_the_last_has_no_next_url(sim, path) -> None:
    pages = sim.pages(f"{path}&limit=3")

    assert all(page["results"] for page in pages)
    assert ["next_url" in page for page in pages] == [True] * (len(pages) - 1) + [False]


@pytest.mark.parametrize("library", [PolygonClient, MassiveClient])
def test_the_official_clients_read_all_pages(sim, library) -> None:
    client = library(sim.ready["key"], base=sim.ready["rest"], retries=0)

    bars = list(client.list_aggs("SPY", 1, "minute", "2024-03-08", "2024-03-11", limit=50))
    trades = list(client.list_trades("SPY", timestamp="2024-03-11", limit=7, order="asc"))
    contracts = list(client.list_options_contracts("SPY", limit=5))
    articles = list(client.list_ticker_news("SPY", limit=4, order="asc"))
    chain = list(client.list_snapshot_options_chain("SPY"))
    yields = list(client.list_treasury_yields(limit=9))

    assert [row["t"] for row in sim.rows(BARS.format("SPY", 1, "minute", "asc"))] == [bar.timestamp for bar in bars]
    assert [f"t{place}" for place in range(60)] == [trade.id for trade in trades]
    assert 16 == len(contracts) == len(chain)
    assert [f"a{place:02d}" for place in range(14)] == [article.id for article in articles]
    assert 29 == len(yields)


def test_the_cursor_of_bars_is_unpadded_base64_of_the_sorted_query_and_from_is_rewritten(sim) -> None:
    url = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11?sort=asc&limit=2&adjusted=true"
    first = sim.get(url).json()
    path, cursor = _split(first["next_url"])

    assert "adjusted=true&limit=2&sort=asc" == _decoded(cursor)
    assert f"/v2/aggs/ticker/SPY/range/1/minute/{first['results'][-1]['t'] + 60_000}/2024-03-11" == path


def test_a_descending_walk_over_bars_rewrites_to(sim) -> None:
    first = sim.get("/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11?sort=desc&limit=2").json()
    path, _ = _split(first["next_url"])

    assert f"/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/{first['results'][-1]['t'] - 1}" == path


def test_the_cursor_of_trades_tells_times_with_nanoseconds_and_keeps_the_path(sim) -> None:
    first = sim.get("/v3/trades/SPY?timestamp=2024-03-11&order=asc&limit=6").json()
    path, cursor = _split(first["next_url"])
    decoded = parse_qs(_decoded(cursor), keep_blank_values=True)

    assert "/v3/trades/SPY" == path
    assert ["ap", "as", "limit", "order", "sort", "timestamp.gte", "timestamp.lte"] == list(decoded)
    assert ["2024-03-11T13:30:30.000000001Z"] == decoded["timestamp.gte"]


def test_next_url_stands_on_the_host_that_was_called_and_holds_no_key(sim) -> None:
    url = f"/v3/trades/SPY?limit=2&apiKey={sim.ready['key']}"
    answer = sim.get(url, Host="simulated.example:443")

    next_url = answer.json()["next_url"]
    assert next_url.startswith("http://simulated.example:443/v3/trades/SPY?cursor=")
    assert sim.ready["key"] not in _decoded(_split(next_url)[1])
    assert f'<{next_url}>; rel="next"' == answer.headers["Link"]
    assert "2" == answer.headers["X-Item-Count"]


def test_limit_counts_base_bars_and_a_page_holds_whole_windows_only(sim) -> None:
    first, second, *_ = sim.pages("/v2/aggs/ticker/SPY/range/1/hour/2024-03-11/2024-03-11?limit=60")

    # 08:30 to 09:00 has 26 minutes with bars, the clock hour of 09:00 another 51: only the first fits into 60.
    assert [1710160200000 - 1800000] == [bar["t"] for bar in first["results"]]
    assert 26 == first["queryCount"]
    assert [1710162000000] == [bar["t"] for bar in second["results"]]


def test_a_limit_above_the_maximum_is_clamped_or_refused_as_the_simulator_is_set(sim) -> None:
    path = "/v3/snapshot/options/SPY?limit=251"

    assert 200 == sim.get(path).status
    sim.control("POST", "/switches", {"over_limit": "refuse"})
    assert 400 == sim.get(path).status


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.path, parse_qs(parts.query)["cursor"][0]


def _decoded(cursor: str) -> str:
    assert "=" not in cursor
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
