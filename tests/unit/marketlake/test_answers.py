"""Pages that add up are accepted, all others refused: each way in which the vendor's own client ends quietly."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import asks
from marketlake.answers import Answer
from marketlake.asks import Ask
from marketlake.errors import BrokenAnswer, NotEntitled, PaginationError, VendorError
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying

SESSION = date(2024, 12, 20)
OPEN_MS = 1734705000000  # 2024-12-20 09:30 New York, 14:30Z
OPEN_NS = OPEN_MS * 1_000_000
BARS = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, SESSION, SESSION, 2)
DAYS = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.DAY, SESSION, SESSION, 2)
OPTION_BARS = asks.bars_ask(TABLES["option_bars"], "SPY", "O:SPY241220C00585000", Span.MINUTE, SESSION, SESSION, 2)
INDEX_BARS = asks.bars_ask(TABLES["index_bars"], "I:VIX", "I:VIX", Span.MINUTE, SESSION, SESSION, 2)
TRADES = asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", SESSION, 2)
CONTRACTS = asks.contracts_ask(Underlying.parse("SPY"), SESSION)
SNAPSHOTS = asks.snapshots_ask(Underlying.parse("SPY"), SESSION, 2)
NEWS = asks.news_ask(Underlying.parse("SPY"), SESSION, SESSION)
DIVIDENDS = asks.dividends_ask("SPY", SESSION)
YIELDS = asks.treasury_yields_ask(2024)

HOST = "https://api.polygon.io"
ABSENT = object()


def bar(minute: int) -> dict[str, Any]:
    return {"t": OPEN_MS + minute * 60_000, "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}


def trade(second: int, sequence: int | None = None, **more: Any) -> dict[str, Any]:
    row = {"sip_timestamp": OPEN_NS + second * 10**9, "price": 1, "size": 1, "exchange": 11, **more}
    return row if sequence is None else {**row, "sequence_number": sequence}


def body(**fields: Any) -> bytes:
    return json.dumps({name: value for name, value in fields.items() if value is not ABSENT}).encode()


def bars(*minutes: int, next_url: Any = ABSENT, **more: Any) -> bytes:
    rows = [bar(minute) for minute in minutes]
    fields: dict[str, Any] = {"ticker": "SPY", "status": "OK", "adjusted": False, "resultsCount": len(rows)}
    return body(**{**fields, "queryCount": len(rows), "results": rows, "next_url": next_url, **more})


def listed(*rows: Any, next_url: Any = ABSENT, **more: Any) -> bytes:
    return body(**{"status": "OK", "results": list(rows), "next_url": next_url, **more})


def next_bars(minute: int, host: str = HOST, cursor: str = "bGltaXQ9Mg") -> str:
    start = OPEN_MS + minute * 60_000
    return f"{host}/v2/aggs/ticker/SPY/range/1/minute/{start}/2024-12-20?cursor={cursor}"


def next_trades(cursor: str) -> str:
    return f"{HOST}/v3/trades/SPY?cursor={cursor}"


def accepted(ask: Ask, *pages: bytes) -> Answer:
    answer = Answer(ask)
    for text in pages:
        answer.accept(text)
    return answer


def test_one_page_without_next_url_is_a_complete_answer() -> None:
    assert accepted(BARS, bars(0, 1)).is_complete


def test_an_answer_goes_on_where_its_page_says_and_is_complete_only_then() -> None:
    answer = accepted(BARS, bars(0, 1, next_url=next_bars(2)))

    start = OPEN_MS + 120_000
    assert f"/v2/aggs/ticker/SPY/range/1/minute/{start}/2024-12-20?cursor=bGltaXQ9Mg" == answer.target
    answer.accept(bars(2))
    assert answer.is_complete
    assert 2 == answer.pages


def test_the_host_of_next_url_is_reported_and_not_followed() -> None:
    answer = Answer(BARS)
    said = answer.accept(bars(0, next_url=next_bars(1, host="http://evil.example:81")))

    assert "evil.example:81" == said.next_host
    assert answer.target is not None
    assert answer.target.startswith("/v2/aggs/")


def test_a_key_in_next_url_goes_no_farther() -> None:
    answer = accepted(TRADES, listed(trade(0), next_url=next_trades("abc") + "&apiKey=SECRET"))

    assert "/v3/trades/SPY?cursor=abc" == answer.target


def test_windows_that_the_next_page_would_skip_are_asked_for() -> None:
    answer = accepted(BARS, bars(0, 1, next_url=next_bars(200)))

    assert answer.target is not None
    assert f"/{OPEN_MS + 120_000}/2024-12-20?" in answer.target


def test_a_next_page_of_day_bars_is_followed_as_given() -> None:
    start = 1734757200000
    url = f"{HOST}/v2/aggs/ticker/SPY/range/1/day/{start}/2024-12-20?cursor=x"
    midnight = {**bar(0), "t": 1734670800000}

    answer = accepted(DAYS, bars(results=[midnight], resultsCount=1, next_url=url))
    assert f"/v2/aggs/ticker/SPY/range/1/day/{start}/2024-12-20?cursor=x" == answer.target


def test_delayed_data_are_accepted_and_said_to_be_so() -> None:
    assert Answer(BARS).accept(bars(0, status="DELAYED")).is_delayed
    assert not Answer(BARS).accept(bars(0)).is_delayed


def test_a_list_that_begins_with_an_empty_page_goes_on_to_the_promised_rows() -> None:
    assert accepted(TRADES, listed(next_url=next_trades("a")), listed(trade(1))).is_complete


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        pytest.param(BARS, bars(results=ABSENT), id="bars leave results out"),
        pytest.param(
            INDEX_BARS, bars(results=ABSENT, resultsCount=ABSENT, adjusted=ABSENT, ticker="I:VIX"), id="index bars"
        ),
        pytest.param(TRADES, listed(), id="lists send an empty list"),
    ],
)
def test_an_empty_answer_in_the_vendors_two_forms_is_complete(ask: Ask, text: bytes) -> None:
    assert accepted(ask, text).is_complete


BROKEN = [
    pytest.param(b"", id="no body"),
    pytest.param(b"<html><body>Please wait</body></html>", id="HTML"),
    pytest.param(bars(0, 1)[:-20], id="cut JSON"),
    pytest.param(b"[]", id="a bare array"),
    pytest.param(b"null", id="null"),
    pytest.param(bars(0, status="ERROR", error="internal"), id="status ERROR with rows"),
    pytest.param(body(status="ERROR", error="internal"), id="status ERROR"),
    pytest.param(bars(0, status=ABSENT), id="no status"),
    pytest.param(bars(0).replace(b"1734705000000", b"NaN"), id="NaN"),
    pytest.param(b'{"status":"OK","results":[{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}", id="endless nesting"),
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_not_the_promised_document_is_a_broken_answer(text: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        Answer(BARS).accept(text)


def test_a_refusal_in_a_200_is_one() -> None:
    with pytest.raises(NotEntitled, match="upgrade"):
        Answer(BARS).accept(body(status="NOT_AUTHORIZED", message="Please upgrade your plan."))


def contracts_now(*strikes: int, next_url: Any = ABSENT) -> bytes:
    rows = [{"details": {"ticker": f"O:SPY241220C{strike * 1_000:08}"}, "open_interest": 1} for strike in strikes]
    return listed(*rows, next_url=next_url)


NEXT_CONTRACTS = f"{HOST}/v3/snapshot/options/SPY?cursor=b"


def test_a_chain_is_whole_with_its_last_page() -> None:
    first = accepted(SNAPSHOTS, contracts_now(585, 586, next_url=NEXT_CONTRACTS))

    assert "/v3/snapshot/options/SPY?cursor=b" == first.target
    assert accepted(SNAPSHOTS, contracts_now(585, 586, next_url=NEXT_CONTRACTS), contracts_now(587)).is_complete


FIRST = bars(0, 1, next_url=next_bars(2))
FIRST_TRADES = listed(trade(0, 1), trade(1, 2), next_url=next_trades("b"))
ODD_PAGES: list[Any] = [
    pytest.param(BARS, [bars(results=ABSENT, resultsCount=2)], "no results", id="results dropped"),
    pytest.param(
        BARS, [bars(results=ABSENT, next_url=next_bars(1))], "no results", id="results dropped, next_url kept"
    ),
    pytest.param(BARS, [bars(results=ABSENT, resultsCount=ABSENT, queryCount=ABSENT)], "no results", id="nothing said"),
    pytest.param(BARS, [bars(next_url=next_bars(1))], "page is empty", id="no bars, and more behind them"),
    pytest.param(BARS, [FIRST, bars()], "promised more", id="an empty last page of bars"),
    pytest.param(BARS, [FIRST, bars(results=ABSENT)], "promised more", id="an empty last page without results"),
    pytest.param(BARS, [FIRST, bars(next_url=next_bars(3))], "promised more", id="an empty page of bars between"),
    pytest.param(TRADES, [FIRST_TRADES, listed()], "promised more", id="an empty last page of trades"),
    pytest.param(TRADES, [FIRST_TRADES, listed(count=0)], "promised more", id="an empty last page that counts none"),
    pytest.param(
        TRADES, [FIRST_TRADES, listed(next_url=next_trades("c"))], "promised more", id="an empty page of trades between"
    ),
    pytest.param(TRADES, [listed(next_url=next_trades("b")), listed()], "promised more", id="nothing but empty pages"),
    pytest.param(TRADES, [listed(results=ABSENT)], "no results", id="list without results"),
    pytest.param(BARS, [bars(results=None)], "no list", id="results null"),
    pytest.param(TRADES, [listed(results={})], "no list", id="results an object"),
    pytest.param(BARS, [bars(0, resultsCount=2)], "resultsCount 2", id="a row is missing"),
    pytest.param(TRADES, [listed(trade(0), count=3)], "count 3", id="count is wrong"),
    pytest.param(BARS, [bars(0, ticker="SPYX")], "about SPYX", id="another ticker"),
    pytest.param(BARS, [bars(0, ticker=ABSENT)], "about None", id="no ticker"),
    pytest.param(BARS, [bars(0, adjusted=True)], "unadjusted", id="adjusted"),
    pytest.param(BARS, [bars(0, adjusted=ABSENT)], "unadjusted", id="adjusted or not is unsaid"),
    pytest.param(BARS, [bars(1, 0)], "out of order", id="bars fall"),
    pytest.param(BARS, [bars(0, 0)], "out of order", id="a bar twice"),
    pytest.param(TRADES, [listed(trade(1), trade(0))], "out of order", id="trades fall"),
    pytest.param(BARS, [bars(-15 * 60)], "outside the range", id="a bar of the day before"),
    pytest.param(BARS, [bars(20 * 60)], "outside the range", id="a bar of the day after"),
    pytest.param(BARS, [bars(14 * 60 + 30)], "outside the range", id="the bar that starts at the next midnight"),
    pytest.param(TRADES, [listed(trade(14 * 3600 + 1800))], "outside the range", id="the first instant after the day"),
    pytest.param(YIELDS, [listed({"date": "2025-01-02"})], "outside the range", id="a yield of another year"),
    pytest.param(NEWS, [listed({"id": "1", "published_utc": "2024-12-19T00:00:00Z"})], "outside", id="old news"),
    pytest.param(
        DIVIDENDS, [listed({"ticker": "QQQ", "ex_dividend_date": "2024-12-20"})], "about QQQ", id="another's dividend"
    ),
    pytest.param(
        CONTRACTS, [listed({"ticker": "O:SPY241220P1"}, {"ticker": "O:SPY241220C1"})], "out of order", id="puts first"
    ),
    pytest.param(SNAPSHOTS, [contracts_now(586, 585)], "out of order", id="strikes of a chain fall"),
    pytest.param(
        SNAPSHOTS,
        [contracts_now(585, 586, next_url=NEXT_CONTRACTS), contracts_now(586, 587)],
        "rows of the page before",
        id="a contract of a chain on two pages",
    ),
    pytest.param(
        SNAPSHOTS, [contracts_now(585, next_url=f"{HOST}/v3/snapshot/options/QQQ?cursor=b")], "another path", id="QQQ"
    ),
    pytest.param(BARS, [bars(0, next_url=None)], "next_url", id="next_url null"),
    pytest.param(BARS, [bars(0, next_url="")], "next_url", id="next_url empty"),
    pytest.param(BARS, [bars(0, next_url=7)], "next_url", id="next_url a number"),
    pytest.param(BARS, [bars(0, next_url={"a": 1})], "next_url", id="next_url an object"),
    pytest.param(TRADES, [listed(trade(0), next_url=f"{HOST}/v3/trades/SPY")], "next_url", id="no cursor"),
    pytest.param(TRADES, [listed(trade(0), next_url=next_trades(""))], "no cursor", id="an empty cursor"),
    pytest.param(TRADES, [listed(trade(0), next_url=f"{HOST}/v3/quotes/SPY?cursor=b")], "another path", id="quotes"),
    pytest.param(TRADES, [listed(trade(0), next_url=f"{HOST}/v3/trades/SPYX?cursor=b")], "another path", id="SPYX"),
    pytest.param(TRADES, [listed(trade(0), next_url=f"{HOST}/?cursor=b")], "another path", id="the bare host"),
    pytest.param(BARS, [bars(0, next_url=f"{HOST}{BARS.target}")], "next_url", id="the first page, as it was asked"),
    pytest.param(
        BARS, [bars(0, next_url=next_bars(1).replace("/minute/", "/second/"))], "another path", id="another span"
    ),
    pytest.param(
        BARS, [bars(0, next_url=next_bars(1).replace("/2024-12-20?", "/2024-12-21?"))], "another path", id="another end"
    ),
    pytest.param(
        BARS, [bars(0, next_url=next_bars(1).replace(str(OPEN_MS + 60_000), "2024-12-20"))], "path", id="from a date"
    ),
    pytest.param(BARS, [bars(0, 1, next_url=next_bars(1))], "already given", id="from at the last bar"),
    pytest.param(BARS, [FIRST, bars(2, 3, next_url=next_bars(0))], "already given", id="an older page"),
    pytest.param(BARS, [FIRST, FIRST], "earlier page", id="the same page again"),
    pytest.param(BARS, [FIRST, bars(1, 2)], "before the end", id="pages overlap"),
    pytest.param(TRADES, [FIRST_TRADES, FIRST_TRADES], "earlier page", id="the same trades again"),
    pytest.param(TRADES, [FIRST_TRADES, listed(trade(0, 1), trade(9, 3))], "before the end", id="trades overlap"),
    pytest.param(
        TRADES, [FIRST_TRADES, listed(trade(1, 2), trade(1, 3))], "rows of the page before", id="overlap in one instant"
    ),
    pytest.param(
        TRADES,
        [FIRST_TRADES, listed(trade(1, 3), next_url=next_trades("c")), listed(trade(1, 2), trade(1, 4))],
        "rows of the page before",
        id="overlap over two pages of one instant",
    ),
    pytest.param(TRADES, [FIRST_TRADES, listed(trade(2, 3), next_url=next_trades("b"))], "already asked", id="self"),
    pytest.param(
        TRADES,
        [
            FIRST_TRADES,
            listed(trade(2, 3), next_url=next_trades("c")),
            listed(trade(3, 4), next_url=next_trades("b")),
        ],
        "already asked",
        id="a loop of two",
    ),
]


@pytest.mark.parametrize(("ask", "pages", "problem"), ODD_PAGES)
def test_pages_that_do_not_add_up_are_refused(ask: Ask, pages: list[bytes], problem: str) -> None:
    answer = accepted(ask, *pages[:-1])
    before = (answer.target, answer.pages)

    with pytest.raises(PaginationError, match=problem):
        answer.accept(pages[-1])
    assert before == (answer.target, answer.pages), "the same page can be asked for again"


def test_a_refused_page_can_be_followed_by_the_right_one() -> None:
    answer = accepted(BARS, FIRST)
    for wrong in (FIRST, bars(1, 2), b"<html>"):
        with pytest.raises(VendorError):
            answer.accept(wrong)

    answer.accept(bars(2, 3))
    assert answer.is_complete


def test_rows_of_one_instant_may_lie_on_two_pages() -> None:
    assert accepted(TRADES, FIRST_TRADES, listed(trade(1, 3), trade(1, 4))).is_complete


def test_rows_without_any_number_of_their_own_may_repeat_in_one_instant() -> None:
    first = listed(trade(0), trade(1), next_url=next_trades("b"))

    assert accepted(TRADES, first, listed(trade(1), trade(2))).is_complete


def test_a_row_without_its_shape_leaves_the_order_of_the_others_to_be_judged() -> None:
    assert accepted(TRADES, listed(trade(0, 1), {"sip_timestamp": None}, 7, trade(1, 2))).is_complete
    with pytest.raises(PaginationError, match="out of order"):
        Answer(TRADES).accept(listed(trade(1, 1), {"sip_timestamp": "x"}, trade(0, 2)))


def test_option_bars_may_write_their_colon_either_way() -> None:
    path = "/v2/aggs/ticker/O%3ASPY241220C00585000/range/1/minute"
    url = f"{HOST}{path}/{OPEN_MS + 60_000}/2024-12-20?cursor=x"

    answer = accepted(OPTION_BARS, bars(0, ticker=OPTION_BARS.ticker, next_url=url))
    assert answer.target is not None
    assert answer.target.endswith(f"/{OPEN_MS + 60_000}/2024-12-20?cursor=x")


def test_an_answer_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlake.answers.MAX_PAGES", 3)
    answer = accepted(TRADES, FIRST_TRADES, listed(trade(2, 3), next_url=next_trades("c")))

    with pytest.raises(PaginationError, match="not ended after 3"):
        answer.accept(listed(trade(3, 4), next_url=next_trades("d")))


@given(st.lists(st.integers(0, 389), unique=True), st.integers(1, 50))
def test_any_bars_are_complete_in_pages_of_any_size(minutes: list[int], size: int) -> None:
    answer = Answer(BARS)
    rest = sorted(minutes)
    seen = 0
    while not answer.is_complete:
        given_now, rest = rest[:size], rest[size:]
        answer.accept(bars(*given_now, next_url=next_bars(rest[0]) if rest else ABSENT))
        seen += len(given_now)

    assert len(minutes) == seen
    assert max(1, -(-len(minutes) // size)) == answer.pages


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.integers(1, 6), st.data())
def test_no_page_can_be_repeated_unnoticed_where_rows_are_numbered(
    seconds: list[int], size: int, data: st.DataObject
) -> None:
    rows = [trade(second, number) for number, second in enumerate(sorted(seconds))]
    pages = [rows[start : start + size] for start in range(0, len(rows), size)]
    repeated = data.draw(st.integers(0, len(pages) - 1))
    walk = [*pages[: repeated + 1], *pages[repeated:]]

    def walked() -> None:
        answer = Answer(TRADES)
        for number, page in enumerate(walk):
            more = number + 1 < len(walk)
            answer.accept(listed(*page, next_url=next_trades(f"c{number}") if more else ABSENT))

    with pytest.raises(PaginationError):
        walked()
