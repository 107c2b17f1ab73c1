"""The seam against the simulator: the vendor's real client libraries, real sockets, real pages of every kind."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import small_world
from seam import IMPATIENT, QUICK, Time, rows_of, seam
from simulation import Simulation, simulated

from marketlake import asks
from marketlake.asks import Ask
from marketlake.errors import KeyRefused, NotEntitled, RateLimited, VendorError
from marketlake.rest import Page
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying

FRIDAY, MONDAY = small_world.SESSIONS
CLIENTS = pytest.mark.parametrize("client", ["polygon", "massive"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("seam")
    with simulated(small_world.write_small_world(folder / "small"), folder) as simulation:
        yield simulation


@pytest.fixture
def vendor(running: Simulation) -> Iterator[Simulation]:
    """The simulator as if just started."""
    control(running, "POST", "/reset")
    yield running
    control(running, "DELETE", "/faults")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def control(simulation: Simulation, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(simulation.control + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def add_fault(simulation: Simulation, do: object, *, page: int, lasting: bool) -> None:
    when = {} if lasting else {"first": 1}
    control(simulation, "POST", "/faults", {"do": do, "match": {"page": page}, "when": when})


def of(ticker: str, rows: list[dict[str, Any]], **equal: object) -> list[dict[str, Any]]:
    """The world's rows of a ticker, where ``equal`` holds."""
    return [row for row in rows if row.get("ticker") == ticker and all(row[key] == equal[key] for key in equal)]


def minute_bars(ticker: str, first: date, last: date, page_size: int = 50_000) -> Ask:
    table = {"S": "stock_bars", "I": "index_bars", "O": "option_bars"}[ticker[0]]
    return asks.bars_ask(TABLES[table], "SPY", ticker, Span.MINUTE, first, last, page_size)


def as_bar(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["t"] * 1_000_000, *(row[name] for name in ("o", "h", "l", "c", "v", "vw", "n")))


def found_bars(pages: list[Page]) -> list[tuple[Any, ...]]:
    names = ("open", "high", "low", "close", "volume", "vwap", "trades")
    return [(row["start"].value, *(row[name] for name in names)) for row in rows_of(pages)]


@CLIENTS
@pytest.mark.parametrize("page_size", [5, 7, 50_000])
@pytest.mark.parametrize("ticker", ["SPY", "I:VIX", small_world.CALL])
def test_bars_come_back_as_they_are_in_the_world_whatever_the_page_size(
    ticker: str, page_size: int, client: Any, vendor: Simulation, lake: Path
) -> None:
    ask = minute_bars(ticker, FRIDAY, MONDAY, page_size)
    pages = list(seam(vendor.rest, lake, client=client, key=vendor.key).pages(ask))

    expected = [as_bar(row) for row in of(ticker, small_world.bars(), timespan="minute")]
    assert expected == found_bars(pages)
    assert len(pages) >= len(expected) / page_size


@CLIENTS
@pytest.mark.parametrize("page_size", [1, 50_000])
@pytest.mark.parametrize(("table", "ticker"), [("stock_bars", "SPY"), ("index_bars", "I:VIX")])
def test_day_bars_of_each_session_are_found_by_its_date(
    table: str, ticker: str, page_size: int, client: Any, vendor: Simulation, lake: Path
) -> None:
    seam_ = seam(vendor.rest, lake, client=client, key=vendor.key)
    days = of(ticker, small_world.bars(), timespan="day")
    expected = [as_bar(row) for row in days if row["t"] >= small_world.instant_ms(FRIDAY, 0)]
    for day, bar in zip(small_world.SESSIONS, expected, strict=True):
        ask = asks.bars_ask(TABLES[table], ticker, ticker, Span.DAY, day, day, page_size)
        assert [bar] == found_bars(list(seam_.pages(ask)))
    both = asks.bars_ask(TABLES[table], ticker, ticker, Span.DAY, FRIDAY, MONDAY, page_size)
    assert expected == found_bars(list(seam_.pages(both)))


@pytest.mark.parametrize("page_size", [3, 50_000])
@pytest.mark.parametrize(("table", "ticker"), [("stock_trades", "SPY"), ("option_trades", small_world.CALL)])
def test_trades_of_a_session_come_back_exactly(
    table: str, ticker: str, page_size: int, vendor: Simulation, lake: Path
) -> None:
    ask = asks.trades_ask(TABLES[table], "SPY", ticker, MONDAY, page_size)
    found = rows_of(seam(vendor.rest, lake, key=vendor.key).pages(ask))

    start = small_world.instant_ms(MONDAY, 0) * 1_000_000
    expected = [row for row in of(ticker, small_world.trades()) if row["sip_timestamp"] >= start]
    names = ("price", "size", "exchange", "id", "sequence_number", "conditions", "tape")
    assert 3 < len(expected) == len(found)
    assert [row["sip_timestamp"] for row in expected] == [row["sip_timestamp"].value for row in found]
    assert [[row.get(name) for name in names] for row in expected] == [[row[name] for name in names] for row in found]


@pytest.mark.parametrize("page_size", [3, 50_000])
@pytest.mark.parametrize(("table", "ticker"), [("stock_quotes", "SPY"), ("option_quotes", small_world.CALL)])
def test_quotes_of_a_session_come_back_exactly(
    table: str, ticker: str, page_size: int, vendor: Simulation, lake: Path
) -> None:
    ask = asks.quotes_ask(TABLES[table], "SPY", ticker, FRIDAY, page_size)
    found = rows_of(seam(vendor.rest, lake, key=vendor.key).pages(ask))

    end = small_world.instant_ms(MONDAY, 0) * 1_000_000
    expected = [row for row in of(ticker, small_world.quotes()) if row["sip_timestamp"] < end]
    names = ("bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange", "sequence_number")
    assert [row["sip_timestamp"] for row in expected] == [row["sip_timestamp"].value for row in found]
    assert [[row[name] for name in names] for row in expected] == [[row[name] for name in names] for row in found]


def with_page_size(ask: Ask, size: int) -> Ask:
    return replace(ask, params=tuple((name, str(size) if name == "limit" else text) for name, text in ask.params))


@pytest.mark.parametrize("page_size", [2, 1_000])
def test_contracts_of_a_session_include_those_that_expire_on_it(page_size: int, vendor: Simulation, lake: Path) -> None:
    seam_ = seam(vendor.rest, lake, key=vendor.key)
    both = [asks.contracts_ask(Underlying.parse("SPY"), FRIDAY, expired=flag) for flag in (False, True)]
    found = [row for ask in both for row in rows_of(seam_.pages(with_page_size(ask, page_size)))]

    listed = {row["ticker"]: Decimal(str(row["strike_price"])) for row in small_world.contracts()}
    assert listed == {row["ticker"]: row["strike"] for row in found}
    assert {date(2024, 3, 8), date(2024, 3, 11), date(2024, 3, 15)} == {row["expiry"] for row in found}


@pytest.mark.parametrize("page_size", [3, 1_000])
def test_a_weekends_news_is_mondays(page_size: int, vendor: Simulation, lake: Path) -> None:
    ask = with_page_size(asks.news_ask(Underlying.parse("SPY"), MONDAY, MONDAY), page_size)
    found = rows_of(seam(vendor.rest, lake, key=vendor.key).pages(ask))

    articles = [row for row in small_world.news() if "SPY" in row["tickers"]]
    judged = {row["id"]: {said["ticker"]: said["sentiment"] for said in row.get("insights", [])} for row in articles}
    expected = {(row["id"], ticker, judged[row["id"]].get(ticker)) for row in articles for ticker in row["tickers"]}
    assert len(expected) == len(found)
    assert expected == {
        (row["id"], row["ticker"], row["sentiment"] if row["sentiment_source"] == "vendor" else None) for row in found
    }


@pytest.mark.parametrize("page_size", [2, 1_000])
def test_dividends_and_splits_are_those_of_the_ticker_alone(page_size: int, vendor: Simulation, lake: Path) -> None:
    seam_ = seam(vendor.rest, lake, key=vendor.key)
    paid = rows_of(seam_.pages(with_page_size(asks.dividends_ask("SPY", MONDAY), page_size)))
    split = rows_of(seam_.pages(with_page_size(asks.splits_ask("SPY", MONDAY), page_size)))

    expected = [row for row in of("SPY", small_world.dividends()) if row["declaration_date"] <= str(MONDAY)]
    assert [row["ex_dividend_date"] for row in expected] == [str(row["ex_dividend_date"]) for row in paid]
    assert {("SPY", 1.5)} == {(row["ticker"], row["cash_amount"]) for row in paid}
    expected = of("SPY", small_world.splits())
    assert [row["execution_date"] for row in expected] == [str(row["execution_date"]) for row in split]


@pytest.mark.parametrize("page_size", [1, 5, 50_000])
def test_yields_of_a_year_rise_by_date(page_size: int, vendor: Simulation, lake: Path) -> None:
    ask = with_page_size(asks.treasury_yields_ask(2024), page_size)
    found = rows_of(seam(vendor.rest, lake, key=vendor.key).pages(ask))

    # A day's curve is known on the day after.
    known = [row for row in small_world.rates() if row["date"] < str(MONDAY)]
    expected = [(row["date"], row["yield_1_month"]) for row in known]
    assert expected == [(str(row["date"]), row["yield_1_month"]) for row in found]


@CLIENTS
@pytest.mark.parametrize("day", [date(2024, 3, 9), date(2024, 3, 10)])
def test_a_day_without_bars_is_a_complete_answer_without_rows(
    day: date, client: Any, vendor: Simulation, lake: Path
) -> None:
    pages = list(seam(vendor.rest, lake, client=client, key=vendor.key).pages(minute_bars("SPY", day, day)))

    assert 1 == len(pages)
    assert [] == rows_of(pages)


def test_the_server_time_is_the_simulated_now(vendor: Simulation, lake: Path) -> None:
    # 20:05 New York after the last session, in summer time.
    assert datetime(2024, 3, 12, 0, 5, tzinfo=UTC) == seam(vendor.rest, lake, key=vendor.key).server_time()


@pytest.mark.parametrize(
    ("plan", "ask", "kind"),
    [
        pytest.param(
            "free", asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", MONDAY, 10), NotEntitled, id="trades"
        ),
        pytest.param("stocks_only", minute_bars("I:VIX", MONDAY, MONDAY), NotEntitled, id="an index"),
    ],
)
def test_what_the_plan_does_not_include_is_a_typed_error(
    plan: str, ask: Ask, kind: type[VendorError], vendor: Simulation, lake: Path
) -> None:
    with pytest.raises(kind):
        list(seam(vendor.rest, lake, key=vendor.keys[plan]).pages(ask))


@CLIENTS
def test_an_unknown_key_is_a_typed_error(client: Any, vendor: Simulation, lake: Path) -> None:
    with pytest.raises(KeyRefused, match="Unknown API Key"):
        list(seam(vendor.rest, lake, client=client, key="nobody-knows-this").pages(minute_bars("SPY", MONDAY, MONDAY)))


def test_a_delayed_plan_is_noted_on_the_page(vendor: Simulation, lake: Path) -> None:
    ask = minute_bars("SPY", FRIDAY, FRIDAY)
    (delayed,) = seam(vendor.rest, lake / "a", key=vendor.keys["starter"]).pages(ask)
    (current,) = seam(vendor.rest, lake / "b", key=vendor.keys["advanced"]).pages(ask)

    assert (True, False) == (delayed.is_delayed, current.is_delayed)
    (again,) = seam(vendor.rest, lake / "a", key=vendor.keys["starter"]).pages(ask)
    assert again.is_delayed
    assert not again.fetched


def test_the_free_plans_limit_is_met_with_patience_and_then_with_a_typed_error(vendor: Simulation, lake: Path) -> None:
    clock = Time()
    seam_ = seam(vendor.rest, lake, key=vendor.keys["free"], time=clock)
    for _ in range(5):
        seam_.server_time()

    with pytest.raises(RateLimited, match="exceeded the maximum requests"):
        seam_.server_time()
    assert 60 <= sum(clock.slept) <= 121


PASSING = [
    "html",
    "error_status",
    "hang",
    "hang_mid_body",
    "cut",
    "truncate",
    "bad_gzip",
    "drop_results",
    "null_results",
    "repeat_page",
    "overlap_page",
    "duplicate_rows",
    "shuffle_rows",
]
WITH_OPTIONS = [
    {"action": "drop_results", "keep_next_url": False},
    {"action": "remove_rows", "places": [1]},
    *({"action": "next_url", "to": to} for to in ("null", "empty", "self", "previous", "first")),
    *({"action": "status", "code": code, "html": True} for code in (500, 502, 503, 504)),
]
FAULTS = [*({"action": name} for name in PASSING), *WITH_OPTIONS]


def name_of(fault: object) -> str:
    assert isinstance(fault, dict)
    return "-".join(str(value) for value in fault.values())


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_fault_on_the_third_page_that_passes_leaves_exact_data(fault: object, vendor: Simulation, lake: Path) -> None:
    add_fault(vendor, fault, page=3, lasting=False)
    retry = IMPATIENT if "hang" in name_of(fault) else QUICK
    pages = list(seam(vendor.rest, lake, key=vendor.key, retry=retry).pages(minute_bars("SPY", FRIDAY, MONDAY, 50)))

    expected = [as_bar(row) for row in of("SPY", small_world.bars(), timespan="minute")]
    assert expected == found_bars(pages)
    asked = Counter((entry["path"], entry["query"]) for entry in vendor.requests())
    assert [1, 1, 2, 1, 1, 1] == list(asked.values()), "only the third page was asked again"


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_fault_on_the_third_page_that_lasts_is_a_typed_error(fault: object, vendor: Simulation, lake: Path) -> None:
    add_fault(vendor, fault, page=3, lasting=True)
    retry = IMPATIENT if "hang" in name_of(fault) else QUICK

    with pytest.raises(VendorError):
        list(seam(vendor.rest, lake, key=vendor.key, retry=retry).pages(minute_bars("SPY", FRIDAY, MONDAY, 50)))


@pytest.mark.parametrize("page", [1, 2])
def test_bars_that_a_cursor_would_skip_are_there_all_the_same(page: int, vendor: Simulation, lake: Path) -> None:
    add_fault(vendor, {"action": "skip_page"}, page=page, lasting=False)
    pages = list(seam(vendor.rest, lake, key=vendor.key).pages(minute_bars("SPY", FRIDAY, MONDAY, 50)))

    expected = [as_bar(row) for row in of("SPY", small_world.bars(), timespan="minute")]
    assert expected == found_bars(pages)


@pytest.mark.parametrize("fault", [{"action": "drip", "bytes_each": 400, "seconds": 0.005}, {"action": "chunked"}])
def test_slow_and_chunked_answers_are_as_good_as_others(fault: object, vendor: Simulation, lake: Path) -> None:
    add_fault(vendor, fault, page=1, lasting=True)

    assert 129 == len(rows_of(seam(vendor.rest, lake, key=vendor.key).pages(minute_bars("SPY", MONDAY, MONDAY))))


@pytest.mark.parametrize("kind", ["trades", "quotes"])
@pytest.mark.parametrize("fault", [{"action": "repeat_page"}, {"action": "overlap_page"}, {"action": "shuffle_rows"}])
def test_ticks_that_come_twice_or_in_disorder_are_asked_again(
    kind: str, fault: object, vendor: Simulation, lake: Path
) -> None:
    make = asks.trades_ask if kind == "trades" else asks.quotes_ask
    ask = make(TABLES[f"stock_{kind}"], "SPY", "SPY", MONDAY, 7)
    expected = rows_of(seam(vendor.rest, lake / "undisturbed", key=vendor.key).pages(ask))
    add_fault(vendor, fault, page=3, lasting=False)

    assert expected == rows_of(seam(vendor.rest, lake / "disturbed", key=vendor.key).pages(ask))
