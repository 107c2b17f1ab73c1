"""The clock on the wire: nothing with a time after the simulated now is served anywhere."""

import pytest

DAY_START = 1710129600000  # 2024-03-11T04:00Z, midnight in New York
OPEN = 1710163800000  # 09:30
MINUTES = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-12?limit=50000"
DAYS = "/v2/aggs/ticker/SPY/range/1/day/2024-03-08/2024-03-12"


def test_only_finished_minutes_are_served(sim) -> None:
    sim.set_clock("2024-03-11T09:35:30")
    at_09_35_30 = [bar["t"] for bar in sim.rows(MINUTES)]
    sim.control("POST", "/clock", {"advance_s": 30})
    at_09_36 = [bar["t"] for bar in sim.rows(MINUTES)]

    assert OPEN + 4 * 60_000 == at_09_35_30[-1]
    assert OPEN + 5 * 60_000 == at_09_36[-1]


def test_a_day_in_progress_takes_prices_from_the_regular_session_and_volume_from_the_whole_day(sim) -> None:
    sim.set_clock("2024-03-11T10:30")
    minutes = sim.rows(MINUTES)
    regular = [bar for bar in minutes if bar["t"] >= OPEN]
    (_, day) = sim.rows(DAYS)

    assert DAY_START == day["t"]
    assert regular[0]["o"] == day["o"]
    assert regular[-1]["c"] == day["c"]
    assert max(bar["h"] for bar in regular) == day["h"]
    assert min(bar["l"] for bar in regular) == day["l"]
    assert sum(bar["v"] for bar in minutes) == pytest.approx(day["v"])
    assert sum(bar["n"] for bar in minutes) == day["n"]


def test_before_the_open_a_day_has_no_bar_and_after_post_market_it_is_the_recorded_one(sim) -> None:
    sim.set_clock("2024-03-11T09:29")
    before = sim.rows(DAYS)
    sim.set_clock("2024-03-11T20:00")
    after = sim.rows(DAYS)

    assert 1 == len(before)
    assert 2 == len(after)
    assert 100.5 + 738956 == after[1]["v"]  # the world's own volume: 100.5 and the date's ordinal


@pytest.mark.parametrize("path", ["/v3/trades/SPY", "/v3/quotes/SPY"])
def test_ticks_after_now_are_not_served(sim, path) -> None:
    sim.set_clock("2024-03-11T09:32")
    rows = sim.rows(f"{path}?limit=7")

    assert max(row["sip_timestamp"] for row in rows) <= (OPEN + 120_000) * 1_000_000
    assert min(row["sip_timestamp"] for row in rows) < (OPEN + 120_000) * 1_000_000


def test_the_last_trade_is_the_last_one_by_now(sim) -> None:
    sim.set_clock("2024-03-11T09:30:31")
    trade = sim.get("/v2/last/trade/SPY").json()["results"]
    sim.set_clock("2024-03-08T09:29")
    none_yet = sim.get("/v2/last/trade/SPY")

    assert ("SPY", OPEN * 1_000_000 + 30_000_000_001, "t7") == (trade["T"], trade["t"], trade["i"])
    assert 404 == none_yet.status


def test_contracts_are_those_alive_now_and_expired_ones_are_apart(sim) -> None:
    path = "/v3/reference/options/contracts?underlying_ticker=SPY&limit=1000"
    expiries = {row["expiration_date"] for row in sim.rows(path)}
    expired = {row["expiration_date"] for row in sim.rows(f"{path}&expired=TRUE")}
    as_of_friday = {row["expiration_date"] for row in sim.rows(f"{path}&as_of=2024-03-08")}
    as_of_next_year = {row["expiration_date"] for row in sim.rows(f"{path}&as_of=2025-03-08")}
    sim.set_clock("2024-03-08T12:00")
    on_friday = {row["expiration_date"] for row in sim.rows(path)}

    assert {"2024-03-11", "2024-03-15"} == expiries == as_of_next_year
    assert {"2024-03-08"} == expired
    assert {"2024-03-08", "2024-03-11", "2024-03-15"} == as_of_friday == on_friday


def test_an_expired_contract_is_found_only_as_of_its_life(sim) -> None:
    path = "/v3/reference/options/contracts/O:SPY240308P00499500"

    assert 404 == sim.get(path).status
    assert 499.5 == sim.get(f"{path}?as_of=2024-03-08").json()["results"]["strike_price"]
    assert 404 == sim.get("/v3/snapshot/options/SPY/O:SPY240308P00499500").status


def test_dividends_splits_yields_and_news_are_those_known_by_now(sim) -> None:
    dividends = {row["id"] for row in sim.rows("/v3/reference/dividends?limit=1000")}
    splits = {row["id"] for row in sim.rows("/v3/reference/splits?limit=1000")}
    newest_yield = sim.rows("/fed/v1/treasury-yields")[0]["date"]
    sim.set_clock("2024-03-11T09:01:30")
    articles = {row["id"] for row in sim.rows("/v2/reference/news?ticker=SPY")}
    sim.set_clock("2024-03-12T00:00")
    later = {row["id"] for row in sim.rows("/v3/reference/dividends?limit=1000")}

    assert "later" not in dividends
    assert "later" in later
    assert "s-later" not in splits
    assert "2024-03-08" == newest_yield
    assert {f"a{place:02d}" for place in range(6)} == articles


@pytest.mark.parametrize(
    ("now", "market", "early", "after"),
    [
        ("2024-03-11T03:59", "closed", False, False),
        ("2024-03-11T04:00", "extended-hours", True, False),
        ("2024-03-11T09:30", "open", False, False),
        ("2024-03-11T15:59:59", "open", False, False),
        ("2024-03-11T16:00", "extended-hours", False, True),
        ("2024-03-11T20:00", "closed", False, False),
        ("2024-03-10T12:00", "closed", False, False),
        ("2024-11-29T12:59", "open", False, False),
        ("2024-11-29T13:00", "extended-hours", False, True),
        ("2024-11-29T17:00", "closed", False, False),
        ("2025-01-09T12:00", "closed", False, False),
    ],
)
def test_market_status_follows_the_simulated_clock_and_the_exchanges_calendar(sim, now, market, early, after) -> None:
    sim.set_clock(now)
    status = sim.get("/v1/marketstatus/now").json()

    assert (market, early, after) == (status["market"], status["earlyHours"], status["afterHours"])
    assert status["serverTime"].startswith(now)
    assert status["serverTime"].endswith("-04:00" if now < "2024-11" and now >= "2024-03-10T12" else "-05:00")


def test_upcoming_holidays_are_one_row_an_exchange_with_the_hours_of_an_early_close(sim) -> None:
    sim.set_clock("2024-11-20T12:00")
    rows = [row for row in sim.get("/v1/marketstatus/upcoming").json() if row["exchange"] == "NYSE"]

    assert ("2024-11-28", "closed") == (rows[0]["date"], rows[0]["status"])
    early = {"date": "2024-11-29", "status": "early-close"}
    early |= {"open": "2024-11-29T14:30:00.000Z", "close": "2024-11-29T18:00:00.000Z"}
    assert early == {name: rows[1][name] for name in early}
    assert "2025-01-09" in {row["date"] for row in rows}


def test_a_running_clock_moves_and_pauses(sim) -> None:
    sim.control("POST", "/clock", {"set": "2024-03-11T09:30", "speed": 1e6})
    running = sim.control("GET", "/state")
    sim.control("POST", "/clock", {"pause": True})
    first, second = sim.control("GET", "/state"), sim.control("GET", "/state")

    assert running["clock_ns"] > OPEN * 1_000_000
    assert first["clock_ns"] == second["clock_ns"] >= running["clock_ns"]


def test_a_chain_snapshot_is_the_market_at_the_clock(sim) -> None:
    sim.set_clock("2024-03-11T09:50")
    rows = {row["details"]["ticker"]: row for row in sim.rows("/v3/snapshot/options/SPY?limit=250")}
    traded, untouched = rows["O:SPY240311C00500000"], rows["O:SPY240315P00501000"]

    assert {"price": 3.5, "size": 1.0, "exchange": 302, "timeframe": "REAL-TIME"} == {
        name: value for name, value in traded["last_trade"].items() if name != "sip_timestamp"
    }
    # The newest of its quotes has no ask, which the vendor writes as zeros, and so no midpoint.
    quote = {"bid": 3.0, "bid_size": 5.0, "bid_exchange": 302, "ask": 0.0, "ask_size": 0.0, "ask_exchange": 0}
    quote |= {"last_updated": (OPEN + 320_000) * 1_000_000, "timeframe": "REAL-TIME"}
    assert quote == traded["last_quote"]
    assert 503.5 == traded["break_even_price"]
    assert ("SPY", 500.25) == (traded["underlying_asset"]["ticker"], traded["underlying_asset"]["price"])
    assert 3.25 == pytest.approx(traded["underlying_asset"]["change_to_break_even"])
    assert {} == untouched["day"]
    assert not {"greeks", "implied_volatility", "last_trade", "last_quote", "break_even_price"} & set(untouched)
