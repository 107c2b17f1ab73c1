"""How it is known what happened in each second of a session, as strips: for a picture, and for a terminal.

Pure; takes ledger records. The labels are :mod:`marketlake.coverage`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from marketlake.coverage import Labelled, expected_of, labelled
from marketlake.ledger import How, Record
from marketlake.reach import Stretch

SIGNS: Final[Mapping[How | None, str]] = {
    How.HALTED: "H",
    How.STREAMED: "█",
    How.HEALED: "▒",
    How.VERIFIED_EMPTY: "·",
    How.BACKFILLED: "░",
    How.UNAVAILABLE: "x",
    None: " ",
}
"""One sign a label, for a terminal; a blank where nothing is known."""
_MARGIN_NS: Final = 120_000_000_000


@dataclass(frozen=True, slots=True)
class Strip:
    """The labels of one ticker (and span) of a table over the time that was expected of it, ascending."""

    title: str
    parts: tuple[Labelled, ...]


def strips_of(records: Iterable[Record]) -> list[Strip]:
    """A strip for each ticker and span of which some was streamed."""
    found = []
    for record in records:
        partition = record.partition
        streamed = {(item.ticker, item.span) for item in record.coverage if item.how is How.STREAMED}
        for ticker, span in sorted(streamed, key=lambda item: (item[0], item[1] or "")):
            own = [item for item in record.coverage if (item.ticker, item.span) == (ticker, span)]
            title = " ".join(part for part in (partition.table, ticker, span) if part)
            found.append(Strip(title, labelled(expected_of(partition.spec, ticker, partition.session), own)))
    return found


def around_the_stream(strips: Sequence[Strip]) -> Stretch | None:
    """The time in which anything was streamed, and two minutes more at each end; None where nothing was."""
    live = [part.stretch for strip in strips for part in strip.parts if part.how is How.STREAMED]
    if not live:
        return None
    starts, ends = [item.start_ns for item in live], [item.end_ns for item in live]
    return Stretch(min(starts) - _MARGIN_NS, max(ends) + _MARGIN_NS)


def text_of(strip: Strip, shown: Stretch, width: int) -> str:
    """A strip as one sign for each of so many equal parts of a time; a part has its worst label.

    A gap is worst, then what is unavailable; a drop of seconds must not be drawn over.
    """
    order = {how: place for place, how in enumerate([*How, None])}
    signs = []
    for number in range(width):
        start_ns = shown.start_ns + (shown.end_ns - shown.start_ns) * number // width
        end_ns = shown.start_ns + (shown.end_ns - shown.start_ns) * (number + 1) // width
        here = [part.how for part in strip.parts if part.stretch.start_ns < end_ns and part.stretch.end_ns > start_ns]
        signs.append(SIGNS[max(here, key=lambda how: order[how])] if here else " ")
    return "".join(signs)
