"""The opening price of a session that is still running: whoever knows it first, in a fixed order.

The vendor's minute bar of 09:30 says it best, and is what history will say. Where it does not come, the stream's own
word for the opening is taken (``op`` of a bar), then the first trade that may set an opening price, then the first
later minute bar. Which of them it was is recorded with the choice (:class:`marketlake.selection.OpeningSource`).
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from marketlake.desk import Desk
from marketlake.discover import opening_price_now, selection_of
from marketlake.errors import OpeningMissing, VendorError, is_transient
from marketlake.selection import Opening, OpeningSource
from marketlake.sessions import share_hours
from marketlake.spool import Kind, Position, Spool
from marketlake.tables import TABLES, Partition
from marketlake.tickers import AssetClass, Underlying
from marketlake.vendor_rows import NS_PER_MS, UNREADABLE

logger = logging.getLogger(__name__)

# Conditions of a trade under which it sets no opening price, from the vendor's list of conditions
# (/v3/reference/conditions, update_rules.consolidated.updates_open_close): average price, bunched sold, cash sale,
# derivatively priced, extended hours, official prints, next day, price variation, prior reference, seller, sold out of
# sequence, odd lot, contingent.
_SETS_NO_OPEN: Final = frozenset({2, 5, 7, 10, 12, 13, 15, 16, 17, 20, 21, 22, 29, 32, 33, 37, 52, 53})
_FIRST_BAR: Final = timedelta(minutes=1)
_BETWEEN_ASKS_S: Final = 1.0


class _Event(msgspec.Struct, gc=False):
    """Of a trade or a bar what tells an opening price."""

    ev: str = ""
    sym: str = ""
    t: int = 0
    s: float = 0  # of a bar its start, of a trade its size
    op: float | None = None
    p: float | None = None
    c: object = None


_EVENTS: Final = msgspec.json.Decoder(list[_Event])


def wait_for_opening(
    underlying: Underlying,
    session: date,
    desk: Desk,
    *,
    session_now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> Opening:
    """The session's opening price, as soon as anybody tells it.

    The bar of 09:30 is waited for until ``selection.opening_patience_s`` behind its end, by the session's clock. A
    choice that was made by a price once stands through the session: whoever starts again goes on with it.

    Raises:
        OpeningMissing: the session is over, and nobody told it.
        VendorError: the vendor refuses to answer.
    """
    known = _known(underlying, session, desk)
    if known is not None:
        return known
    hours = share_hours(session)
    due = hours.start + _FIRST_BAR + timedelta(minutes=desk.settings.vendor.delay_minutes)
    patient_until = due + timedelta(seconds=desk.settings.selection.opening_patience_s)
    while (now := session_now()) < due:
        sleep(min((due - now).total_seconds(), _BETWEEN_ASKS_S))
    recorded = _Recorded(Spool(Path(desk.settings.stream.spool), AssetClass.STOCKS, session))
    while True:
        is_over = session_now() >= hours.end + (due - hours.start)
        told = _told_by_history(underlying, session, desk)
        if told is not None and told.source is OpeningSource.OPENING_BAR:
            return told
        if session_now() >= patient_until:
            found = recorded.opening_of(underlying.price_ticker, hours.start_ns) or told
            if found is not None:
                return found
            if is_over:
                problem = "the session is over, and neither history nor the stream told it: run discover when they do"
                raise OpeningMissing(f"opening price of {underlying.symbol} on {session}", problem)
        sleep(_BETWEEN_ASKS_S)


def told_by_stream(frames: Iterable[bytes], ticker: str, open_ns: int) -> Opening | None:
    """What recorded frames say of a share's opening: ``op`` of a regular bar, else the first trade that may set it."""
    open_ms = open_ns // NS_PER_MS
    traded: Opening | None = None
    for frame in frames:
        try:
            events = _EVENTS.decode(frame)
        except UNREADABLE:
            continue  # it is refused where the window is sealed
        for event in events:
            if event.sym != ticker:
                continue
            if event.ev in {"A", "AM"} and event.s >= open_ms and event.op:
                return Opening(Decimal(repr(event.op)), OpeningSource.STREAM_OPEN)
            if traded is None and event.ev == "T" and event.t >= open_ms and event.p and _sets_open(event.c):
                traded = Opening(Decimal(repr(event.p)), OpeningSource.FIRST_TRADE)
    return traded


def _known(underlying: Underlying, session: date, desk: Desk) -> Opening | None:
    """What the contracts in the lake were chosen by; not a stand-in for the bar of 09:30, which may still come."""
    contracts = desk.lake.read(Partition.of_session(TABLES["option_contracts"], underlying.symbol, session))
    chosen = selection_of(contracts, underlying, session) if contracts is not None else None
    if chosen is None or chosen.opening_price is None or chosen.opening_price_source is None:
        return None
    source = OpeningSource(chosen.opening_price_source)
    return None if source is OpeningSource.FIRST_BAR else Opening(chosen.opening_price, source)


def _sets_open(conditions: object) -> bool:
    return not isinstance(conditions, list) or _SETS_NO_OPEN.isdisjoint(conditions)


def _told_by_history(underlying: Underlying, session: date, desk: Desk) -> Opening | None:
    try:
        return opening_price_now(underlying, session, desk)
    except VendorError as error:
        if not is_transient(error):
            raise
        logger.warning("the vendor does not tell the opening price of %s: %s", underlying.symbol, error)
        return None


class _Recorded:
    """What the shares' feed that is recorded here says of an opening; each look goes on where the one before ended."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._after: Position | None = None
        self._traded: Opening | None = None

    def opening_of(self, ticker: str, open_ns: int) -> Opening | None:
        """The opening as the stream has it by now."""
        told = told_by_stream(self._fresh(), ticker, open_ns)
        if told is not None and told.source is OpeningSource.FIRST_TRADE:
            self._traded = self._traded or told
            return self._traded
        return told or self._traded

    def _fresh(self) -> Iterator[bytes]:
        for record in self._spool.read(self._after):
            self._after = record.position
            if record.kind is Kind.FRAME:
                yield record.payload
