"""One session on two grids: what a minute knows, what it must not know, and what it says where it knows nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketlake import consolidate
from marketlake.consolidate import Inputs, contracts_with_data, market_minutes, option_minutes
from marketlake.errors import UsageError
from marketlake.sessions import to_ns
from marketlake.tables import MOMENTUM_MINUTES, TABLES, PriceSource, Reason, Span
from marketlake.tickers import Underlying

HALF_DAY = date(2024, 11, 29)  # shares to 13:00 New York (18:00 UTC), SPY options to 13:15
OPEN = datetime(2024, 11, 29, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CALL, PUT = "O:SPY241202C00600000", "O:SPY241202P00600000"


@dataclass(frozen=True)
class Limits:
    """Smaller than the defaults, so that a short session shows every age."""

    max_price_age_s: int = 300
    max_underlying_age_s: int = 180
    max_vix_age_s: int = 240
    news_lag_s: int = 60


LIMITS = Limits()


def table(name: str, *rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TABLES[name].schema)


def bar(ticker: str, minute: float, close: float, volume: float | None = 100.0, **more: object) -> dict[str, object]:
    """A bar that starts so many minutes after the open."""
    prices = {"open": close, "high": close, "low": close, "close": close}
    start = OPEN + minute * MINUTE
    return {"ticker": ticker, "span": Span.MINUTE, "start": start, **prices, "volume": volume, **more}


def quote(ticker: str, minute: float, bid: float | None, ask: float | None, number: int = 0) -> dict[str, object]:
    sides = {"bid_price": bid, "bid_size": 5.0 if bid else 0.0, "ask_price": ask, "ask_size": 7.0 if ask else 0.0}
    return {"ticker": ticker, "sip_timestamp": OPEN + minute * MINUTE, "sequence_number": number, **sides}


def trade(ticker: str, minute: float, price: float, correction: int | None = None) -> dict[str, object]:
    stamp = OPEN + minute * MINUTE
    return {
        "ticker": ticker,
        "sip_timestamp": stamp,
        "exchange": 302,
        "price": price,
        "size": 1.0,
        "correction": correction,
    }


def contract(ticker: str, expiry: date, strike: int, right: str | None) -> dict[str, object]:
    return {"ticker": ticker, "expiry": expiry, "strike": Decimal(strike), "right": right, "chosen": True}


CONTRACTS = table(
    "option_contracts",
    contract(PUT, date(2024, 12, 2), 600, "put"),
    contract(CALL, date(2024, 12, 2), 600, "call"),
)
YIELDS = table("treasury_yields", {"date": date(2024, 11, 27), "yield_1_month": 4.6, "yield_3_month": 4.5})
SPY_BARS = table("stock_bars", *(bar("SPY", minute, 600 + minute / 100) for minute in range(-30, 260)))
SPY = Inputs(Underlying.parse("SPY"), underlying_bars=SPY_BARS, contracts=CONTRACTS, yields=YIELDS)


def rows_of(minutes: pa.Table, ticker: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = minutes.filter(pc.equal(minutes["ticker"], ticker)).to_pylist()
    return rows


def call_rows(**inputs: pa.Table) -> list[dict[str, object]]:
    return rows_of(option_minutes(replace(SPY, **inputs), HALF_DAY, LIMITS), CALL)


@pytest.mark.parametrize(
    ("session", "contracts", "market", "options"),
    [
        pytest.param(HALF_DAY, [CALL, PUT], 210, 2 * 225, id="a half day of SPY"),
        pytest.param(date(2024, 11, 27), [CALL], 390, 405, id="a whole day of SPY"),
        pytest.param(date(2024, 11, 27), ["O:AAPL241206C00230000"], 390, 390, id="shares close at four"),
        pytest.param(date(2024, 11, 27), [CALL, "O:AAPL241206C00230000"], 390, 795, id="each root has its hours"),
    ],
)
def test_the_grid_has_every_minute_of_every_contract_in_order(
    session: date, contracts: list[str], market: int, options: int
) -> None:
    listed = table("option_contracts", *(contract(one, date(2024, 12, 2), 600, "call") for one in contracts[::-1]))
    noon = datetime(session.year, session.month, session.day, 17, tzinfo=UTC)
    bars = table("stock_bars", {**bar("SPY", 0, 600.0), "start": noon})
    inputs = replace(SPY, underlying_bars=bars, contracts=listed)

    by_minute, by_contract = market_minutes(inputs, session, LIMITS), option_minutes(inputs, session, LIMITS)

    assert market == by_minute.num_rows
    assert options == by_contract.num_rows
    assert by_contract.equals(by_contract.sort_by([("ticker", "ascending"), ("minute", "ascending")]))
    for name, rows in (("market_minutes", by_minute), ("option_minutes", by_contract)):
        assert TABLES[name].schema == rows.schema
        keys = rows.group_by(list(TABLES[name].key)).aggregate([])
        assert rows.num_rows == keys.num_rows
    first, last = pc.min_max(by_minute["minute"]).as_py().values()
    assert timedelta(minutes=market - 1) == last - first
    assert (9, 30) == (first - timedelta(hours=5)).timetuple()[3:5]


def test_a_chain_made_in_pieces_is_the_same_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs(3)
    whole = option_minutes(inputs, HALF_DAY, LIMITS)

    monkeypatch.setattr(consolidate, "CONTRACTS_AT_ONCE", 2)

    assert whole.equals(option_minutes(inputs, HALF_DAY, LIMITS))


def test_a_market_minute_has_its_own_bar_and_the_last_price_known() -> None:
    bars = table("stock_bars", bar("SPY", -1, 599.0), bar("SPY", 1, 601.0, vwap=600.5, trades=17), bar("QQQ", 2, 500.0))
    rows = market_minutes(replace(SPY, underlying_bars=bars), HALF_DAY, LIMITS).to_pylist()

    own = ("open", "high", "low", "close", "volume", "vwap", "trades")
    assert [None] * 7 == [rows[0][name] for name in own]
    assert [601.0, 601.0, 601.0, 601.0, 100.0, 600.5, 17] == [rows[1][name] for name in own]
    assert [None] * 7 == [rows[2][name] for name in own]
    last = [(row["last_price"], row["last_price_age_s"]) for row in rows]
    assert [(599.0, 60.0), (601.0, 0.0), (601.0, 60.0), (601.0, 120.0), (601.0, 180.0), (None, None)] == last[:6]


def test_indicators_stand_on_the_minutes_of_their_bars_and_start_with_the_session() -> None:
    """Thirty bars before the open and a missing minute 5: the fifteenth bar of the session is that of minute 15."""
    bars = SPY_BARS.filter(pc.not_equal(SPY_BARS["start"], pa.scalar(OPEN + 5 * MINUTE)))

    rows = market_minutes(replace(SPY, underlying_bars=bars), HALF_DAY, LIMITS).to_pylist()

    assert [None] * 15 == [row["rsi_14"] for row in rows[:15]]
    assert 100.0 == pytest.approx(rows[15]["rsi_14"])
    assert rows[5]["session_vwap"] is None
    assert rows[6]["session_vwap"] == pytest.approx((600.00 + 600.01 + 600.02 + 600.03 + 600.04 + 600.06) / 6)
    assert [600.10 / 600.09 - 1, 600.10 / 600.04 - 1, None, None, None] == pytest.approx(rows[10]["momentum_returns"])


def test_an_underlying_without_bars_says_what_to_backfill() -> None:
    for bars in (None, table("stock_bars"), table("stock_bars", bar("QQQ", 0, 500.0), bar("SPY", -24 * 60, 600.0))):
        inputs = replace(SPY, underlying_bars=bars)
        for make in (market_minutes, option_minutes):
            with pytest.raises(UsageError, match="backfill --tables stock_bars --tickers SPY --start 2024-11-29"):
                make(inputs, HALF_DAY, LIMITS)
    with pytest.raises(UsageError, match="--tables index_bars --tickers I:SPX"):
        market_minutes(Inputs(Underlying.parse("SPX")), HALF_DAY, LIMITS)


def test_a_quote_at_the_end_of_a_minute_belongs_to_the_next_and_a_bar_to_its_own() -> None:
    last_moment = 1 - 1e-6 / 60
    rows = call_rows(
        option_quotes=table("option_quotes", quote(CALL, last_moment, 2.0, 2.2), quote(CALL, 2.0, 3.0, 3.2)),
        option_bars=table("option_bars", bar(CALL, 5, 9.0)),
    )

    assert [2.1, 2.1, 3.1] == pytest.approx([row["option_price"] for row in rows[:3]])
    assert 1e-6 == pytest.approx(rows[0]["price_age_s"])
    assert [60.0 + 1e-6, 60.0] == pytest.approx([row["quote_age_s"] for row in rows[1:3]])
    assert [None, 9.0, None] == [row["close"] for row in rows[4:7]]


def test_a_bar_is_known_when_it_ended_and_not_before() -> None:
    rows = call_rows(option_bars=table("option_bars", bar(CALL, 5, 9.0)))

    assert [(None, None), (9.0, 0.0), (9.0, 60.0)] == [(row["option_price"], row["price_age_s"]) for row in rows[4:7]]


@pytest.mark.parametrize(
    ("bid", "ask", "price", "source"),
    [
        pytest.param(2.0, 2.2, 2.1, PriceSource.QUOTE_MID, id="two sides"),
        pytest.param(2.1, 2.1, 2.1, PriceSource.QUOTE_MID, id="locked"),
        pytest.param(2.2, 2.1, 5.0, PriceSource.LAST_TRADE, id="crossed"),
        pytest.param(0.0, 2.1, 5.0, PriceSource.LAST_TRADE, id="no bid"),
        pytest.param(2.0, None, 5.0, PriceSource.LAST_TRADE, id="no ask"),
    ],
)
def test_only_a_market_of_two_sides_gives_the_price(
    bid: float, ask: float | None, price: float, source: PriceSource
) -> None:
    """An earlier good quote does not count once the market has withdrawn it; sequence numbers part equal stamps."""
    rows = call_rows(
        option_quotes=table("option_quotes", quote(CALL, 0.1, bid, ask, 2), quote(CALL, 0.1, 1.0, 1.2, 1)),
        option_trades=table("option_trades", trade(CALL, 0.05, 5.0)),
        option_bars=table("option_bars", bar(CALL, 0, 6.0)),
    )

    assert (pytest.approx(price), source) == (rows[0]["option_price"], rows[0]["price_source"])


def test_a_missing_side_of_a_quote_is_null_with_its_size() -> None:
    row = call_rows(option_quotes=table("option_quotes", quote(CALL, 0.5, 0.0, 2.1)))[0]

    assert [None, None, 2.1, 7.0, 30.0] == [
        row[name] for name in ("bid_price", "bid_size", "ask_price", "ask_size", "quote_age_s")
    ]


def test_trades_that_were_corrected_or_cancelled_give_no_price() -> None:
    rows = call_rows(
        option_trades=table(
            "option_trades", trade(CALL, 0.1, 4.0), trade(CALL, 0.2, 5.0, correction=0), trade(CALL, 0.3, 6.0, 8)
        )
    )

    assert (5.0, PriceSource.LAST_TRADE) == (rows[0]["option_price"], rows[0]["price_source"])


def test_a_price_ages_until_it_is_stale_and_before_the_first_there_is_none() -> None:
    rows = call_rows(option_bars=table("option_bars", bar(CALL, 2, 3.0)))

    assert [Reason.NO_PRICE] * 2 + [None] * 6 + [Reason.STALE_PRICE] * 217 == [row["reason"] for row in rows]
    assert [None, None, 0.0, 60.0, 120.0, 180.0, 240.0, 300.0, None] == [row["price_age_s"] for row in rows[:9]]
    assert [None] == list({row["price_source"] for row in rows[8:]})


def test_what_nobody_chose_has_its_first_row_when_something_happened_in_it() -> None:
    """That it is watched at all was decided by then: an earlier row would know of the trade to come."""
    unchosen = CONTRACTS.set_column(
        CONTRACTS.schema.get_field_index("chosen"), CONTRACTS.schema.field("chosen"), pa.array([False, False])
    )
    rows = call_rows(contracts=unchosen, option_bars=table("option_bars", bar(CALL, 2, 3.0)))

    assert [None] * 6 + [Reason.STALE_PRICE] * 217 == [row["reason"] for row in rows]


def test_silence_of_a_contract_that_was_not_collected_is_told_from_a_quiet_one() -> None:
    rows = call_rows(option_bars=table("option_bars", bar(CALL, 2, 3.0)), not_collected=frozenset({CALL}))

    assert [Reason.NOT_COLLECTED] * 2 + [None] * 6 + [Reason.STALE_PRICE] * 217 == [row["reason"] for row in rows]


def test_after_the_shares_close_options_go_on_with_the_extended_hours_price() -> None:
    rows = call_rows(option_bars=table("option_bars", *(bar(CALL, minute, 3.0) for minute in range(225))))

    assert [600 + minute / 100 for minute in range(225)] == pytest.approx([row["underlying_price"] for row in rows])
    assert {None} == {row["reason"] for row in rows}


def test_where_the_underlying_fell_silent_options_have_no_price_to_be_priced_by() -> None:
    bars = table("stock_bars", bar("SPY", 0, 600.0))
    rows = call_rows(
        underlying_bars=bars,
        option_bars=table("option_bars", *(bar(CALL, minute, 3.0) for minute in range(6))),
    )

    assert [None] * 4 + [Reason.NO_UNDERLYING_PRICE] * 2 == [row["reason"] for row in rows[:6]]
    assert [0.0, 60.0, 120.0, 180.0, None, None] == [row["underlying_age_s"] for row in rows[:6]]


def test_on_its_last_day_a_contract_expires_with_the_shares_close() -> None:
    today = table("option_contracts", contract("O:SPY241129C00600000", HALF_DAY, 600, "call"))
    minutes = option_minutes(replace(SPY, contracts=today), HALF_DAY, LIMITS)

    assert [Reason.NO_PRICE] * 209 + [Reason.EXPIRED] * 16 == minutes["reason"].to_pylist()
    years = minutes["years_to_expiry"].to_pylist()
    assert [209 / 525_600, 1 / 525_600, 0.0, 0.0] == pytest.approx([years[0], years[208], years[209], years[224]])


def test_time_to_expiry_runs_from_the_end_of_the_minute_to_the_close_of_the_last_day() -> None:
    """From Friday 14:31 UTC to Monday 21:00 UTC: three days and 389 minutes."""
    assert (3 * 1440 + 389) / 525_600 == pytest.approx(call_rows()[0]["years_to_expiry"], rel=1e-12)


def vix(minute: float, close: float) -> dict[str, object]:
    return bar("I:VIX", minute, close, volume=None)


def day_bar(day: date, close: float, ticker: str = "I:VIX") -> dict[str, object]:
    start = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)  # midnight in Chicago, in winter
    return {**bar(ticker, 0, close, volume=None), "span": Span.DAY, "start": start}


def test_vix_is_the_close_of_the_session_before_until_it_shows_a_minute_and_never_again() -> None:
    wednesday, own = date(2024, 11, 27), HALF_DAY
    bars = table(
        "index_bars",
        day_bar(date(2024, 11, 26), 11.0),
        day_bar(wednesday, 14.1),
        day_bar(own, 99.0),
        day_bar(wednesday, 77.0, ticker="I:VVIX"),
        vix(2, 13.9),
        {**vix(2, 98.0), "ticker": "I:VIX9D"},
    )
    rows = market_minutes(replace(SPY, vix_bars=bars), HALF_DAY, LIMITS).to_pylist()

    two_days = (OPEN + MINUTE - datetime(2024, 11, 27, 21, 15, tzinfo=UTC)).total_seconds()
    values = [(row["vix"], row["vix_age_s"]) for row in rows]
    assert [(14.1, two_days), (14.1, two_days + 60), (13.9, 0.0)] == values[:3]
    assert [(13.9, 240.0), (None, None)] == values[6:8]
    assert {(None, None)} == set(values[7:])
    options = rows_of(option_minutes(replace(SPY, vix_bars=bars), HALF_DAY, LIMITS), CALL)
    assert values == [(row["vix"], row["vix_age_s"]) for row in options[:210]]


def article(name: str, minute: float, sentiment: str | None, ticker: str = "SPY") -> dict[str, object]:
    stamp = OPEN + minute * MINUTE
    return {"id": name, "ticker": ticker, "published": stamp, "title": name, "sentiment": sentiment}


def test_news_counts_for_an_hour_from_its_publication_and_the_lag() -> None:
    news = table(
        "news",
        article("old", -61, "negative"),
        article("before the open", -59.5, "negative"),
        article("at three", 3, "positive"),
        article("silent", 3, None),
        article("about another", 3, "negative", ticker="QQQ"),
    )
    rows = market_minutes(replace(SPY, news=news), HALF_DAY, LIMITS).to_pylist()

    told = [(row["news_count_60m"], row["news_sentiment_60m"]) for row in rows]
    assert [(1, -1.0), (0, None), (0, None), (2, 1.0)] == told[:4]
    assert [(2, 1.0), (0, None)] == told[62:64]


def test_no_news_fetched_is_not_the_same_as_no_news() -> None:
    unknown = market_minutes(SPY, HALF_DAY, LIMITS)
    none = market_minutes(replace(SPY, news=table("news")), HALF_DAY, LIMITS)

    assert {None} == set(unknown["news_count_60m"].to_pylist())
    assert {0} == set(none["news_count_60m"].to_pylist())


def test_dividends_lower_the_share_and_are_null_where_they_were_not_fetched() -> None:
    contracts = table("option_contracts", contract(CALL.replace("1202", "1220"), date(2024, 12, 20), 600, "call"))
    bars = table("option_bars", bar(CALL.replace("1202", "1220"), 0, 10.0))
    coming = table(
        "dividends",
        {
            "ticker": "SPY",
            "ex_dividend_date": date(2024, 12, 20),
            "declaration_date": date(2024, 1, 2),
            "cash_amount": 2.0,
        },
    )
    unknown, none, known = (
        option_minutes(
            replace(SPY, contracts=contracts, option_bars=bars, dividends=dividends), HALF_DAY, LIMITS
        ).to_pylist()[0]
        for dividends in (None, table("dividends"), coming)
    )

    rate = 2 * math.log(1 + 0.046 / 2)
    assert (None, 0.0) == (unknown["dividends_present_value"], none["dividends_present_value"])
    assert 2.0 * math.exp(-rate * 21 / 365) == pytest.approx(known["dividends_present_value"])
    assert unknown["implied_volatility"] == none["implied_volatility"] < known["implied_volatility"]


def test_contracts_that_are_neither_call_nor_put_get_no_rows() -> None:
    contracts = table("option_contracts", contract(CALL, date(2024, 12, 2), 600, None))

    assert 0 == option_minutes(replace(SPY, contracts=contracts), HALF_DAY, LIMITS).num_rows


OPTIONAL = ("vix_bars", "contracts", "option_bars", "option_quotes", "option_trades", "news", "yields", "dividends")


@pytest.mark.parametrize("missing", [*((name,) for name in OPTIONAL), OPTIONAL], ids="+".join)
@pytest.mark.parametrize("empty", [False, True], ids=["not fetched", "empty"])
def test_any_table_may_be_missing(missing: tuple[str, ...], empty: bool) -> None:
    schemas = {"vix_bars": "index_bars", "contracts": "option_contracts", "yields": "treasury_yields"}
    nothing = {name: table(schemas.get(name, name)) if empty else None for name in missing}
    inputs = replace(random_inputs(1), **nothing)  # type: ignore[arg-type] # a table of fields

    market = market_minutes(inputs, HALF_DAY, LIMITS)
    options = option_minutes(inputs, HALF_DAY, LIMITS)

    assert 210 == market.num_rows
    assert (0 if "contracts" in missing else 6 * 225) == options.num_rows
    assert_every_row_is_priced_or_says_why_not(options)
    if missing == ("yields",):
        assert Reason.NO_RATE in options["reason"].to_pylist()
        assert 0 == options["reason"].null_count


GREEKS = ("implied_volatility", "delta", "gamma", "vega_per_point", "theta_per_day", "rho_per_point")


def assert_every_row_is_priced_or_says_why_not(options: pa.Table) -> None:
    priced = pc.is_null(options["reason"])
    for name in GREEKS:
        assert pc.is_valid(options[name]).equals(priced), name
        assert not pc.any(pc.is_nan(options[name])).as_py()
    for needed in ("option_price", "price_source", "price_age_s", "underlying_price", "rate"):
        assert not pc.any(pc.and_(priced, pc.is_null(options[needed]))).as_py(), needed
    assert pc.is_valid(options["option_price"]).equals(pc.is_valid(options["price_source"]))


def random_inputs(seed: int) -> Inputs:
    """A half day of everything, with holes, odd quotes, withdrawn trades, rows outside hours and of other tickers."""
    rng = np.random.default_rng(seed)
    days = {"241129": HALF_DAY, "241202": date(2024, 12, 2), "241220": date(2024, 12, 20)}
    listed = [
        contract(f"O:SPY{text}{right[0].upper()}00600000", day, 600, right)
        for text, day in days.items()
        for right in ("call", "put")
    ]
    tickers = [str(one["ticker"]) for one in listed]

    def times(count: int) -> list[float]:
        whole = rng.integers(-10, 240, count).tolist()
        return sorted([*(minute + 0.0 for minute in whole), *rng.uniform(-10, 240, count).tolist()])

    def bars(ticker: str, first: int, last: int, share: float, level: float) -> list[dict[str, object]]:
        kept = [minute for minute in range(first, last) if rng.random() < share]
        closes = (level + np.cumsum(rng.normal(0, 0.05, len(kept)))).tolist()
        return [
            {**bar(ticker, minute, close), "high": close + 0.1, "low": close - 0.1}
            for minute, close in zip(kept, closes, strict=True)
        ]

    quotes: list[dict[str, object]] = []
    trades: list[dict[str, object]] = []
    for ticker in [*tickers, "O:SPY241202C00999000"]:
        for minute in times(12):
            bid, ask = 6 + rng.normal(0, 0.5), 6 + rng.normal(0.3, 0.5)
            quotes.append(quote(ticker, minute, float(bid) if rng.random() < 0.9 else 0.0, float(ask), len(quotes)))
        trades += [trade(ticker, minute, 6.0 + minute / 100, int(rng.choice([0, 0, 8]))) for minute in times(5)]
    moods = ["positive", "negative", "neutral", None, "puzzled"]
    articles = [article(f"a{n}", float(at), moods[n % 5]) for n, at in enumerate(rng.uniform(-90, 200, 25))]
    silent = range(100, 110)
    underlying = [one for one in bars("SPY", -60, 400, 0.9, 604.0) if (one["start"] - OPEN) / MINUTE not in silent]  # type: ignore[operator]
    return Inputs(
        underlying=Underlying.parse("SPY"),
        underlying_bars=table("stock_bars", *underlying, *bars("QQQ", 0, 30, 1.0, 500.0)),
        vix_bars=table("index_bars", *bars("I:VIX", 5, 220, 0.3, 14.0), day_bar(date(2024, 11, 27), 14.1)),
        contracts=table("option_contracts", *listed),
        option_bars=table("option_bars", *(row for one in tickers for row in bars(one, -3, 230, 0.2, 6.0))),
        option_quotes=table("option_quotes", *quotes),
        option_trades=table("option_trades", *trades),
        news=table("news", *articles),
        yields=YIELDS,
        dividends=table(
            "dividends",
            {
                "ticker": "SPY",
                "ex_dividend_date": date(2024, 12, 20),
                "declaration_date": date(2024, 1, 2),
                "cash_amount": 1.9,
            },
        ),
    )


def price_by_hand(inputs: Inputs, ticker: str, end: datetime) -> tuple[float, str, float] | str:
    """The rule of the option's price, read literally, for one contract and one minute."""
    assert inputs.option_quotes is not None
    assert inputs.option_trades is not None
    assert inputs.option_bars is not None

    def known(rows: pa.Table, column: str, allowed: Callable[[datetime], bool]) -> list[dict[str, object]]:
        own = [row for row in rows.to_pylist() if row["ticker"] == ticker and allowed(row[column])]
        return sorted(own, key=lambda row: (row[column], row.get("sequence_number") or 0))

    candidates: list[tuple[float, str, float]] = []
    if quotes := known(inputs.option_quotes, "sip_timestamp", lambda stamp: stamp < end):
        last = quotes[-1]
        bid, ask = last["bid_price"], last["ask_price"]
        if 0 < bid <= ask:  # type: ignore[operator]
            age = (to_ns(end) - to_ns(last["sip_timestamp"])) / 1e9  # type: ignore[arg-type]
            candidates.append(((bid + ask) / 2, "quote_mid", age))  # type: ignore[operator]
    stood = [
        row
        for row in known(inputs.option_trades, "sip_timestamp", lambda stamp: stamp < end)
        if row["correction"] in {0, None}
    ]
    if stood:
        age = (to_ns(end) - to_ns(stood[-1]["sip_timestamp"])) / 1e9  # type: ignore[arg-type]
        candidates.append((stood[-1]["price"], "last_trade", age))  # type: ignore[arg-type]
    if bars := known(inputs.option_bars, "start", lambda start: start + MINUTE <= end):
        age = (end - bars[-1]["start"] - MINUTE).total_seconds()  # type: ignore[operator]
        candidates.append((bars[-1]["close"], "bar_close", age))  # type: ignore[arg-type]
    young = [candidate for candidate in candidates if candidate[2] <= LIMITS.max_price_age_s]
    if young:
        return young[0]
    return "stale_price" if candidates else "no_price"


def test_every_price_of_a_random_session_is_the_one_found_by_hand() -> None:
    inputs = random_inputs(5)
    rows = option_minutes(inputs, HALF_DAY, LIMITS).to_pylist()

    sources = set()
    for row in rows[::7]:
        expected = price_by_hand(inputs, row["ticker"], row["minute"] + MINUTE)
        if isinstance(expected, str):
            assert row["option_price"] is None
            assert row["reason"] in {expected, Reason.EXPIRED}
        else:
            price, source, age = expected
            assert (price, source) == (row["option_price"], row["price_source"])
            assert age == pytest.approx(row["price_age_s"], abs=1e-6)
        sources.add(expected if isinstance(expected, str) else expected[1])
    assert {"quote_mid", "last_trade", "bar_close", "stale_price"} <= sources
    assert_every_row_is_priced_or_says_why_not(option_minutes(inputs, HALF_DAY, LIMITS))


TIMES = {
    "underlying_bars": ("start", MINUTE),
    "vix_bars": ("start", MINUTE),
    "option_bars": ("start", MINUTE),
    "option_quotes": ("sip_timestamp", timedelta(microseconds=1)),
    "option_trades": ("sip_timestamp", timedelta(microseconds=1)),
    "news": ("published", timedelta(seconds=LIMITS.news_lag_s)),
}


def is_known(rows: pa.Table, name: str, end: datetime) -> pa.ChunkedArray:
    """Which rows were known by an instant; a bar of a day is known a day after its start at the latest."""
    column, span = TIMES[name]
    known = pc.less_equal(rows[column].cast(pa.int64()), to_ns(end - span))
    if "span" in rows.column_names:
        known = pc.and_(known, pc.or_(pc.equal(rows["span"], Span.MINUTE), pc.less(rows[column], pa.scalar(OPEN))))
    return known


def cut(inputs: Inputs, end: datetime) -> Inputs:
    """The inputs without anything that was not known by an instant."""
    return replace(
        inputs, **{name: getattr(inputs, name).filter(is_known(getattr(inputs, name), name, end)) for name in TIMES}
    )


def poison(inputs: Inputs, end: datetime) -> Inputs:
    """The inputs with absurd numbers in everything that was not known by an instant."""

    def absurd(rows: pa.Table, name: str) -> pa.Table:
        known = is_known(rows, name, end)
        for position, field in enumerate(rows.schema):
            if pa.types.is_floating(field.type):
                rows = rows.set_column(position, field, pc.if_else(known, rows[field.name], 1e6))
            elif field.name == "sentiment":
                rows = rows.set_column(position, field, pc.if_else(known, rows[field.name], "negative"))
        return rows

    return replace(inputs, **{name: absurd(getattr(inputs, name), name) for name in TIMES})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), minutes=st.integers(1, 224), change=st.sampled_from([cut, poison]))
def test_no_column_of_a_minute_depends_on_what_came_after_it(
    seed: int, minutes: int, change: Callable[[Inputs, datetime], Inputs]
) -> None:
    inputs = random_inputs(seed)
    end = OPEN + minutes * MINUTE
    changed = change(inputs, end)

    for make in (market_minutes, option_minutes):
        whole, later = make(inputs, HALF_DAY, LIMITS), make(changed, HALF_DAY, LIMITS)
        until = pc.less(whole["minute"], pa.scalar(end))
        for name in whole.column_names:
            assert whole.filter(until)[name].equals(later.filter(until)[name]), name


def test_the_underlying_of_an_option_minute_is_the_last_price_of_the_market_minute() -> None:
    inputs = random_inputs(9)
    market = market_minutes(inputs, HALF_DAY, LIMITS)
    first = rows_of(option_minutes(inputs, HALF_DAY, LIMITS), "O:SPY241220C00600000")[: market.num_rows]

    for theirs, ours in (("last_price", "underlying_price"), ("last_price_age_s", "underlying_age_s"), ("vix", "vix")):
        assert market[theirs].to_pylist() == [row[ours] for row in first]
    assert market["last_price"].null_count > 0
    assert len(MOMENTUM_MINUTES) == market.schema.field("momentum_returns").type.list_size


def test_the_order_of_the_input_rows_does_not_matter() -> None:
    inputs = random_inputs(11)
    rng = np.random.default_rng(11)
    names = ("underlying_bars", "vix_bars", "contracts", "option_bars", "option_quotes", "news")
    shuffled = {name: getattr(inputs, name).take(rng.permutation(getattr(inputs, name).num_rows)) for name in names}

    for make in (market_minutes, option_minutes):
        assert make(inputs, HALF_DAY, LIMITS).equals(make(replace(inputs, **shuffled), HALF_DAY, LIMITS))


def test_contracts_with_data_are_those_with_a_row_in_any_table() -> None:
    bars = table("option_bars", bar(CALL, 0, 1.0), bar("O:SPY241202C00777000", 0, 1.0))

    assert [CALL] == contracts_with_data(CONTRACTS, bars, None)["ticker"].to_pylist()
    assert [PUT, CALL] == contracts_with_data(CONTRACTS, bars, table("option_quotes", quote(PUT, 0, 1.0, 2.0)))[
        "ticker"
    ].to_pylist()
    assert [] == contracts_with_data(CONTRACTS)["ticker"].to_pylist()
