"""Steps about the news of a running session."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final, Self

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.desk import Desk
from marketlake.errors import MarketlakeError, is_transient
from marketlake.polling import Poll, poll_news
from marketlake.sessions import NEW_YORK, require_session, share_hours
from tasks.alarms import Alarm, raise_alarm
from tasks.desk import desk, session_now
from tasks.step import in_flow_run

logger = logging.getLogger(__name__)

_BETWEEN_LOOKS_S: Final = 0.1  # at 2,000 times the speed five minutes pass in 0.15 s


@dataclass(frozen=True, slots=True)
class Polls:
    """When to poll, by the session's clock: at once, then every so often, and a last time behind the close."""

    session: date
    every: timedelta
    ends: datetime
    at: Desk

    @classmethod
    def of(cls, session: date | None) -> Self:
        """Those of a session; of today's where none is given.

        Raises:
            UsageError: there is no session on that day.
        """
        at = desk()
        day = require_session(session or session_now(at).astimezone(NEW_YORK).date())
        every = timedelta(minutes=at.settings.sources.news_poll_minutes)
        return cls(day, every, share_hours(day).end + every, at)

    def __iter__(self) -> Iterator[datetime]:
        """The session's clock at each poll, New York's time."""
        now = due = self._clock(self.ends - self.every)
        while True:
            yield now.astimezone(NEW_YORK)
            if now >= self.ends:
                return
            while due <= now:  # what went by while a poll took long is not made up for
                due += self.every
            due = min(due, self.ends)
            while (now := self._clock(now)) < due:
                time.sleep(min((due - now).total_seconds(), _BETWEEN_LOOKS_S))

    def _clock(self, before: datetime) -> datetime:
        """The session's clock; what it showed before where the vendor, whose clock it is, is away."""
        try:
            return session_now(self.at)
        except MarketlakeError as error:
            if not is_transient(error):
                raise
            logger.warning("the session's clock cannot be read: %s", error)
            time.sleep(_BETWEEN_LOOKS_S)
            return before


@dataclass(frozen=True, slots=True)
class NewsReport:
    """What the polls of a session brought so far."""

    session: date
    polls: int = 0
    rows: int = 0
    added: int = 0
    withdrawn: int = 0
    missed: int = 0

    def plus(self, found: Poll) -> "NewsReport":
        """The report with one more poll in it; one that heard nobody says nothing about the rows."""
        return replace(
            self,
            polls=self.polls + 1,
            rows=self.rows if found.missed else found.rows,
            added=self.added + found.added,
            withdrawn=self.withdrawn + found.withdrawn,
            missed=self.missed + len(found.missed),
        )

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints."""
        return {
            "session": self.session.isoformat(),
            "polls": self.polls,
            "rows": self.rows,
            "added": self.added,
            "withdrawn": self.withdrawn,
            "missed": self.missed,
        }


@task(name="poll news", task_run_name="news to {now:%H:%M}", cache_policy=NO_CACHE)
def poll(session: date, now: datetime) -> Poll:
    """Publish the session's news as they stand ``now``, by the session's clock."""
    at = desk()
    found = poll_news(at.settings.sources.underlyings, session, at, now)
    if found.withdrawn:
        facts: dict[str, str | int] = {"session": str(session), "rows": found.withdrawn}
        what = f"{session}: the vendor has taken back {found.withdrawn} rows of news"
        raise_alarm(
            Alarm.NEWS_WITHDRAWN, f"session.{session}", facts, what, "they stay in the capture; the log names them"
        )
    return found


def keep_news(report: NewsReport) -> None:
    """Leave what the polls brought as a table artifact on the flow run."""
    if in_flow_run():
        create_table_artifact([report.as_json()], key="news", description="A row is an article and a ticker.")
