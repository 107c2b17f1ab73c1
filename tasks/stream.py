"""Steps about the running session of a feed, and what it leaves behind for a person."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from expectations import check
from marketlake.backfill import listed_contracts
from marketlake.coverage import expected_of
from marketlake.desk import Desk
from marketlake.discover import centred_now
from marketlake.errors import KeyRefused, MarketlakeError, RecorderFailed, UsageError, VendorError, is_transient
from marketlake.feeds import Subscription, checked_wanted, feed_named, table_of
from marketlake.filling import Filled, Filling, Missed
from marketlake.live import LiveSession, SealedWindow, Window
from marketlake.logs import Heartbeat
from marketlake.plan import Pick
from marketlake.recorder import Report
from marketlake.recorder_files import write_wanted
from marketlake.sessions import NEW_YORK, is_session, require_session, to_ns
from marketlake.spool import local_folder
from marketlake.supervision import RecorderProcess, Watch
from marketlake.tables import TABLES
from marketlake.tickers import AssetClass, Underlying
from marketlake.wanted import configured_subscriptions
from tasks.alarms import Alarm, raise_alarm
from tasks.desk import desk, recorder_environment, session_now
from tasks.reports import raise_failures
from tasks.step import in_flow_run, take

logger = logging.getLogger(__name__)

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
# What the recorder's process ends with where starting it again would not help: a wrong setting, a refused key or plan.
_FINAL_EXITS: Final = (2, 3)
# And where that is no failure, or none that stays: its time is over, or there is no room on the disk.
_PASSING_EXITS: Final = (0, 4)
_MOST_SHORT_LIVES: Final = 3
_BETWEEN_ASKS_S: Final = 1.0
_BETWEEN_CHOICES_S: Final = 5.0
_BETWEEN_CENTRES_NS: Final = 60 * _NS_PER_S  # the price comes as minute bars
# A recorder whose flow was killed and never came back ends by itself so much later.
_LINGER_NS: Final = 30 * 60 * _NS_PER_S


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """What to record, when news of it is expected, and until when; session time, nanoseconds since the epoch.

    ``follows_choice``: what is wanted are the chosen contracts, also those that are chosen later.
    """

    feed: AssetClass
    session: date
    wanted: tuple[str, ...]
    hours_ns: tuple[int, int]
    ends_ns: int
    follows_choice: bool = False


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a feed's session brought so far: windows sealed and failed, and how its recorder did."""

    order: StreamOrder
    windows: tuple[SealedWindow, ...] = ()
    failed: tuple[tuple[tuple[str, ...], MarketlakeError], ...] = ()
    recorder: Report | None = None
    restarts: int = 0
    drops: int = 0
    frames_lost: int = 0
    filled: int = 0

    def plus(self, window: SealedWindow) -> "StreamReport":
        """The report with one more window in it; one that failed before has not."""
        failed = tuple(item for item in self.failed if item[0] != window.contents)
        return replace(self, windows=(*self.windows, window), failed=failed)

    def minus(self, window: Window, error: MarketlakeError) -> "StreamReport":
        """The report with one more window that could not be sealed."""
        others = tuple(item for item in self.failed if item[0] != window.contents)
        return replace(self, failed=(*others, (window.contents, error)))

    def filled_by(self, filled: Filled) -> "StreamReport":
        """The report with what history had of some gaps meanwhile."""
        return replace(self, filled=self.filled + filled.rows)

    def recorded_by(self, watch: Watch) -> "StreamReport":
        """The report with how the recorder did."""
        restarts = watch.recorder.restarts
        return replace(self, recorder=watch.report, restarts=restarts, drops=watch.drops, frames_lost=watch.frames_lost)

    def raise_failures(self) -> None:
        """Do nothing where every window was sealed.

        Raises:
            BatchesFailed: some could not; the spool has them, and heal seals them again.
        """
        raise_failures([(", ".join(contents), error) for contents, error in self.failed], done=len(self.windows))

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints."""
        recorder = self.recorder
        return {
            "feed": self.order.feed,
            "session": self.order.session.isoformat(),
            "windows": len(self.windows),
            "failed": len(self.failed),
            "stored": sum(item.stored for item in self.windows),
            "refused": sum(item.refused for item in self.windows),
            "frames": recorder.frames if recorder else 0,
            "frames_lost": self.frames_lost,
            "drops": self.drops,
            "restarts": self.restarts,
            "filled": self.filled,
            "not_given": recorder.refused if recorder else [],
        }


@task(name="plan stream", task_run_name="plan {feed}", cache_policy=NO_CACHE)
def plan_stream(
    feed: str, session: date | None, subscriptions: Sequence[str] | None, until: datetime | None
) -> StreamOrder:
    """What to record of a feed today, or on a session that is replayed, and until when.

    A run that a trigger started, perhaps late, finds out for itself whether a session is going on: if not, nothing is
    wanted.
    """
    at, of = desk(), feed_named(feed)
    now = session_now(at)
    today = now.astimezone(NEW_YORK).date()
    is_triggered = in_flow_run() and session is None
    nothing = StreamOrder(of, today, (), (0, 0), 0)
    if is_triggered and not is_session(today):
        logger.info("%s is no trading session: nothing is recorded", today)
        return nothing
    day = require_session(session or today)
    if subscriptions:
        wanted = checked_wanted(of, [Subscription.parse(text) for text in subscriptions])
    else:
        try:
            contracts = _contracts(of, day, at)
        except UsageError as error:
            if not is_triggered:
                raise
            logger.warning("nothing is recorded before contracts are chosen, which starts this feed: %s", error)
            return nothing
        wanted = configured_subscriptions(of, at.settings.sources, contracts)
    hours_ns = _hours_of(wanted, day)
    if until is not None:
        ends_ns = to_ns(until if until.tzinfo is not None else until.replace(tzinfo=NEW_YORK))
    else:
        ends_ns = hours_ns[1] + at.settings.stream.after_close_s * _NS_PER_S
    if is_triggered and to_ns(now) >= ends_ns:
        logger.info("the session of %s is over: what was recorded of it is the healing's", today)
        return nothing
    follows_choice = of is AssetClass.OPTIONS and not subscriptions
    return StreamOrder(of, day, tuple(sorted(map(str, wanted))), hours_ns, ends_ns, follows_choice)


@task(name="seal window", task_run_name="{window.title}", cache_policy=NO_CACHE)
def seal_window(live: LiveSession, window: Window) -> SealedWindow:
    """Check what a window holds, and keep it as segments."""
    return live.seal(window, check)


def open_live(order: StreamOrder) -> LiveSession:
    """The session's spool, cut into windows."""
    at = desk()
    return LiveSession.of(order.feed, order.session, at.settings, at.lake.store)


@task(name="fill gaps", task_run_name="fill {missed.title}", cache_policy=NO_CACHE)
def fill_gaps(filling: Filling, missed: Missed) -> Filled:
    """Ask history for what the stream did not bring, so that ``live/`` has it before the close."""
    return filling.fill(missed)


def open_filling(live: LiveSession) -> Filling:
    """What of a session is filled while it runs."""
    return Filling(live.segments, desk())


@contextmanager
def recorded(order: StreamOrder) -> Iterator[Watch]:
    """See that the feed is recorded while the block runs.

    An error in the block ends the watch and not the recorder: what comes is kept, and the next run takes it over.
    """
    at = desk()
    folder = local_folder(Path(at.settings.stream.spool), order.feed, order.session)
    command = [sys.executable, "-m", "flows", "record", "--feed", order.feed, "--session", str(order.session)]
    # Also for one that was left behind by another run.
    folder.mkdir(parents=True, exist_ok=True)
    _tell_recorder(order, at)
    recorder = RecorderProcess(
        command=[*command, "--until", _new_york(order.ends_ns + _LINGER_NS)],
        environment=recorder_environment(),
        folder=folder,
        final_exits=_FINAL_EXITS,
        passing_exits=_PASSING_EXITS,
        most_short_lives=_MOST_SHORT_LIVES,
        now_ns=time.time_ns,
    )
    watch = Watch(recorder, _session_clock(at), order.ends_ns, time.sleep)

    def facts() -> dict[str, object]:
        report = watch.report
        if report is None:
            return {"recorder": "starting"}
        lost = {"frames_lost": watch.frames_lost} if watch.frames_lost else {}
        return {"frames": report.frames, "lag_p99_ms": report.lag_p99_ms, "drops": watch.drops, **lost}

    try:
        with Heartbeat(f"stream {order.feed}", facts, every_s=at.settings.logging.heartbeat_seconds), watch.looking():
            yield watch
    except RecorderFailed:
        raise
    except Exception:
        logger.warning("the recorder of %s goes on by itself: run stream again to seal what it records", order.feed)
        raise
    except BaseException:
        recorder.stop()
        raise
    else:
        recorder.stop()
        watch.report = recorder.last_report()


def seal_each(windows: Iterable[Window], live: LiveSession, report: StreamReport) -> StreamReport:
    """Seal windows one by one; one that fails does not stop the recording.

    Where its failure may pass it is taken again with the next one, and in the end heal does it again from the spool.
    """
    for window in windows:
        try:
            sealed = take(seal_window, live, window)
        except MarketlakeError as error:
            report = report.minus(window, error)
            if is_transient(error):
                live.put_back(window)
        else:
            _keep_window(sealed)
            _tell_refusals(sealed, report)
            report = report.plus(sealed)
    return report


def _tell_refusals(window: SealedWindow, before: StreamReport) -> None:
    """Raise the alarm at a table's first window with refused rows: the others are counted in the artifacts."""
    told = {piece.table for item in before.windows for piece in item.pieces if piece.refused}
    for piece in window.pieces:
        if piece.refused and piece.table not in told:
            order = before.order
            raise_alarm(
                Alarm.ROWS_REFUSED,
                f"feed.{order.feed}",
                {"session": str(order.session), "table": piece.table, "window": window.title, "rows": piece.refused},
                what=f"{piece.table} {order.session}: rows are refused",
                cause=f"{piece.refused} rows of the window {window.title} are in quarantine, the first of this run: "
                "marketlake quarantine show",
            )


def fill_each(live: LiveSession, filling: Filling, report: StreamReport) -> StreamReport:
    """Fill what is due. Nothing is lost where that fails: after the close, heal asks for it again."""
    for missed in filling.due(live.hours(), live.stretches()):
        try:
            filled = take(fill_gaps, filling, missed)
        except KeyRefused:
            raise
        except MarketlakeError as error:
            logger.warning("%s is to be filled later, by the healing at the latest: %s", missed.title, error)
            filling.put_off(missed)
        else:
            _keep_filled(missed, filled)
            report = report.filled_by(filled)
    return report


def _keep_filled(missed: Missed, filled: Filled) -> None:
    """Leave what history had of some gaps as a table artifact on the flow run."""
    if in_flow_run():
        row = {
            "table": missed.table,
            "gaps": len(missed.gaps),
            "rows healed": filled.rows,
            "refused": filled.refused,
            "gaps to be asked for again": filled.later,
        }
        create_table_artifact([row], key="filled", description=f"{missed.title}: until the session is healed.")


def tell_losses(report: StreamReport) -> None:
    """Raise the alarm where the disk of the spool could not take what came."""
    order = report.order
    if report.frames_lost:
        raise_alarm(
            Alarm.FRAMES_LOST,
            f"feed.{order.feed}",
            {"session": str(order.session), "frames": report.frames_lost},
            what=f"{order.feed} {order.session}: {report.frames_lost} frames were lost",
            cause="the disk of the spool is too slow or full; what they held is fetched from history",
        )


def _keep_window(window: SealedWindow) -> None:
    """Leave what a window brought as a table artifact on the flow run."""
    if not in_flow_run():
        return
    # Of a session that is replayed the machine's clock tells no lag.
    tells_lag = desk().settings.stream.clock == "machine"
    rows = [
        {
            "table": item.table,
            "rows": item.stored,
            "refused": item.refused,
            "repeated": item.duplicates + item.superseded,
            "to heal s": round(window.missing_ns[item.table] / _NS_PER_S),
            "lag p50 ms": round(item.lag_p50_ns / _NS_PER_MS) if tells_lag else None,
            "lag p99 ms": round(item.lag_p99_ns / _NS_PER_MS) if tells_lag else None,
        }
        for item in window.pieces
    ]
    text = f"{window.title}: {window.drops} drops, {window.unreadable} events could not be read."
    create_table_artifact(rows or [{"table": "-"}], key="windows", description=text)


class Choice:
    """Which contracts are to be watched, looked up now and then.

    Each underlying is chosen for at its own moment, and the choice may follow the price.
    """

    def __init__(self, order: StreamOrder) -> None:
        self._order = order
        self._session_now_ns = _session_clock(desk())
        self._look_s = time.monotonic() + _BETWEEN_CHOICES_S
        self._centre_ns = 0

    def keep_up(self) -> None:
        """Let the recorder know where other contracts are to be watched by now; it goes on with the others."""
        order = self._order
        if not order.follows_choice or time.monotonic() < self._look_s:
            return
        at = desk()
        self._look_s = time.monotonic() + _BETWEEN_CHOICES_S
        if at.settings.selection.recentre_percent and not self._is_due():
            return
        try:
            wanted = configured_subscriptions(
                order.feed, at.settings.sources, _contracts(order.feed, order.session, at)
            )
        except KeyRefused:
            raise
        except MarketlakeError as error:
            logger.warning("the contracts stay as they are: %s", error)
            return
        before = frozenset(map(Subscription.parse, order.wanted))
        if wanted == before:
            return
        logger.info("other contracts are to be watched: %d subscriptions instead of %d", len(wanted), len(before))
        names = tuple(sorted(map(str, wanted)))
        self._order = replace(order, wanted=names, hours_ns=_hours_of(wanted, order.session))
        _tell_recorder(self._order, at)

    def _is_due(self) -> bool:
        """Whether a further minute bar may tell another price."""
        now_ns = self._session_now_ns()
        if now_ns is None or now_ns < self._centre_ns:
            return False
        self._centre_ns = now_ns + _BETWEEN_CENTRES_NS
        return True


def _tell_recorder(order: StreamOrder, at: Desk) -> None:
    folder = local_folder(Path(at.settings.stream.spool), order.feed, order.session)
    write_wanted(folder, frozenset(map(Subscription.parse, order.wanted)), order.hours_ns)


def _hours_of(wanted: Iterable[Subscription], session: date) -> tuple[int, int]:
    """From when to before when news of any of them is expected."""
    expected = [expected_of(TABLES[table_of(item)[0]], item.ticker, session) for item in wanted]
    return min(item.start_ns for item in expected), max(item.end_ns for item in expected)


def _new_york(instant_ns: int) -> str:
    return f"{datetime.fromtimestamp(instant_ns // _NS_PER_S, NEW_YORK):%Y-%m-%dT%H:%M:%S}"


def _contracts(feed: AssetClass, session: date, at: Desk) -> list[str]:
    """The contracts to watch by now, of all configured underlyings: the chosen ones, or those nearest to the price.

    Raises:
        UsageError: of no underlying they are in the lake.
        VendorError: the choice follows the price, and the vendor does not tell it.
    """
    if feed is not AssetClass.OPTIONS:
        return []
    found: list[str] = []
    missing: list[UsageError] = []
    underlyings = [Underlying.parse(text) for text in at.settings.sources.underlyings]
    for underlying in underlyings:
        try:
            if at.settings.selection.recentre_percent:
                found += centred_now(underlying, session, at)
            else:
                found += listed_contracts(at.lake, underlying, session, Pick.CHOSEN)
        except UsageError as error:
            missing.append(error)
    if missing and len(missing) == len(underlyings):
        raise missing[0]
    return found


def _session_clock(at: Desk) -> Callable[[], int | None]:
    """The session's time as the data has it: the plan's delay is taken off."""
    delay_ns = at.settings.vendor.delay_minutes * 60 * _NS_PER_S
    if at.settings.stream.clock == "machine":
        return lambda: time.time_ns() - delay_ns
    asked_s = 0.0
    told: int | None = None

    def vendors() -> int | None:
        nonlocal asked_s, told
        if time.monotonic() >= asked_s + _BETWEEN_ASKS_S:
            try:
                told = to_ns(at.vendor.server_time()) - delay_ns
            except KeyRefused:
                raise
            except VendorError as error:
                logger.warning("the vendor does not tell its time: %s", error)
                told = None
            asked_s = time.monotonic()
        return told

    return vendors
