"""Who may write a partition now: one holder at a time, on any store, also when holders are killed.

What the holder writes is the business of :mod:`marketlake.lake`.

A lease is a file ``lease-N.json`` beside the partition's record. It is *live* until it expires or until its process is
known to be dead; expiry and death are final. To take the lease, a writer

1. lists the lease files and reads them; if one is live, the lease is held;
2. creates the file with the next number, which the store lets exactly one of several writers do;
3. lists and reads again; if another live lease is there, it removes its own and begins again;
4. removes the leases that are no longer live.

Two live leases never pass step 3: of two that were created, the later one's second look comes after the earlier one's
creation, and only its holder removes a live lease. This needs no step that reads and replaces at once, which S3 has
only in part (If-Match) and a disk not at all. Writers that saw the same files want the same number, so of a plain race
exactly one comes out as holder. A holder that was late and finds its lease expired removes nothing: the next one will.

What remains assumed: the clocks of the machines that share a lake differ by much less than the lease's length, and a
holder's work does not go on after it (a warning says when it did). Publishing the same partition twice would still end
in the same bytes.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from marketlake.errors import LakeError, LeaseHeld
from marketlake.processes import ProcessIdentity
from marketlake.store import Store

logger = logging.getLogger(__name__)

# Each turn is lost only to a writer who held and released the lease, or who lost a turn itself, in between.
_TURNS: Final = 5


class Lease(msgspec.Struct, frozen=True):
    """What a lease file says."""

    owner: str
    process: ProcessIdentity
    expires: datetime

    def is_live(self, now: datetime) -> bool:
        """Whether it still keeps others out."""
        return now < self.expires and not self.process.is_certainly_dead


class Holding:
    """A lease that is held; whoever holds it for longer than it lasts renews it on the way."""

    def __init__(self, store: Store, path: str, number: int, lease: Lease, now: Callable[[], datetime]) -> None:
        self._store = store
        self._path = path
        self._file = _file(path, number)
        self._lease = lease
        self._now = now

    def renew(self, ttl: timedelta) -> None:
        """Let it last until ``ttl`` from now.

        Raises:
            LeaseHeld: it expired before, or another writer took it; what is written from now on may be somebody else's.
            LakeError: the store does not answer; the lease is as it was.
        """
        try:
            found = msgspec.json.decode(self._store.read(self._file), type=Lease)
        except FileNotFoundError:
            found = None
        # It may say more than we know: a renewal of which the store's answer was lost.
        is_ours = found is not None and (found.owner, found.process) == (self._lease.owner, self._lease.process)
        if found is None or not is_ours or self._now() >= found.expires:
            raise LeaseHeld(self._file, f"{self._lease.owner} has lost the lease: it was not renewed in time")
        renewed = msgspec.structs.replace(self._lease, expires=self._now() + ttl)
        self._store.write(self._file, msgspec.json.encode(renewed))
        # A write that took longer than the lease had left may have come behind another holder's.
        if self._now() >= found.expires and self._is_taken():
            self._store.delete(self._file)
            raise LeaseHeld(self._file, f"{self._lease.owner} has lost the lease: renewing it took too long")
        self._lease = renewed

    def _is_taken(self) -> bool:
        leases = _leases(self._store, self._path)
        return any(
            lease.is_live(self._now()) for number, lease in leases.items() if _file(self._path, number) != self._file
        )

    def release(self) -> None:
        """Let others in; a lease that has expired is left for the next holder to remove."""
        if self._now() < self._lease.expires:
            self._store.delete(self._file)
        else:
            logger.warning(
                "a lease was held longer than it lasts; another writer may have begun: raise lake.lease_minutes",
                extra={"path": self._file, "owner": self._lease.owner, "expired": self._lease.expires.isoformat()},
            )


@contextmanager
def held_lease(store: Store, path: str, *, owner: str, now: Callable[[], datetime], ttl: timedelta) -> Iterator[None]:
    """Hold the lease of ``path`` (``…/lease.json``; the files beside it are numbered) while the block runs.

    Raises:
        LeaseHeld: another live holder has it; the message says who, and until when.
    """
    with renewable_lease(store, path, owner=owner, now=now, ttl=ttl):
        yield


@contextmanager
def renewable_lease(
    store: Store, path: str, *, owner: str, now: Callable[[], datetime], ttl: timedelta
) -> Iterator[Holding]:
    """The same for work that may take longer than ``ttl``."""
    mine = Lease(owner, ProcessIdentity.of_this_process(), now() + ttl)
    holding = Holding(store, path, _take(store, path, mine, now), mine, now)
    try:
        yield holding
    finally:
        holding.release()


@contextmanager
def kept_lease(
    store: Store, path: str, *, owner: str, now: Callable[[], datetime], ttl: timedelta
) -> Iterator[Callable[[], None]]:
    """The same for work of any length: a thread renews it. What is given raises LeaseHeld where it was lost."""
    over = threading.Event()
    with (
        renewable_lease(store, path, owner=owner, now=now, ttl=ttl) as holding,
        ThreadPoolExecutor(1, thread_name_prefix="lease") as pool,
    ):
        renewing = pool.submit(_renew, holding, ttl, over)

        def require_held() -> None:
            if renewing.done():
                renewing.result()

        try:
            yield require_held
        finally:
            over.set()


def _renew(holding: Holding, ttl: timedelta, over: threading.Event) -> None:
    while not over.wait(ttl.total_seconds() / 3):
        try:
            holding.renew(ttl)
        except LeaseHeld:
            raise
        except LakeError as error:
            logger.warning("a lease could not be renewed and is tried again: %s", error)


def _take(store: Store, path: str, mine: Lease, now: Callable[[], datetime]) -> int:
    content = msgspec.json.encode(mine)
    there: dict[int, Lease] = {}
    for _ in range(_TURNS):
        there = _leases(store, path)
        _raise_if_held(path, there, now())
        number = max(there, default=0) + 1
        if not store.create(_file(path, number), content):
            continue
        others = {found: lease for found, lease in _leases(store, path).items() if found != number}
        if any(lease.is_live(now()) for lease in others.values()):
            store.delete(_file(path, number))
            there = others
            continue
        for found in others:
            store.delete(_file(path, found))
        return number
    _raise_if_held(path, _leases(store, path) or there, now())
    raise LeaseHeld(path, "other writers keep taking the lease; run again later")


def _raise_if_held(path: str, leases: dict[int, Lease], now: datetime) -> None:
    for lease in leases.values():
        if lease.is_live(now):
            process = lease.process
            problem = (
                f"{lease.owner} (process {process.pid} on {process.host}) is writing here until "
                f"{lease.expires.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC at the latest; run again later"
            )
            raise LeaseHeld(path, problem)


def _leases(store: Store, path: str) -> dict[int, Lease]:
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".json")
    found: dict[int, Lease] = {}
    for file in store.list(folder):
        number = file.removeprefix(f"{folder}/{stem}-").removesuffix(".json")
        if not number.isdecimal() or file != _file(path, int(number)):
            continue
        try:
            found[int(number)] = msgspec.json.decode(store.read(file), type=Lease)
        except FileNotFoundError:
            continue  # released since it was listed
        except msgspec.MsgspecError as error:
            raise LakeError(file, f"this is no lease ({error}); remove it if no writer is running") from error
    return found


def _file(path: str, number: int) -> str:
    return f"{path.removesuffix('.json')}-{number}.json"
