"""What the stream sends becomes typed columns, or a counted result with its reason; never an exception."""

import json
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_records import Recording, recording_of

from marketlake.asks import Ask, bars_ask, quotes_ask, trades_ask
from marketlake.frames import Chunk, decode, raw_text
from marketlake.stream_events import live_schema
from marketlake.tables import TABLES, Carrier, Span, Table
from marketlake.tickers import AssetClass
from marketlake.wire import parse

STOCKS, OPTIONS, INDICES = AssetClass.STOCKS, AssetClass.OPTIONS, AssetClass.INDICES
CALL = "O:SPY241220C00585000"
SESSION = datetime(2024, 12, 20, tzinfo=UTC).date()
Json = dict[str, Any]

# The vendor's documented samples: massive.com/docs/websocket/{stocks,options,indices}.
TRADE = {
    "ev": "T", "sym": "SPY", "x": 4, "i": "71711", "z": 2, "p": 585.33, "s": 25, "ds": "25.0", "c": [37],
    "t": 1734705000412, "pt": 1734705000388, "q": 104377, "trfi": 202, "trft": 1734705000390,
}  # fmt: skip
OPTION_TRADE = {
    "ev": "T", "sym": CALL, "x": 316, "p": 3.1, "s": 2, "c": [209], "t": 1734705003120, "q": 844090872,
}  # fmt: skip
QUOTE = {
    "ev": "Q", "sym": "SPY", "bx": 4, "bp": 585.3, "bs": 100, "ax": 7, "ap": 585.4, "as": 160, "c": 1, "i": [604],
    "t": 1734705000500, "q": 50385480, "z": 2,
}  # fmt: skip
OPTION_QUOTE = {
    "ev": "Q", "sym": CALL, "bx": 302, "ax": 304, "bp": 3.09, "ap": 3.12, "bs": 61, "as": 44, "t": 1734705003130,
    "q": 844090911,
}  # fmt: skip
MINUTE = {
    "ev": "AM", "sym": "SPY", "v": 812344, "av": 1520113, "op": 585.2, "vw": 585.4712, "o": 585.31, "c": 585.62,
    "h": 585.7, "l": 585.22, "a": 585.33, "z": 89, "s": 1734705000000, "e": 1734705060000,
}  # fmt: skip
INDEX_SECOND = {
    "ev": "A", "sym": "I:VIX", "op": 24.2, "o": 24.18, "c": 24.15, "h": 24.18, "l": 24.15, "s": 1734705015000,
    "e": 1734705016000,
}  # fmt: skip
VALUE = {"ev": "V", "val": 18.36, "T": "I:VIX", "t": 1734710405000}
STATUS = {"ev": "status", "status": "success", "message": "subscribed to: T.SPY"}
LULD = {"ev": "LULD", "T": "SPY", "h": 614.6, "l": 555.9, "i": [21], "z": 2, "t": 1734705000123456789, "q": 2901}
SAMPLES = {
    "stock_trades": (STOCKS, TRADE),
    "option_trades": (OPTIONS, OPTION_TRADE),
    "stock_quotes": (STOCKS, QUOTE),
    "option_quotes": (OPTIONS, OPTION_QUOTE),
    "stock_bars": (STOCKS, MINUTE),
    "option_bars": (OPTIONS, MINUTE | {"sym": CALL}),
    "index_bars": (INDICES, INDEX_SECOND),
    "index_values": (INDICES, VALUE),
}
# The same of REST: massive.com/docs/rest.
BAR_OF_REST = {
    "v": 812344.0, "vw": 585.4712, "o": 585.31, "c": 585.62, "h": 585.7, "l": 585.22, "t": 1734705000000, "n": 9120,
}  # fmt: skip
TRADE_OF_REST = {
    "conditions": [37], "correction": 1, "exchange": 4, "id": "71711", "participant_timestamp": 1734705000388345678,
    "price": 585.33, "sequence_number": 104377, "sip_timestamp": 1734705000412601222, "size": 25,
    "decimal_size": "25.0", "tape": 2, "trf_id": 202, "trf_timestamp": 1734705000390000001,
}  # fmt: skip
QUOTE_OF_REST = {
    "bid_price": 585.3, "bid_size": 1, "bid_exchange": 4, "ask_price": 585.4, "ask_size": 2, "ask_exchange": 7,
    "sip_timestamp": 1734705000500601222, "participant_timestamp": 1734705000500000000, "sequence_number": 50385480,
    "tape": 2, "conditions": [1], "indicators": [604], "trf_timestamp": 1734705000500000001,
}  # fmt: skip
OF_SHARES = ("id", "decimal_size", "tape", "trf_id", "trf_timestamp", "indicators")


def chunk_of(feed: AssetClass, *frames: list[Json]) -> Chunk:
    (chunk,) = decode(recording_of(frames).records, feed)
    return chunk


def table_of(chunk: Chunk, name: str) -> pa.Table:
    return pa.concat_tables([item.rows for item in chunk.rows if item.table.name == name])


def filled(rows: pa.Table) -> set[str]:
    return {name for name in rows.column_names if rows[name].null_count < rows.num_rows}


def ns(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds * 1_000_000


EXPECTED = {
    "T": lambda e: {
        "ticker": e["sym"], "sip_timestamp": ns(e["t"]), "participant_timestamp": ns(e.get("pt")),
        "trf_timestamp": ns(e.get("trft")), "trf_id": e.get("trfi"), "exchange": e["x"], "id": e.get("i"),
        "sequence_number": e.get("q"), "price": e["p"], "size": e["s"], "decimal_size": e.get("ds"),
        "conditions": e.get("c"), "correction": None, "tape": e.get("z"),
    },
    "Q": lambda e: {
        "ticker": e["sym"], "sip_timestamp": ns(e["t"]), "participant_timestamp": None, "trf_timestamp": None,
        "sequence_number": e.get("q"), "bid_price": e.get("bp"), "bid_size": e.get("bs"), "bid_exchange": e.get("bx"),
        "ask_price": e.get("ap"), "ask_size": e.get("as"), "ask_exchange": e.get("ax"),
        "conditions": [e["c"]] if isinstance(e.get("c"), int) else e.get("c"), "indicators": e.get("i"),
        "tape": e.get("z"),
    },
    "A": lambda e: {
        "ticker": e["sym"], "span": "second", "start": ns(e["s"]), "open": e["o"], "high": e["h"], "low": e["l"],
        "close": e["c"], "volume": e.get("v"), "vwap": e.get("vw"), "trades": None,
    },
    "V": lambda e: {"ticker": e["T"], "event_time": ns(e["t"]), "value": e["val"]},
}  # fmt: skip
EXPECTED["AM"] = lambda e: EXPECTED["A"](e) | {"span": "minute"}

TIMES = st.integers(0, 2_000_000_000_000)
NUMBERS = st.integers(-5, 10**6) | st.floats(-1e9, 1e9, allow_nan=False)
CODES = st.lists(st.integers(0, 300), max_size=3)
WHOLE = st.integers(0, 10**12)
TEXTS = st.text(max_size=6)
TRADES = st.fixed_dictionaries(
    {"ev": st.just("T"), "sym": TEXTS, "x": WHOLE, "p": NUMBERS, "s": NUMBERS, "t": TIMES},
    optional={"i": TEXTS, "z": WHOLE, "ds": TEXTS, "c": CODES, "pt": TIMES, "q": WHOLE, "trfi": WHOLE, "trft": TIMES}
    | {"new": TEXTS},
)
QUOTES = st.fixed_dictionaries(
    {"ev": st.just("Q"), "sym": TEXTS, "t": TIMES},
    optional={"q": WHOLE, "bp": NUMBERS, "bs": NUMBERS, "bx": WHOLE, "ap": NUMBERS, "as": NUMBERS, "ax": WHOLE}
    | {"c": st.integers(0, 99) | CODES, "i": CODES, "z": WHOLE},
)
BARS = st.fixed_dictionaries(
    {"ev": st.sampled_from(["A", "AM"]), "sym": TEXTS, "s": TIMES, "e": TIMES} | dict.fromkeys("ohlc", NUMBERS),
    optional={"v": NUMBERS, "vw": NUMBERS, "a": NUMBERS, "z": NUMBERS, "otc": st.booleans(), "dv": TEXTS},
)
VALUES = st.fixed_dictionaries({"ev": st.just("V"), "T": TEXTS, "t": TIMES, "val": NUMBERS})


def check_against_json(feed: AssetClass, frames: list[list[Json]]) -> None:
    sent: dict[str, list[Json]] = {}
    found: dict[str, list[Json]] = {}
    for chunk in decode(recording_of(frames).records, feed):
        assert chunk.undecodable == ()
        for item in chunk.rows:
            columns = {
                name: column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
                for name, column in zip(item.rows.column_names, item.rows.columns, strict=True)
            }
            found.setdefault(item.topic, []).extend(pa.table(columns).to_pylist())
    for event in (event for frame in frames for event in json.loads(json.dumps(frame))):
        sent.setdefault(event["ev"], []).append(EXPECTED[event["ev"]](event))

    assert sent == found


@given(st.lists(st.lists(TRADES | QUOTES | BARS, max_size=4), max_size=6))
def test_every_column_of_shares_is_what_json_says(frames: list[list[Json]]) -> None:
    check_against_json(STOCKS, frames)


@given(st.lists(st.lists(VALUES | BARS, max_size=4), max_size=6))
def test_every_column_of_indices_is_what_json_says(frames: list[list[Json]]) -> None:
    check_against_json(INDICES, frames)


@given(st.lists(st.lists(TRADES | QUOTES | BARS, max_size=4), min_size=1, max_size=6))
@settings(max_examples=25)
def test_every_column_of_a_busy_minute_is_what_json_says(frames: list[list[Json]]) -> None:
    check_against_json(STOCKS, [*frames, [TRADE, QUOTE]] * 200)


ODD = [
    b"[", b"{}", b'[{"ev":"NEW"},1,null]', b'[{"ev":"T","sym":"SPY"}]', b'[{"p":1e999,"ev":"T"}]',
    b'[{"ev":"T","x":2.5}]',
    json.dumps([STATUS, TRADE]).encode(), json.dumps([LULD]).encode(), json.dumps([QUOTE | {"sym": "Ä\n"}]).encode(),
]  # fmt: skip


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=12), st.integers(1, 40))
@settings(max_examples=5)
def test_what_is_odd_is_no_other_among_many(odd: list[bytes], between: int) -> None:
    recording = Recording()
    for message in odd * 3:
        for number in range(between):
            recording.frame(TRADE | {"q": number}, MINUTE, OPTION_QUOTE)
        recording.message(message)
        recording.note("alive")
    for _ in range(200):
        recording.frame(TRADE, QUOTE)
    many = list(decode(recording.records, STOCKS))
    one_by_one = [chunk for record in recording.records for chunk in decode([record], STOCKS)]

    assert recording.records == [record for chunk in many for record in chunk.records]
    assert [None, *(chunk.records[-1].position for chunk in many[:-1])] == [chunk.after for chunk in many]
    for name in {item.table.name for chunk in one_by_one for item in chunk.rows}:
        expected, found = (
            pa.concat_tables([table_of(chunk, name) for chunk in chunks if holds(chunk, name)])
            for chunks in (one_by_one, many)
        )
        assert expected.equals(found)
    for column in ("published_ns", "element"):
        expected, found = (
            [*chain.from_iterable(getattr(chunk, column) for chunk in chunks)] for chunks in (one_by_one, many)
        )
        assert expected == found
    assert [(bad.position, bad.element, bad.rule, bad.raw) for chunk in one_by_one for bad in chunk.undecodable] == [
        (bad.position, bad.element, bad.rule, bad.raw) for chunk in many for bad in chunk.undecodable
    ]


def holds(chunk: Chunk, name: str) -> bool:
    return any(item.table.name == name for item in chunk.rows)


def test_chunks_do_not_change_rows_or_their_order() -> None:
    frames = [[TRADE | {"q": 3 * number + place} for place in range(3)] for number in range(3_000)]
    chunks = list(decode(recording_of(frames).records, STOCKS))

    assert len(chunks) > 1
    assert list(range(9_000)) == [
        q for chunk in chunks for q in table_of(chunk, "stock_trades")["sequence_number"].to_pylist()
    ]
    assert [None, *(chunk.records[-1].position for chunk in chunks[:-1])] == [chunk.after for chunk in chunks]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_stream_fills_exactly_the_columns_that_it_is_said_to_carry(name: str) -> None:
    feed, event = SAMPLES[name]
    chunk = chunk_of(feed, [event])
    carried = {column for column in TABLES[name].schema.names if TABLES[name].carrier(column) in {"stream", "both"}}

    assert carried == filled(table_of(chunk, name))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "index_values"])
def test_rest_fills_exactly_the_columns_that_it_is_said_to_carry(name: str) -> None:
    ask, row = rest_sample(TABLES[name])
    rows = parse(ask, json.dumps({"results": [row]}).encode()).rows
    carried = {column for column in TABLES[name].schema.names if TABLES[name].carrier(column) in {"rest", "both"}}

    assert carried == filled(rows)


def rest_sample(table: Table) -> tuple[Ask, Json]:
    ticker = {STOCKS: "SPY", OPTIONS: CALL, INDICES: "I:VIX"}[table.asset_class or STOCKS]
    is_share = table.asset_class is STOCKS
    kind = table.name.partition("_")[2]
    if kind == "bars":
        kept = BAR_OF_REST if ticker != "I:VIX" else {key: BAR_OF_REST[key] for key in "ohlct"}
        return bars_ask(table, "SPY", ticker, Span.MINUTE, SESSION, SESSION, 10), kept
    row, make = (TRADE_OF_REST, trades_ask) if kind == "trades" else (QUOTE_OF_REST, quotes_ask)
    # The documentation marks these as of shares; of quotes also the participant's time and the conditions.
    own = {*OF_SHARES, *(("participant_timestamp", "conditions") if kind == "quotes" else ())}
    return make(table, "SPY", ticker, SESSION, 10), {key: row[key] for key in row if is_share or key not in own}


def test_instants_that_both_bring_agree_to_the_streams_precision() -> None:
    """The samples of stream and REST are of one trade."""
    table = TABLES["stock_trades"]
    ask, row = rest_sample(table)
    ours = table_of(chunk_of(STOCKS, [TRADE]), "stock_trades")
    theirs = parse(ask, json.dumps({"results": [row]}).encode()).rows
    for column in ("sip_timestamp", "participant_timestamp", "trf_timestamp"):
        step = table.stream_step_ns(column)
        exact = theirs[column].cast(pa.int64())[0].as_py()

        assert exact // step * step == ours[column].cast(pa.int64())[0].as_py()
        assert step == 1_000_000


def test_every_streamed_table_can_be_made_from_the_stream_alone() -> None:
    streamed = [table for table in TABLES.values() if table.streamed]

    assert set(SAMPLES) == {table.name for table in streamed}
    assert all(live_schema(table) == table.schema for table in streamed)
    with pytest.raises(ValueError, match="option_contracts cannot be made from the stream"):
        live_schema(TABLES["option_contracts"])


def test_tables_that_rest_has_nothing_of_are_told() -> None:
    assert {"index_values"} == {name for name, table in TABLES.items() if table.streamed and not table.over_rest}
    assert TABLES["index_bars"].carrier("volume") is Carrier.NEITHER


@pytest.mark.parametrize(
    ("element", "rule", "table", "ticker"),
    [
        pytest.param({"ev": "XT", "sym": "SPY"}, "unknown_event", None, None, id="another kind"),
        pytest.param({"ev": "V", "T": "I:VIX", "t": 1, "val": 1}, "unknown_event", None, None, id="another feed's"),
        pytest.param({"sym": "SPY", "p": 1}, "no_event", None, None, id="without ev"),
        pytest.param({"ev": None, "sym": "SPY"}, "unreadable_value", None, None, id="ev is null"),
        pytest.param(7, "not_an_object", None, None, id="a number"),
        pytest.param(None, "not_an_object", None, None, id="null"),
        pytest.param([TRADE], "not_an_object", None, None, id="an array in the array"),
        pytest.param(TRADE | {"p": None}, "missing_field", "stock_trades", "SPY", id="a null price"),
        pytest.param({"ev": "Q", "sym": "SPY"}, "missing_field", "stock_quotes", "SPY", id="no time"),
        pytest.param({"ev": "Q", "t": 1}, "missing_field", "stock_quotes", None, id="no ticker"),
        pytest.param(MINUTE | {"o": "585"}, "unreadable_value", "stock_bars", "SPY", id="a text for a number"),
        pytest.param(TRADE | {"t": 1e30}, "unreadable_value", "stock_trades", "SPY", id="a time beyond all"),
        pytest.param(TRADE | {"t": -1}, "unreadable_value", "stock_trades", "SPY", id="a negative time"),
        pytest.param(TRADE | {"c": [None]}, "unreadable_value", "stock_trades", "SPY", id="null in a list"),
        pytest.param(TRADE | {"sym": 5}, "unreadable_value", "stock_trades", None, id="a number for a ticker"),
    ],
)
def test_what_is_not_as_documented_is_handed_back_and_spoils_nothing(
    element: object, rule: str, table: str | None, ticker: str | None
) -> None:
    recording = Recording()
    recording.frame(TRADE)
    bad = recording.frame(QUOTE, element, TRADE)
    (chunk,) = decode(recording.records, STOCKS)
    (found,) = chunk.undecodable

    assert (rule, table, ticker) == (found.rule, found.table, found.ticker)
    assert (2, bad.position, 1) == (found.event, found.position, found.element)
    assert element == json.loads(found.raw)
    assert (2, 1) == (table_of(chunk, "stock_trades").num_rows, table_of(chunk, "stock_quotes").num_rows)
    assert [True, True, False, True] == (chunk.published_ns > 0).tolist()


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[", b'[{"ev":"T"', b'{"ev":"T"}', b"null", b'"[]"', b"\xff\xfe[]", b"[" * 50_000, b"[NaN]",
        b'[{"ev":"T","p":NaN}]', b"[]]", b"[1,]",
    ],
    ids=lambda payload: repr(payload[:12]),
)  # fmt: skip
def test_a_message_that_is_no_array_is_one_result(payload: bytes) -> None:
    recording = Recording()
    recording.frame(TRADE)
    bad = recording.message(payload)
    recording.frame(TRADE)
    (chunk,) = decode(recording.records, STOCKS)
    (found,) = chunk.undecodable

    assert ("not_an_array", bad.position, 0) == (found.rule, found.position, found.element)
    assert payload.decode(errors="backslashreplace") == found.raw
    assert table_of(chunk, "stock_trades").num_rows == 2


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode), st.sampled_from(list(AssetClass)))
def test_no_bytes_raise(payload: bytes, feed: AssetClass) -> None:
    recording = Recording()
    recording.message(payload)
    recording.message(b'[{"ev":"AM","sym":%b}]' % payload)
    list(decode(recording.records, feed))


def test_every_element_is_one_event_whatever_it_is() -> None:
    recording = recording_of([[STATUS], [TRADE, LULD, {"ev": "NEW"}], [], [MINUTE, QUOTE]])
    recording.note("alive")
    (chunk,) = decode(recording.records, STOCKS)

    assert [0, 1, 1, 1, 3, 3] == chunk.record.tolist()
    assert [0, 0, 1, 2, 0, 1] == chunk.element.tolist()
    assert [0, ns(TRADE["t"]), 0, 0, ns(MINUTE["e"]), ns(QUOTE["t"])] == chunk.published_ns.tolist()
    assert len(chunk.records) == 5


def test_the_text_of_an_event_is_as_it_was_sent() -> None:
    assert '{"p": 1.10 ,"ev":"T"}' == raw_text(b'[ 1, {"p": 1.10 ,"ev":"T"} ]', 1)
