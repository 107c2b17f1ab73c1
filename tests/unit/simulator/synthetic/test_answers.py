"""Answers of the whole REST side over the synthetic market, without a socket: what the clock and the world decide."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from simulator import gate
from simulator.clock import SimulatedClock, parse_instant_ns
from simulator.faults.script import FaultScript
from simulator.gate import Request
from simulator.plans import RateLimiter, standard_accounts
from simulator.simulation import Simulation
from simulator.synthetic import SyntheticWorld, conditions, option_market
from simulator.synthetic.draws import stream

Ask = Callable[..., Any]
DAY = "2025-08-29"
PRICES = ("o", "h", "l", "c")


def asking(world: SyntheticWorld) -> Ask:
    """Gives the JSON of an address at a New York time, as a plan sees it; another status fails the test."""
    clock = SimulatedClock(parse_instant_ns(f"{DAY}T20:05"), 0.0, lambda: 0)
    simulation = Simulation(world, clock, standard_accounts(), RateLimiter(lambda: 0), 7, FaultScript())

    def asked(address: str, now: str = f"{DAY}T20:05", *, status: int = 200, plan: str = "advanced") -> Any:
        simulation.clock.move_to(parse_instant_ns(now))
        path, _, query = address.partition("?")
        request = Request("GET", path, query, "http://localhost", f"Bearer simulated-{plan}")
        answer, _ = gate.answer(simulation, request, "1")
        assert answer.status == status, answer.body
        return json.loads(answer.body)

    return asked


@pytest.fixture(scope="module")
def ask(world: SyntheticWorld) -> Ask:
    return asking(world)


def day_bar(ask: Ask, ticker: str, now: str) -> Mapping[str, Any]:
    (bar,) = ask(f"/v2/aggs/ticker/{ticker}/range/1/day/{DAY}/{DAY}", now)["results"]
    assert isinstance(bar, dict)
    return bar


@pytest.mark.parametrize(("ticker", "closed_at"), [("SPY", "16:01"), ("I:VIX", "16:15"), ("I:SPX", "16:00")])
def test_a_running_day_bar_has_the_prices_of_the_final_one_once_the_regular_session_is_over(
    ask: Ask, ticker: str, closed_at: str
) -> None:
    final = day_bar(ask, ticker, f"{DAY}T20:00")

    for now in (closed_at, "19:59:59"):
        running = day_bar(ask, ticker, f"{DAY}T{now}")
        assert [final[name] for name in PRICES] == [running[name] for name in PRICES]
        assert final["t"] == running["t"]


@pytest.mark.parametrize("ticker", ["SPY", "I:VIX", "I:SPX"])
def test_a_day_has_no_bar_before_its_regular_session(ask: Ask, ticker: str) -> None:
    assert "results" not in ask(f"/v2/aggs/ticker/{ticker}/range/1/day/{DAY}/{DAY}", f"{DAY}T09:30")
    assert ask(f"/v2/aggs/ticker/{ticker}/range/1/minute/{DAY}/{DAY}?limit=50000", f"{DAY}T10:00")["results"]


def test_a_running_day_bar_weighs_its_average_by_the_volume_of_every_minute(ask: Ask) -> None:
    now = f"{DAY}T18:00"
    minutes = ask(f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}?limit=50000", now)["results"]
    volume = sum(bar["v"] for bar in minutes)
    running = day_bar(ask, "SPY", now)

    assert sum(bar["v"] * bar["vw"] for bar in minutes) / volume == pytest.approx(running["vw"], rel=1e-12)
    assert (volume, sum(bar["n"] for bar in minutes)) == (running["v"], running["n"])


def test_grouped_bars_are_those_of_days_that_are_over(ask: Ask) -> None:
    grouped = f"/v2/aggs/grouped/locale/us/market/stocks/{DAY}"

    assert "results" not in ask(grouped, f"{DAY}T10:30")
    assert "results" not in ask(grouped, f"{DAY}T19:59:59")
    assert ask(grouped, f"{DAY}T20:00")["results"]


SHARES = ["AAPL", "IWM", "MSFT", "QQQ", "SPY"]


def test_every_share_and_index_is_listed_wherever_no_ticker_is_asked_for(ask: Ask) -> None:
    grouped = ask(f"/v2/aggs/grouped/locale/us/market/stocks/{DAY}")["results"]
    universal = ask("/v3/snapshot?limit=250")["results"]
    indices = ask("/v3/snapshot/indices")["results"]
    dividends = ask("/v3/reference/dividends?limit=1000&ex_dividend_date.gte=2024-08-30")["results"]

    assert SHARES == sorted(row["T"] for row in grouped)
    assert sorted(["I:SPX", "I:VIX", *SHARES]) == [row["ticker"] for row in universal]
    assert ["I:SPX", "I:VIX"] == [row["ticker"] for row in indices]
    assert SHARES == sorted({row["ticker"] for row in dividends})


def test_contracts_of_every_share_are_found_in_the_list_alone_and_in_a_snapshot(ask: Ask) -> None:
    listed = ask("/v3/reference/options/contracts?underlying_ticker.gte=Q&expiration_date=2025-09-19&limit=1000")
    assert {"QQQ", "SPY"} == {row["underlying_ticker"] for row in listed["results"]}

    for underlying in SHARES:
        (first,) = ask(
            f"/v3/reference/options/contracts?underlying_ticker={underlying}&expiration_date=2025-09-19&limit=1"
        )["results"]
        ticker = first["ticker"]
        assert first == ask(f"/v3/reference/options/contracts/{ticker}")["results"]
        snapshot = ask(f"/v3/snapshot/options/{underlying}/{ticker}")["results"]
        assert (ticker, underlying) == (snapshot["details"]["ticker"], snapshot["underlying_asset"]["ticker"])


def test_a_contract_has_no_snapshot_under_another_underlying(ask: Ask) -> None:
    ask("/v3/snapshot/options/SPY/O:SPY250919C00605000")
    refusal = ask("/v3/snapshot/options/AAPL/O:SPY250919C00605000", status=404)

    assert refusal["status"] == "NOT_FOUND"


@pytest.mark.parametrize(("ticker", "asset"), [("SPY", "stocks"), ("O:SPY250829C00606000", "options")])
def test_every_venue_and_condition_that_prints_is_listed(ask: Ask, ticker: str, asset: str) -> None:
    venues = {row["id"] for row in ask(f"/v3/reference/exchanges?asset_class={asset}")["results"]}
    conditions = {row["id"] for row in ask(f"/v3/reference/conditions?asset_class={asset}&limit=1000")["results"]}
    trades = ask(f"/v3/trades/{ticker}?timestamp={DAY}&limit=50000")["results"]
    quotes = ask(f"/v3/quotes/{ticker}?timestamp={DAY}&limit=50000")["results"]

    assert len({row["exchange"] for row in trades}) > 3
    assert {row["exchange"] for row in trades} <= venues
    assert {code for row in trades for code in row.get("conditions", [])} <= conditions
    assert {row[f"{side}_exchange"] for row in quotes for side in ("bid", "ask")} - {0} <= venues


NEAR = "O:SPY250919C00605000"


def instant_ns(wall: str) -> int:
    return parse_instant_ns(f"{DAY}T{wall}")


def test_a_day_in_a_snapshot_is_as_new_as_the_last_trade_or_the_last_minute(ask: Ask) -> None:
    contract = f"/v3/snapshot/options/SPY/{NEAR}"
    seen = ask(contract, f"{DAY}T12:00:30")["results"]
    delayed = ask(contract, f"{DAY}T12:15:30", plan="starter")["results"]
    (index,) = ask("/v3/snapshot/indices?ticker=I:VIX", f"{DAY}T12:00:30")["results"]

    assert seen["day"]["last_updated"] == seen["last_trade"]["sip_timestamp"]
    assert instant_ns("11:00") < seen["day"]["last_updated"] <= instant_ns("12:00:30")
    # That plan sees no trade: what it sees a quarter of an hour later is told by the bars of finished minutes.
    newest = ask(f"/v2/aggs/ticker/{NEAR}/range/1/minute/{DAY}/{DAY}", f"{DAY}T12:00:30")["results"][-1]["t"]
    assert delayed["day"]["last_updated"] == (newest + 60_000) * 1_000_000
    assert delayed["underlying_asset"]["last_updated"] == instant_ns("12:00")
    assert instant_ns("11:50") < index["last_updated"] <= instant_ns("12:00")


def test_the_value_of_an_index_is_as_old_as_its_close_when_the_day_is_over(ask: Ask) -> None:
    (index,) = ask("/v3/snapshot/indices?ticker=I:VIX", "2025-08-30T12:00")["results"]

    assert index["last_updated"] == instant_ns("16:15")


@pytest.mark.parametrize("now", ["2025-08-30T12:00", "2025-09-02T09:00"])
def test_last_trade_and_quote_of_a_contract_stay_through_nights_and_a_long_weekend(ask: Ask, now: str) -> None:
    friday = ask(f"/v3/snapshot/options/SPY/{NEAR}")["results"]
    later = ask(f"/v3/snapshot/options/SPY/{NEAR}", now)["results"]

    assert later["day"] == {}
    assert [friday[part] for part in ("last_trade", "last_quote", "break_even_price")] == [
        later[part] for part in ("last_trade", "last_quote", "break_even_price")
    ]


def test_a_contract_that_has_not_traded_today_shows_the_last_trade_of_the_session_before(ask: Ask) -> None:
    ticker = "O:SPY251219P00480000"
    at_the_open = ask(f"/v3/snapshot/options/SPY/{ticker}", "2025-08-29T09:30:01")["results"]
    before = ask(f"/v3/trades/{ticker}?timestamp=2025-08-28&limit=1", "2025-08-28T20:00")["results"]

    assert at_the_open["day"] == {}
    assert at_the_open["last_trade"]["sip_timestamp"] == before[0]["sip_timestamp"]


@pytest.mark.parametrize("query", ["ticker=ZZZ", "ticker.gt=ZZZ", "ticker.any_of=A,ZZZ", "ticker.lt=A"])
def test_news_of_what_no_article_names_is_searched_in_no_article(
    ask: Ask, world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    def searched(start_ms: int, end_ms: int) -> None:
        raise AssertionError(f"articles of {start_ms} to {end_ms} were made")

    monkeypatch.setattr(world, "news", searched)

    assert ask(f"/v2/reference/news?{query}")["results"] == []
    with pytest.raises(AssertionError):
        ask("/v2/reference/news?ticker=VOO&limit=1")


def test_articles_name_no_other_tickers_than_the_world_says(ask: Ask, world: SyntheticWorld) -> None:
    articles = ask("/v2/reference/news?limit=300")["results"]

    assert {ticker for article in articles for ticker in article["tickers"]} == set(world.news_tickers())


def test_a_quoted_contract_has_greeks_of_its_right_and_a_deep_one_has_none(ask: Ask) -> None:
    call, put = (ask(f"/v3/snapshot/options/SPY/O:SPY250919{right}00605000")["results"] for right in "CP")
    (deep,) = ask("/v3/snapshot/options/SPY?expiration_date=2025-09-02&contract_type=call&order=asc&limit=1")["results"]

    assert 0.05 < call["implied_volatility"] < 0.6
    assert call["implied_volatility"] == put["implied_volatility"]
    assert call["greeks"]["delta"] - put["greeks"]["delta"] == pytest.approx(1.0)
    assert {"delta", "gamma", "theta", "vega"} == set(call["greeks"])
    assert call["greeks"]["theta"] < 0 < call["greeks"]["gamma"]
    assert not {"greeks", "implied_volatility"} & set(deep)


def test_open_interest_is_that_of_the_session_before_and_none_on_the_first(ask: Ask) -> None:
    address = "/v3/snapshot/options/SPY/O:SPY250919C00605000"
    told = [
        ask(address, now)["results"]["open_interest"]
        for now in ("2025-08-28T20:05", "2025-08-29T09:00", "2025-08-29T20:05", "2025-09-02T09:00")
    ]
    daily = "/v3/reference/options/contracts?underlying_ticker=SPY&expiration_date=2025-09-11&limit=1"
    (listed,) = ask(daily, "2025-08-28T10:00")["results"]
    first = ask(f"/v3/snapshot/options/SPY/{listed['ticker']}", "2025-08-28T20:05")["results"]

    assert told[0] < told[1] == told[2] < told[3]
    assert first["open_interest"] == 0


def test_a_snapshot_page_prices_each_contract_once_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, bars and trades of a contract come from the same draws, and a page asks for all of them."""
    drawn: list[tuple[str | int, ...]] = []

    def counted(seed: int, what: str, *parts: str | int) -> np.random.Generator:
        drawn.append((what, *parts))
        return stream(seed, what, *parts)

    monkeypatch.setattr(option_market, "stream", counted)

    assert len(asking(SyntheticWorld())("/v3/snapshot/options/SPY?limit=40", f"{DAY}T12:00")["results"]) == 40
    made = [key for key in drawn if key[0] == "option-trades"]
    assert len(made) == len(set(made)) >= 40


def test_the_trades_that_the_market_makes_obey_the_rules_of_the_listed_conditions(ask: Ask) -> None:
    rows = ask("/v3/reference/conditions?asset_class=stocks&data_type=trade&limit=1000")["results"]
    rules = {row["id"]: row["update_rules"]["consolidated"] for row in rows if "update_rules" in row}
    updates = {
        "updates_high_low": conditions.MAKES_EXTREMES,
        "updates_open_close": conditions.MAKES_EDGES,
        "updates_volume": conditions.MAKES_VOLUME,
    }

    for kind, codes in conditions.CODES.items():
        # Form T outside regular hours is no obstacle to a price, or those hours would have no bars.
        judged = set(codes or ()) - ({12} if kind is not conditions.Kind.LATE_FORM_T else set())
        for update, makes in updates.items():
            assert makes[kind] == all(rules[code][update] for code in judged if code in rules), (kind, update)
