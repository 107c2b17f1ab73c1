"""Steps of a morning: is there a session, and are its feeds up."""

import logging
from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow.compute as pc
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.errors import KeyRefused, VendorError
from marketlake.morning import Morning, morning_of
from marketlake.sessions import NEW_YORK, settled_at
from marketlake.tables import TABLES, Partition
from marketlake.tickers import AssetClass, Underlying
from tasks.desk import desk, session_now, settings
from tasks.runs import start_run
from tasks.step import in_flow_run

logger = logging.getLogger(__name__)


@task(name="look at the calendar", cache_policy=NO_CACHE)
def look_at_calendar(day: date | None) -> Morning:
    """Whether there is a session on a date; today's where none is given, by the session's clock."""
    at = desk()
    today = day or session_now(at).astimezone(NEW_YORK).date()
    try:
        special = at.vendor.special_days()
    except KeyRefused:
        raise
    except VendorError as error:
        logger.warning("the vendor does not tell its holidays, the calendar alone decides: %s", error)
        special = []
    morning = morning_of(today, special)
    if morning.doubt:
        logger.warning("%s: %s", today, morning.doubt)
    return morning


@task(name="start feed", task_run_name="start {feed} {session}", cache_policy=NO_CACHE)
def start_feed(feed: AssetClass, session: date) -> str:
    """See that a run records a feed through a session; the name of the run that does."""
    return start_run(f"stream/{feed}", {"feed": feed.value, "session": session.isoformat()})


@task(name="start options", task_run_name="start options of {underlying} {session}", cache_policy=NO_CACHE)
def start_options(underlying: str, session: date) -> str:
    """See that a run records an underlying's contracts, or chooses them first; the name of the run that does."""
    if _are_chosen(underlying, session):
        return start_run("stream/options", {"feed": AssetClass.OPTIONS.value, "session": session.isoformat()})
    return start_run("discover-options/at-open", {"underlying": underlying, "session": session.isoformat()})


@task(name="start polling", task_run_name="start polling news of {session}", cache_policy=NO_CACHE)
def start_polling(session: date) -> str:
    """See that a run polls the news of a session; the name of the run that does."""
    return start_run("poll-news/session", {"session": session.isoformat()})


@task(name="start healing", task_run_name="heal {session} after the close", cache_policy=NO_CACHE)
def start_healing(session: date) -> str:
    """See that a run heals a session once its history is whole; the name of the run that does.

    A session that is replayed goes by the vendor's clock, which nobody can set an alarm by: that run waits itself.
    """
    given = settings()
    over = settled_at(session, timedelta(minutes=given.vendor.delay_minutes))
    at = over if given.stream.clock == "machine" else None
    return start_run("heal/after-close", {"start": session.isoformat(), "wait": True}, at)


def _are_chosen(underlying: str, session: date) -> bool:
    partition = Partition.of_session(TABLES["option_contracts"], Underlying.parse(underlying).symbol, session)
    contracts = desk().lake.read(partition, columns=["chosen"])
    return contracts is not None and pc.any(contracts["chosen"]).as_py() is True


def is_over(morning: Morning) -> bool:
    """Whether the session has ended by its clock: there is nothing to record then, and all of it to heal."""
    return morning.is_over(session_now(desk()))


def feeds_before_the_open() -> list[AssetClass]:
    """The feeds that wait for nothing: those of shares and indices of which anything is switched on."""
    streams = settings().sources.streams
    return [feed for feed in (AssetClass.STOCKS, AssetClass.INDICES) if streams.get(feed.value)]


def options_are_wanted() -> bool:
    """Whether anything of options is switched on."""
    return bool(settings().sources.streams.get(AssetClass.OPTIONS.value))


def news_are_wanted() -> bool:
    """Whether news are collected."""
    return "news" in settings().sources.tables


def underlyings() -> Sequence[str]:
    """Those of whose options anything is collected."""
    return settings().sources.underlyings


def keep_morning(morning: Morning, runs: list[str]) -> None:
    """Leave what was decided, and which runs it led to, as an artifact on the flow run."""
    if in_flow_run():
        lines = [f"# {morning.day}", "", morning.reason, *([f"**{morning.doubt}**"] if morning.doubt else [])]
        create_markdown_artifact("\n\n".join([*lines, *(f"- {run}" for run in runs)]), key="morning")
