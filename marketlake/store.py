"""Files under one root, on a local disk or on S3: whole files read, replaced, created only if absent, listed.

What the files mean is the business of :mod:`marketlake.lake` and :mod:`marketlake.capture`. The rules that both kinds
of store share stand here, and the local one; :mod:`marketlake.s3_store` is the other.

A path is relative and "/"-separated, and each part is made of letters, digits and ``._=%+,-``. Names that begin with a
dot belong to the store (temporary files): they are refused as paths, never listed, and skipped by every reader of Hive
folders.
"""

import contextlib
import errno
import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pydantic import SecretStr

from marketlake.errors import LakeError, StoreUnavailable, UsageError
from marketlake.processes import ProcessIdentity

_PART: Final = re.compile(r"[A-Za-z0-9_=%+,-][A-Za-z0-9._=%+,-]*")
_TEMPORARY: Final = re.compile(r"\.writing-(?P<writer>[0-9a-f]+-\d+-\d+-\d+)-\d+")
_NUMBERS: Final = itertools.count()
_S3_ROOT: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
# A temporary file of a writer of whom nothing is known (another machine, an earlier boot) is left alone this long:
# far more than any write takes.
_FOREIGN_TEMPORARY_S: Final = 86_400.0
_ADVICE: Final = {
    errno.ENOSPC: "make room on the disk, then run again",
    errno.EDQUOT: "make room in the quota, then run again",
    errno.EIO: "the disk reports damage; look at the kernel's log before running again",
    errno.EACCES: "the folder belongs to another user, or is read-only",
    errno.EROFS: "the file system is mounted read-only",
}
# What may pass without anybody changing a setting or a right.
_PASSING: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
    | {errno.ESTALE, errno.EBUSY}
)


class Store(Protocol):
    """Files under ``root``; every method takes relative paths and raises UsageError for a path that could leave it.

    All but :meth:`read` of a missing file end in success or in a LakeError with nothing half-done to be seen.
    """

    @property
    def root(self) -> str:
        """The absolute folder, or ``s3://bucket/prefix``."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def size(self, path: str) -> int | None:
        """Its size in bytes; None when there is none."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Replace the file at once and durably: a reader sees the old bytes or the new ones."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write the file at once and durably only if there is none; False if there is one.

        Of several creators at the same time exactly one is told True, also where an acknowledgement gets lost.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove the file; a missing one is fine."""
        ...

    def list(self, prefix: str) -> list[str]:
        """The paths of all files below a folder, sorted; "" is the root."""
        ...


@dataclass(frozen=True, slots=True)
class S3Options:
    """How an S3 service is reached; without a key, botocore's own chain (environment, profile, role) finds one."""

    endpoint_url: str | None = None
    region: str | None = None
    key: SecretStr | None = None
    secret: SecretStr | None = None
    server_side_encryption: str | None = None


def open_store(root: str, s3: S3Options = S3Options()) -> Store:
    """The store of a root: ``s3://bucket/prefix``, else a local folder, which is made by the first write.

    Raises:
        UsageError: the root is empty, or is an address of another kind.
    """
    if match := _S3_ROOT.fullmatch(root):
        from marketlake.s3_store import S3Store  # noqa: PLC0415 - a second of imports that a local lake must not pay

        prefix = (match["prefix"] or "").strip("/")
        return S3Store(match["bucket"], checked_path(prefix) if prefix else "", s3)
    if not root or "://" in root or "\0" in root:
        message = f"{root!r} is no place for a lake: give a folder, or s3://bucket/prefix"
        raise UsageError(message)
    return LocalStore(Path(root))


def checked_path(path: str) -> str:
    """The same path.

    Raises:
        UsageError: it is absolute, climbs, has an empty or hidden part, or a character outside ``A-Za-z0-9._=%+,-``.
    """
    for part in path.split("/"):
        if not _PART.fullmatch(part):
            message = f"{path!r} is no path inside the lake: {part!r} is not a name made of A-Z a-z 0-9 . _ = % + , -"
            raise UsageError(message)
    return path


class LocalStore:
    """A folder on a disk of this machine.

    A file is written under a hidden name in the same folder, synced, moved into place, and the folder is synced. What a
    killed writer leaves is removed by the next writer into that folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    @property
    def root(self) -> str:
        """The absolute folder."""
        return str(self._root)

    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError when there is none."""
        place = self._place(path)
        with self._errors(path):
            try:
                found = place.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                found = None
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
        return found

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Its size in bytes; None when there is none."""
        with self._errors(path):
            try:
                found = self._place(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def write(self, path: str, data: bytes) -> None:
        """Replace the file at once and durably."""
        place = self._place(path)
        with self._errors(path), self._written_aside(place, data) as aside:
            aside.replace(place)

    def create(self, path: str, data: bytes) -> bool:
        """Write the file at once and durably only if there is none; False if there is one.

        A hard link is the one way to give a finished file a name only if the name is free.
        """
        place = self._place(path)
        with self._errors(path):
            if place.exists():
                return False
            with self._written_aside(place, data) as aside:
                try:
                    place.hardlink_to(aside)
                except FileExistsError:
                    # NFS may answer so although its first, lost answer was "done": the second name tells.
                    return aside.stat().st_nlink > 1
            return True

    def delete(self, path: str) -> None:
        """Remove the file; a missing one is fine."""
        place = self._place(path)
        with self._errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()
            _sync_folder(place.parent)

    def list(self, prefix: str) -> list[str]:
        """The paths of all files below a folder, sorted; hidden ones are none."""
        start = self._place(prefix) if prefix else self._root
        found: list[str] = []
        with self._errors(prefix):
            for folder, folders, names in os.walk(start, onerror=_raise_unless_missing):
                folders[:] = [name for name in folders if not name.startswith(".")]
                below = Path(folder).relative_to(self._root).as_posix()
                base = "" if below == "." else f"{below}/"
                found += [f"{base}{name}" for name in names if not name.startswith(".")]
        return sorted(found)

    def _place(self, path: str) -> Path:
        return self._root / checked_path(path)

    @contextlib.contextmanager
    def _written_aside(self, place: Path, data: bytes) -> Iterator[Path]:
        folder = place.parent
        _make_folder(folder)
        aside = folder / f".writing-{ProcessIdentity.of_this_process().slug}-{next(_NUMBERS)}"
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, no path
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(descriptor)
            _remove_leftovers(folder, aside.stat().st_mtime)
            yield aside
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(folder)

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            number = error.errno or 0
            problem = os.strerror(number) if number else str(error)
            advice = _ADVICE.get(number)
            kind = StoreUnavailable if number in _PASSING else LakeError
            raise kind(str(self._root / path), f"{problem}; {advice}" if advice else problem) from error


def _make_folder(folder: Path) -> None:
    missing = list(itertools.takewhile(lambda place: not place.is_dir(), [folder, *folder.parents]))
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path, now: float) -> None:
    # ``now`` is the modification time of a file just written: the file system's own clock, not this machine's.
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                if (
                    ProcessIdentity.slug_is_certainly_dead(match["writer"])
                    or now - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_TEMPORARY_S
                ):
                    Path(entry.path).unlink()


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
