"""Which rows of a stream belong together: windows of event time, and what came too late for its own.

Pure: decoded records in, pieces out; the same records give the same pieces however they were batched, and wherever the
work was cut off and begun again. How a piece is judged and becomes a file is the business of
:mod:`marketlake.segments`; what the stream missed, of :mod:`marketlake.coverage`.

The watermark of a feed is the second largest publication time so far: one event with a wrong time must not close the
day. A window is sealed when the watermark has passed its end by the allowance of the table. A row whose window is
sealed is *late* where it is not further behind the watermark than the rejection time, else *too late*.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketlake.errors import UsageError
from marketlake.frames import Chunk, TopicRows, Undecodable, raw_text
from marketlake.sessions import NEW_YORK, Hours, require_session, whole_day
from marketlake.spool import Position
from marketlake.tables import TABLES, Table
from marketlake.tickers import AssetClass

type Ints = NDArray[np.int64]
type Mask = NDArray[np.bool_]

DEFAULT_MINUTES: Final = 15
_MINUTE_NS: Final = 60_000_000_000
_MINUTES_A_DAY: Final = 1_440


class Part(StrEnum):
    """What the rows of a piece have in common; the word is part of the name of what is made from it."""

    WINDOW = "window"
    """They came before their window was sealed."""
    LATE = "late"
    """Their window was sealed when they came."""
    TOO_LATE = "too_late"
    """They came later than the rejection time allows: quarantined."""
    OUTSIDE_SESSIONS = "outside_sessions"
    """Their instant is not in the New York day of the session: quarantined."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late a row of a table may come, in nanoseconds of event time.

    A window stays open for ``allowance_ns`` behind its end; a row more than ``rejection_ns`` behind the watermark whose
    window is sealed is refused.
    """

    allowance_ns: int
    rejection_ns: int

    def __post_init__(self) -> None:
        if not 0 <= self.allowance_ns <= self.rejection_ns:
            message = f"an allowance of {self.allowance_ns} ns does not fit a rejection time of {self.rejection_ns} ns"
            raise UsageError(message)


@dataclass(frozen=True)
class Grid:
    """The windows of a session: its New York day cut into slices of so many minutes, numbered from 0.

    Raises:
        UsageError: the date is no session, or the minutes do not divide a day.
    """

    session: date
    minutes: int = DEFAULT_MINUTES

    def __post_init__(self) -> None:
        # On a day with a session no clock is set back or forward: a slice is as long as its name says.
        require_session(self.session)
        if self.minutes < 1 or _MINUTES_A_DAY % self.minutes:
            message = f"windows of {self.minutes} minutes do not divide a day: choose 1, 5, 15 or 30"
            raise UsageError(message)

    @cached_property
    def day(self) -> Hours:
        """The whole New York day."""
        return whole_day(self.session)

    @property
    def width_ns(self) -> int:
        """The length of a window in nanoseconds."""
        return self.minutes * _MINUTE_NS

    @property
    def count(self) -> int:
        """How many windows the day has."""
        return _MINUTES_A_DAY // self.minutes

    def hours(self, number: int) -> Hours:
        """From when to when a window reaches."""
        start = self.day.start + timedelta(minutes=number * self.minutes)
        return Hours(start, start + timedelta(minutes=self.minutes))

    def name(self, number: int) -> str:
        """The New York time at which a window starts: 1015."""
        return f"{self.hours(number).start.astimezone(NEW_YORK):%H%M}"

    def ended(self, times_ns: Ints) -> Ints:
        """How many windows end at or before each instant."""
        return np.clip((times_ns - self.day.start_ns) // self.width_ns, 0, self.count)


class Origin(NamedTuple):
    """Where a row was sent: its record's position and its place in the array; ``after`` is some position before it."""

    position: Position
    element: int
    after: Position | None


@dataclass(frozen=True)
class Slice:
    """Some rows of one chunk, with what is needed to find each of them in the spool again."""

    rows: pa.Table
    after: Position | None
    positions: Sequence[Position]  # of all records of the chunk
    record: Ints
    element: Ints
    lag_ns: Ints  # from publication to receipt, on whatever clock the receiver had

    def origin(self, row: int) -> Origin:
        """Where a row was sent."""
        return Origin(self.positions[self.record[row]], int(self.element[row]), self.after)


@dataclass(frozen=True)
class Piece:
    """Rows of one table that belong into one file, in the order in which they came.

    ``number`` is that of their window; of rows that had missed it, of the window that was open when they came.
    """

    table: Table
    part: Part
    number: int
    slices: tuple[Slice, ...]
    raw: tuple[str, ...] = ()  # of rows that are refused for their time alone

    @cached_property
    def rows(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables([item.rows for item in self.slices])

    @cached_property
    def lag_ns(self) -> Ints:
        """How long after its publication each row was received."""
        return np.concatenate([item.lag_ns for item in self.slices])

    @cached_property
    def frame(self) -> Ints:
        """A number for the frame of each row; rows of one frame have the same."""
        return np.concatenate([item.record + (number << 32) for number, item in enumerate(self.slices)])

    def origins(self, rows: Ints) -> list[Origin]:
        """Where rows were sent, by their places in ``rows``."""
        ends = np.cumsum([item.rows.num_rows for item in self.slices])
        numbers = np.searchsorted(ends, rows, side="right")
        return [
            self.slices[number].origin(row - int(ends[number]) + self.slices[number].rows.num_rows)
            for number, row in zip(numbers.tolist(), rows.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Rejects:
    """What could not be read and came while a window was open."""

    number: int
    events: tuple[Undecodable, ...]


@dataclass(frozen=True)
class Ripe:
    """What nothing more can join, oldest window first."""

    pieces: tuple[Piece, ...]
    rejects: tuple[Rejects, ...]


type _Key = tuple[int, str, Part]


class Windowing:
    """The windows of one feed while its records are read.

    It holds the rows of windows that are not sealed yet and the watermark, and nothing that reading the spool again
    from the beginning would not bring back.
    """

    def __init__(self, feed: AssetClass, grid: Grid, lateness: Mapping[str, Lateness]) -> None:
        self.feed = feed
        self.grid = grid
        self._lateness = lateness
        self._highest_ns = self._watermark_ns = grid.day.start_ns
        self._slices: dict[_Key, list[Slice]] = defaultdict(list)
        self._raw: dict[_Key, list[str]] = defaultdict(list)
        self._undecodable: dict[int, list[Undecodable]] = defaultdict(list)

    def take(self, chunk: Chunk) -> None:
        """Sort the events of further records into windows."""
        watermarks = self._watermarks(chunk.published_ns)
        open_windows = self.grid.ended(watermarks)
        for item in chunk.undecodable:
            self._undecodable[int(open_windows[item.event])].append(item)
        positions = [record.position for record in chunk.records]
        received_ns = np.array([record.received_ns for record in chunk.records], dtype=np.int64)[chunk.record]
        for topic in chunk.rows:
            lag_ns = received_ns[topic.event] - chunk.published_ns[topic.event]
            whole = Slice(
                topic.rows, chunk.after, positions, chunk.record[topic.event], chunk.element[topic.event], lag_ns
            )
            self._sort(topic, whole, watermarks[topic.event], chunk)

    def ripe(self) -> Ripe:
        """Give out what the watermark has sealed."""
        now = np.array([self._watermark_ns])
        sealed = {name: int(self._sealed(name, now)[0]) for name in self._lateness}
        return self._give_out(sealed, int(self.grid.ended(now)[0]))

    def rest(self) -> Ripe:
        """Give out everything: the session's stream is over."""
        return self._give_out(dict.fromkeys(self._lateness, self.grid.count + 1), self.grid.count + 1)

    def _watermarks(self, published_ns: Ints) -> Ints:
        """The watermark after each event; what is not of this day moves nothing."""
        day = self.grid.day
        times = np.where((published_ns >= day.start_ns) & (published_ns <= day.end_ns), published_ns, 0)
        highest = np.maximum.accumulate(np.concatenate([[self._highest_ns], times]))
        second = np.minimum(highest[:-1], times)
        watermarks: Ints = np.maximum.accumulate(np.concatenate([[self._watermark_ns], second]))[1:]
        self._highest_ns = int(highest[-1])
        if watermarks.size:
            self._watermark_ns = int(watermarks[-1])
        return watermarks

    def _sealed(self, table: str, watermarks: Ints) -> Ints:
        """How many windows of a table are sealed at each watermark."""
        return self.grid.ended(watermarks - self._lateness[table].allowance_ns)

    def _sort(self, topic: TopicRows, whole: Slice, watermarks: Ints, chunk: Chunk) -> None:
        name, day = topic.table.name, self.grid.day
        times_ns = topic.rows[topic.table.time_column].cast(pa.int64()).to_numpy()
        window = (times_ns - day.start_ns) // self.grid.width_ns
        sealed = self._sealed(name, watermarks)
        inside: Mask = (times_ns >= day.start_ns) & (times_ns < day.end_ns)
        is_open = inside & (window >= sealed)
        behind = watermarks - chunk.published_ns[topic.event]
        is_late = inside & ~is_open & (behind <= self._lateness[name].rejection_ns)
        too_late = inside & ~is_open & ~is_late
        numbers = np.where(is_open, window, sealed)
        for part, mask in (
            (Part.WINDOW, is_open),
            (Part.LATE, is_late),
            (Part.TOO_LATE, too_late),
            (Part.OUTSIDE_SESSIONS, ~inside),
        ):
            for number in np.unique(numbers[mask]).tolist():
                chosen = _chosen(whole, mask & (numbers == number))
                key = (number, name, part)
                self._slices[key].append(chosen)
                if part in {Part.TOO_LATE, Part.OUTSIDE_SESSIONS}:
                    frames = zip(chosen.record.tolist(), chosen.element.tolist(), strict=True)
                    self._raw[key] += [raw_text(chunk.records[record].payload, element) for record, element in frames]

    def _give_out(self, sealed: Mapping[str, int], ended: int) -> Ripe:
        keys = sorted(key for key in self._slices if key[0] < sealed[key[1]])
        pieces = tuple(
            Piece(TABLES[name], part, number, tuple(self._slices.pop(key)), tuple(self._raw.pop(key, ())))
            for key in keys
            for number, name, part in [key]
        )
        numbers = sorted(number for number in self._undecodable if number < ended)
        return Ripe(pieces, tuple(Rejects(number, tuple(self._undecodable.pop(number))) for number in numbers))


def _chosen(whole: Slice, mask: Mask) -> Slice:
    if mask.all():
        return whole
    return Slice(
        whole.rows.filter(pa.array(mask)),
        whole.after,
        whole.positions,
        whole.record[mask],
        whole.element[mask],
        whole.lag_ns[mask],
    )
