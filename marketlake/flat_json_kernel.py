"""The compiled part of :mod:`marketlake.flat_json`: one pass over the bytes, from arrays of numpy into arrays of numpy.

What stands at a place of the text is told by its byte. A function gives back the place behind what it has read, or -1
for "not known". Each is inlined where it is called and keeps no count of references: passing on two dozen arrays, or
counting who holds them, would take longer than reading does.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

type Ints = NDArray[np.int64]

LEAST_OBJECT_BYTES: Final = 16  # room is made for objects no shorter than this; what does not find room is not known
LONG_NUMBERS: Final = 100_000
_NOT_KNOWN: Final = -1
# A double holds whole numbers below 2**53 and powers of ten up to 10**22 exactly, so that one division or
# multiplication of the two rounds once, as the definition does (Clinger, "How to read floating point numbers
# accurately", 1990). Other numbers are left to Python's own reading of their text.
_EXACT_WHOLE: Final = 1 << 53
_EXACT_POWER: Final = 22
_POWERS: Final = 10.0 ** np.arange(_EXACT_POWER + 1)
_DIGITS: Final = 18  # int64 holds so many whatever they are, and one more where they are nanoseconds since 1970
_LONG_DIGITS: Final = 30
_GREATEST_EXPONENT: Final = 200  # with no more than thirty digits, nothing below it is infinite


class Kind(IntEnum):
    """What the value of a field becomes."""

    WHOLE = 0
    NUMBER = 1
    TEXT = 2
    CODES = 3
    CODE_OR_CODES = 4


class Grammar(NamedTuple):
    """What may stand in an array, as the compiled reader takes it; fields of all shapes are numbered through."""

    tags: NDArray[np.uint8]
    tag_begin: Ints
    keys: NDArray[np.uint8]
    key_begin: Ints
    first_field: Ints  # of each shape, and one more
    kind: Ints
    slot: Ints  # the column of its kind
    is_required: NDArray[np.bool_]
    least: Ints
    greatest: Ints


class Room(NamedTuple):
    """Where the values go: each field has a column of its kind (``slot``), each shape counts its own rows.

    The text or list of row r ends at r + 1 of its ends, and begins at r.
    """

    whole: Ints  # by row and slot, as all that has one value a row
    number: NDArray[np.float64]
    text: NDArray[np.uint8]  # by slot
    text_end: NDArray[np.int32]
    codes: NDArray[np.int32]  # by slot
    codes_end: NDArray[np.int32]
    is_there: NDArray[np.bool_]  # by row and field
    rows: Ints  # of each shape, how many are taken
    shape: NDArray[np.int8]  # of each object
    long: Ints  # slot, row, begin and end of numbers that take more than one rounding
    taken: Ints  # how many objects, and how many long numbers


_WHOLE, _NUMBER, _TEXT, _EITHER = (int(kind) for kind in (Kind.WHOLE, Kind.NUMBER, Kind.TEXT, Kind.CODE_OR_CODES))
_NULL: Final = np.frombuffer(b"null", dtype=np.uint8)
_NOT_ASCII: Final = 128
_QUOTE, _BACKSLASH, _COMMA, _COLON, _MINUS, _PLUS, _POINT, _SMALL_E, _LARGE_E = b'"\\,:-+.eE'
_LIST, _LIST_END, _OBJECT, _OBJECT_END, _ZERO, _NINE, _SPACE, _LINE, _RETURN, _TAB = b"[]{}09 \n\r\t"
_OBJECTS, _LONG = 0, 1  # the two of ``taken``

_compiled: Final[Callable[..., Any]] = njit(cache=True, nogil=True, _nrt=False)
_inlined: Final[Callable[..., Any]] = njit(nogil=True, _nrt=False, inline="always")


@_compiled
def scan(text: Any, begins: Any, grammar: Any, room: Any, objects: Any, follows: Any, rows: Any, taken: Any) -> int:
    """Fill the columns; how many texts were taken.

    ``follows`` has the field that is looked for first behind each field; ``rows`` and ``taken`` are copies of the
    room's, to go back to where a text is not known.
    """
    for number in range(objects.size):
        at = _array(text, _blank(text, begins[number]), grammar, room, follows)
        if at < 0 or _blank(text, at) != begins[number + 1] - 1:
            _copy(rows, room.rows)
            _copy(taken, room.taken)
            return number
        objects[number] = room.taken[_OBJECTS] - taken[_OBJECTS]
        _copy(room.rows, rows)
        _copy(room.taken, taken)
    return objects.size


@_inlined
def _copy(values: Any, into: Any) -> None:
    for place in range(values.size):
        into[place] = values[place]


@_inlined
def _array(text: Any, at: int, grammar: Any, room: Any, follows: Any) -> int:
    if text[at] != _LIST:
        return _NOT_KNOWN
    at = _blank(text, at + 1)
    while text[at] != _LIST_END:
        if text[at] != _OBJECT or room.taken[_OBJECTS] >= room.shape.size:
            return _NOT_KNOWN
        at = _object(text, at + 1, grammar, room, follows)
        if at < 0:
            return _NOT_KNOWN
        at = _next_element(text, at)
        if at < 0:
            return _NOT_KNOWN
    return at + 1


@_inlined
def _next_element(text: Any, at: int) -> int:
    """The bracket that closes a list, or what stands behind the comma: never the bracket behind a comma."""
    at = _blank(text, at)
    if text[at] == _LIST_END:
        return at
    if text[at] != _COMMA:
        return _NOT_KNOWN
    at = _blank(text, at + 1)
    return at if text[at] != _LIST_END else _NOT_KNOWN


@_inlined
def _object(text: Any, at: int, grammar: Any, room: Any, follows: Any) -> int:
    """One object, from behind its opening brace to behind the closing one."""
    shape, at = _shape_at(text, _blank(text, at), grammar)
    if shape < 0:
        return _NOT_KNOWN
    row = room.rows[shape]
    for field in range(grammar.first_field[shape], grammar.first_field[shape + 1]):
        room.is_there[row, field] = False
    at = _members(text, at, shape, row, grammar, room, follows)
    if at < 0 or not _is_filled_up(shape, row, grammar, room):
        return _NOT_KNOWN
    room.shape[room.taken[_OBJECTS]] = shape
    room.taken[_OBJECTS] += 1
    room.rows[shape] += 1
    return at


@_inlined
def _shape_at(text: Any, at: int, grammar: Any) -> tuple[int, int]:
    """Which shape the object is of, and the place behind its tag, which has to come first."""
    for shape in range(grammar.first_field.size - 1):
        begin, end = grammar.tag_begin[shape], grammar.tag_begin[shape + 1]
        if _is_here(text, at, grammar.tags, begin, end):
            return shape, at + end - begin
    return _NOT_KNOWN, _NOT_KNOWN


@_inlined
def _members(text: Any, at: int, shape: int, row: int, grammar: Any, room: Any, follows: Any) -> int:
    """The fields, from behind the tag to behind the closing brace."""
    before = grammar.first_field[shape + 1] - 1
    is_first = grammar.tag_begin[shape] == grammar.tag_begin[shape + 1]
    at = _blank(text, at)
    while text[at] != _OBJECT_END:
        begin = at if is_first else _behind(text, at, _COMMA)
        end = _text_end(text, begin) if begin >= 0 else _NOT_KNOWN
        at = _behind(text, _blank(text, end + 1), _COLON) if end >= 0 else _NOT_KNOWN
        if at < 0:
            return _NOT_KNOWN
        field = _field_of(text, begin + 1, end, follows[before], shape, grammar)
        if field < 0:
            at = _passed_over(text, at)
        else:
            follows[before] = field
            before = field
            at = _value(text, at, field, row, grammar, room)
        if at < 0:
            return _NOT_KNOWN
        at = _blank(text, at)
        is_first = False
    return at + 1


@_inlined
def _field_of(text: Any, begin: int, end: int, guess: int, shape: int, grammar: Any) -> int:
    """The field of this key, looked for from the guess on: a sender writes its fields in the same order again."""
    first, last = grammar.first_field[shape], grammar.first_field[shape + 1]
    for turn in range(last - first):
        field = guess + turn if guess + turn < last else guess + turn - last + first
        key, key_end = grammar.key_begin[field], grammar.key_begin[field + 1]
        if key_end - key == end - begin and _is_here(text, begin, grammar.keys, key, key_end):
            return field
    return _NOT_KNOWN


@_inlined
def _value(text: Any, at: int, field: int, row: int, grammar: Any, room: Any) -> int:
    """Put the value at a place into its column; the place behind it."""
    if room.is_there[row, field]:
        return _NOT_KNOWN
    if _is_null(text, at):
        return _NOT_KNOWN if grammar.is_required[field] else at + 4
    room.is_there[row, field] = True
    kind, slot = grammar.kind[field], grammar.slot[field]
    if kind == _WHOLE:
        value, at = _whole(text, at)
        room.whole[row, slot] = value
        return at if grammar.least[field] <= value <= grammar.greatest[field] else _NOT_KNOWN
    if kind == _NUMBER:
        return _put_number(text, at, slot, row, room)
    if kind == _TEXT:
        return _put_text(text, at, slot, row, room)
    if text[at] == _LIST:
        return _put_codes(text, at, field, row, grammar, room)
    return _put_code(text, at, field, row, room.codes_end[row, slot], grammar, room) if kind == _EITHER else _NOT_KNOWN


@_inlined
def _put_number(text: Any, at: int, slot: int, row: int, room: Any) -> int:
    value, end, is_exact = _number(text, at)
    room.number[row, slot] = value
    if end >= 0 and not is_exact:
        number = room.taken[_LONG]
        if number == room.long.shape[0]:
            return _NOT_KNOWN
        room.long[number, 0], room.long[number, 1], room.long[number, 2], room.long[number, 3] = slot, row, at, end
        room.taken[_LONG] += 1
    return end


@_inlined
def _put_text(text: Any, at: int, slot: int, row: int, room: Any) -> int:
    end = _text_end(text, at)
    if end < 0:
        return _NOT_KNOWN
    into = room.text_end[row, slot] - at - 1
    for place in range(at + 1, end):
        room.text[slot, into + place] = text[place]
    room.text_end[row + 1, slot] = into + end
    return end + 1


@_inlined
def _put_codes(text: Any, at: int, field: int, row: int, grammar: Any, room: Any) -> int:
    slot = grammar.slot[field]
    into = room.codes_end[row, slot]
    room.codes_end[row + 1, slot] = into
    at = _blank(text, at + 1)
    while text[at] != _LIST_END:
        at = _put_code(text, at, field, row, into, grammar, room)
        if at < 0:
            return _NOT_KNOWN
        into += 1
        at = _next_element(text, at)
        if at < 0:
            return _NOT_KNOWN
    return at + 1


@_inlined
def _put_code(text: Any, at: int, field: int, row: int, into: int, grammar: Any, room: Any) -> int:
    code, at = _whole(text, at)
    if at < 0 or not grammar.least[field] <= code <= grammar.greatest[field]:
        return _NOT_KNOWN
    slot = grammar.slot[field]
    room.codes[slot, into] = code
    room.codes_end[row + 1, slot] = into + 1
    return at


@_inlined
def _is_filled_up(shape: int, row: int, grammar: Any, room: Any) -> bool:
    """Whether no required field is missing; columns become as long as the others where an optional one is."""
    for field in range(grammar.first_field[shape], grammar.first_field[shape + 1]):
        if room.is_there[row, field]:
            continue
        if grammar.is_required[field]:
            return False
        kind, slot = grammar.kind[field], grammar.slot[field]
        if kind == _WHOLE:
            room.whole[row, slot] = 0
        elif kind == _NUMBER:
            room.number[row, slot] = 0.0
        elif kind == _TEXT:
            room.text_end[row + 1, slot] = room.text_end[row, slot]
        else:
            room.codes_end[row + 1, slot] = room.codes_end[row, slot]
    return True


@_inlined
def _passed_over(text: Any, at: int) -> int:
    """The place behind a value that no field takes: a text, a number or null; what else there is, is not known."""
    if text[at] == _QUOTE:
        end = _text_end(text, at)
        return end + 1 if end >= 0 else _NOT_KNOWN
    if _is_null(text, at):
        return at + 4
    _, at, _ = _number(text, at)
    return at


@_inlined
def _whole(text: Any, at: int) -> tuple[int, int]:
    """A whole number and the place behind it."""
    is_negative = text[at] == _MINUS
    begin = at + 1 if is_negative else at
    value, at = _digits(text, begin, 0)
    # Nineteen digits may be too many for 63 bits, and have become negative then; more are not looked at.
    if at - begin > _DIGITS + 1 or value < 0 or not _is_plain(text, begin, at) or _is_fraction(text[at]):
        return 0, _NOT_KNOWN
    return (-value if is_negative else value), at


@_inlined
def _number(text: Any, at: int) -> tuple[float, int, bool]:
    """A number and the place behind it; not exact if its text has to be read again."""
    is_negative = text[at] == _MINUS
    begin = at + 1 if is_negative else at
    mantissa, at = _digits(text, begin, 0)
    # A zero with a sign and nothing else is a whole number to msgspec, which has no sign.
    if not _is_plain(text, begin, at) or (is_negative and mantissa == 0 and not _is_fraction(text[at])):
        return 0.0, _NOT_KNOWN, False
    digits, power = at - begin, 0
    if text[at] == _POINT:
        begin = at + 1
        mantissa, at = _digits(text, begin, mantissa)
        power = begin - at
        digits -= power
        if power == 0:
            return 0.0, _NOT_KNOWN, False
    if text[at] == _SMALL_E or text[at] == _LARGE_E:
        exponent, at = _exponent(text, at + 1)
        if at < 0:
            return 0.0, _NOT_KNOWN, False
        power += exponent
    if digits > _DIGITS or mantissa >= _EXACT_WHOLE or not -_EXACT_POWER <= power <= _EXACT_POWER:
        return 0.0, (at if digits <= _LONG_DIGITS else _NOT_KNOWN), False
    value = mantissa / _POWERS[-power] if power < 0 else mantissa * _POWERS[power]
    return (-value if is_negative else value), at, True


@_inlined
def _exponent(text: Any, at: int) -> tuple[int, int]:
    """The power of ten behind the letter, and the place behind it; known where no number could become infinite."""
    is_negative = text[at] == _MINUS
    begin = at + 1 if is_negative or text[at] == _PLUS else at
    value, at = _digits(text, begin, 0)
    if at == begin or at - begin > _DIGITS or value > _GREATEST_EXPONENT:
        return 0, _NOT_KNOWN
    return (-value if is_negative else value), at


@_inlined
def _digits(text: Any, at: int, value: int) -> tuple[int, int]:
    while _ZERO <= text[at] <= _NINE:
        value = value * 10 + text[at] - _ZERO
        at += 1
    return value, at


@_inlined
def _is_plain(text: Any, begin: int, end: int) -> bool:
    """Whether digits are a whole number as JSON has it: at least one, and no zero in front."""
    return end - begin == 1 or (end > begin and text[begin] != _ZERO)


@_inlined
def _is_fraction(byte: int) -> bool:
    return byte == _POINT or byte == _SMALL_E or byte == _LARGE_E


@_inlined
def _text_end(text: Any, at: int) -> int:
    """The closing quote of the text that begins with the quote at a place; plain ASCII alone is known."""
    if text[at] != _QUOTE:
        return _NOT_KNOWN
    at += 1
    while text[at] != _QUOTE:
        if text[at] < _SPACE or text[at] >= _NOT_ASCII or text[at] == _BACKSLASH:
            return _NOT_KNOWN
        at += 1
    return at


@_inlined
def _behind(text: Any, at: int, byte: int) -> int:
    """The next thing behind this byte, which has to stand at the place."""
    return _blank(text, at + 1) if text[at] == byte else _NOT_KNOWN


@_inlined
def _blank(text: Any, at: int) -> int:
    """The first place from ``at`` on that is no blank."""
    while text[at] == _SPACE or text[at] == _LINE or text[at] == _RETURN or text[at] == _TAB:
        at += 1
    return at


@_inlined
def _is_null(text: Any, at: int) -> bool:
    return _is_here(text, at, _NULL, 0, 4)


@_inlined
def _is_here(text: Any, at: int, word: Any, begin: int, end: int) -> bool:
    for place in range(begin, end):
        if text[at + place - begin] != word[place]:
            return False
    return True
