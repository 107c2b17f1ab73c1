"""A stored session as if it were live: a simulated vendor serves it, and the session's own commands record it anew.

Everything happens in a folder of its own; the lake that is replayed is only read.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.consolidation import choose_session
from marketlake.errors import ReplayFailed, UsageError
from marketlake.lake import Lake
from marketlake.recorder_files import read_report
from marketlake.sessions import previous_session, require_session, share_hours
from marketlake.spool import local_folder
from marketlake.store import LocalStore
from marketlake.tables import TABLES, Layer, Partition, Period
from marketlake.tickers import AssetClass, Underlying
from tasks.desk import settings
from tasks.rehearsal import Exchange
from tasks.simulated import simulator
from tasks.step import in_flow_run

logger = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.1, 10_000
_BEGIN, _EVENING = "09:20:00", "01:00:00"
_PATIENCE_S: Final = 120
# Behind the first minute bar, which tells the opening price; behind the end of every feed.
_OPENED: Final = timedelta(seconds=70)
_SILENT: Final = timedelta(minutes=30)
_LOOK_S: Final = 0.1
# What a feed's topics are rows of: a topic is replayed where the lake has the table.
_TABLE_OF: Final[Mapping[str, Mapping[str, str]]] = {
    "stocks": {
        "minute_bars": "stock_bars",
        "second_bars": "stock_bars",
        "trades": "stock_trades",
        "quotes": "stock_quotes",
    },
    "options": {"minute_bars": "option_bars", "trades": "option_trades", "quotes": "option_quotes"},
    "indices": {"minute_bars": "index_bars", "second_bars": "index_bars", "values": "index_bars"},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What is replayed, how fast, and where to: ``tables`` are those of the settings that the stored session has."""

    session: date
    speed: float
    source: Path
    folder: Path
    tables: tuple[str, ...]
    streams: Mapping[str, Sequence[str]]
    has_day_before: bool

    def environment(self, address: Mapping[str, Any]) -> dict[str, str]:
        """The environment in which the session's commands talk to the simulated vendor and write to the folder."""
        streams = {
            f"MARKETLAKE__SOURCES__STREAMS__{feed.upper()}": json.dumps(topics) for feed, topics in self.streams.items()
        }
        return {
            **os.environ,
            **streams,
            "MARKETLAKE__SOURCES__TABLES": json.dumps(self.tables),
            "POLYGON_API_KEY": address["key"],
            "MARKETLAKE_REST_URL": address["rest"],
            "MARKETLAKE_WS_URL": address["ws"],
            "MARKETLAKE_LAKE": str(self.folder / "lake"),
            "MARKETLAKE__STREAM__SPOOL": str(self.folder / "spool"),
            "MARKETLAKE__STREAM__CLOCK": "vendor",
            "XDG_STATE_HOME": str(self.folder / "state"),
        }


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to: partitions that are equal to the stored ones, and those that are not."""

    session: date
    folder: str
    equal: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints."""
        return {
            "session": self.session.isoformat(),
            "folder": self.folder,
            "equal": list(self.equal),
            "differing": list(self.differing),
        }


@task(name="set the stage", task_run_name="set the stage", cache_policy=NO_CACHE)
def set_stage(session: date | None, speed: float, into: str) -> Stage:
    """Look whether a session can be replayed, and make room for it.

    Raises:
        UsageError: it cannot, or the folder is the lake's own or holds something else.
    """
    given, root = settings(), settings().lake.root
    if not SLOWEST <= speed <= FASTEST:
        message = f"a speed of {speed:g} is not possible: choose one from {SLOWEST:g} to {FASTEST:,}"
        raise UsageError(message)
    if "://" in root:
        message = f"{root} is not on this machine: copy the session's partitions into a local lake, and replay that"
        raise UsageError(message)
    source, folder = Path(root).resolve(), Path(into).resolve()
    if folder == source or source in folder.parents or folder in source.parents:
        message = f"{folder} is the lake's own: a replay goes into a folder of its own, name another with --into"
        raise UsageError(message)
    if folder.exists() and any(folder.iterdir()):
        message = f"{folder} is not empty: name another with --into, or remove it"
        raise UsageError(message)
    lake = Lake(LocalStore(source))
    session = require_session(session) if session is not None else _newest(lake, given.sources.underlyings)
    # What only the vendor's present has is not made again from what is stored.
    tables = tuple(
        name for name in given.sources.tables if not TABLES[name].present_only and _is_stored(lake, name, session)
    )
    missing = [
        name for name in ("stock_bars", "option_contracts") if name in given.sources.tables and name not in tables
    ]
    if not tables or missing:
        message = f"{source} has no {' and no '.join(missing or ['table'])} of {session}: run marketlake backfill first"
        raise UsageError(message)
    streams = {
        feed: [topic for topic in topics if _TABLE_OF[feed][topic] in tables]
        for feed, topics in given.sources.streams.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    before = _is_stored(lake, "index_bars", previous_session(session))
    return Stage(session, speed, source, folder, tables, streams, before)


@contextmanager
def exchange(stage: Stage) -> Iterator[dict[str, Any]]:
    """A simulated vendor that serves the stored session, its clock at 09:20; its addresses."""
    options = ("--session", str(stage.session))
    with simulator(stage.source, stage.folder, *options) as address:
        Exchange(address["control"]).turn_clock({"pause": True, "set": f"{stage.session}T{_BEGIN}"})
        yield address


def tell_addresses(address: Mapping[str, Any]) -> None:
    """Say where another program may listen too: with a key of its own, since a key has one connection a market."""
    logger.warning(
        "the session is served at %s and %s; for a program of yours there is the key %s",
        address["rest"],
        address["ws"],
        address["keys"]["developer"],
    )


@task(name="play the session", task_run_name="play {stage.session}", cache_policy=NO_CACHE)
def play(stage: Stage, address: Mapping[str, Any]) -> None:
    """Let the day go by: feeds up, contracts chosen at the open, windows, news; then heal and consolidate.

    Raises:
        ReplayFailed: one of its commands failed; its log says why.
    """
    clock, day = Exchange(address["control"]), ("--session", str(stage.session))
    environment = stage.environment(address)
    with ExitStack() as running:
        feeds = [feed for feed in (AssetClass.STOCKS, AssetClass.INDICES) if stage.streams.get(feed)]
        playing = [
            running.enter_context(_Command.of(stage, environment, "stream", "--feed", feed, *day)) for feed in feeds
        ]
        _wait_until_recorded(stage, feeds, playing)
        if "news" in stage.tables:
            playing.append(running.enter_context(_Command.of(stage, environment, "poll-news", *day)))
        hours = share_hours(stage.session)
        # A program starts in this machine's time, which at any speed is the session's minutes: the clock is held where
        # one is waited for, and where the feeds' last windows are.
        _pass_by(clock, hours.start + _OPENED, stage.speed, playing)
        if "option_contracts" in stage.tables:
            with _Command.of(stage, environment, "discover", *day) as discovery:
                discovery.wait()
            if stage.streams.get(AssetClass.OPTIONS):
                playing.append(
                    running.enter_context(_Command.of(stage, environment, "stream", "--feed", "options", *day))
                )
                _wait_until_recorded(stage, [AssetClass.OPTIONS], playing)
        _pass_by(clock, hours.end + _SILENT, stage.speed, playing)
        for command in playing:
            command.wait()
    clock.turn_clock({"pause": True, "set": f"{stage.session + timedelta(days=1)}T{_EVENING}"})
    evening: list[tuple[str, ...]] = [("heal", "--start", str(stage.session)), ("consolidate", *day)]
    if stage.has_day_before and "index_bars" in stage.tables:
        evening.insert(0, ("backfill", "--tables", "index_bars", "--start", str(previous_session(stage.session))))
    for arguments in evening:
        with _Command.of(stage, environment, *arguments) as command:
            command.wait()


@task(name="compare", cache_policy=NO_CACHE)
def compare(stage: Stage) -> Replayed:
    """Hold what the replay made against what is stored, by the hashes of their rows."""
    stored, replayed = (Lake(LocalStore(root)) for root in (stage.source, stage.folder / "lake"))
    found: dict[bool, list[str]] = {True: [], False: []}
    for partition in _partitions(replayed, stage):
        ours, theirs = replayed.record(partition), stored.record(partition)
        if ours is not None and theirs is not None:
            found[ours.content_hash == theirs.content_hash].append(str(partition))
    return Replayed(stage.session, str(stage.folder), tuple(found[True]), tuple(found[False]))


def keep_replayed(replayed: Replayed) -> None:
    """Leave what a replay came to as a table artifact on the flow run."""
    if in_flow_run():
        rows = [{"partition": name, "equal": "yes"} for name in replayed.equal]
        rows += [{"partition": name, "equal": "no"} for name in replayed.differing]
        create_table_artifact(rows, key="replay", description=f"{replayed.session}, replayed into {replayed.folder}.")


@dataclass(frozen=True)
class _Command:
    """A command of marketlake as a process, with a log in the folder; ended with the block."""

    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    @contextmanager
    def of(cls, stage: Stage, environment: Mapping[str, str], *arguments: str) -> Iterator["_Command"]:
        log = (
            stage.folder
            / f"{'-'.join(text for text in arguments if text.replace('-', '').isalpha() and text[0] != '-')}.log"
        )
        with log.open("wb") as written:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                [sys.executable, "-m", "flows", *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        try:
            yield cls(arguments, process, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def wait(self) -> None:
        """Wait for its end.

        Raises:
            ReplayFailed: it failed.
        """
        if self.process.wait() != 0:
            self.fail()

    def fail(self) -> NoReturn:
        """Say what it said last.

        Raises:
            ReplayFailed: always.
        """
        lines = self.log.read_text(errors="replace").strip().splitlines()
        raise ReplayFailed(" ".join(self.arguments), lines[-1] if lines else "it said nothing", str(self.log))


def _wait_until_recorded(stage: Stage, feeds: Sequence[AssetClass], playing: Sequence[_Command]) -> None:
    folders = [local_folder(stage.folder / "spool", feed, stage.session) for feed in feeds]
    deadline = time.monotonic() + _PATIENCE_S
    while not all(report is not None and report.is_subscribed for report in map(read_report, folders)):
        for command in playing:
            if command.process.poll() is not None or time.monotonic() > deadline:
                command.fail()
        time.sleep(_LOOK_S)


def _pass_by(clock: Exchange, until: datetime, speed: float, playing: Sequence[_Command]) -> None:
    """Let the clock run until it shows a time, and hold it there."""
    clock.turn_clock({"speed": speed})
    while clock.now() < until:
        for command in playing:
            if command.process.poll():
                command.fail()
        time.sleep(_LOOK_S)
    clock.turn_clock({"pause": True})


def _newest(lake: Lake, underlyings: Sequence[str]) -> date:
    choices = [choose_session(lake, Underlying.parse(name), None) for name in underlyings]
    found = [choice.session for choice in choices if choice.session is not None]
    if not found:
        raise UsageError(choices[0].reason)
    return max(found)


def _is_stored(lake: Lake, name: str, session: date) -> bool:
    """Whether anything of a table can be served: of the session, or at all where it is not cut by sessions."""
    table = TABLES[name]
    owners = {partition.owner for partition in lake.partitions(table)}
    if table.period is not Period.SESSION:
        return bool(owners)
    return any(lake.record(Partition.of_session(table, owner, session)) is not None for owner in owners)


def _partitions(lake: Lake, stage: Stage) -> list[Partition]:
    """The session's partitions of a lake."""
    tables = [table for table in TABLES.values() if table.name in stage.tables or table.layer is Layer.CONSOLIDATED]
    found = [partition for table in tables for partition in lake.partitions(table)]
    return [item for item in found if item.spec.period is Period.SESSION and item.session == stage.session]
