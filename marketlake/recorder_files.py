"""The two files beside a spool by which a recorder is led and watched: what is wanted, and how it goes.

``wanted.json`` is replaced by whoever wants something else, ``report.json`` by the recorder, each at once, so that a
reader finds a whole file or none. What a report says is told in :mod:`marketlake.recorder`.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from marketlake.errors import LakeError, UsageError
from marketlake.feeds import Subscription, checked_wanted
from marketlake.recorder import Report
from marketlake.tickers import AssetClass

logger = logging.getLogger(__name__)

_WANTED: Final = "wanted.json"
_REPORT: Final = "report.json"


class _Wanted(msgspec.Struct):
    subscriptions: list[str]
    hours_ns: tuple[int, int] | None = None


def write_wanted(
    folder: Path, subscriptions: Collection[Subscription], hours_ns: tuple[int, int] | None = None
) -> None:
    """Let the recorder of a spool's folder subscribe to these, and to nothing else; it looks twice a second.

    ``hours_ns`` is from when to before when news of any of them is expected, nanoseconds since the epoch; a recorder
    that is not told has to find out.

    Raises:
        LakeError: the file cannot be written.
    """
    _replace(folder / _WANTED, msgspec.json.encode(_Wanted(sorted(str(item) for item in subscriptions), hours_ns)))


def read_wanted(folder: Path, feed: AssetClass) -> frozenset[Subscription] | None:
    """What is wanted of a feed; None where nobody has said so.

    Raises:
        UsageError: the file says something that cannot be subscribed to.
    """
    wanted = _wanted(folder)
    if wanted is None:
        return None
    return checked_wanted(feed, [Subscription.parse(text) for text in wanted.subscriptions])


def told_hours_ns(folder: Path) -> tuple[int, int] | None:
    """When news of what is wanted is expected, where whoever wants it has said so.

    Raises:
        UsageError: the file cannot be read.
    """
    wanted = _wanted(folder)
    return wanted.hours_ns if wanted is not None else None


def _wanted(folder: Path) -> _Wanted | None:
    try:
        return msgspec.json.decode((folder / _WANTED).read_bytes(), type=_Wanted)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{folder / _WANTED} cannot be read: {error}"
        raise UsageError(message) from error


def write_report(folder: Path, report: Report) -> None:
    """Replace the report.

    Raises:
        LakeError: it cannot be written.
    """
    _replace(folder / _REPORT, msgspec.json.encode(report))


def read_report(folder: Path) -> Report | None:
    """The newest report; None where there is none. ``at_ns`` is the recorder's heartbeat."""
    try:
        return msgspec.json.decode((folder / _REPORT).read_bytes(), type=Report)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None  # of another version: as good as none


class WantedFile:
    """The wanted set of a running recorder, read again when its file was replaced."""

    def __init__(self, folder: Path, feed: AssetClass) -> None:
        self._folder = folder
        self._feed = feed
        self._seen = self._version()

    def changed(self) -> frozenset[Subscription] | None:
        """What is wanted, where that was said anew; what cannot be used is logged once and changes nothing."""
        version = self._version()
        if version == self._seen:
            return None
        self._seen = version
        try:
            return read_wanted(self._folder, self._feed)
        except UsageError as error:
            logger.warning("the wanted subscriptions stay as they were: %s", error)
            return None

    def _version(self) -> tuple[int, int] | None:
        try:
            found = (self._folder / _WANTED).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


def _replace(path: Path, data: bytes) -> None:
    # Not synced: after a power cut both are written anew.
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        raise LakeError(str(path), error.strerror or str(error)) from error
