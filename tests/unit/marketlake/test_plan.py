from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.errors import UsageError
from marketlake.ledger import Coverage, How, Operational, Record
from marketlake.plan import Batch, Pick, Request, Sources, batches_of, tables_without_tickers
from marketlake.sessions import sessions_between, to_ns
from marketlake.tables import TABLES, Partition, Span
from marketlake.tickers import Underlying

AUGUST = sessions_between(date(2025, 8, 1), date(2025, 8, 29))
NOW_NS = to_ns(datetime(2025, 8, 29, 20, 5, tzinfo=ZoneInfo("America/New_York")))
SOURCES = Sources(dict.fromkeys(("stock_bars", "index_bars", "option_bars"), (Span.MINUTE, Span.DAY)), 31)


def request(
    *, tables: Sequence[str] = ("stock_bars",), tickers: Sequence[str] = ("SPY",), refresh: bool = False
) -> Request:
    return Request.parse(tables, tickers, AUGUST, ["SPY"], NOW_NS, refresh=refresh)


def new_york_ns(day: date) -> int:
    return to_ns(datetime.combine(day, time(0), tzinfo=ZoneInfo("America/New_York")))


def record(partition: Partition, *covered: tuple[str, Span | None]) -> Record:
    """A record that covers the whole New York day of a session for some tickers and spans."""
    start, end = new_york_ns(partition.session), new_york_ns(partition.session + timedelta(days=1))
    coverage = tuple(Coverage(ticker, span, start, end, How.BACKFILLED, 1, 0, 0, 0, ()) for ticker, span in covered)
    return Record(partition, coverage, 1, 0, {}, "", "", 0, (), 1, Operational("", ""))


def no_contracts(_underlying: Underlying, _session: date) -> list[str]:
    pytest.fail("no contracts are needed here")


def plan(wanted: Request, table: str, covered: dict[Partition, Record] | None = None) -> list[Batch]:
    return list(batches_of(wanted, table, (covered or {}).get, no_contracts, SOURCES))


@pytest.mark.parametrize(
    ("tickers", "shares", "indices", "options", "underlyings", "pick"),
    [
        (["SPY", "I:VIX"], ("SPY",), ("I:VIX",), (), ["SPY"], Pick.CHOSEN),
        (["SPY", "I:VIX", "@all"], ("SPY",), ("I:VIX",), (), ["SPY"], Pick.ALL),
        (["I:SPX", "I:VIX"], (), ("I:SPX", "I:VIX"), (), ["SPX"], Pick.CHOSEN),
        (["I:VIX"], (), ("I:VIX",), (), ["SPY"], Pick.CHOSEN),
        (["@chosen"], (), (), (), ["SPY"], Pick.CHOSEN),
        (["O:AAPL140606C00490000"], (), (), ("O:AAPL140606C00490000",), ["AAPL"], Pick.NAMED),
        (["SPY", "QQQ"], ("SPY", "QQQ"), (), (), ["SPY", "QQQ"], Pick.CHOSEN),
        (["SPY", "SPX", "I:VIX"], ("SPY",), ("I:SPX", "I:VIX"), (), ["SPY", "SPX"], Pick.CHOSEN),
        (["@all", "@all"], (), (), (), ["SPY"], Pick.ALL),
    ],
)
def test_tickers_are_sorted_into_what_they_mean(
    tickers: list[str],
    shares: tuple[str, ...],
    indices: tuple[str, ...],
    options: tuple[str, ...],
    underlyings: list[str],
    pick: Pick,
) -> None:
    wanted = request(tickers=tickers)

    assert (shares, indices, options, pick) == (wanted.shares, wanted.indices, wanted.options, wanted.pick)
    assert underlyings == [item.symbol for item in wanted.underlyings]


@pytest.mark.parametrize(
    ("tables", "tickers", "says"),
    [
        (["stonks"], ["SPY"], "no table"),
        (["market_minutes"], ["SPY"], "made by consolidate"),
        (["index_values"], ["I:VIX"], "comes over the stream alone"),
        (["stock_bars"], ["@chosen", "@all"], "not both"),
        (["stock_bars"], ["@some"], "no ticker"),
    ],
)
def test_what_cannot_be_meant_is_refused(tables: list[str], tickers: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        request(tables=tables, tickers=tickers)


def test_tables_are_filled_in_the_order_in_which_they_need_each_other() -> None:
    wanted = request(tables=["option_bars", "option_contracts", "stock_bars"])

    assert ("stock_bars", "option_contracts", "option_bars") == wanted.tables


@pytest.mark.parametrize(
    ("tickers", "tables"),
    [
        (["SPY", "@all"], ("option_contracts", "option_bars")),
        (["SPY"], ("option_contracts", "option_bars")),
        (["O:SPY250829C00650000"], ("option_bars",)),
    ],
)
def test_contracts_that_have_to_be_picked_are_fetched_first(tickers: list[str], tables: tuple[str, ...]) -> None:
    assert tables == request(tables=["option_bars"], tickers=tickers).tables


def test_a_month_of_bars_is_one_batch_that_asks_once_a_span() -> None:
    (batch,) = plan(request(), "stock_bars")

    assert len(AUGUST) == len(batch.partitions)
    assert [(Span.MINUTE, AUGUST[0], AUGUST[-1]), (Span.DAY, AUGUST[0], AUGUST[-1])] == [
        (want.span, want.first, want.last) for want in batch.wants
    ]


def test_trades_are_a_session_a_batch() -> None:
    batches = plan(request(tables=["stock_trades"]), "stock_trades")

    assert list(AUGUST) == [batch.partitions[0].session for batch in batches]


def test_what_the_ledger_covers_is_not_asked_again_and_splits_the_range() -> None:
    held = Partition.of_session(TABLES["stock_bars"], "SPY", date(2025, 8, 13))
    covered = {held: record(held, ("SPY", Span.MINUTE))}

    (batch,) = plan(request(), "stock_bars", covered)
    minutes = [(want.first, want.last) for want in batch.wants if want.span is Span.MINUTE]

    assert [(AUGUST[0], date(2025, 8, 12)), (date(2025, 8, 14), AUGUST[-1])] == minutes
    assert [(AUGUST[0], AUGUST[-1])] == [(want.first, want.last) for want in batch.wants if want.span is Span.DAY]


def test_a_refresh_asks_for_everything_again() -> None:
    held = {
        partition: record(partition, ("SPY", Span.MINUTE), ("SPY", Span.DAY))
        for partition in (Partition.of_session(TABLES["stock_bars"], "SPY", day) for day in AUGUST)
    }

    assert [] == plan(request(), "stock_bars", held)
    assert len(AUGUST) == len(plan(request(refresh=True), "stock_bars", held)[0].partitions)


@given(st.sets(st.sampled_from(AUGUST)))
def test_runs_ask_for_exactly_the_sessions_that_are_missing(held_days: set[date]) -> None:
    held = {
        partition: record(partition, ("SPY", Span.MINUTE), ("SPY", Span.DAY))
        for partition in (Partition.of_session(TABLES["stock_bars"], "SPY", day) for day in held_days)
    }

    wants = [want for batch in plan(request(), "stock_bars", held) for want in batch.wants if want.span is Span.MINUTE]
    asked = [day for want in wants for day in sessions_between(want.first, want.last)]

    assert sorted(set(AUGUST) - held_days) == sorted(asked)


def test_contracts_are_asked_only_on_the_sessions_that_want_them() -> None:
    first, second = AUGUST[0], AUGUST[1]
    listed = {first: ["O:SPY250801C00630000"], second: ["O:SPY250804C00630000"]}
    wanted = request(tables=["option_bars"])

    batches = batches_of(wanted, "option_bars", {}.get, lambda _, day: listed.get(day, []), SOURCES)
    wants = [(want.ticker, want.first, want.last) for batch in batches for want in batch.wants if want.span is Span.DAY]

    assert [("O:SPY250801C00630000", first, first), ("O:SPY250804C00630000", second, second)] == wants


def test_a_whole_chain_is_a_session_a_batch() -> None:
    chain = [f"O:SPY250919C{strike:08d}" for strike in range(100_000, 1_600_000, 1_000)]

    batches = list(batches_of(request(), "option_bars", {}.get, lambda _, __: chain, SOURCES))

    assert [1] * len(AUGUST) == [len(batch.partitions) for batch in batches]


def test_a_snapshot_is_a_session_a_batch_and_comes_before_what_can_wait() -> None:
    wanted = request(tables=["option_bars", "stock_bars", "option_snapshots"])

    batches = plan(wanted, "option_snapshots")

    assert "option_snapshots" == wanted.tables[0]
    assert [(day,) for day in AUGUST] == [batch.sessions for batch in batches]
    assert {("SPY", None)} == {(want.ticker, want.span) for batch in batches for want in batch.wants}


def test_the_curve_before_the_first_session_of_a_year_is_last_years() -> None:
    wanted = Request.parse(["treasury_yields"], ["SPY"], [date(2025, 1, 2)], ["SPY"], NOW_NS)

    batches = list(batches_of(wanted, "treasury_yields", {}.get, no_contracts, SOURCES))

    assert ["2024", "2025"] == [batch.partitions[0].period for batch in batches]


def test_an_index_pays_no_dividends() -> None:
    assert [] == plan(request(tables=["dividends"], tickers=["I:SPX"]), "dividends")


def test_news_until_midnight_is_asked_for_once_midnight_has_passed() -> None:
    """At 20:05 the ledger can cover a day's news only until then."""
    session = AUGUST[-1]
    partition = Partition.of_session(TABLES["news"], "SPY", session)
    start = new_york_ns(date(2025, 8, 29))
    until_five_past_eight = Coverage("SPY", None, start, NOW_NS, How.BACKFILLED, 1, 0, 0, 0, ())
    held = {partition: Record(partition, (until_five_past_eight,), 1, 0, {}, "", "", 0, (), 1, Operational("", ""))}

    def batches(known_ns: int) -> list[Batch]:
        return plan(Request.parse(["news"], ["SPY"], [session], ["SPY"], known_ns), "news", held)

    assert [] == batches(NOW_NS)
    assert [(session, session)] == [(want.first, want.last) for item in batches(NOW_NS + 1) for want in item.wants]


def test_a_curve_is_known_to_those_who_asked_after_its_day() -> None:
    """On the morning of the 27th its own curve does not exist yet; the session of the 28th needs it."""
    year = Partition("treasury_yields", "", "2025")
    asked = to_ns(datetime(2025, 8, 27, 8, tzinfo=ZoneInfo("America/New_York")))
    covered = Coverage("", None, new_york_ns(date(2025, 1, 1)), asked, How.BACKFILLED, 1, 0, 0, 0, ())
    held = {year: Record(year, (covered,), 1, 0, {}, "", "", 0, (), 1, Operational("", ""))}

    def periods(session: date) -> list[str]:
        wanted = Request.parse(["treasury_yields"], ["SPY"], [session], ["SPY"], NOW_NS)
        return [batch.partitions[0].period for batch in plan(wanted, "treasury_yields", held)]

    assert [] == periods(date(2025, 8, 27))
    assert ["2025"] == periods(date(2025, 8, 28))


@pytest.mark.parametrize(
    ("tables", "tickers", "empty"),
    [
        (["index_bars", "stock_bars"], ["SPY"], ["index_bars"]),
        (["stock_bars"], ["I:VIX"], ["stock_bars"]),
        (["dividends", "stock_bars"], ["SPY"], []),
        (["dividends"], ["I:SPX"], ["dividends"]),
    ],
)
def test_a_table_about_which_nothing_is_named_is_noticed(
    tables: list[str], tickers: list[str], empty: list[str]
) -> None:
    assert set(empty) == set(tables_without_tickers(request(tables=tables, tickers=tickers)))
