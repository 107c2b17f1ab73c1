"""Watch in the evening whether the data still look as they did."""

from datetime import date

from prefect import flow

from tasks.alerts import tell_slack
from tasks.drift import Watched, session_to_watch, tables_to_watch, tell_findings, watch_table
from tasks.naming import named
from tasks.step import take


@flow(
    name="watch-schema",
    flow_run_name=named("watch the schema", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def watch_schema(session: date | None = None) -> Watched:
    """Hold the tables of a session against what is declared and against the sessions before; nothing stops for it.

    Args:
        session: Which session; the newest complete one when left out.
    """
    day = session_to_watch(session)
    found = [item for table in tables_to_watch() for item in take(watch_table, table, day)]
    watched = Watched(day, tuple(found))
    tell_findings(watched)
    return watched
