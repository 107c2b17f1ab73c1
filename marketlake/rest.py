"""The vendor over REST: one question in, one complete answer out, page by page, each captured before it is read.

Nothing by-passes this module. Whether pages add up is :mod:`marketlake.answers`' question, what a status code means
:mod:`marketlake.refusals`', how bytes travel :mod:`marketlake.transport`'s, where pages are kept
:mod:`marketlake.capture`'s, how fast may be asked :mod:`marketlake.rate_limit`'s. Here is what is done about it:

* A fault that passes (see :func:`marketlake.errors.is_transient`) is asked again, ``attempts`` times a page in all. The
  attempt at the chain stays open then, also when they are used up: the next run goes on behind the last good page.
* 429 holds back every process that uses the key, for ``Retry-After`` or doubling from a second, within the patience.
* A page that does not continue the chain is asked for once more. If it comes back the same, the attempt is closed, and
  the next run begins the chain afresh; so it is with a cursor that the vendor refuses.
* A chain that was cut goes on after its last kept page; a complete one that is young enough is not asked for at all.
* A chain that shows the present is never gone on with: a page of another moment does not continue it. A complete one
  is used again however old it is, since no later answer can stand for it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from marketlake.answers import Answer
from marketlake.asks import Ask, final_at
from marketlake.capture import Attempt, Captured, Captures, Slip, sha256_of
from marketlake.errors import (
    BrokenAnswer,
    PaginationError,
    RateLimited,
    RecordMismatch,
    RequestRefused,
    VendorError,
    is_transient,
)
from marketlake.morning import SpecialDay
from marketlake.rate_limit import RateLimit, default_state_folder
from marketlake.refusals import error_of_status, retry_after_s
from marketlake.sessions import to_ns
from marketlake.settings import RestRetry, VendorSettings
from marketlake.store import Store
from marketlake.transport import Response, Transport, client_opener
from marketlake.vendor_rows import UNREADABLE, Instant

logger = logging.getLogger(__name__)

_MARKET_STATUS: Final = "/v1/marketstatus/now"
_UPCOMING: Final = "/v1/marketstatus/upcoming"
# The limit is a number of calls a minute: after a minute of silence the window is empty.
_LONGEST_HOLD_S: Final = 60.0
_REMOVED: Final = b"[key removed]"
_TWO_PAGES: Final = 2
# Real keys have 32 characters; a short made-up one would be found inside ordinary data.
_SHORTEST_KEY_IN_TEXT: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a complete answer. ``sha256`` is of ``body``; ``fetched`` is False where it was read back."""

    ask: Ask
    number: int
    path: str
    sha256: str
    body: bytes
    received_ns: int
    fetched: bool
    is_delayed: bool = False  # the plan gave data that is 15 minutes old


class _Setback(Exception):
    """One try failed; the loop around it decides whether there is another."""

    def __init__(self, error: VendorError, wait_s: float | None = None) -> None:
        super().__init__(error, wait_s)
        self.error = error
        self.wait_s = wait_s  # what the vendor asks for


@dataclass(frozen=True, slots=True)
class _Walk:
    """A chain under way: the attempt that keeps it, and what its pages came to so far."""

    attempt: Attempt
    answer: Answer
    delayed: list[bool] = field(default_factory=list)  # of each page that was kept before
    received_ns: list[int] = field(default_factory=list)  # of each page

    def require_together(self, request: str) -> None:
        """Refuse the newest page where it shows another moment than the first.

        Raises:
            PaginationError: it came too late to be a part of the same answer.
        """
        within = self.answer.ask.within
        if within is None or len(self.received_ns) < _TWO_PAGES:
            return
        apart = timedelta(microseconds=(self.received_ns[-1] - self.received_ns[0]) // 1_000)
        if not timedelta(0) <= apart <= within:
            problem = (
                f"the page came {apart} after the first one, and shows another moment: all have to come in {within}"
            )
            raise PaginationError(request, problem)


class Vendor:
    """Asks and keeps. Safe to share between threads: each has a connection of its own."""

    def __init__(
        self,
        transport: Transport,
        limit: RateLimit,
        captures: Captures,
        *,
        key: str,
        retry: RestRetry,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        reuse: timedelta,
        delay: timedelta,
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._captures = captures
        self._key = key.encode()
        self._retry = retry
        self._clock = clock
        self._sleep = sleep
        self._reuse = reuse
        self._delay = delay
        base = urlsplit(transport.base)
        default_port = {"http": 80, "https": 443}.get(base.scheme)
        self._hosts = {base.netloc, f"{base.hostname}:{base.port or default_port}"}

    def pages(self, ask: Ask, *, newer_than: datetime | None = None) -> Iterator[Page]:
        """Every page of the answer, in order; when it ends without raising, the answer is complete.

        A complete answer that was captured before ``newer_than`` is not used again.

        Raises:
            VendorError: the answer cannot be had whole; what was yielded until then must not be used.
            LeaseHeld: another process is asking the same question now.
        """
        walk = self._resume(ask, newer_than)
        try:
            page = self._next_page(walk)
        except PaginationError:
            if not walk.delayed:
                raise
            # The pages before were not asked by this process: the cursor may have grown old since.
            logger.warning("%s cannot be continued and is asked afresh", ask.target)
            walk = _Walk(Attempt.named(ask, walk.attempt.number + 1), Answer(ask))
            page = self._next_page(walk)
        for number, is_delayed in enumerate(walk.delayed, start=1):
            yield self._page_of(ask, self._captures.read(walk.attempt.page_path(number)), is_delayed, fetched=False)
        while page is not None:
            yield page
            page = self._next_page(walk)

    def has_whole(self, ask: Ask) -> bool:
        """Whether a whole answer about the present was captured, so that :meth:`pages` asks the vendor for nothing."""
        return self._whole(ask, self._captures.attempts(ask), None) is not None

    def server_time(self) -> datetime:
        """The vendor's clock, UTC.

        Raises:
            VendorError: there is no usable answer.
        """
        return self._persist(self._server_time_once)

    def special_days(self) -> list[SpecialDay]:
        """The coming days on which an exchange is closed or closes early, as the vendor lists them.

        Raises:
            VendorError: there is no usable answer.
        """
        return self._persist(self._special_days_once)

    def _resume(self, ask: Ask, newer_than: datetime | None) -> _Walk:
        """Where the newest attempt at an ask can be continued or used again, and otherwise a new one."""
        attempts = self._captures.attempts(ask)
        if not attempts:
            return _Walk(Attempt.named(ask, 1), Answer(ask))
        attempt = attempts[0]
        if ask.within is not None:
            whole = self._whole(ask, attempts, newer_than)
            if whole is not None:
                return whole
            if not attempt.is_closed and self._read_back(ask, attempt) is None:
                self._captures.close(attempt, "cut off, and of another moment by now", to_ns(self._clock()))
            return _Walk(Attempt.named(ask, attempt.number + 1), Answer(ask))
        if not attempt.is_closed:
            if not attempt.pages:
                return _Walk(attempt, Answer(ask))
            try:
                walk = self._replay(ask, attempt, newer_than)
            except (VendorError, RecordMismatch) as error:
                logger.warning("%s is not used: %s", attempt.folder, error)
                self._captures.close(attempt, str(error), to_ns(self._clock()))
                walk = None
            if walk is not None:
                return walk
        return _Walk(Attempt.named(ask, attempt.number + 1), Answer(ask))

    def _replay(self, ask: Ask, attempt: Attempt, newer_than: datetime | None) -> _Walk | None:
        """The pages of an attempt, judged again; None where they are too old to be used."""
        walk = _Walk(attempt, Answer(ask))
        now, final = self._clock(), final_at(ask, self._delay)
        is_final = False
        received_ns = 0
        for path in attempt.pages:
            page = self._captures.read(path)
            if page.slip.number == 1:
                received_ns = page.slip.received_ns
                if received_ns < to_ns(now - self._reuse):
                    return None
                is_final = received_ns >= to_ns(final)
            walk.delayed.append(walk.answer.accept(page.body).is_delayed)
        # A run that was cut goes on, also one that asked for something newer; an answer that was whole has served.
        is_old = newer_than is not None and received_ns < to_ns(newer_than)
        if walk.answer.is_complete and (ask.is_so_far or is_old):
            return None
        # An answer from before the session was over may be finished while that is still so; then it has served.
        may_serve = is_final or (now < final and not walk.answer.is_complete)
        return walk if may_serve else None

    def _whole(self, ask: Ask, attempts: Sequence[Attempt], newer_than: datetime | None) -> _Walk | None:
        """The newest whole answer about the present; None where no attempt came to its end, or only before its time."""
        from_ns = max(to_ns(at) for at in (final_at(ask, self._delay), newer_than) if at is not None)
        walks = (self._read_back(ask, attempt) for attempt in attempts if not attempt.is_closed)
        return next((walk for walk in walks if walk is not None and walk.received_ns[0] >= from_ns), None)

    def _read_back(self, ask: Ask, attempt: Attempt) -> _Walk | None:
        """The pages of an attempt that came to its end; None of any other."""
        walk = _Walk(attempt, Answer(ask))
        try:
            for path in attempt.pages:
                page = self._captures.read(path)
                walk.delayed.append(walk.answer.accept(page.body).is_delayed)
                walk.received_ns.append(page.slip.received_ns)
                walk.require_together(page.slip.request)
        except (VendorError, RecordMismatch) as error:
            logger.warning("%s is not used: %s", attempt.folder, error)
            return None
        return walk if walk.answer.is_complete else None

    def _next_page(self, walk: _Walk) -> Page | None:
        """Ask for the next page until it is there; None once the answer is complete."""
        if walk.answer.is_complete:
            return None
        number = walk.answer.pages + 1
        try:
            return self._persist(lambda: self._page_once(walk))
        except PaginationError as error:
            self._captures.close(walk.attempt, str(error), to_ns(self._clock()))
            raise
        except RequestRefused as error:
            if number == 1:
                raise
            self._captures.close(walk.attempt, str(error), to_ns(self._clock()))
            raise PaginationError(error.request, f"the vendor refuses its own cursor: {error.problem}") from error

    def _page_once(self, walk: _Walk) -> Page:
        target, number = walk.answer.target, walk.answer.pages + 1
        assert target is not None  # noqa: S101 - for the type checker; _next_page has looked
        response = self._call(target)
        body, removed = self._without_key(response.body)
        if removed:
            logger.warning("the vendor repeated the key in its answer to %s: it was removed", target)
        slip = Slip(
            request=target,
            number=number,
            received_ns=to_ns(self._clock()),
            status=response.status,
            request_id=self._text_without_key(response.headers.get("X-Request-Id", "")),
            sha256=sha256_of(body),
            keys_removed=removed,
        )
        page = self._captures.keep(walk.attempt.page_path(number), slip, body)
        try:
            accepted = walk.answer.accept(body)
        except VendorError as error:
            self._captures.set_aside(walk.attempt, page)
            raise _Setback(error) from error
        walk.received_ns.append(slip.received_ns)
        walk.require_together(f"GET {target}, page {number}")
        self._note_host(accepted.next_host)
        return self._page_of(walk.answer.ask, page, accepted.is_delayed, fetched=True)

    def _server_time_once(self) -> datetime:
        response = self._call(_MARKET_STATUS)
        try:
            status = msgspec.json.decode(response.body, type=_MarketStatus)
        except UNREADABLE as error:
            problem = f"the market status cannot be read: {error}"
            raise _Setback(BrokenAnswer(f"GET {_MARKET_STATUS}", problem)) from error
        return status.server_time.astimezone(UTC)

    def _special_days_once(self) -> list[SpecialDay]:
        response = self._call(_UPCOMING)
        try:
            found = msgspec.json.decode(response.body, type=list[_Upcoming])
        except UNREADABLE as error:
            problem = f"the list of holidays cannot be read: {error}"
            raise _Setback(BrokenAnswer(f"GET {_UPCOMING}", problem)) from error
        return [
            SpecialDay(item.date, item.exchange, item.name, None if item.status == "closed" else item.close)
            for item in found
        ]

    def _call(self, target: str) -> Response:
        """One request, counted against the rate limit; an answer of 200.

        Raises:
            _Setback: anything else.
        """
        request = f"GET {target}"
        self._limit.acquire(request, self._retry.rate_limit_patience_s)
        try:
            response = self._transport.get(target)
        except VendorError as error:
            raise _Setback(error) from error
        refusal = error_of_status(request, response.status, response.headers, self._without_key(response.body)[0])
        if refusal is not None:
            raise _Setback(refusal, retry_after_s(response.headers, self._clock()))
        return response

    def _persist[T](self, once: Callable[[], T]) -> T:
        """What ``once`` gives, tried again as often as the retry policy and the kind of fault allow."""
        failed = held = odd = 0
        held_s = 0.0
        while True:
            try:
                return once()
            except _Setback as setback:
                error, asked_s = setback.error, setback.wait_s
            if isinstance(error, RateLimited):
                wait_s = max(asked_s or 0.0, 1.0) if asked_s is not None else min(2.0**held, _LONGEST_HOLD_S)
                held, held_s = held + 1, held_s + wait_s
                self._limit.hold_back(wait_s)
                if held_s > self._retry.rate_limit_patience_s:
                    raise error
                continue  # the next try waits with everybody else's
            if isinstance(error, PaginationError):
                odd += 1
                is_hopeless = odd > 1
            else:
                failed += 1
                is_hopeless = not is_transient(error) or failed >= self._retry.attempts
            if is_hopeless:
                raise error
            wait_s = min(self._retry.first_wait_s * 2 ** (failed + odd - 1), self._retry.longest_wait_s)
            wait_s = max(wait_s, min(asked_s or 0.0, self._retry.rate_limit_patience_s))
            logger.info("asking again in %.1f s: %s", wait_s, error)
            self._sleep(wait_s)

    def _note_host(self, host: str | None) -> None:
        if host is not None and host not in self._hosts:
            self._hosts.add(host)
            logger.info("the vendor names %s for further pages; they are asked at %s", host, self._transport.base)

    def _page_of(self, ask: Ask, page: Captured, is_delayed: bool, *, fetched: bool) -> Page:
        slip = page.slip
        return Page(ask, slip.number, page.path, slip.sha256, page.body, slip.received_ns, fetched, is_delayed)

    def _without_key(self, body: bytes) -> tuple[bytes, int]:
        """A body without the key, and how often it stood there: no server has a reason to send it back, but one may."""
        count = body.count(self._key) if len(self._key) >= _SHORTEST_KEY_IN_TEXT else 0
        return (body.replace(self._key, _REMOVED) if count else body), count

    def _text_without_key(self, text: str) -> str:
        return self._without_key(text.encode())[0].decode()


class _Upcoming(msgspec.Struct):
    date: date
    exchange: str
    name: str
    status: str
    close: datetime | None = None


class _MarketStatus(msgspec.Struct, rename={"server_time": "serverTime"}):
    server_time: Instant


def open_vendor(
    *,
    key: str,
    settings: VendorSettings,
    retry: RestRetry,
    store: Store,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    reuse_hours: float = 24,
    state_folder: Path | None = None,
) -> Vendor:
    """The vendor as the settings describe it; nothing is asked yet.

    ``clock`` gives aware instants and stamps what is captured. The state of the rate limit stands in ``state_folder``,
    by default that of the user (XDG_STATE_HOME).

    Raises:
        ConfigurationError: the key is missing or cannot be sent, or the client library is not installed.
    """
    open_client = client_opener(
        settings.client,
        key,
        settings.rest_url,
        connect_timeout_s=retry.connect_timeout_s,
        read_timeout_s=retry.read_timeout_s,
    )
    return Vendor(
        Transport(open_client, settings.rest_url, retry.read_timeout_s),
        RateLimit(key, settings.calls_per_minute, folder=state_folder or default_state_folder(), sleep=sleep),
        Captures(store),
        key=key,
        retry=retry,
        clock=clock,
        sleep=sleep,
        reuse=timedelta(hours=reuse_hours),
        delay=timedelta(minutes=settings.delay_minutes),
    )
