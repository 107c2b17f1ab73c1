"""Arrays of flat JSON objects to Arrow columns in one compiled pass: bytes in, columns out, no object in between.

The reader makes what :mod:`msgspec` would of objects whose shape is a ``Struct`` of whole numbers, numbers, texts and
lists of codes, and is several times as fast on what vendors ordinarily write. It never judges: at anything that it does
not know (an escape in a text, a number of forty digits, a field twice, a shape that it was not told) it stops in front
of that text, and the caller hands it to msgspec, which is the definition. Compiling takes seconds once a machine, and
loading half a second a process: it is for much data at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.inspect import FloatType, IntType, ListType, NoneType, StrType, StructType, UnionType
from numpy.typing import NDArray

from marketlake.flat_json_kernel import LEAST_OBJECT_BYTES, LONG_NUMBERS, Grammar, Ints, Kind, Room
from marketlake.flat_json_kernel import scan as scan_arrays


@dataclass(frozen=True)
class Scanned:
    """What was taken of some texts: those in front of the first that is not plain.

    ``objects`` has how many each of them holds, ``shape`` the number of each object's shape. ``columns`` are by shape,
    then by the name of the field, with a value for each object of that shape in the order in which they stand.
    """

    objects: Ints
    shape: NDArray[np.int8]
    columns: tuple[Mapping[str, pa.Array], ...]


class Scanner:
    """Reads arrays of objects of some shapes, told apart by their tag; one shape alone needs none."""

    def __init__(self, shapes: Sequence[type[Struct]]) -> None:
        """Learn the shapes.

        Raises:
            ValueError: a field is neither a bounded whole number, a number, a text nor a list of 32-bit codes.
        """
        infos = [info for info in msgspec.inspect.multi_type_info(shapes) if isinstance(info, StructType)]
        members = [field for info in infos for field in info.fields]
        values = [_value_of(field.type) for field in members]
        self._columns = dict.fromkeys(Kind, 0)
        slots = []
        for kind, _, _ in values:
            storage = Kind.CODES if kind is Kind.CODE_OR_CODES else kind
            slots.append(self._columns[storage])
            self._columns[storage] += 1
        sizes = [len(info.fields) for info in infos]
        first = np.concatenate(([0], np.cumsum(sizes)))
        kinds, least, greatest = zip(*values, strict=True)
        self._names = [field.name for field in members]
        self._grammar = Grammar(
            *_joined([_tag_of(info) for info in infos]),
            *_joined([field.encode_name.encode() for field in members]),
            first_field=first,
            kind=np.array(kinds),
            slot=np.array(slots),
            is_required=np.array([field.required for field in members]),
            least=np.array(least),
            greatest=np.array(greatest),
        )
        self._follows = np.arange(1, len(members) + 1)
        self._follows[first[1:] - 1] = first[:-1]

    def scan(self, texts: Sequence[bytes]) -> Scanned:
        """The columns of texts, each an array of objects, as far as they are plain."""
        # No JSON has a zero byte, so that it ends whatever is being read and no place has to be held against the end.
        joined = b"\0".join((*texts, b""))
        begins = np.concatenate(([0], np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)))
        room, objects = self._room(len(joined)), np.zeros(len(texts), dtype=np.int64)
        text = np.frombuffer(joined, dtype=np.uint8)
        taken = scan_arrays(
            text, begins, self._grammar, room, objects, self._follows.copy(), room.rows.copy(), room.taken.copy()
        )
        total, long_numbers = room.taken.tolist()
        for slot, row, begin, end in room.long[:long_numbers].tolist():
            room.number[row, slot] = float(joined[begin:end])
        return Scanned(
            objects=objects[:taken],
            shape=room.shape[:total],
            columns=tuple(self._columns_of(shape, room) for shape in range(room.rows.size)),
        )

    def _room(self, size: int) -> Room:
        """The place for the values of a text of this size; memory that nothing is written to costs nothing."""
        rows = size // LEAST_OBJECT_BYTES + 1
        wholes, numbers, texts, lists = (self._columns[kind] for kind in Kind if kind is not Kind.CODE_OR_CODES)
        return Room(
            whole=np.empty((rows, wholes), dtype=np.int64),
            number=np.empty((rows, numbers)),
            text=np.empty((texts, size), dtype=np.uint8),
            text_end=np.zeros((rows + 1, texts), dtype=np.int32),
            codes=np.empty((lists, size // 2 + 1), dtype=np.int32),
            codes_end=np.zeros((rows + 1, lists), dtype=np.int32),
            is_there=np.empty((rows, len(self._names)), dtype=np.bool_),
            rows=np.zeros(self._grammar.first_field.size - 1, dtype=np.int64),
            shape=np.empty(rows, dtype=np.int8),
            long=np.empty((LONG_NUMBERS, 4), dtype=np.int64),
            taken=np.zeros(2, dtype=np.int64),
        )

    def _columns_of(self, shape: int, room: Room) -> dict[str, pa.Array]:
        rows = room.rows[shape]
        first, last = self._grammar.first_field[shape : shape + 2]
        return {
            self._names[field]: _column(room, self._grammar.kind[field], self._grammar.slot[field], field, rows)
            for field in range(first, last)
        }


def _tag_of(shape: StructType) -> bytes:
    return b"" if shape.tag is None else f'"{shape.tag_field}":"{shape.tag}"'.encode()


def _joined(words: Sequence[bytes]) -> tuple[NDArray[np.uint8], Ints]:
    """Words one behind the other, and where each begins."""
    begins = np.concatenate(([0], np.cumsum([*map(len, words)])))
    return np.frombuffer(b"".join(words), dtype=np.uint8), begins


def _value_of(kind: msgspec.inspect.Type) -> tuple[Kind, int, int]:
    match kind:
        case UnionType(types=types):
            values = [_value_of(member) for member in types if not isinstance(member, NoneType)]
            if len(values) == 1:
                return values[0]
            if {value[0] for value in values} == {Kind.WHOLE, Kind.CODES} and values[0][1:] == values[1][1:]:
                return Kind.CODE_OR_CODES, *values[0][1:]
        case IntType(ge=int(least), le=int(greatest)):
            return Kind.WHOLE, least, greatest
        case FloatType(ge=None, gt=None, le=None, lt=None):
            return Kind.NUMBER, 0, 0
        case StrType():
            return Kind.TEXT, 0, 0
        case ListType(item_type=IntType(ge=int(least), le=int(greatest))) if abs(least) <= 2**31 > greatest:
            return Kind.CODES, least, greatest
    message = f"no column can be scanned from {kind}"
    raise ValueError(message)


def _column(room: Room, kind: int, slot: int, field: int, rows: int) -> pa.Array:
    is_there = room.is_there[:rows, field]
    valid = None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    if kind == Kind.WHOLE:
        return pa.Array.from_buffers(pa.int64(), rows, [valid, pa.py_buffer(room.whole[:rows, slot].copy())])
    if kind == Kind.NUMBER:
        return pa.Array.from_buffers(pa.float64(), rows, [valid, pa.py_buffer(room.number[:rows, slot].copy())])
    if kind == Kind.TEXT:
        ends = room.text_end[: rows + 1, slot].copy()
        text = room.text[slot, : ends[-1]].copy()
        return pa.Array.from_buffers(pa.string(), rows, [valid, pa.py_buffer(ends), pa.py_buffer(text)])
    ends = room.codes_end[: rows + 1, slot].copy()
    codes = pa.array(room.codes[slot, : ends[-1]].copy())
    return pa.Array.from_buffers(pa.list_(pa.int32()), rows, [valid, pa.py_buffer(ends)], children=[codes])
