"""JSON in, typed columns out. Expected values are written by hand or read by Python's own json and decimal."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import asks
from marketlake.asks import Ask
from marketlake.errors import BrokenAnswer
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying
from marketlake.wire import Parsed, parse, raw_texts

SESSION = date(2024, 12, 20)
BARS = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, SESSION, SESSION, 50_000)
TRADES = asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", SESSION, 50_000)
QUOTES = asks.quotes_ask(TABLES["stock_quotes"], "SPY", "SPY", SESSION, 50_000)
CONTRACTS = asks.contracts_ask(Underlying.parse("SPY"), SESSION)
SNAPSHOTS = asks.snapshots_ask(Underlying.parse("SPY"), SESSION, 50_000)
NEWS = asks.news_ask(Underlying.parse("SPY"), SESSION, SESSION)
DIVIDENDS = asks.dividends_ask("SPY", SESSION)
SPLITS = asks.splits_ask("SPY", SESSION)
YIELDS = asks.treasury_yields_ask(2024)

BAR = {"v": 812344.0, "vw": 585.4712, "o": 585.31, "c": 585.62, "h": 585.7, "l": 585.22, "t": 1734705000000, "n": 9120}
TRADE = {
    "conditions": [37],
    "exchange": 11,
    "id": "52983525029461",
    "participant_timestamp": 1734705000012345678,
    "price": 585.31,
    "sequence_number": 104211,
    "sip_timestamp": 1734705000012601222,
    "size": 10,
    "decimal_size": "10.0",
    "tape": 2,
}
QUOTE = {"sip_timestamp": 1734705000012601223, "sequence_number": 7, "bid_price": 585.3, "bid_size": 4, "ask_price": 0}
CONTRACT = {
    "ticker": "O:SPY241220C00582500",
    "underlying_ticker": "SPY",
    "contract_type": "call",
    "expiration_date": "2024-12-20",
    "strike_price": 582.5,
    "shares_per_contract": 100,
    "exercise_style": "american",
    "cfi": "OCASPS",
    "primary_exchange": "BATO",
}
# The sample of the vendor's page about the chain's snapshot.
SNAPSHOT = {
    "break_even_price": 588.1,
    "day": {
        "change": 0.4,
        "change_percent": 14.8,
        "close": 3.1,
        "high": 3.6,
        "last_updated": 1734710400000000000,
        "low": 2.2,
        "open": 2.5,
        "previous_close": 2.7,
        "volume": 41230,
        "vwap": 2.94,
    },
    "details": {
        "contract_type": "call",
        "exercise_style": "american",
        "expiration_date": "2024-12-20",
        "shares_per_contract": 100,
        "strike_price": 585,
        "ticker": "O:SPY241220C00585000",
    },
    "greeks": {"delta": 0.51, "gamma": 0.071, "theta": -1.93, "vega": 0.06},
    "implied_volatility": 0.162,
    "last_quote": {
        "ask": 3.12,
        "ask_exchange": 304,
        "ask_size": 44,
        "bid": 3.09,
        "bid_exchange": 302,
        "bid_size": 61,
        "last_updated": 1734710399123456789,
        "midpoint": 3.105,
        "timeframe": "REAL-TIME",
    },
    "last_trade": {
        "conditions": [209],
        "exchange": 316,
        "price": 3.1,
        "sip_timestamp": 1734710398123456789,
        "size": 2,
        "timeframe": "REAL-TIME",
    },
    "open_interest": 18211,
    "underlying_asset": {
        "change_to_break_even": 2.88,
        "last_updated": 1734710399200000000,
        "price": 585.22,
        "ticker": "SPY",
        "timeframe": "REAL-TIME",
    },
}
IDENTIFIES = {"ticker", "expiry", "strike"}
# Each part that may be absent as a whole, and the columns that it brings.
PARTS = {
    "open_interest": {"open_interest"},
    "implied_volatility": {"vendor_implied_volatility"},
    "break_even_price": {"break_even_price"},
    "greeks": {"vendor_delta", "vendor_gamma", "vendor_theta_per_day", "vendor_vega_per_point"},
    "day": {"open", "high", "low", "close", "volume", "vwap", "previous_close", "day_updated"},
    "last_quote": {
        "bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange", "quote_updated",
    },
    "last_trade": {"trade_price", "trade_size", "trade_exchange", "trade_conditions", "trade_sip_timestamp"},
    "underlying_asset": {"underlying_price", "underlying_updated"},
}  # fmt: skip
ARTICLE = {
    "id": "9f2c",
    "publisher": {"name": "Example Wire", "homepage_url": "https://example.com/"},
    "title": "Index fund sees inflow",
    "author": "A. Writer",
    "published_utc": "2024-12-20T14:05:00Z",
    "article_url": "https://example.com/a/1",
    "tickers": ["SPY", "VOO"],
    "description": "Short text.",
    "keywords": ["etf"],
    "insights": [{"ticker": "VOO", "sentiment": "positive", "sentiment_reasoning": "Inflow reported."}],
}
DIVIDEND = {
    "id": "E8e3c4f7",
    "ticker": "SPY",
    "cash_amount": 1.965548,
    "currency": "USD",
    "declaration_date": "2024-12-19",
    "ex_dividend_date": "2024-12-20",
    "record_date": "2024-12-20",
    "pay_date": "2025-01-31",
    "frequency": 4,
    "dividend_type": "CD",
}
SPLIT = {"id": "E1", "ticker": "SPY", "execution_date": "2024-12-20", "split_from": 1, "split_to": 4}
CURVE = {"date": "2024-12-20", "yield_1_month": 4.43, "yield_10_year": 4.52}
KINDS = [
    pytest.param(BARS, BAR, "t", id="bars"),
    pytest.param(TRADES, TRADE, "sip_timestamp", id="trades"),
    pytest.param(QUOTES, QUOTE, "sip_timestamp", id="quotes"),
    pytest.param(CONTRACTS, CONTRACT, "strike_price", id="contracts"),
    pytest.param(SNAPSHOTS, SNAPSHOT, "details", id="snapshots"),
    pytest.param(NEWS, ARTICLE, "published_utc", id="news"),
    pytest.param(DIVIDENDS, DIVIDEND, "ex_dividend_date", id="dividends"),
    pytest.param(SPLITS, SPLIT, "execution_date", id="splits"),
    pytest.param(YIELDS, CURVE, "date", id="yields"),
]


def page(*rows: object) -> bytes:
    return json.dumps({"status": "OK", "results": rows}).encode()


def parsed(ask: Ask, *rows: object) -> Parsed:
    return parse(ask, page(*rows))


def only_row(ask: Ask, row: object) -> dict[str, Any]:
    rows: list[dict[str, Any]] = parsed(ask, row).rows.to_pylist()
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize(("ask", "row", "_"), KINDS)
def test_a_page_becomes_the_declared_columns(ask: Ask, row: dict[str, Any], _: str) -> None:
    found = parsed(ask, row)

    assert TABLES[ask.table].schema == found.rows.schema
    found.rows.validate(full=True)
    assert () == found.unparsed


@pytest.mark.parametrize(("ask", "row", "_"), KINDS)
def test_fields_that_nobody_declared_are_ignored(ask: Ask, row: dict[str, Any], _: str) -> None:
    assert parsed(ask, row).rows.equals(parsed(ask, {**row, "brand_new": {"deep": [1]}}).rows)


def test_a_bar_keeps_its_numbers_and_gets_ticker_and_span_from_the_question() -> None:
    found = only_row(BARS, BAR)

    assert datetime(2024, 12, 20, 14, 30, tzinfo=UTC) == found.pop("start")
    assert {
        "ticker": "SPY",
        "span": "minute",
        "open": 585.31,
        "high": 585.7,
        "low": 585.22,
        "close": 585.62,
        "volume": 812344.0,
        "vwap": 585.4712,
        "trades": 9120,
    } == found


def test_an_index_bar_has_no_volume_vwap_or_count() -> None:
    found = only_row(BARS, {name: BAR[name] for name in ("t", "o", "h", "l", "c")})

    assert (None, None, None) == (found["volume"], found["vwap"], found["trades"])


def test_a_fractional_volume_stays_fractional() -> None:
    assert 9099.618093 == only_row(BARS, {**BAR, "v": 9099.618093})["volume"]


def test_nanoseconds_are_exact() -> None:
    rows = parsed(TRADES, TRADE).rows

    assert [1734705000012601222] == rows["sip_timestamp"].cast(pa.int64()).to_pylist()
    assert [1734705000012345678] == rows["participant_timestamp"].cast(pa.int64()).to_pylist()


def test_a_missing_side_of_a_quote_is_kept_as_the_vendor_gives_it() -> None:
    found = only_row(QUOTES, QUOTE)

    assert (585.3, 4.0, 0.0, None) == (found["bid_price"], found["bid_size"], found["ask_price"], found["ask_size"])


def test_a_half_dollar_strike_is_exact() -> None:
    found = only_row(CONTRACTS, CONTRACT)

    assert (Decimal("582.500"), date(2024, 12, 20), "call") == (found["strike"], found["expiry"], found["right"])
    assert not found["chosen"]
    assert None is found["rank"] is found["refusal"] is found["opening_price"]


def test_a_contract_that_is_neither_call_nor_put_has_no_right() -> None:
    assert None is only_row(CONTRACTS, {**CONTRACT, "contract_type": "other"})["right"]


def test_deliverables_of_an_adjusted_contract_are_kept_with_the_digits_as_sent() -> None:
    body = page({**CONTRACT, "additional_underlyings": "?"}).replace(
        b'"?"', b'[ {"amount": 1.50,  "type": "currency"} ]'
    )

    assert ['[{"amount":1.50,"type":"currency"}]'] == parse(CONTRACTS, body).rows["additional_underlyings"].to_pylist()


@given(st.decimals(min_value=Decimal("0.001"), max_value=Decimal("9999999.999"), places=3))
def test_every_strike_of_three_places_is_exact(strike: Decimal) -> None:
    body = page({**CONTRACT, "strike_price": 0}).replace(b'"strike_price": 0', f'"strike_price": {strike:f}'.encode())

    assert [strike] == parse(CONTRACTS, body).rows["strike"].to_pylist()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_price_is_the_float_that_python_reads(price: float) -> None:
    text = json.dumps(price)

    found = parse(BARS, page({**BAR, "o": "?"}).replace(b'"?"', text.encode())).rows["open"][0].as_py()
    assert json.loads(text) == found
    assert str(json.loads(text)) == str(found), "the sign of zero too"


@given(st.integers(0, 2**63 - 1))
def test_every_nanosecond_that_a_column_can_hold_is_exact(stamp: int) -> None:
    assert [stamp] == parsed(TRADES, {**TRADE, "sip_timestamp": stamp}).rows["sip_timestamp"].cast(
        pa.int64()
    ).to_pylist()


def test_a_snapshot_is_the_vendors_sample_under_our_names() -> None:
    rows = parsed(SNAPSHOTS, SNAPSHOT).rows
    times_ns = {
        name: rows[name].cast(pa.int64())[0].as_py()
        for name in rows.column_names
        if pa.types.is_timestamp(rows[name].type)
    }

    assert {
        "ticker": "O:SPY241220C00585000",
        "expiry": date(2024, 12, 20),
        "strike": Decimal("585.000"),
        "right": "call",
        "exercise_style": "american",
        "shares_per_contract": 100.0,
        "open_interest": 18211.0,
        "vendor_implied_volatility": 0.162,
        "vendor_delta": 0.51,
        "vendor_gamma": 0.071,
        "vendor_theta_per_day": -1.93,
        "vendor_vega_per_point": 0.06,
        "break_even_price": 588.1,
        "open": 2.5,
        "high": 3.6,
        "low": 2.2,
        "close": 3.1,
        "volume": 41230.0,
        "vwap": 2.94,
        "previous_close": 2.7,
        "bid_price": 3.09,
        "bid_size": 61.0,
        "bid_exchange": 302,
        "ask_price": 3.12,
        "ask_size": 44.0,
        "ask_exchange": 304,
        "trade_price": 3.1,
        "trade_size": 2.0,
        "trade_exchange": 316,
        "trade_conditions": [209],
        "underlying_price": 585.22,
    } == rows.drop_columns(list(times_ns)).to_pylist()[0]
    assert {
        "day_updated": 1734710400000000000,
        "quote_updated": 1734710399123456789,
        "trade_sip_timestamp": 1734710398123456789,
        "underlying_updated": 1734710399200000000,
    } == times_ns


@given(st.sets(st.sampled_from(sorted(PARTS))), st.booleans())
def test_what_a_snapshot_lacks_is_null_and_nothing_else_is(lacking: set[str], is_empty: bool) -> None:
    row = {name: value for name, value in SNAPSHOT.items() if name not in lacking}
    if is_empty:  # the vendor also leaves a part there, with nothing in it
        row |= {name: {} for name in lacking if isinstance(SNAPSHOT[name], dict)}

    found = only_row(SNAPSHOTS, row)

    assert {column for part in lacking for column in PARTS[part]} == {
        name for name, value in found.items() if value is None
    }
    assert IDENTIFIES.isdisjoint(name for name, value in found.items() if value is None)


def test_an_index_underlies_with_its_value() -> None:
    underlying = {"last_updated": 1680814651655000000, "value": 4483.78, "ticker": "I:SPX", "timeframe": "REAL-TIME"}

    assert 4483.78 == only_row(SNAPSHOTS, SNAPSHOT | {"underlying_asset": underlying})["underlying_price"]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"ticker": "O:SPY241220C00585000", "error": "NOT_FOUND", "message": "Ticker not found."}, "missing_field"),
        (SNAPSHOT | {"details": {"ticker": "O:SPY241220C00585000"}}, "unreadable_value"),
        (SNAPSHOT | {"open_interest": "many"}, "unreadable_value"),
    ],
    ids=["an-error-of-one-ticker", "no-strike", "text"],
)
def test_a_snapshot_that_does_not_say_which_contract_it_is_of_is_handed_back(row: dict[str, Any], rule: str) -> None:
    found = parsed(SNAPSHOTS, SNAPSHOT, row)

    assert 1 == found.rows.num_rows
    assert [(1, rule)] == [(item.position, item.rule) for item in found.unparsed]
    assert row == json.loads(found.unparsed[0].raw)


def test_an_article_is_one_row_a_ticker_with_the_insight_of_that_ticker() -> None:
    insights = [*ARTICLE["insights"], {"ticker": "IVV", "sentiment": "neutral", "sentiment_reasoning": "Named."}]
    rows = parsed(NEWS, {**ARTICLE, "insights": insights}).rows.to_pylist()

    expected = [("SPY", "vader"), ("VOO", "vendor"), ("IVV", "vendor")]
    assert expected == [(row["ticker"], row["sentiment_source"]) for row in rows]
    assert ["positive", "neutral"] == [row["sentiment"] for row in rows[1:]]
    assert {"Example Wire"} == {row["publisher"] for row in rows}
    assert {datetime(2024, 12, 20, 14, 5, tzinfo=UTC)} == {row["published"].to_pydatetime() for row in rows}


@pytest.mark.parametrize(
    ("text", "compound", "sentiment"),
    [
        # The examples of its authors: https://github.com/cjhutto/vaderSentiment#code-examples.
        ("VADER is smart, handsome, and funny.", 0.8316, "positive"),
        ("The book was only kind of good.", 0.3832, "positive"),
        ("VADER is not smart, handsome, nor funny.", -0.7424, "negative"),
        ("The book was on the table.", 0.0, "neutral"),
    ],
)
def test_where_the_vendor_says_nothing_vader_reads_title_and_description(
    text: str, compound: float, sentiment: str
) -> None:
    article = {
        **ARTICLE,
        "tickers": ["SPY"],
        "insights": [{"ticker": "SPY"}],
        "title": "On a table",
        "description": text,
    }
    row = only_row(NEWS, article)

    assert (sentiment, "vader", None) == (row["sentiment"], row["sentiment_source"], row["sentiment_reasoning"])
    assert compound == row["sentiment_compound"]


def test_the_rows_of_an_article_all_point_to_its_place_on_the_page() -> None:
    found = parsed(NEWS, ARTICLE, {**ARTICLE, "id": "2", "tickers": ["SPY"], "insights": None})

    assert [0, 0, 1] == found.positions.tolist()


def test_an_article_without_any_ticker_is_handed_back() -> None:
    found = parsed(NEWS, {**ARTICLE, "tickers": [], "insights": []}, ARTICLE)

    assert [(0, "no_ticker")] == [(row.position, row.rule) for row in found.unparsed]
    assert [1, 1] == found.positions.tolist()


def test_an_article_from_before_the_insights_is_whole() -> None:
    old = {name: value for name, value in ARTICLE.items() if name not in {"insights", "keywords", "description"}}

    assert ["SPY", "VOO"] == parsed(NEWS, old).rows["ticker"].to_pylist()


def test_months_without_a_yield_are_null() -> None:
    found = only_row(YIELDS, CURVE)

    assert (date(2024, 12, 20), 4.43, None, 4.52) == tuple(
        found[name] for name in ("date", "yield_1_month", "yield_2_year", "yield_10_year")
    )


BAD_ROWS = [
    pytest.param(None, "not_an_object", id="null"),
    pytest.param(7, "not_an_object", id="a number"),
    pytest.param([1, 2], "not_an_object", id="a list"),
    pytest.param("row", "not_an_object", id="a text"),
    pytest.param({**BAR, "t": None}, "missing_field", id="null in a required field"),
    pytest.param({name: value for name, value in BAR.items() if name != "c"}, "missing_field", id="no close"),
    pytest.param({**BAR, "o": "585.31"}, "unreadable_value", id="a price as text"),
    pytest.param({**BAR, "t": "2024-12-20"}, "unreadable_value", id="a time as text"),
    pytest.param({**BAR, "t": 1734705000000.5}, "unreadable_value", id="a time with a fraction"),
    pytest.param({**BAR, "t": 1734705000000.0}, "unreadable_value", id="a time as a float"),
    pytest.param({**BAR, "t": -1}, "unreadable_value", id="a time before 1970"),
    pytest.param({**BAR, "t": 1734705000000000000}, "unreadable_value", id="nanoseconds in place of milliseconds"),
    pytest.param({**BAR, "t": 10**30}, "unreadable_value", id="a time beyond every integer"),
    pytest.param({**BAR, "n": 2**70}, "unreadable_value", id="a count beyond int64"),
    pytest.param({**BAR, "o": {}}, "unreadable_value", id="an object for a price"),
]


@pytest.mark.parametrize(("row", "rule"), BAD_ROWS)
def test_a_row_without_its_shape_is_handed_back_and_spoils_no_other(row: object, rule: str) -> None:
    other = {**BAR, "t": BAR["t"] + 60_000}
    found = parsed(BARS, BAR, row, other)

    assert [(1, rule, json.dumps(row))] == [(bad.position, bad.rule, bad.raw) for bad in found.unparsed]
    assert [0, 2] == found.positions.tolist()
    assert found.rows.equals(parsed(BARS, BAR, other).rows)


@pytest.mark.parametrize("strike", [582.1234, 10**7, 10**30])
def test_a_strike_that_the_column_could_only_round_is_handed_back(strike: float) -> None:
    found = parsed(CONTRACTS, {**CONTRACT, "strike_price": strike})

    assert ["unreadable_value"] == [row.rule for row in found.unparsed]


def test_text_that_is_no_utf_8_spoils_one_row_and_stays_legible() -> None:
    body = page(TRADE, {**TRADE, "id": "??"}, TRADE).replace(b'"??"', b'"\xff\\n"')
    found = parse(TRADES, body)

    assert [1] == [row.position for row in found.unparsed]
    assert "\\xff" in found.unparsed[0].raw
    assert 2 == found.rows.num_rows


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(("ask", "row", "_"), KINDS)
@given(data=st.data())
def test_stored_and_unparsed_rows_are_all_the_rows_of_the_page(
    ask: Ask, row: dict[str, Any], _: str, data: st.DataObject
) -> None:
    damage = st.dictionaries(st.sampled_from(sorted(row)), VALUES, max_size=2)
    hurt = st.builds(
        lambda change, gone: {k: v for k, v in {**row, **change}.items() if k != gone},
        damage,
        st.text(max_size=2) | st.sampled_from(sorted(row)),
    )
    rows = data.draw(st.lists(st.just(row) | hurt | VALUES, max_size=6))
    body = page(*rows)

    found = parse(ask, body)

    stored, refused = set(found.positions.tolist()), {bad.position for bad in found.unparsed}
    assert set(range(len(rows))) == stored | refused
    assert not stored & refused
    assert len(found.positions) == found.rows.num_rows
    assert [rows[bad.position] for bad in found.unparsed] == [json.loads(bad.raw) for bad in found.unparsed]
    found.rows.validate(full=True)
    for field in found.rows.schema:
        assert field.nullable or not found.rows[field.name].null_count


@pytest.mark.parametrize(("ask", "row", "time"), KINDS)
def test_one_bad_row_changes_nothing_about_the_others(ask: Ask, row: dict[str, Any], time: str) -> None:
    fast, slow = parsed(ask, row, row), parsed(ask, row, {**row, time: []}, row)

    assert fast.rows.equals(slow.rows)
    assert [1] == [bad.position for bad in slow.unparsed]


def test_a_page_of_bars_without_results_has_no_rows() -> None:
    found = parse(BARS, b'{"ticker":"SPY","queryCount":0,"resultsCount":0,"adjusted":false,"status":"OK"}')

    assert (0, TABLES["stock_bars"].schema, 0) == (found.rows.num_rows, found.rows.schema, len(found.positions))
    assert np.int64 == found.positions.dtype


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"[]", b'{"results": {}}', b'{"results": [', b'{"results": null}']
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse(BARS, body)


def test_raw_texts_are_the_bytes_that_came() -> None:
    body = b'{"results": [ {"t" : 1}, {"t":2.50}, null ]}'

    assert ['{"t":2.50}', '{"t" : 1}'] == raw_texts(body, [1, 0])


LONG_TRADES = [{**TRADE, "id": str(number), "size": number / 8, "sequence_number": number} for number in range(400)]
LONG_QUOTES = [{**QUOTE, "sequence_number": number, "indicators": [number, 1]} for number in range(800)]
LONG_BARS = [{**BAR, "t": BAR["t"] + 60_000 * number, "vw": 585.4712 + number * 1e-9} for number in range(900)]
PAGES_OF_MANY = [
    pytest.param(BARS, LONG_BARS, {"t": 1734705000000, "o": 1, "h": 1, "l": 1, "c": 1}, id="bars"),
    pytest.param(TRADES, LONG_TRADES, {**TRADE, "id": "Ä", "trf_id": None, "correction": 1}, id="trades"),
    pytest.param(QUOTES, LONG_QUOTES, {"sip_timestamp": 1734705000012601223}, id="quotes"),
]


@pytest.mark.parametrize(("ask", "rows", "other"), PAGES_OF_MANY)
def test_a_page_of_many_rows_is_read_as_each_row_alone(
    ask: Ask, rows: list[dict[str, Any]], other: dict[str, Any]
) -> None:
    for many in (rows, [*rows, other]):
        found = parsed(ask, *many)

        assert pa.concat_tables([parsed(ask, row).rows for row in many]).equals(found.rows)
        assert list(range(len(many))) == found.positions.tolist()
        assert () == found.unparsed


@pytest.mark.parametrize(("ask", "rows", "_"), PAGES_OF_MANY)
def test_one_row_does_not_spoil_a_page_of_many(ask: Ask, rows: list[dict[str, Any]], _: dict[str, Any]) -> None:
    found = parsed(ask, *rows[:300], {"t": "noon"}, *rows[300:])

    assert parsed(ask, *rows).rows.equals(found.rows)
    assert [300] == [row.position for row in found.unparsed]
