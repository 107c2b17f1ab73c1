"""Steps of the evening's watch over the shape of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import msgspec
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.alerts import LONGEST_LIST
from marketlake.profiles import series_of
from marketlake.sessions import newest_settled_session
from marketlake.store import Store
from marketlake.tables import TABLES
from tasks.alarms import Alarm, raise_alarm
from tasks.desk import desk, lake, now
from tasks.step import in_flow_run

_SESSIONS_BEFORE: Final = 20


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a session is not as it was."""

    session: date
    findings: tuple[dict[str, str], ...]

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints, and what is kept."""
        return {"session": self.session.isoformat(), "findings": list(self.findings)}


def session_to_watch(session: date | None) -> date:
    """The session that was asked for, or the newest one that is complete."""
    if session is not None:
        return session
    at = desk()
    return newest_settled_session(now(), timedelta(minutes=at.settings.vendor.delay_minutes))


@task(name="watch table", task_run_name="watch {table}", cache_policy=NO_CACHE)
def watch_table(table: str, session: date) -> list[dict[str, str]]:
    """Hold a table's partitions of a session against the declaration and the sessions before."""
    from expectations.drift import findings  # noqa: PLC0415 - Great Expectations: seconds that this step alone pays

    series = series_of(lake(), TABLES[table], session, _SESSIONS_BEFORE)
    return [found.as_json() for item in series for found in findings(item)]


def tables_to_watch() -> Sequence[str]:
    """All that are cut by sessions."""
    return list(TABLES)


def tell_findings(watched: Watched) -> None:
    """Keep what was found under ``reports/drift``, and tell a person, once a session.

    The report says whether somebody was told: a message that Slack did not take is sent by the next run.
    """
    store, path = lake().store, f"reports/drift/session={watched.session}.json"
    is_told = store.size(path) is not None and msgspec.json.decode(store.read(path), type=_Report).told
    _keep(store, path, watched, is_told=is_told)
    if watched.findings and not is_told:
        lines = [f"{item['partition']}: {item['what']}" for item in watched.findings]
        is_told = raise_alarm(
            Alarm.DATA_DRIFTED,
            f"session.{watched.session}",
            {"session": str(watched.session), "findings": len(lines)},
            what=f"{watched.session}: {len(lines)} things are not as they were ({path})",
            cause="\n".join(lines),
            longest=LONGEST_LIST,
        )
        _keep(store, path, watched, is_told=is_told)
    if in_flow_run():
        create_table_artifact(list(watched.findings) or [{"what": "all is as it was"}], key="drift")


def _keep(store: Store, path: str, watched: Watched, *, is_told: bool) -> None:
    store.write(path, msgspec.json.format(msgspec.json.encode({**watched.as_json(), "told": is_told})))


class _Report(msgspec.Struct):
    told: bool = False
