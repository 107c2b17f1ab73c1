"""What needs a person: an event under a fixed name for machines, and one plain Slack message.

The names and what each event carries are told in docs/events.md. An event is sent where a run of a Prefect server
raises the alarm; the message, where Slack is configured. Neither stops the data: what cannot be sent is logged.
"""

import logging
import os
from collections.abc import Mapping
from enum import StrEnum

from prefect.events import emit_event

from blocks.slack import post, slack_alerts
from marketlake.alerts import LONGEST_CAUSE, alarm_message
from marketlake.errors import ConfigurationError
from marketlake.redaction import redacted
from marketlake.settings import Settings
from tasks.desk import settings
from tasks.step import in_flow_run

logger = logging.getLogger(__name__)


class Alarm(StrEnum):
    """The names of our events."""

    RUN_FAILED = "marketlake.run.failed"
    ROWS_REFUSED = "marketlake.rows.refused"
    FRAMES_LOST = "marketlake.frames.lost"
    DATA_DRIFTED = "marketlake.data.drifted"
    BARS_CORRECTED = "marketlake.bars.corrected"
    NEWS_WITHDRAWN = "marketlake.news.withdrawn"
    SESSION_UNHEARD = "marketlake.session.unheard"


def raise_alarm(  # noqa: PLR0917 - they make one alarm
    alarm: Alarm,
    about: str,
    facts: Mapping[str, str | int],
    what: str,
    cause: str,
    longest: int = LONGEST_CAUSE,
) -> bool:
    """Send the event about a thing of ours (``session.2025-08-29``, ``feed.options``), and tell a person.

    ``what`` and ``cause`` are the message's; in an event and a message alike no secret stands. False where Slack did
    not take the message; where none is configured, there is nobody to be told.
    """
    if in_flow_run():
        send_event(alarm, about, facts)
    alerts = slack_alerts(_configured(), os.environ)
    if alerts is None:
        logger.info("no Slack is configured: %s is told nowhere else", what)
        return True
    return post(alerts, alarm_message(what=what, cause=cause, longest=longest))


def send_event(alarm: Alarm, about: str, facts: Mapping[str, str | int]) -> None:
    """Send the event alone."""
    payload = {name: redacted(value) if isinstance(value, str) else value for name, value in facts.items()}
    emit_event(event=alarm.value, resource={"prefect.resource.id": f"marketlake.{about}"}, payload=payload)


def _configured() -> Settings:
    try:
        return settings()
    except ConfigurationError:
        return Settings()  # perhaps why there is an alarm; a saved block does without it
