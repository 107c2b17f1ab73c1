"""Columns that are read in one compiled pass are those that msgspec reads, or it is said that they are not known."""

import json
import struct
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta, Raw, Struct

from marketlake.flat_json import Scanned, Scanner
from marketlake.vendor_rows import UNREADABLE, Int32, Int64, Milliseconds


class Print(Struct, tag_field="ev", tag="P", rename={"as_": "as"}):
    at: Milliseconds
    price: float
    sym: str | None = None
    q: Int64 | None = None
    as_: float | None = None
    codes: list[Int32] | None = None
    one: Int32 | list[Int32] | None = None


class Mark(Struct, tag_field="ev", tag="PM"):
    value: float


class Lone(Struct):
    t: Milliseconds
    o: float | None = None


SHAPES = (Print, Mark)
REFERENCE = msgspec.json.Decoder(list[Print | Mark])
REFERENCE_OF_LONE = msgspec.json.Decoder(list[Lone])
SCANNER, SCANNER_OF_LONE = Scanner(SHAPES), Scanner([Lone])


def values_of(found: Scanned, shapes: tuple[type[Struct], ...] = SHAPES) -> list[Struct]:
    """The objects again, in the order in which they stood."""
    rows = [pa.table(dict(columns)).to_pylist() for columns in found.columns]
    for kind, of_kind in zip(shapes, rows, strict=True):
        for row in of_kind if kind is Print else ():
            # The definition keeps one code as it is where the column has a list of one.
            row["one"] = row["one"] and tuple(row["one"])
    return [shapes[shape](**rows[shape].pop(0)) for shape in found.shape.tolist()]


def reference_of(text: bytes) -> list[Struct] | None:
    try:
        events = REFERENCE.decode(text)
    except UNREADABLE:
        return None
    for event in events:
        if isinstance(event, Print):
            event.one = (event.one,) if isinstance(event.one, int) else event.one and tuple(event.one)  # type: ignore[assignment]
    return events


def bits(events: list[Struct]) -> list[dict[str, Any]]:
    """By value and by sign: 0.0 is not -0.0."""
    return [
        {
            name: struct.pack("<d", value) if isinstance(value, float) else value
            for name, value in msgspec.structs.asdict(event).items()
        }
        for event in events
    ]


def check(text: bytes) -> bool:
    """What is taken is what msgspec has; whether it was taken."""
    found, expected = SCANNER.scan([text]), reference_of(text)
    if not found.objects.size:
        return False
    assert expected is not None
    assert bits(values_of(found)) == bits(expected)
    assert [len(expected)] == found.objects.tolist()
    return True


WHOLE = st.integers(-3, 300) | st.integers(-(2**70), 2**70)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-10000, 10000, places=4).map(float) | WHOLE
TEXT = st.text(st.characters(max_codepoint=127), max_size=5) | st.text(max_size=3)
CODES = st.lists(st.integers(-2, 90) | WHOLE, max_size=3)
ANYTHING = st.one_of(WHOLE, NUMBER, TEXT, CODES, st.none(), st.booleans(), st.dictionaries(TEXT, WHOLE, max_size=1))
FIELDS = {"at": st.integers(0, 10**13), "price": NUMBER, "sym": TEXT, "q": WHOLE, "as": NUMBER, "codes": CODES}
PRINTS = st.fixed_dictionaries(
    {"ev": st.just("P"), "at": FIELDS["at"], "price": NUMBER},
    optional={name: FIELDS[name] for name in ("sym", "q", "as", "codes")}
    | {"one": CODES | WHOLE, "more": ANYTHING, "null": st.none()},
)
MARKS = st.fixed_dictionaries({"ev": st.just("PM"), "value": NUMBER}, optional={"z": ANYTHING})
ODD = st.dictionaries(st.sampled_from(["ev", *FIELDS, "one", "value", "x"]), ANYTHING | st.sampled_from(["P", "PM"]))
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r")])


@given(st.lists(PRINTS | MARKS | ODD, max_size=4), SEPARATORS, st.booleans())
def test_what_is_taken_is_what_msgspec_has(
    events: list[dict[str, Any]], separators: tuple[str, str], is_ascii: bool
) -> None:
    check(json.dumps(events, separators=separators, ensure_ascii=is_ascii).encode())


PLAIN = (
    b'[{"ev":"P","at":17,"price":-1.25e-3,"sym":"a b","q":null,"as":0,"codes":[1, 2],"one":7},{"ev":"PM","value":2}]'
)


@given(st.data())
def test_no_change_of_a_byte_is_read_otherwise(data: st.DataObject) -> None:
    text = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        byte = data.draw(st.sampled_from(b'"\\,:-+.eE[]{}09 \n\0n\xc3\xff1') | st.integers(0, 255))
        text[place : place + data.draw(st.integers(0, 1))] = bytes([byte])
    check(bytes(text))


@given(st.integers(0, len(PLAIN)))
def test_no_text_that_is_cut_off_is_taken(length: int) -> None:
    assert (length == len(PLAIN)) == check(PLAIN[:length])


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
@example(-0.0)
@example(2.0**53)
@example(0.1 + 0.2)
def test_a_number_is_read_to_its_last_bit(value: float) -> None:
    check(b'[{"ev":"PM","value":%b}]' % repr(value).encode())


@given(st.decimals(-(10**12), 10**12, places=6, allow_nan=False))
def test_the_numbers_of_a_market_are_all_taken(value: object) -> None:
    assert check(f'[{{"ev":"PM","value":{value}}}]'.encode())


@pytest.mark.parametrize(
    "number",
    [
        "0.30000000000000004",
        "1234567890123456789012345",
        "0.1234567890123456789012345678",
        "1e23",
        "1E+22",
        "-0.0",
        "-0e1",
        "9.5e-200",
    ],
)
def test_numbers_that_take_a_longer_reading_are_taken(number: str) -> None:
    assert check(f'[{{"ev":"PM","value":1.5}},{{"ev":"PM","value":{number}}},{{"ev":"PM","value":2.5}}]'.encode())


@pytest.mark.parametrize(
    "value",
    [
        "01", "-", "+1", "1.", ".5", "1e", "1e+", "NaN", "Infinity", "1e400", '"1"', "true", "[1]", "{}", "", "nul",
        "1 2", "0x1", "1_0", "null",
    ],
)  # fmt: skip
def test_what_is_no_number_is_not_taken(value: str) -> None:
    assert not check(f'[{{"ev":"PM","value":{value}}}]'.encode())


@pytest.mark.parametrize("at", [2**63 - 1, 2**63, 2**64, 10**18, 10**19 - 1, 9_223_372_036_854, 9_223_372_036_855, -1])
def test_a_whole_number_beyond_its_bounds_is_not_taken(at: int) -> None:
    assert (0 <= at <= 9_223_372_036_854) == check(b'[{"ev":"P","at":%d,"price":1}]' % at)


@pytest.mark.parametrize("nanoseconds", [1_734_705_000_388_345_678, 2**63 - 1, -(2**63) + 1])
def test_nanoseconds_keep_all_their_digits(nanoseconds: int) -> None:
    assert check(b'[{"ev":"P","at":1,"price":1,"q":%d}]' % nanoseconds)


@pytest.mark.parametrize(
    "text",
    [
        b'[{"at":1,"ev":"P","price":1}]', b'[{"ev":"P","at":1,"price":1,"at":2}]', b'[{"ev":"NEW"}]', b"[1]", b"{}",
        b'[{"ev":"P","at":1}]', b'[{"ev":"P","at":1,"price":1,}]', b'[{"ev":"P","at":1,"price":1},]', b"[] ]", b"",
        b'[{"ev":"P","at":1,"price":1,"sym":"\\u0041"}]', '[{"ev":"P","at":1,"price":1,"sym":"ä"}]'.encode(),
        b'[{"ev":"P","at":1,"price":1,"more":{}}]', b'[{"ev":"P","at":1,"price":1,"codes":[1,]}]', b"[]\0[]",
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_to_the_definition(text: bytes) -> None:
    assert not check(text)


def test_texts_are_taken_up_to_the_first_that_is_not_known() -> None:
    found = SCANNER.scan(
        [b'[{"ev":"PM","value":1}]', b"[]", PLAIN, b'[{"ev":"PM","value":3},{"ev":"P","at":1}]', PLAIN]
    )

    assert [1, 0, 2] == found.objects.tolist()
    assert [Mark(1.0), Mark(2.0)] == [event for event in values_of(found) if isinstance(event, Mark)]
    assert [1, 1] == [
        len(columns["price" if "price" in columns else "value"]) - shape for shape, columns in enumerate(found.columns)
    ]


@given(st.lists(st.fixed_dictionaries({"t": st.integers(0, 10**13)}, optional={"o": NUMBER, "x": TEXT}), max_size=5))
def test_one_shape_alone_needs_no_tag(rows: list[dict[str, Any]]) -> None:
    text = json.dumps(rows).encode()
    found = SCANNER_OF_LONE.scan([text])
    if found.objects.size:
        assert bits(values_of(found, (Lone,))) == bits(REFERENCE_OF_LONE.decode(text))


def test_more_objects_than_there_is_room_for_are_left() -> None:
    class Little(Struct):
        x: float | None = None

    assert Scanner([Little]).scan([b"[{},{},{},{},{},{},{},{},{}]"]).objects.size == 0
    assert [2] == Scanner([Little]).scan([b'[{ "x" :   1.0  },{ "x" :   1.0  }]']).objects.tolist()


@pytest.mark.parametrize("kind", [Raw, int, dict[str, int], list[str], Annotated[float, Meta(ge=0)], str | int])
def test_a_shape_that_cannot_be_columns_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="no column can be scanned"):
        Scanner([msgspec.defstruct("Other", [("field", kind)])])
