"""The recorder as a process: lease, spool, clocks, signals. What it does with them is :mod:`marketlake.recorder`'s.

Imports are kept light here: a recorder has no table, no calendar and no Prefect. It is led and watched by the files of
:mod:`marketlake.recorder_files`.
"""

import asyncio
import functools
import gc
import os
import random
import signal
import time
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from marketlake.connection import Address, Connection, Journal
from marketlake.errors import UsageError
from marketlake.expected_hours import expected_hours_ns
from marketlake.feeds import Subscription, checked_wanted
from marketlake.lease import kept_lease
from marketlake.logs import protect
from marketlake.pulse import Pulse
from marketlake.recorder import Recorder, Report, SessionClock
from marketlake.recorder_files import WantedFile, read_wanted, told_hours_ns, write_report, write_wanted
from marketlake.session_clocks import MachineClock, VendorClock
from marketlake.settings import Settings
from marketlake.silence import SilenceWatch, silence_limits_ns
from marketlake.spool import captured_numbers, local_folder, local_numbers
from marketlake.spool_writing import SpoolWriter
from marketlake.store import Store
from marketlake.tickers import AssetClass
from marketlake.transport import Transport, checked_key, client_opener, import_client

_NS_PER_MINUTE: Final = 60_000_000_000
_MEGABYTE: Final = 2**20
# A recorder whose machine died is replaced after this long; one whose process died, at once.
_LEASE: Final = timedelta(minutes=2)
# A vendor's clock that is told late is none; and a thread that waits for it would hold up the end of the process.
_CLOCK_TIMEOUT_S: Final = 1.0


def record(
    feed: AssetClass,
    session: date,
    subscriptions: Collection[Subscription] | None,
    *,
    settings: Settings,
    key: str,
    store: Store,
    ends_ns: int | None = None,
) -> None:
    """Record a feed into the spool until SIGTERM or SIGINT; both end it within a second, with everything durable.

    It also ends at ``ends_ns``, in session time, nanoseconds since the epoch.
    ``subscriptions`` replaces what is wanted; None goes on with what was wanted before, as after a restart. ``store``
    is the lake's: it holds the lease of the feed, and the numbers of files that are sealed.

    Raises:
        UsageError: nothing is wanted, or the date is no session.
        ConfigurationError: the key cannot be sent, or the client library is not installed.
        LeaseHeld: another recorder has the feed of this lake, or took it.
        VendorError: the vendor turns the recorder away.
        LakeError: the spool or the lake cannot be written.
    """
    protect([checked_key(key)])
    folder = local_folder(Path(settings.stream.spool), feed, session)
    # Before it is read: what is said meanwhile is then seen as new.
    wanted_file = WantedFile(folder, feed)
    wanted = _wanted(folder, feed, subscriptions)
    owner = f"the recorder of {feed} {session}"
    # A store that does not answer holds up the thread that renews the lease, and nothing else.
    lease = kept_lease(store, f"ledger/stream/{feed}/lease.json", owner=owner, now=_now, ttl=_LEASE)
    with lease as require_held:
        if subscriptions is not None:
            # Asked before anything is written: a date without a session leaves no spool.
            write_wanted(folder, wanted, asyncio.run(expected_hours_ns(feed, session, wanted)))
        # Here first: a file that is just being sealed is then seen at least once.
        here = local_numbers(folder)
        spool = SpoolWriter(
            folder,
            after=max([*here, *captured_numbers(store, feed, session)], default=0),
            sync_s=settings.stream.sync_ms / 1_000,
            most_pending_bytes=settings.stream.buffer_mb * _MEGABYTE,
        )
        try:
            errand = _Errand(folder, wanted_file, require_held)
            asyncio.run(
                _record(
                    feed,
                    session,
                    wanted,
                    settings=settings,
                    key=key,
                    spool=spool,
                    errand=errand,
                    ends_ns=ends_ns,
                )
            )
        finally:
            spool.close()


def _wanted(folder: Path, feed: AssetClass, subscriptions: Collection[Subscription] | None) -> frozenset[Subscription]:
    if subscriptions is not None:
        return checked_wanted(feed, subscriptions)
    wanted = read_wanted(folder, feed)
    if wanted is None:
        message = f"nobody has said what to record of {feed}: name subscriptions, as in AM.SPY"
        raise UsageError(message)
    return wanted


class _Errand:
    """What has to be done at the disk now and then; it may wait for it, so a thread does it."""

    def __init__(self, folder: Path, wanted: WantedFile, require_held: Callable[[], None]) -> None:
        self._folder = folder
        self._wanted = wanted
        self._require_held = require_held

    def __call__(self, report: Report) -> frozenset[Subscription] | None:
        write_report(self._folder, report)
        self._require_held()
        return self._wanted.changed()


async def _record(
    feed: AssetClass,
    session: date,
    wanted: frozenset[Subscription],
    *,
    settings: Settings,
    key: str,
    spool: SpoolWriter,
    errand: _Errand,
    ends_ns: int | None,
) -> None:
    vendor, limits = settings.vendor, settings.retry.stream
    address = Address.parse(vendor.ws_url)
    library = import_client(vendor.client)
    delay_ns = vendor.delay_minutes * _NS_PER_MINUTE

    def connect(asked: frozenset[Subscription], journal: Journal, number: int) -> Connection:
        return Connection(library, address, feed, key=key, wanted=asked, limits=limits, journal=journal, number=number)

    recorder = Recorder(
        {
            "feed": feed,
            "session": session.isoformat(),
            "plan": vendor.plan,
            "host": address.place,
            "pid": os.getpid(),
        },
        wanted,
        spool=spool,
        connect=connect,
        limits=limits,
        watch=SilenceWatch(silence_limits_ns(feed, settings.stream), tells_halts=feed is not AssetClass.OPTIONS),
        hours_of=functools.partial(
            hours_of_news_ns, local_folder(Path(settings.stream.spool), feed, session), feed, session
        ),
        session_clock=_session_clock(settings, key, delay_ns),
        errand=errand,
        pulse=Pulse(delay_ns=delay_ns),
        tells_lag=settings.stream.clock == "machine",
        most_file_bytes=settings.stream.file_mb * _MEGABYTE,
        now_ns=time.time_ns,
        rng=random.Random(),  # noqa: S311 - it spreads waits, and protects nothing
        ends_ns=ends_ns,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, recorder.stop, signal.Signals(number).name)
    # What is there now stays: the collector need not look at it again and again.
    gc.freeze()
    await recorder.run()


async def hours_of_news_ns(
    folder: Path, feed: AssetClass, session: date, wanted: frozenset[Subscription]
) -> tuple[int, int]:
    """From when to before when news is expected: as whoever wants it has said, else as the calendar says.

    Raises:
        UsageError: the date is no session.
    """
    return told_hours_ns(folder) or await expected_hours_ns(feed, session, wanted)


def _session_clock(settings: Settings, key: str, delay_ns: int) -> SessionClock:
    if settings.stream.clock == "machine":
        return MachineClock(time.time_ns, delay_ns)
    vendor = settings.vendor
    opener = client_opener(
        vendor.client, key, vendor.rest_url, connect_timeout_s=_CLOCK_TIMEOUT_S, read_timeout_s=_CLOCK_TIMEOUT_S
    )
    return VendorClock(Transport(opener, vendor.rest_url, _CLOCK_TIMEOUT_S), delay_ns)


def _now() -> datetime:
    return datetime.now(UTC)
