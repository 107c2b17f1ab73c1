"""The recorder of one feed: holds a connection, keeps all that comes, and connects again when that ends.

It knows neither files nor the machine: spool, clocks, chance and the way to connect come in from
:mod:`marketlake.recording`. One connection is :mod:`marketlake.connection`'s business, a silence
:mod:`marketlake.silence`'s. Among the frames it writes what happened, as JSON ``{"event": …}``; ``connection`` counts
from 1 in each process:

=================  ====================================================================================================
``started``        feed, session, wanted, plan, host, pid: the first record of a process
``continued``      feed, session, connection: the first record of each further file of the same process
``connecting``     connection; then ``connected`` (greeted) and ``authenticated`` (key accepted), connection
``subscribed``     connection, accepted, refused: what was newly answered; from here on it can be covered
``refused``        subscription, message: the plan does not have it, or one connection after the other did not answer;
                   it is not asked for again by this process
``changed``        connection, added, dropped: the wanted set changed; what was dropped ends here
``frames_lost``    connection, frames, bytes, reason ``overflow``: what the disk could not take, since the frame before
``silent``         connection, topics, silent_s, limit_s: these stalled, the connection is given up
``halted``         connection, since_ns: quotes or values come, and no trades; later ``resumed``, connection, since_ns,
                   until_ns; never of options
``clock``          connection, session_ns: the session's time, asked for behind what ``subscribed`` told last
``disconnected``   connection, outcome (:class:`marketlake.connection.Outcome`), detail
``stopped``        reason: the last record of a process that was not killed
=================  ====================================================================================================
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final, Protocol

import msgspec

from marketlake.connection import Connection, Ending, Journal, Outcome
from marketlake.errors import KeyRefused, LakeError, NotEntitled, TooManyConnections
from marketlake.feeds import Subscription, Topic
from marketlake.processes import ProcessIdentity
from marketlake.pulse import Pulse
from marketlake.settings import StreamRetry
from marketlake.silence import Finding, SilenceWatch, Verdict
from marketlake.spool import Kind
from marketlake.spool_writing import SpoolWriter

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.25
_REPORT_S: Final = 0.5
# A connection that was subscribed for this long was good: the next wait is short again.
_STEADY_S: Final = 5.0
# Being turned away this long ago is another story.
_FORGOTTEN_S: Final = 600.0

type Wanted = frozenset[Subscription]
type _Confirmed = tuple[int, Wanted]  # the number of a connection, and what it has
type Connect = Callable[[Wanted, Journal, int], Connection]


class SessionClock(Protocol):
    """Tells the session's time, nanoseconds since the epoch, to :class:`marketlake.silence.SilenceWatch`."""

    async def now_ns(self, last_event_ns: int | None) -> int | None:
        """The time now; None where it cannot be had. ``last_event_ns`` is news since it was asked before."""
        ...


class Report(msgspec.Struct, frozen=True):
    """How a recorder is, for its flow and for people; written beside the spool. Times are nanoseconds since the epoch.

    ``lag_p50_ms`` and ``lag_p99_ms`` are of the last minute and without the plan's delay; None where nothing came, or
    where a past session is replayed.
    """

    at_ns: int
    feed: str
    pid: int
    process: str  # its ProcessIdentity.slug: a number of a process is used again
    connection: int
    is_subscribed: bool
    reconnects: int
    outcomes: dict[str, int]
    wanted: list[str]
    refused: list[str]
    frames: int
    bytes: int
    events: int
    frames_lost: int
    bytes_lost: int
    bytes_pending: int
    synced_file: int
    synced_offset: int
    last_event_ns: int | None
    lag_p50_ms: float | None
    lag_p99_ms: float | None


type Errand = Callable[[Report], Wanted | None]
"""Publishes a report, and gives the wanted set where somebody changed it; runs in a thread, since it may wait."""


class Recorder:
    """One process records one feed with one of these; ``about`` is what the ``started`` event says.

    ``ends_ns`` is when it ends by itself, in session time: one that nobody watches any more does not run for ever.
    """

    def __init__(
        self,
        about: dict[str, str | int],
        wanted: Wanted,
        *,
        spool: SpoolWriter,
        connect: Connect,
        limits: StreamRetry,
        watch: SilenceWatch,
        hours_of: Callable[[Wanted], Awaitable[tuple[int, int]]],
        session_clock: SessionClock,
        errand: Errand,
        pulse: Pulse,
        tells_lag: bool,
        most_file_bytes: int,
        now_ns: Callable[[], int],
        rng: Random,
        ends_ns: int | None = None,
    ) -> None:
        self._about = about
        self._process = ProcessIdentity.of_this_process()
        self._request = f"the {about['feed']} stream"
        self._wanted = wanted
        self._spool = spool
        self._connect = connect
        self._limits = limits
        self._watch = watch
        self._hours_of = hours_of
        self._session_clock = session_clock
        self._errand = errand
        self._pulse = pulse
        self._tells_lag = tells_lag
        self._most_file_bytes = most_file_bytes
        self._now_ns = now_ns
        self._rng = rng
        self._ends_ns = ends_ns
        self._connection: Connection | None = None
        self._number = 0
        self._stopping = asyncio.Event()
        self._reason = ""
        self._refused: dict[Subscription, str] = {}
        self._unanswered: Counter[Subscription] = Counter()
        self._turned_away: deque[float] = deque()
        self._outcomes: Counter[str] = Counter()
        self._lost_now = (0, 0)  # frames and bytes that the next event tells
        self._lost = (0, 0)

    def frame(self, data: bytes) -> None:
        """Keep a message, or count it where the disk has fallen too far behind."""
        now_ns = self._now_ns()
        if self._lost_now[0] and self._spool.fits(len(data)):
            self._tell_losses()
        if not self._spool.append(now_ns, Kind.FRAME, data):
            self._lost_now = (self._lost_now[0] + 1, self._lost_now[1] + len(data))
            self._lost = (self._lost[0] + 1, self._lost[1] + len(data))
        self._pulse.beat(now_ns, data)

    def event(self, name: str, **facts: object) -> None:
        """Keep what happened."""
        self._spool.append(self._now_ns(), Kind.EVENT, msgspec.json.encode({"event": name, **facts}))

    def stop(self, reason: str) -> None:
        """Let :meth:`run` end soon."""
        self._reason = self._reason or reason
        self._stopping.set()
        if self._connection is not None:
            self._connection.end(Outcome.STOPPED, reason)

    async def run(self) -> None:
        """Record until :meth:`stop`, or until it makes no sense to go on.

        Raises:
            VendorError: the vendor turns the recorder away: key, plan, or too many connections.
            LakeError: the spool cannot be written, or the lease was lost.
        """
        self.event("started", **self._about, wanted=_texts(self._wanted))
        works = [asyncio.create_task(work()) for work in (self._hold, self._look, self._report)]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        except BaseException as error:
            self._reason = self._reason or str(error)
            raise
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
            self._tell_losses()
            self.event("stopped", reason=self._reason)
            with suppress(LakeError):  # of a recorder that ends anyway
                self._errand(self.report())

    async def _hold(self) -> None:
        """Connect, and connect again."""
        short_lived = 0
        while not self._stopping.is_set():
            self._number += 1
            connection = self._connection = self._connect(self._wanted - self._refused.keys(), self, self._number)
            ending = await connection.run()
            was_steady = connection.steady_s >= _STEADY_S
            self._connection = None
            self._outcomes[ending.outcome] += 1
            self._judge(connection, ending)
            if self._stopping.is_set():
                return
            short_lived = 0 if was_steady else short_lived + 1
            if was_steady:
                self._turned_away.clear()
            await self._rest(short_lived, ending)

    async def _rest(self, short_lived: int, ending: Ending) -> None:
        longest_s = min(self._limits.first_wait_s * 2 ** min(max(short_lived - 1, 0), 20), self._limits.longest_wait_s)
        # Half of it is left to chance, so that the clients of a server that went down do not come back all at once.
        wait_s = longest_s * self._rng.uniform(0.5, 1.0)
        logger.warning(
            "the connection ended (%s: %s); connecting again in %.1f s", ending.outcome, ending.detail, wait_s
        )
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _judge(self, connection: Connection, ending: Ending) -> None:
        """Remember what a connection told.

        Raises:
            VendorError: another connection would be told the same.
        """
        self._note_refusals(connection)
        self._note_unanswered(connection)
        if ending.outcome not in {Outcome.AUTH_FAILED, Outcome.MAX_CONNECTIONS, Outcome.EVICTED}:
            return
        is_refused = ending.outcome is Outcome.AUTH_FAILED
        if is_refused and "plan" in ending.detail:
            # The vendor has one status for both: the key is unknown, or its plan has no stream of this asset class.
            raise NotEntitled(self._request, ending.detail)
        # A good key is refused now and then while the vendor's own accounts are down.
        if self._times_turned_away() >= self._limits.attempts:
            raise (KeyRefused if is_refused else TooManyConnections)(self._request, ending.detail)

    def _times_turned_away(self) -> int:
        now_s = asyncio.get_running_loop().time()
        self._turned_away.append(now_s)
        while self._turned_away[0] < now_s - _FORGOTTEN_S:
            self._turned_away.popleft()
        return len(self._turned_away)

    def _note_refusals(self, connection: Connection) -> None:
        """Take over what was refused.

        Raises:
            NotEntitled: nothing that is wanted is left.
        """
        for subscription, message in sorted(connection.asked.refused.items()):
            self._give_up(subscription, message)
        if not self._wanted - self._refused.keys():
            raise NotEntitled(self._request, "; ".join(sorted(set(self._refused.values()))))

    def _note_unanswered(self, connection: Connection) -> None:
        """Give up what is not answered by one connection after the other, while other subscriptions are."""
        asked = connection.asked
        for subscription in asked.accepted:
            del self._unanswered[subscription]
        if not asked.accepted or not connection.was_cut_for_acknowledgements:
            return
        self._unanswered.update(asked.lost)
        for subscription, count in sorted(self._unanswered.items()):
            if count >= self._limits.attempts and subscription not in self._refused:
                message = f"not acknowledged by {count} connections"
                self.event("refused", subscription=str(subscription), message=message)
                self._give_up(subscription, message)

    def _give_up(self, subscription: Subscription, message: str) -> None:
        if subscription not in self._refused:
            self._refused[subscription] = message
            logger.warning("the vendor does not give us %s and it is not recorded: %s", subscription, message)

    async def _look(self) -> None:
        """Watch for silence."""
        hours_ns, hours_for = (0, 0), frozenset[Subscription]()
        listens_to, heard, is_over = 0, set[Topic](), False
        told: _Confirmed | None = None
        while True:
            if hours_for != self._wanted:
                hours_for = self._wanted
                hours_ns = await self._hours_of(hours_for)
            await asyncio.sleep(_LOOK_S)
            topics = {item.topic for item in self._wanted - self._refused.keys()}
            heard |= self._pulse.heard(topics)
            told = await self._tell_time(told)
            now_ns = await self._session_clock.now_ns(self._pulse.news_ns())
            if self._ends_ns is not None and now_ns is not None:
                # Seen twice: one event with a wrong time must not end the day.
                was_over, is_over = is_over, now_ns >= self._ends_ns
                if was_over and is_over:
                    self.stop("the session is over")
                    await asyncio.get_running_loop().create_future()  # the connection is ended, not this
            connection = self._connection
            if connection is None or not connection.is_subscribed or now_ns is None:
                continue
            if listens_to != connection.number:
                listens_to = connection.number
                self._watch.listen(now_ns)
            self._watch.hear(heard, now_ns)
            heard = set()
            self._act(connection, self._watch.look(topics, hours_ns, now_ns))

    async def _tell_time(self, told: _Confirmed | None) -> _Confirmed | None:
        """Note the session's time behind each confirmation: all that is sent from then on comes to us."""
        confirmed = self._confirmed()
        if confirmed is None or confirmed == told:
            return told
        session_ns = await self._session_clock.now_ns(None)
        if session_ns is None or confirmed != self._confirmed():
            return told
        self.event("clock", connection=confirmed[0], session_ns=session_ns)
        return confirmed

    def _confirmed(self) -> _Confirmed | None:
        connection = self._connection
        if connection is None or not connection.is_subscribed:
            return None
        return connection.number, frozenset(connection.asked.accepted)

    def _act(self, connection: Connection, finding: Finding) -> None:
        match finding.verdict:
            case Verdict.SILENT:
                silent_s, limit_s = round(finding.silent_s, 3), finding.limit_s
                topics = sorted(finding.topics)
                self.event("silent", connection=connection.number, topics=topics, silent_s=silent_s, limit_s=limit_s)
                connection.end(
                    Outcome.SILENT, f"nothing for {silent_s:g} s of the session, {limit_s:g} s are the limit"
                )
            case Verdict.HALTED | Verdict.RESUMED:
                until_ns = finding.since_ns + round(finding.silent_s * 1e9)
                self.event(finding.verdict, connection=connection.number, since_ns=finding.since_ns, until_ns=until_ns)
                logger.warning("trading has %s on this feed", finding.verdict)

    async def _report(self) -> None:
        """Tell how it goes, take over a changed set of subscriptions, and begin new files."""
        while True:
            self._spool.raise_if_failed()
            if self._lost_now[0] and self._spool.fits(0):
                self._tell_losses()
            if self._spool.file_bytes >= self._most_file_bytes:
                self._spool.begin_file()
                self.event("continued", **self._about, connection=self._number)
            wanted = await asyncio.to_thread(self._errand, self.report())
            if wanted is not None and wanted != self._wanted:
                added, dropped = wanted - self._wanted, self._wanted - wanted
                self.event("changed", connection=self._number, added=_texts(added), dropped=_texts(dropped))
                self._wanted = wanted
                if self._connection is not None:
                    self._connection.want(wanted - self._refused.keys())
            if self._connection is not None and self._connection.is_subscribed:
                self._note_refusals(self._connection)
            await asyncio.sleep(_REPORT_S)

    def report(self) -> Report:
        """How it goes now."""
        now_ns = self._now_ns()
        lag = self._pulse.lag(now_ns) if self._tells_lag else None
        connection, synced = self._connection, self._spool.synced
        return Report(
            at_ns=now_ns,
            feed=str(self._about["feed"]),
            pid=int(self._about["pid"]),
            process=self._process.slug,
            connection=self._number,
            is_subscribed=connection is not None and connection.is_subscribed,
            reconnects=max(self._number - 1, 0),
            outcomes=dict(sorted(self._outcomes.items())),
            wanted=_texts(self._wanted),
            refused=_texts(frozenset(self._refused)),
            frames=self._pulse.frames,
            bytes=self._pulse.bytes,
            events=self._pulse.events,
            frames_lost=self._lost[0],
            bytes_lost=self._lost[1],
            bytes_pending=self._spool.pending_bytes,
            synced_file=synced.file,
            synced_offset=synced.offset,
            last_event_ns=self._pulse.last_event_ns(),
            lag_p50_ms=lag.p50_ms if lag is not None else None,
            lag_p99_ms=lag.p99_ms if lag is not None else None,
        )

    def _tell_losses(self) -> None:
        frames, size = self._lost_now
        if frames:
            self._lost_now = (0, 0)
            self.event("frames_lost", connection=self._number, frames=frames, bytes=size, reason="overflow")
            logger.error("the disk is too slow: frames were lost", extra={"frames": frames, "bytes": size})


def _texts(subscriptions: Wanted) -> list[str]:
    return sorted(str(item) for item in subscriptions)
