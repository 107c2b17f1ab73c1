"""What is asked, in the vendor's words: paths, parameters and ranges as its documentation has them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import asks
from marketlake.asks import Ask, AskKind, final_at
from marketlake.errors import UsageError
from marketlake.store import checked_path
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying

SPY = Underlying.parse("SPY")
SESSION = date(2024, 12, 20)
WINTER_DAY_NS = (1734670800000000000, 1734757200000000000)  # 2024-12-20 05:00Z, and a day later


def bars(ticker: str = "SPY", span: Span = Span.MINUTE, page_size: int = 50_000, table: str = "stock_bars") -> Ask:
    return asks.bars_ask(TABLES[table], "SPY", ticker, span, SESSION, SESSION, page_size)


def query(ask: Ask) -> dict[str, list[str]]:
    return parse_qs(urlsplit(ask.target).query)


ALL_ASKS = [
    pytest.param(bars(), id="stock bars"),
    pytest.param(bars("O:SPY241220C00585000", table="option_bars"), id="option bars"),
    pytest.param(bars("I:VIX", table="index_bars"), id="index bars"),
    pytest.param(asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", SESSION, 50_000), id="trades"),
    pytest.param(asks.quotes_ask(TABLES["stock_quotes"], "SPY", "SPY", SESSION, 50_000), id="quotes"),
    pytest.param(asks.contracts_ask(SPY, SESSION), id="contracts"),
    pytest.param(asks.contracts_ask(SPY, SESSION, expired=True), id="expired contracts"),
    pytest.param(asks.snapshots_ask(SPY, SESSION, 50_000), id="snapshots"),
    pytest.param(asks.news_ask(SPY, SESSION, SESSION), id="news"),
    pytest.param(asks.dividends_ask("SPY", SESSION), id="dividends"),
    pytest.param(asks.splits_ask("SPY", SESSION), id="splits"),
    pytest.param(asks.treasury_yields_ask(2024), id="yields"),
]


def test_bars_are_asked_unadjusted_and_rising_by_new_york_dates() -> None:
    assert (
        "/v2/aggs/ticker/SPY/range/1/minute/2024-12-20/2024-12-20?adjusted=false&sort=asc&limit=50000" == bars().target
    )


def test_bars_of_an_index_are_asked_without_the_parameter_that_indices_do_not_have() -> None:
    assert {"sort": ["asc"], "limit": ["50000"]} == query(bars("I:VIX", table="index_bars"))


@pytest.mark.parametrize("make", [asks.trades_ask, asks.quotes_ask])
def test_ticks_are_asked_by_the_first_and_last_nanosecond_of_the_new_york_day(make: Callable[..., Ask]) -> None:
    ask = make(TABLES["stock_trades"], "SPY", "SPY", SESSION, 1000)

    start, end = WINTER_DAY_NS
    expected = {"timestamp.gte": [str(start)], "timestamp.lt": [str(end)], "order": ["asc"], "sort": ["timestamp"]}
    assert {**expected, "limit": ["1000"]} == query(ask)


@pytest.mark.parametrize(
    ("session", "utc_hour"),
    [(date(2024, 3, 8), 5), (date(2024, 3, 11), 4), (date(2024, 11, 1), 4), (date(2024, 11, 4), 5)],
)
def test_a_days_range_starts_at_midnight_in_new_york_around_the_change_of_the_clocks(
    session: date, utc_hour: int
) -> None:
    ask = asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", session, 1000)

    assert ask.hours is not None
    assert datetime(session.year, session.month, session.day, utc_hour, tzinfo=UTC) == ask.hours.start
    assert timedelta(days=1) == ask.hours.end - ask.hours.start


def test_a_chunk_over_the_change_of_the_clocks_ends_with_the_last_new_york_day() -> None:
    ask = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.DAY, date(2024, 3, 8), date(2024, 3, 11), 50_000)

    assert ask.hours is not None
    assert datetime(2024, 3, 8, 5, tzinfo=UTC) == ask.hours.start
    assert datetime(2024, 3, 12, 4, tzinfo=UTC) == ask.hours.end


def test_contracts_are_asked_as_of_the_session_on_both_sides_of_expired() -> None:
    live, expired = (query(asks.contracts_ask(SPY, SESSION, expired=flag)) for flag in (False, True))

    assert (["false"], ["2024-12-20"], ["2024-12-20"]) == (live["expired"], live["as_of"], live["expiration_date.gte"])
    assert (["true"], ["2024-12-20"], ["2024-12-20"]) == (
        expired["expired"],
        expired["as_of"],
        expired["expiration_date"],
    )
    assert ["1000"] == live["limit"]


def test_a_chain_is_asked_whole_in_the_largest_pages_that_there_are() -> None:
    large, small = asks.snapshots_ask(SPY, SESSION, 50_000), asks.snapshots_ask(SPY, SESSION, 10)

    assert "/v3/snapshot/options/SPY?order=asc&sort=ticker&limit=250" == large.target
    assert ["10"] == query(small)["limit"]


def test_a_chain_of_an_index_is_asked_by_the_ticker_of_its_level() -> None:
    ask = asks.snapshots_ask(Underlying.parse("SPX"), SESSION, 250)

    assert ("SPX", "/v3/snapshot/options/I:SPX") == (ask.owner, ask.path)


def test_the_same_question_about_another_session_is_kept_elsewhere() -> None:
    one, two = (asks.snapshots_ask(SPY, day, 250) for day in (SESSION, SESSION + timedelta(days=3)))

    assert one.target == two.target
    assert one.folder != two.folder


def test_mondays_news_begins_where_fridays_day_ended() -> None:
    ask = query(asks.news_ask(SPY, date(2024, 12, 23), date(2024, 12, 23)))

    assert ["2024-12-21T05:00:00Z"] == ask["published_utc.gte"]
    assert ["2024-12-24T05:00:00Z"] == ask["published_utc.lt"]


def test_news_of_an_index_is_asked_by_the_ticker_of_its_level() -> None:
    ask = asks.news_ask(Underlying.parse("SPX"), SESSION, SESSION)

    assert ("SPX", ["I:SPX"]) == (ask.owner, query(ask)["ticker"])


def test_yields_are_asked_for_a_whole_year() -> None:
    ask = query(asks.treasury_yields_ask(2024))

    assert (["2024-01-01"], ["2024-12-31"], ["asc"]) == (ask["date.gte"], ask["date.lte"], ask["order"])


@pytest.mark.parametrize("ask", ALL_ASKS)
def test_every_chain_has_a_folder_that_a_store_accepts(ask: Ask) -> None:
    assert ask.folder == checked_path(ask.folder)


def test_different_questions_have_different_folders() -> None:
    every = [param.values[0] for param in ALL_ASKS]
    others = [bars(page_size=7), bars(span=Span.SECOND), bars("AAPL")]

    folders = [ask.folder for ask in [*every, *others] if isinstance(ask, Ask)]
    assert len(folders) == len(set(folders))


@given(st.integers(1, 50_000))
def test_the_same_question_has_the_same_folder(page_size: int) -> None:
    assert bars(page_size=page_size).folder == bars(page_size=page_size).folder


@pytest.mark.parametrize("ticker", ["../etc", "SPY/../..", "SPY?apiKey=x", "spy", "", "O:SPY241399C00585000x"])
def test_what_is_no_ticker_gets_into_no_path(ticker: str) -> None:
    with pytest.raises(UsageError):
        bars(ticker)


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(UsageError, match="backwards"):
        asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.DAY, date(2024, 12, 20), date(2024, 12, 19), 10)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        # 20:05 New York, 17:05 on the half day, and the end of the day for news.
        pytest.param(bars(), datetime(2024, 12, 21, 1, 5, tzinfo=UTC), id="bars"),
        pytest.param(
            asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", date(2024, 11, 29), 10),
            datetime(2024, 11, 29, 22, 5, tzinfo=UTC),
            id="half day",
        ),
        pytest.param(asks.news_ask(SPY, SESSION, SESSION), datetime(2024, 12, 21, 5, tzinfo=UTC), id="news"),
        pytest.param(
            asks.treasury_yields_ask(2023), datetime(2023, 12, 30, 1, 5, tzinfo=UTC), id="a Sunday's year end"
        ),
    ],
)
def test_an_answer_is_final_once_its_last_session_has_settled(ask: Ask, expected: datetime) -> None:
    assert expected == final_at(ask)
    assert expected + timedelta(minutes=15) == final_at(ask, timedelta(minutes=15))


def test_only_bars_of_shares_and_options_could_be_adjusted() -> None:
    assert bars().adjustable
    assert bars("O:SPY241220C00585000", table="option_bars").adjustable
    assert not bars("I:VIX", table="index_bars").adjustable
    assert AskKind.BARS is bars().kind
