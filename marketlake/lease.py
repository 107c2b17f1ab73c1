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
from collections.abc import Callable, Iterator
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


@contextmanager
def held_lease(store: Store, path: str, *, owner: str, now: Callable[[], datetime], ttl: timedelta) -> Iterator[None]:
    """Hold the lease of ``path`` (``…/lease.json``; the files beside it are numbered) while the block runs.

    Raises:
        LeaseHeld: another live holder has it; the message says who, and until when.
    """
    mine = Lease(owner, ProcessIdentity.of_this_process(), now() + ttl)
    number = _take(store, path, mine, now)
    try:
        yield
    finally:
        if now() < mine.expires:
            store.delete(_file(path, number))
        else:
            logger.warning(
                "a lease was held longer than it lasts; another writer may have begun: raise lake.lease_minutes",
                extra={"path": path, "owner": owner, "expired": mine.expires.isoformat()},
            )


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
                f"{lease.owner} (process {process.pid} on {process.host}) is writing this partition until "
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
