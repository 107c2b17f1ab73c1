"""Whether pages add up to one complete answer: it takes page after page and names the next, or refuses.

The vendor's clients end quietly where a page is broken, and truncated data then looks complete. An answer here ends
only where its last page said so and everything before it held together. Pure; asking again, and how often, is
:mod:`marketlake.rest`'s. Rows whose shape is wrong are left to :mod:`marketlake.wire`: they are counted here, and
their order is not judged.
"""

import hashlib
import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from marketlake.asks import Ask, AskKind
from marketlake.errors import BrokenAnswer, NotEntitled, PaginationError
from marketlake.sessions import to_ns
from marketlake.tables import Span
from marketlake.vendor_rows import NS_PER_MS, UNREADABLE, Instant, Milliseconds, Nanoseconds

# A day of every quote of SPY is some hundred pages; an answer that has not ended after these never will.
MAX_PAGES: Final = 10_000
_SPAN_MS: Final = {Span.SECOND: 1_000, Span.MINUTE: 60_000}
_SECRET_PARAMETERS: Final = frozenset({"apikey"})


class _Envelope(Struct, rename={"results_count": "resultsCount", "query_count": "queryCount"}, gc=False):
    status: str | None = None
    error: str | None = None
    message: str | None = None
    ticker: str | None = None
    adjusted: bool | None = None
    query_count: int | None = None
    results_count: int | None = None
    count: int | None = None
    results: Raw | UnsetType = UNSET
    next_url: Raw | UnsetType = UNSET


# What the order of a page is judged by: the fields that a row is sorted by, and those that tell it from its neighbours.
class _Bar(Struct, gc=False):
    t: Milliseconds


class _Tick(Struct, gc=False):
    sip_timestamp: Nanoseconds
    sequence_number: int | None = None
    exchange: int | None = None
    id: str | None = None


class _Contract(Struct, gc=False):
    ticker: str


class _Snapshot(Struct, gc=False):
    details: _Contract


class _Article(Struct, gc=False):
    id: str
    published_utc: Instant


class _Dividend(Struct, gc=False):
    ticker: str
    ex_dividend_date: date
    id: str | None = None


class _Split(Struct, gc=False):
    ticker: str
    execution_date: date
    id: str | None = None


class _Curve(Struct, gc=False):
    date: date


@dataclass(frozen=True, slots=True)
class _Order:
    """How the rows of a kind follow each other; an identity of None cannot be told from another row's."""

    row: type[Struct]
    place: Callable[[Any], Any]
    identity: Callable[[Any], Hashable]
    follows: Callable[[Any, Any], bool]  # whether a row may stand behind another
    ticker: Callable[[Any], str] | None = None  # where each row names the ticker that was asked for


def _tick_identity(row: _Tick) -> Hashable:
    return None if row.sequence_number is None and row.id is None else (row.sequence_number, row.exchange, row.id)


_TICKS: Final = _Order(_Tick, operator.attrgetter("sip_timestamp"), _tick_identity, operator.le)
_ORDERS: Final = {
    AskKind.BARS: _Order(_Bar, operator.attrgetter("t"), operator.attrgetter("t"), operator.lt),
    AskKind.TRADES: _TICKS,
    AskKind.QUOTES: _TICKS,
    AskKind.CONTRACTS: _Order(_Contract, operator.attrgetter("ticker"), operator.attrgetter("ticker"), operator.le),
    AskKind.SNAPSHOTS: _Order(
        _Snapshot, operator.attrgetter("details.ticker"), operator.attrgetter("details.ticker"), operator.le
    ),
    AskKind.NEWS: _Order(_Article, operator.attrgetter("published_utc"), operator.attrgetter("id"), operator.le),
    AskKind.DIVIDENDS: _Order(
        _Dividend,
        operator.attrgetter("ex_dividend_date"),
        operator.attrgetter("id"),
        operator.le,
        operator.attrgetter("ticker"),
    ),
    AskKind.SPLITS: _Order(
        _Split,
        operator.attrgetter("execution_date"),
        operator.attrgetter("id"),
        operator.le,
        operator.attrgetter("ticker"),
    ),
    AskKind.YIELDS: _Order(_Curve, operator.attrgetter("date"), operator.attrgetter("date"), operator.lt),
}
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_RAW_ROWS: Final = msgspec.json.Decoder(list[Raw])
_ROWS: Final = {kind: msgspec.json.Decoder(list[order.row]) for kind, order in _ORDERS.items()}  # type: ignore[name-defined]
_ROW: Final = {kind: msgspec.json.Decoder(order.row) for kind, order in _ORDERS.items()}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an accepted page said besides its rows."""

    rows: int
    is_delayed: bool  # the plan gave data that is 15 minutes old
    next_host: str | None  # the host that the vendor names for the next page, which is not followed


class Answer:
    """The pages of one ask so far. ``target`` is the path and query of the next one, None once the answer is complete.

    A page that is refused changes nothing, so that the same page can be asked for again.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.target: str | None = ask.target
        self.pages = 0
        self._asked = {ask.target}
        self._digests: set[bytes] = set()
        self._last: Any = None  # the place of the last row, and who stands there
        self._at_last: frozenset[Hashable] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether the last page has been accepted."""
        return self.target is None

    def accept(self, body: bytes) -> Accepted:
        """Take the body of the page at ``target``.

        Raises:
            BrokenAnswer: it is not the JSON document that was asked for.
            PaginationError: it does not continue the pages before it, or does not say how it goes on.
            NotEntitled: the vendor says so in the document.
        """
        if self.target is None:
            message = f"the answer to {self.ask.target} is complete"
            raise AssertionError(message)
        envelope = self._read_envelope(body)
        results = self._results_of(envelope)
        rows, count = self._read_rows(results)
        for name, promised in (("resultsCount", envelope.results_count), ("count", envelope.count)):
            if promised is not None and promised != count:
                self._refuse(f"the page promises {name} {promised} and holds {count} rows")
        if not count:
            self._require_no_promise(envelope)
        self._require_own(envelope, rows)
        digest = hashlib.blake2b(results, digest_size=16).digest()
        if count and digest in self._digests:
            self._refuse("the page holds exactly the rows of an earlier page")
        last, at_last = self._require_order(rows)
        target, host = self._next_target(envelope, last)
        if target is not None and self.pages + 1 >= MAX_PAGES:
            self._refuse(f"the answer has not ended after {MAX_PAGES} pages")
        self.pages += 1
        self._last, self._at_last = last, at_last
        self._digests.add(digest)
        self._asked.add(target or "")
        self.target = target
        return Accepted(count, envelope.status == "DELAYED", host)

    def _read_envelope(self, body: bytes) -> _Envelope:
        try:
            envelope = _ENVELOPE.decode(body)
        except UNREADABLE as error:
            raise BrokenAnswer(self._request, f"the body is not the JSON that was promised: {error}") from None
        said = envelope.message or envelope.error or "nothing more"
        if envelope.status == "NOT_AUTHORIZED":
            raise NotEntitled(self._request, f"the vendor says: {said}")
        if envelope.status not in {"OK", "DELAYED"}:
            raise BrokenAnswer(self._request, f"the vendor says status {envelope.status} and {said}")
        return envelope

    def _results_of(self, envelope: _Envelope) -> bytes:
        if isinstance(envelope.results, Raw):
            results = bytes(envelope.results)
            if not results.startswith(b"["):
                self._refuse(f"the results of the page are {results[:20].decode(errors='replace')!r} and no list")
            return results
        # The index form of an empty answer may leave resultsCount out.
        counted = envelope.query_count if envelope.results_count is None else envelope.results_count
        if self.ask.kind is not AskKind.BARS or counted != 0 or envelope.next_url is not UNSET:
            self._refuse("the page has no results")
        return b"[]"

    def _read_rows(self, results: bytes) -> tuple[list[Any], int]:
        """The rows that have a place in the order, and how many there are of any shape."""
        try:
            rows = _ROWS[self.ask.kind].decode(results)
        except UNREADABLE:
            raws = self._read_raw_rows(results)
            return [row for row in map(self._read_row, raws) if row is not None], len(raws)
        return rows, len(rows)

    def _read_raw_rows(self, results: bytes) -> list[Raw]:
        try:
            return _RAW_ROWS.decode(results)
        except UNREADABLE as error:
            raise BrokenAnswer(self._request, f"the results of the page cannot be read: {error}") from None

    def _read_row(self, raw: Raw) -> Any:
        try:
            return _ROW[self.ask.kind].decode(raw)
        except UNREADABLE:
            return None

    def _require_no_promise(self, envelope: _Envelope) -> None:
        """Refuse an empty page among others: the vendor gives a next_url only where there is more."""
        if self.pages:
            self._refuse("the page is empty, although the page before it promised more")
        if self.ask.kind is AskKind.BARS and envelope.next_url is not UNSET:
            self._refuse("the page is empty, although its next_url begins behind the last bar that it gave")

    def _require_own(self, envelope: _Envelope, rows: Sequence[Any]) -> None:
        if self.ask.kind is AskKind.BARS:
            if envelope.ticker != self.ask.ticker:
                self._refuse(f"the page is about {envelope.ticker}")
            if self.ask.adjustable and envelope.adjusted is not False:
                self._refuse("the page does not say that it is unadjusted")
        ticker = _ORDERS[self.ask.kind].ticker
        if ticker is not None:
            strangers = {ticker(row) for row in rows} - {self.ask.ticker}
            if strangers:
                self._refuse(f"the page has rows about {', '.join(sorted(strangers))}")

    def _require_order(self, rows: Sequence[Any]) -> tuple[Any, frozenset[Hashable]]:
        """The place of the last row and who stands there, after this page."""
        if not rows:
            return self._last, self._at_last
        order = _ORDERS[self.ask.kind]
        places = list(map(order.place, rows))
        if not all(map(order.follows, places, islice(places, 1, None))):
            self._refuse("the rows of the page are out of order")
        self._require_range(places[0], places[-1])
        last = places[-1]
        at_last = frozenset(map(order.identity, _standing_at(last, rows, places)))
        if self._last is not None:
            if not order.follows(self._last, places[0]):
                self._refuse("the page begins before the end of the page before it")
            first = set(map(order.identity, _from_start(self._last, rows, places)))
            if (first & self._at_last) - {None}:
                self._refuse("the page begins with rows of the page before it")
            if last == self._last:
                at_last |= self._at_last
        return last, at_last

    def _require_range(self, first: Any, last: Any) -> None:
        kind, hours = self.ask.kind, self.ask.hours
        if kind is AskKind.YIELDS:
            inside = self.ask.first <= first and last <= self.ask.last
        elif hours is None:
            return
        elif kind is AskKind.BARS:
            inside = hours.start_ns <= first * NS_PER_MS and last * NS_PER_MS < hours.end_ns
        elif kind is AskKind.NEWS:
            inside = hours.start_ns <= to_ns(first) and to_ns(last) < hours.end_ns
        else:
            inside = hours.start_ns <= first and last < hours.end_ns
        if not inside:
            self._refuse("the page has rows outside the range that was asked for")

    def _next_target(self, envelope: _Envelope, last: Any) -> tuple[str | None, str | None]:
        if envelope.next_url is UNSET:
            return None, None
        try:
            url = msgspec.json.decode(bytes(envelope.next_url), type=str)
            parts = urlsplit(url)
            query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        except (*UNREADABLE, ValueError):
            self._refuse("the page's next_url is no address with a cursor")
        kept = [(name, value) for name, value in query if name.lower() not in _SECRET_PARAMETERS]
        if not any(name == "cursor" and value for name, value in kept):
            self._refuse("the page's next_url has no cursor")
        path = self._next_path(parts.path, last)
        target = f"{path}?{parts.query if kept == query else urlencode(kept)}"
        if target in self._asked:
            self._refuse("the page's next_url leads back to a page that was already asked for")
        return target, parts.netloc

    def _next_path(self, path: str, last: Any) -> str:
        if self.ask.kind is not AskKind.BARS:
            if unquote(path) != unquote(self.ask.path):
                self._refuse(f"the page's next_url leads to another path, {path}")
            return path
        head, _, tail = self.ask.path.rsplit("/", 2)
        given_head, start, given_tail = [*unquote(path).rsplit("/", 2), "", ""][:3]
        if (given_head, given_tail) != (head, tail) or not start.isdecimal():
            self._refuse(f"the page's next_url leads to another path, {path}")
        start_ms = int(start)
        if last is not None and start_ms <= last:
            self._refuse("the page's next_url leads back to bars that were already given")
        # `from` is the first window not yet given. Where the vendor's lies farther on, nothing shows that the windows
        # between are empty, so they are asked for too; day windows have no fixed length and are followed as given.
        step_ms = _SPAN_MS.get(self.ask.span) if self.ask.span else None
        if step_ms is not None and last is not None:
            start_ms = min(start_ms, last + step_ms)
        return f"{quote(head, safe='/:')}/{start_ms}/{tail}"

    @property
    def _request(self) -> str:
        return f"GET {self.target}, page {self.pages + 1}"

    def _refuse(self, problem: str) -> NoReturn:
        raise PaginationError(self._request, problem)


def _from_start(place: Any, rows: Sequence[Any], places: Sequence[Any]) -> list[Any]:
    """The rows of a page that stand at its beginning and at ``place``."""
    end = next((index for index, value in enumerate(places) if value != place), len(rows))
    return list(rows[:end])


def _standing_at(place: Any, rows: Sequence[Any], places: Sequence[Any]) -> list[Any]:
    """The rows of a page that stand at its end and at ``place``."""
    count = next((index for index, value in enumerate(reversed(places)) if value != place), len(rows))
    return list(rows[len(rows) - count :])
