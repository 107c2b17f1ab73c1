"""Whatever stands in a path or a query, the answer is the vendor's: never an accident inside."""

from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import small_world
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import cursors, gate
from simulator.asks import parse_day
from simulator.clock import SimulatedClock, parse_instant_ns
from simulator.faults.script import FaultScript
from simulator.gate import Request
from simulator.plans import RateLimiter, standard_accounts
from simulator.recorded import RecordedWorld
from simulator.replies import BadParameter
from simulator.routes import ROUTES
from simulator.simulation import Simulation

TEXTS = st.one_of(
    st.sampled_from(
        [
            "SPY", "I:VIX", "I:", "O:", "O:SPY240311C00500000", "O:SPY249999C00500000", "minute", "day", "quarter",
            "asc", "desc", "ticker", "timestamp", "true", "call", "0", "-1", "1", "7", "50000", str(2**63 - 1),
            str(2**63), str(-(2**63)), "1710163800000", "1710163800000000000", "2024-03-08", "2024-03-11",
            "2024-W05-5", "20240311", "2024-03", "0001-01-01", "9999-12-31", "2024-02-30", "2024-03-11T09:30:00Z",
            "2024-03-11T25:00", "T", "1e999", "nan", "inf", "0.5", "SPY,I:VIX", ", ", "٣", "%", "a" * 40,
        ]
    ),
    st.text(max_size=6),
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "ticker", "ticker.gte", "ticker.lt", "ticker.any_of", "underlying_ticker", "expiration_date",
        "expiration_date.gt", "expiration_date.lt", "expiration_date.any_of", "strike_price", "strike_price.gte",
        "strike_price.any_of", "contract_type", "as_of", "expired", "date", "date.gte", "date.lt", "published_utc",
        "published_utc.gt", "timestamp", "timestamp.gte", "timestamp.lt", "ex_dividend_date.gte", "frequency",
        "cash_amount", "adjusted", "limit", "sort", "order", "ap", "id", "asset_class", "data_type", "reverse_split",
    ]
)  # fmt: skip
GOOD = {
    "{ticker}": "SPY",
    "{multiplier}": "5",
    "{timespan}": "minute",
    "{from}": "2024-03-08",
    "{to}": "2024-03-11",
    "{date}": "2024-03-11",
    "{contract}": small_world.CALL,
}
QUERIES = st.dictionaries(NAMES, TEXTS, max_size=4)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    folder: Path = small_world.write_small_world(tmp_path_factory.mktemp("world") / "small")
    clock = SimulatedClock(parse_instant_ns("2024-03-11T20:05"), 0.0, lambda: 0)
    return Simulation(RecordedWorld(folder), clock, standard_accounts(), RateLimiter(lambda: 0), 7, FaultScript())


def status(simulation: Simulation, path: str, query: str) -> int:
    request = Request("GET", path, query, "http://localhost", "Bearer simulated-advanced")
    return gate.answer(simulation, request, "1")[0].status


@settings(max_examples=600, deadline=None)
@given(route=st.sampled_from(ROUTES), data=st.data(), query=QUERIES, is_cursor=st.booleans())
def test_any_path_and_query_is_answered(
    simulation: Simulation, route, data: st.DataObject, query: dict[str, str], is_cursor: bool
) -> None:
    parts = [
        data.draw(st.one_of(st.just(GOOD[part]), TEXTS)).replace("/", "") or "x" if part in GOOD else part
        for part in route.template.split("/")
    ]
    text = urlencode({"cursor": cursors.encode(query)} if is_cursor and query else query)

    assert status(simulation, "/".join(parts), text) in {200, 400, 403, 404}


@pytest.mark.parametrize("path", ["/v3/trades/SPY", "/v3/quotes/SPY", "/v3/reference/options/contracts"])
@pytest.mark.parametrize("served", [-1, -(2**63) + 1])
def test_a_cursor_from_before_the_first_row_is_refused(simulation: Simulation, path: str, served: int) -> None:
    assert status(simulation, path, f"cursor={cursors.encode({'ap': str(served)})}") == 400


@pytest.mark.parametrize("after", ["[-1,0]", "[0,-1]", "[1e30,0]", "[]"])
def test_a_cursor_of_news_from_nowhere_is_refused(simulation: Simulation, after: str) -> None:
    place = '{"limit":2,"sort":"published_utc","order":"descending","ticker":{},"published_utc":{},"search_after":%s}'

    assert (
        status(simulation, "/v2/reference/news", f"cursor={quote(cursors.encode_text(place % '[1710162000000,0]'))}")
        == 200
    )
    assert status(simulation, "/v2/reference/news", f"cursor={quote(cursors.encode_text(place % after))}") == 400


@pytest.mark.parametrize("text", ["2024-W05-5", "20240202", "2024-02-2", "2024-02-30", "٢٠٢٤-02-02", " 2024-02-02"])
def test_a_date_has_one_spelling(text: str) -> None:
    assert parse_day("date", "2024-02-02").isoformat() == "2024-02-02"
    with pytest.raises(BadParameter):
        parse_day("date", text)
