"""The running session of one feed: what its spool holds becomes segments, window by window.

Files are the only state. Begun again after a kill, it reads the spool from the beginning and makes the same segments;
which rows belong together is :mod:`marketlake.windows`', how they are judged and kept :mod:`marketlake.segments`'. The
recorder that fills the spool is another process (:mod:`marketlake.supervision`); what becomes of the segments after
the session is decided in :mod:`marketlake.healing`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Self

from marketlake.checks import Check
from marketlake.coverage import StreamCoverage, difference, expected_of
from marketlake.feeds import Subscription, Topic, table_of
from marketlake.frames import decode
from marketlake.reach import Received, Stretch
from marketlake.segments import Sealed, Segments
from marketlake.sessions import NEW_YORK
from marketlake.settings import Settings
from marketlake.silence import silence_limits_ns
from marketlake.spool import Position, Spool, Tail
from marketlake.store import Store
from marketlake.tables import TABLES
from marketlake.tickers import AssetClass
from marketlake.windows import Grid, Lateness, Part, Piece, Rejects, Ripe, Windowing

_NS_PER_S: Final = 1_000_000_000


class Window:
    """What can be sealed of one window of a feed: rows that nothing can join any more, and what could not be read.

    No dataclass: whoever looks for values inside the arguments of a step would walk through every row's origin.
    """

    def __init__(
        self,
        title: str,
        pieces: tuple[Piece, ...],
        rejects: tuple[Rejects, ...],
        drops: int,
        missing_ns: Mapping[str, int],
    ) -> None:
        self.title = title
        self.pieces = pieces
        self.rejects = rejects
        self.drops = drops
        self.missing_ns = missing_ns

    @property
    def contents(self) -> tuple[str, ...]:
        """Its title and tables: those of a window ripen one after the other, so that its title comes again."""
        return self.title, *(piece.table.name for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class SealedWindow:
    """What became of a window.

    ``drops`` counts the losses of the stream in it; ``missing_ns`` says by table how much expected
    time of all its subscriptions nothing proves to have come whole: history is asked for it after the close.
    """

    title: str
    pieces: tuple[Sealed, ...]
    unreadable: int
    paths: tuple[str, ...]
    drops: int
    missing_ns: Mapping[str, int]

    @property
    def contents(self) -> tuple[str, ...]:
        """What the window's :attr:`Window.contents` were."""
        return self.title, *(piece.table for piece in self.pieces)

    @property
    def stored(self) -> int:
        """Rows in segments."""
        return sum(item.stored for item in self.pieces)

    @property
    def refused(self) -> int:
        """Rows and unreadable events in quarantine."""
        return self.unreadable + sum(item.refused for item in self.pieces)


class LiveSession:
    """One feed's session while its spool grows."""

    def __init__(
        self, spool: Spool, segments: Segments, lateness: Mapping[str, Lateness], limits_ns: Mapping[Topic, int]
    ) -> None:
        self._spool = spool
        self.segments = segments
        self._windowing = Windowing(segments.feed, segments.grid, lateness)
        self._coverage = StreamCoverage(self._is_whole, limits_ns, self._hours_of)
        self._after: Position | None = None
        self._put_back: list[Window] = []

    @classmethod
    def of(cls, feed: AssetClass, session: date, settings: Settings, store: Store) -> Self:
        """The session of a feed as the settings want it cut."""
        grid = Grid(session, settings.stream.window_minutes)
        spool = Spool(Path(settings.stream.spool), feed, session, store)
        limits_ns = silence_limits_ns(feed, settings.stream)
        return cls(spool, Segments(store, feed, grid), lateness_of(settings), limits_ns)

    def advance(self) -> Iterator[Window]:
        """Read what the spool holds by now, and give each window as soon as nothing can join it any more."""
        for chunk in decode(self._spool.read(self._after), self.segments.feed, self._after):
            self._windowing.take(chunk)
            self._coverage.take(chunk)
            self._after = chunk.records[-1].position
            yield from self._windows(self._windowing.ripe())

    def close(self) -> Iterator[Window]:
        """Read on to the end of the spool and give everything that is left: nothing more will come."""
        yield from self.advance()
        yield from self._windows(self._windowing.rest())
        yield from self._taken_back()

    def seal(self, window: Window, check: Check) -> SealedWindow:
        """Judge what a window holds and keep it; doing it again gives the same files.

        Raises:
            CheckFailed: a rule about the whole does not hold.
            LakeError: the lake cannot be written.
        """
        pieces = tuple(self.segments.seal(piece, check, self._spool.read) for piece in window.pieces)
        paths = [path for piece in pieces for path in piece.paths]
        for rejects in window.rejects:
            paths += self.segments.reject(rejects)
        unreadable = sum(len(item.events) for item in window.rejects)
        return SealedWindow(window.title, pieces, unreadable, tuple(paths), window.drops, window.missing_ns)

    def put_back(self, window: Window) -> None:
        """Give a window that could not be sealed once more, with the next one that is ready or at the end."""
        self._put_back.append(window)

    def stretches(self) -> Mapping[Subscription, tuple[Received, ...]]:
        """What is known to have been received whole, by subscription."""
        return self._coverage.stretches()

    def wanted(self) -> frozenset[Subscription]:
        """What the recorder asked for; without what the plan does not have."""
        return self._coverage.wanted()

    def hours(self) -> dict[Subscription, Stretch]:
        """When something is expected of each subscription."""
        return {subscription: self._hours_of(subscription) for subscription in self._coverage.wanted()}

    def halts(self) -> tuple[Received, ...]:
        """When trading was halted, as the recorder saw it."""
        return self._coverage.halts()

    def _hours_of(self, subscription: Subscription) -> Stretch:
        return expected_of(TABLES[table_of(subscription)[0]], subscription.ticker, self.segments.grid.session)

    def _is_whole(self, last: Position) -> bool:
        return self._spool.remainder(last).tail is Tail.NOTHING

    def _windows(self, ripe: Ripe) -> Iterator[Window]:
        pieces: dict[str, list[Piece]] = defaultdict(list)
        rejects: dict[str, list[Rejects]] = defaultdict(list)
        for piece in ripe.pieces:
            what = "" if piece.part is Part.WINDOW else f", {piece.part.replace('_', ' ')}"
            pieces[f"{self._title(piece.number)}{what}"].append(piece)
        for item in ripe.rejects:
            rejects[self._title(item.number)].append(item)
        titles = sorted({*pieces, *rejects})
        if titles:
            yield from self._taken_back()
        covered = self._coverage.stretches() if titles else {}
        for title in titles:
            windows = sorted({(piece.table.name, piece.number) for piece in pieces[title]})
            missing_ns = {name: self._missing_ns(name, number, covered) for name, number in windows}
            numbers = {piece.number for piece in pieces[title]} | {item.number for item in rejects[title]}
            drops = sum(self._drops(number) for number in numbers)
            yield Window(title, tuple(pieces[title]), tuple(rejects[title]), drops, missing_ns)

    def _drops(self, number: int) -> int:
        window = self.segments.grid.hours(number)
        return sum(window.start_ns <= at_ns < window.end_ns for at_ns in self._coverage.drops_ns)

    def _missing_ns(self, table: str, number: int, covered: Mapping[Subscription, tuple[Received, ...]]) -> int:
        window = self.segments.grid.hours(number)
        missing_ns = 0
        for subscription in self._coverage.wanted():
            if table_of(subscription)[0] == table:
                hours = self._hours_of(subscription)
                expected = Stretch(max(hours.start_ns, window.start_ns), min(hours.end_ns, window.end_ns))
                gaps = difference(expected, covered.get(subscription, ()))
                missing_ns += sum(gap.end_ns - gap.start_ns for gap in gaps)
        return missing_ns

    def _taken_back(self) -> Iterator[Window]:
        windows, self._put_back = self._put_back, []
        yield from windows

    def _title(self, number: int) -> str:
        grid = self.segments.grid
        if number >= grid.count:
            return f"{self.segments.feed} after {grid.session}"
        hours = grid.hours(number)
        start, end = hours.start.astimezone(NEW_YORK), hours.end.astimezone(NEW_YORK)
        return f"{self.segments.feed} {start:%H:%M}–{end:%H:%M}"  # noqa: RUF001 - a range of times has an en dash


def lateness_of(settings: Settings) -> Mapping[str, Lateness]:
    """How late rows may come, by table."""
    stream = settings.stream
    return {
        table: Lateness(allowance_s * _NS_PER_S, stream.rejection_s[table] * _NS_PER_S)
        for table, allowance_s in stream.allowance_s.items()
    }
