"""How many calls a minute one key may make from this machine, whoever makes them.

Every process of a user that asks with the same key shares one small file: a ring of the instants of the last calls. A
call is admitted when the call ``limit`` places before it is older than a window, which keeps *every* window of that
length at or below the limit. A 429 that one of them meets makes all of them wait. What is done about other faults is
:mod:`marketlake.rest`'s.

The file is locked only while it is read and written, never while somebody waits, and the kernel gives the lock back
when its holder dies. Instants are those of the machine's boot clock, which no change of the date moves; the file says
of which boot they are. The key stands nowhere: the file is named by a salted hash.
"""

import fcntl
import hashlib
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from marketlake.errors import RateLimited

logger = logging.getLogger(__name__)

# The vendor counts arrivals in its own minute. Half a second covers the difference between two calls' ways there.
WINDOW_S: Final = 60.5
# Places in the ring, and so the highest limit that can be kept; 512 KiB of a sparse file.
CAPACITY: Final = 65_536
# The longest that a 429 is believed: what is farther away comes from a clock that has changed since.
_LONGEST_HOLD_S: Final = 3_600.0
# A wait that a person would wonder about is said.
_WORTH_SAYING_S: Final = 5.0

_NS: Final = 1_000_000_000
_SALT: Final = b"marketlake-calls"  # blake2b takes 16 bytes
_HEADER: Final = struct.Struct("<8s16sqq")  # magic, boot, calls so far, nobody may call before
_MAGIC: Final = b"mlcalls1"
_STAMP: Final = struct.Struct("<q")


def default_state_folder(environ: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Where the state of this user's programs stands by the XDG base directory specification."""
    given = environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "marketlake"


def boot_clock_ns() -> int:
    """Nanoseconds since this machine started, the time that it slept included; the same in all processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """A name of this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class RateLimit:
    """Admits the calls of one key; safe to share between threads and between processes."""

    def __init__(
        self,
        key: str,
        calls_per_minute: int,
        *,
        folder: Path,
        sleep: Callable[[float], None],
        clock_ns: Callable[[], int] = boot_clock_ns,
        boot: str | None = None,
        window_s: float = WINDOW_S,
    ) -> None:
        if not 1 <= calls_per_minute <= CAPACITY:
            message = f"calls_per_minute is {calls_per_minute}: it must lie between 1 and {CAPACITY}"
            raise ValueError(message)
        self._limit = calls_per_minute
        self._window_ns = int(window_s * _NS)
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._boot = hashlib.blake2b((boot or boot_id()).encode(), digest_size=16).digest()
        name = hashlib.blake2b(key.encode(), digest_size=8, salt=_SALT).hexdigest()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"calls-{name}"

    def acquire(self, request: str, patience_s: float) -> None:
        """Return when one more call may be made, and count it.

        Waiting for the window to slide is not bounded: it always ends. Waiting because the vendor said 429 is, by
        ``patience_s``.

        Raises:
            RateLimited: the vendor wants nobody to call for longer than that.
        """
        while (wait_s := self._admit(request, patience_s)) > 0:
            if wait_s >= _WORTH_SAYING_S:
                logger.info("waiting %.0f s for the rate limit of %d calls a minute", wait_s, self._limit)
            self._sleep(wait_s)

    def hold_back(self, seconds: float) -> None:
        """Let nobody call for so long, because the vendor answered 429."""
        with self._locked() as file:
            now = self._clock_ns()
            calls, until = self._read_header(file, now)
            held = now + int(min(seconds, _LONGEST_HOLD_S) * _NS)
            self._write_header(file, calls, max(until, held))

    def _admit(self, request: str, patience_s: float) -> float:
        """Zero when the call is admitted and counted, else how long to wait before asking again."""
        with self._locked() as file:
            now = self._clock_ns()
            calls, until = self._read_header(file, now)
            if until > now:
                wait_s = (until - now) / _NS
                if wait_s > patience_s:
                    raise RateLimited(request, f"the vendor wants no call for another {wait_s:.0f} s")
                return wait_s
            free_at = self._stamp(file, calls - self._limit) + self._window_ns if calls >= self._limit else now
            if free_at > now:
                return (free_at - now) / _NS
            # The stamp first: a process that dies between the two writes has sent nothing, and counts for nothing.
            os.pwrite(file, _STAMP.pack(now), self._place(calls))
            self._write_header(file, calls + 1, until)
            return 0.0

    def _read_header(self, file: int, now: int) -> tuple[int, int]:
        """How many calls were admitted, and before when nobody may call."""
        raw = os.pread(file, _HEADER.size, 0)
        if not raw:
            return 0, 0
        if len(raw) == _HEADER.size:
            magic, boot, calls, until = _HEADER.unpack(raw)
            if magic == _MAGIC and boot == self._boot:
                newest = self._stamp(file, calls - 1) if calls else 0
                if newest <= now and until <= now + int(_LONGEST_HOLD_S * _NS):
                    return calls, until
                # The clock went back. The calls that it now puts into the future are taken for calls of just now.
                return self._start_full(file, now)
        # The machine has started again since: whenever those calls were, they were no later than its start.
        return self._start_full(file, 0)

    def _start_full(self, file: int, at: int) -> tuple[int, int]:
        os.pwrite(file, _STAMP.pack(at) * self._limit, self._place(0))
        self._write_header(file, self._limit, 0)
        return self._limit, 0

    def _write_header(self, file: int, calls: int, until: int) -> None:
        os.pwrite(file, _HEADER.pack(_MAGIC, self._boot, calls, until), 0)

    def _stamp(self, file: int, call: int) -> int:
        stamp: int = _STAMP.unpack(os.pread(file, _STAMP.size, self._place(call)))[0]
        return stamp

    @staticmethod
    def _place(call: int) -> int:
        return _HEADER.size + (call % CAPACITY) * _STAMP.size

    @contextmanager
    def _locked(self) -> Iterator[int]:
        # One descriptor a call: a lock belongs to the open file, so threads shut each other out as processes do.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)
