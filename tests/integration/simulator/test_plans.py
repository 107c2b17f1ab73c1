"""Keys and plans on the wire: who may see what, how new, and how often."""

import json

import pytest

BARS = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11?limit=50000"
VIX = "/v2/aggs/ticker/I:VIX/range/1/minute/2024-03-11/2024-03-11"
CHAIN = "/v3/snapshot/options/SPY"
CONTRACTS = "/v3/reference/options/contracts?underlying_ticker=SPY"
TRADES, QUOTES = "/v3/trades/SPY", "/v3/quotes/SPY"


@pytest.mark.parametrize(
    ("plan", "allowed", "denied"),
    [
        ("free", [BARS, CONTRACTS], [TRADES, QUOTES, VIX]),
        ("starter", [BARS, CONTRACTS, CHAIN, VIX], [TRADES, QUOTES]),
        ("developer", [BARS, CONTRACTS, CHAIN, TRADES], [QUOTES, VIX]),
        ("advanced", [BARS, CONTRACTS, CHAIN, TRADES, QUOTES, VIX], []),
        ("stocks_only", [BARS, CONTRACTS, TRADES, QUOTES], [CHAIN, VIX, "/v3/trades/O:SPY240311C00500000"]),
    ],
)
def test_a_plan_opens_its_data_and_refuses_the_rest(sim, plan, allowed, denied) -> None:
    assert [200] * len(allowed) == [sim.get(path, plan).status for path in allowed]
    assert [403] * len(denied) == [sim.get(path, plan).status for path in denied]


def test_a_refusal_has_message_on_most_routes_and_error_on_snapshots(sim) -> None:
    by_message = sim.get(TRADES, "starter").json()
    by_error = sim.get(CHAIN, "stocks_only").json()

    assert ("NOT_AUTHORIZED", True) == (by_message["status"], "upgrade your plan" in by_message["message"])
    assert ("ERROR", True) == (by_error["status"], "upgrade your plan" in by_error["error"])


@pytest.mark.parametrize("key", ["Bearer nobody", "Bearer ", "", "Basic c2ltdWxhdGVk"])
def test_an_unknown_or_missing_key_is_401(sim, key) -> None:
    answer = sim.get(BARS, Authorization=key)

    assert (401, "Unknown API Key") == (answer.status, answer.json()["error"])


def test_the_key_may_stand_in_the_query(sim) -> None:
    assert 200 == sim.get(f"{BARS}&apiKey={sim.ready['key']}", Authorization="").status


def test_delayed_plans_see_the_market_of_15_minutes_ago_and_say_so(sim) -> None:
    sim.set_clock("2024-03-11T09:50")
    newest_for = {plan: sim.get(BARS, plan).json() for plan in ("starter", "advanced")}
    trades = sim.get(TRADES, "developer").json()

    assert "DELAYED" == newest_for["starter"]["status"] == trades["status"]
    assert "OK" == newest_for["advanced"]["status"]
    assert 15 * 60_000 == newest_for["advanced"]["results"][-1]["t"] - newest_for["starter"]["results"][-1]["t"]
    assert trades["results"][0]["sip_timestamp"] <= 1710164100000000000  # 09:35


def test_reference_data_are_never_delayed(sim) -> None:
    assert "OK" == sim.get(CONTRACTS, "starter").json()["status"]


def test_the_free_plan_sees_a_day_once_it_is_over(sim) -> None:
    sim.set_clock("2024-03-11T15:00")
    during = sim.get(BARS, "free").json()
    sim.set_clock("2024-03-11T20:00")
    after = sim.get(BARS, "free").json()

    assert "results" not in during
    assert after["resultsCount"] > 0


def test_a_snapshot_leaves_out_what_the_plan_lacks(sim) -> None:
    path = f"{CHAIN}/O:SPY240311C00500000"
    starter, developer = (sim.get(path, plan).json()["results"] for plan in ("starter", "developer"))

    assert not {"last_trade", "last_quote"} & set(starter)
    assert "last_quote" not in developer
    assert "DELAYED" == developer["last_trade"]["timeframe"]


def test_an_unentitled_ticker_fails_alone_in_the_universal_snapshot(sim) -> None:
    rows = {row["ticker"]: row for row in sim.rows("/v3/snapshot?ticker.any_of=SPY,I:VIX,XX", "stocks_only")}

    assert "session" in rows["SPY"]
    assert {"ticker": "I:VIX", "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."} == rows["I:VIX"]
    assert {"ticker": "XX", "error": "NOT_FOUND", "message": "Ticker not found."} == rows["XX"]


def test_the_free_plan_is_cut_off_at_the_sixth_call_of_a_sliding_window(sim) -> None:
    statuses = [sim.get(CONTRACTS, "free").status for _ in range(6)]
    refused = sim.get(CONTRACTS, "free").json()
    # A shorter window lets the calls of a moment ago fall out of it; asking until then needs no guess at the machine.
    sim.control("POST", "/switches", {"window_s": 0.2})
    while sim.get(CONTRACTS, "free").status == 429:
        pass

    assert [200] * 5 + [429] == statuses
    assert "exceeded the maximum requests per minute" in refused["error"]


def test_every_page_costs_a_call(sim) -> None:
    page = sim.get(f"{CONTRACTS}&limit=1", "free")
    statuses = [page.status]
    while page.status == 200:
        page = sim.get(page.json()["next_url"], "free")
        statuses.append(page.status)

    assert [200] * 5 + [429] == statuses


@pytest.mark.parametrize("tells", [False, True])
def test_retry_after_is_told_only_where_the_simulator_is_set_so(sim, tells) -> None:
    sim.control("POST", "/switches", {"calls": 1, "retry_after": tells})
    sim.get(CONTRACTS, "free")
    refused = sim.get(CONTRACTS, "free")

    assert 429 == refused.status
    assert ("60" if tells else None) == refused.headers.get("Retry-After")


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/switches", {"calls": 0}),
        ("/switches", {"calls": -1}),
        ("/switches", {"window_s": 0}),
        ("/clock", {"speed": -1}),
        ("/clock", {"advance_s": 1e300}),
    ],
)
def test_what_no_clock_or_limit_can_be_is_refused_and_changes_nothing(sim, path, change) -> None:
    before = sim.control("GET", "/state")
    refused = sim.pool.request("POST", sim.ready["control"] + path, body=json.dumps(change).encode(), retries=False)

    assert 400 == refused.status
    assert next(iter(change)) in json.loads(refused.data)["error"]
    assert before == sim.control("GET", "/state")
    assert 200 == sim.get(CONTRACTS, "free").status


OLD_DAYS = "/v2/aggs/ticker/AAA/range/1/day/{}/2024-03-11?limit=50000"


@pytest.mark.parametrize("plan", ["free", "starter"])
@pytest.mark.parametrize("history", ["all", "truncate", "refuse"])
def test_days_before_a_plans_history_are_given_left_out_or_refused(sim, plan, history) -> None:
    """Two years after the first of its bars, the free plan's history has just lost that day."""
    sim.control("POST", "/switches", {"history": history})
    sim.set_clock("2026-01-02T21:00")
    old, young = sim.get(OLD_DAYS.format("2024-01-02"), plan), sim.get(OLD_DAYS.format("2024-01-03"), plan)
    loses = plan == "free" and history != "all"

    assert (403 if loses and history == "refuse" else 200) == old.status
    if old.status == 200:
        assert len(young.json()["results"]) + (not loses) == len(old.json()["results"])
    else:
        assert "NOT_AUTHORIZED" == old.json()["status"]
    assert {200} == {young.status, sim.get("/v2/aggs/ticker/AAA/prev", plan).status}


@pytest.mark.parametrize(
    "path", ["/v1/open-close/AAA/2024-01-02", "/v2/aggs/grouped/locale/us/market/stocks/2024-01-02"]
)
def test_one_day_before_a_plans_history_is_refused_as_well(sim, path) -> None:
    sim.set_clock("2026-01-02T21:00")
    assert 200 == sim.get(path, "free").status
    sim.control("POST", "/switches", {"history": "refuse"})

    assert 403 == sim.get(path, "free").status
    assert 200 == sim.get(path, "advanced").status
