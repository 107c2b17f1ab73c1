"""Writing a spool: records are taken at once, and made durable together, every 100 ms or every megabyte.

The format is that of :mod:`marketlake.spool`. Taking a record never waits for the disk: what waits to be written is
bounded in bytes, and a record that does not fit is refused, for the caller to count. One thread takes, another writes.
"""

import errno
import fcntl
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

from marketlake.errors import LakeError
from marketlake.processes import ProcessIdentity
from marketlake.spool import MAGIC, Kind, Position, file_name, local_numbers, pack_record

_ADVICE: Final = {
    errno.ENOSPC: "make room on the disk; the recorder goes on in a new file when it is started again",
    errno.EDQUOT: "make room in the quota; the recorder goes on in a new file when it is started again",
    errno.EIO: "the disk reports damage; look at the kernel's log",
    errno.EROFS: "the file system is mounted read-only",
}
# So that a backlog is written and synced in pieces, and what is reported as synced moves on.
_SYNC_BYTES: Final = 2**20
# A full buffer is opened again when it is half empty: losses come in one piece and not in thousands.
_OPENED_AGAIN_AT: Final = 0.5
_BEGUN: Final = ".begun-"


class SpoolWriter:
    """Appends to one new file of a folder, and to further ones when it is told to; the first one exists from the start.

    A number that is not above ``after`` is not used: it may stand in the lake already.

    Raises:
        LakeError: the folder or the file cannot be made.
    """

    def __init__(self, folder: Path, *, after: int, sync_s: float, most_pending_bytes: int) -> None:
        self._folder = folder
        self._sync_s = sync_s
        self._most_pending_bytes = most_pending_bytes
        # Each number is counted by one thread alone: the deque between them needs no lock.
        self._pending: deque[bytes | None] = deque()  # None: go on in a new file
        self._taken_bytes = 0
        self._written_bytes = 0
        self._is_full = False
        self._wake = threading.Event()
        self._closing = False
        self._failure: LakeError | None = None
        self.file_bytes = len(MAGIC)
        """How long the newest file will be when everything that was taken is written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._number, self._file = _create_file(folder, max([after, *local_numbers(folder)]) + 1)
        except OSError as error:
            raise _lake_error(folder, error) from error
        self._synced = Position(self._number, len(MAGIC))
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._thread.start()

    @property
    def synced(self) -> Position:
        """Every record that ends here or before survives a power cut."""
        return self._synced

    @property
    def pending_bytes(self) -> int:
        """What was taken and is not yet durable."""
        return self._taken_bytes - self._written_bytes

    def append(self, received_ns: int, kind: Kind, payload: bytes) -> bool:
        """Take a record; False where a frame does not fit. An event always does: it says what was lost.

        Raises:
            LakeError: writing has failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        if kind is Kind.FRAME and not self.fits(len(payload)):
            return False
        record = pack_record(received_ns, kind, payload)
        self._pending.append(record)
        self._taken_bytes += len(record)
        self.file_bytes += len(record)
        if self._taken_bytes - self._written_bytes >= _SYNC_BYTES:
            self._wake.set()
        return True

    def fits(self, length: int) -> bool:
        """Whether a frame of this length would be taken."""
        pending = self._taken_bytes - self._written_bytes
        if self._is_full and pending > self._most_pending_bytes * _OPENED_AGAIN_AT:
            return False
        self._is_full = pending + length > self._most_pending_bytes
        return not self._is_full

    def begin_file(self) -> None:
        """Let the next record be the first of a new file."""
        self._pending.append(None)
        self.file_bytes = len(MAGIC)

    def raise_if_failed(self) -> None:
        """Report a failure of the disk.

        Raises:
            LakeError: what is not reported as synced is not durable.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Make everything durable that was taken, and let go of the file.

        Raises:
            LakeError: that failed.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        self.raise_if_failed()

    def _write(self) -> None:
        try:
            while True:
                self._wake.wait(self._sync_s)
                self._wake.clear()
                is_last = self._closing
                while self._pending:
                    self._write_batch()
                if is_last:
                    return
        except OSError as error:
            # A sync that failed may have dropped what it was for; trying again would report it as done.
            self._failure = _lake_error(self._folder / file_name(self._number), error)
        finally:
            os.close(self._file)

    def _write_batch(self) -> None:
        batch: list[bytes] = []
        size = 0
        is_file_done = False
        while self._pending and size < _SYNC_BYTES and not is_file_done:
            record = self._pending.popleft()
            if record is None:
                is_file_done = True
            else:
                batch.append(record)
                size += len(record)
        if batch:
            _write_all(self._file, b"".join(batch))
            os.fdatasync(self._file)
            self._synced = Position(self._synced.file, self._synced.offset + size)
            self._written_bytes += size
        if is_file_done:
            done = self._file
            self._number, self._file = _create_file(self._folder, self._number + 1)
            self._synced = Position(self._number, len(MAGIC))
            os.close(done)


def _create_file(folder: Path, number: int) -> tuple[int, int]:
    """A new file under the first number from ``number`` on that is free: its number and its descriptor.

    It is locked and begun under a hidden name, so that nobody ever sees one that has no writer and no magic.
    """
    aside = folder / f"{_BEGUN}{ProcessIdentity.of_this_process().slug}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write_all(descriptor, MAGIC)
        os.fsync(descriptor)
        while True:
            try:
                (folder / file_name(number)).hardlink_to(aside)
            except FileExistsError:
                number += 1
            else:
                break
        _sync_folder(folder)
    except OSError:
        os.close(descriptor)
        raise
    finally:
        aside.unlink()
    _remove_begun(folder)
    return number, descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_begun(folder: Path) -> None:
    for path in folder.glob(f"{_BEGUN}*"):
        if ProcessIdentity.slug_is_certainly_dead(path.name.removeprefix(_BEGUN)):
            path.unlink(missing_ok=True)


def _lake_error(path: Path, error: OSError) -> LakeError:
    problem = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0)
    return LakeError(str(path), f"{problem}; {advice}" if advice else problem)
