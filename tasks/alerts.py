"""Telling a person that a run failed: one plain Slack message."""

import logging
import os
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from blocks.slack import post, slack_alerts
from marketlake.alerts import alarm_message, failure_message
from marketlake.errors import ConfigurationError
from marketlake.settings import Settings
from tasks.desk import settings

_log = logging.getLogger(__name__)


def tell_alarm(what: str, cause: str) -> bool:
    """Post one message about what needs a person; whether somebody was told."""
    alerts = slack_alerts(settings(), os.environ)
    if alerts is None:
        _log.info("no Slack is configured: %s is told nowhere else", what)
        return False
    return post(alerts, alarm_message(what=what, cause=cause))


def tell_slack(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Post one message about a failed or crashed run; where no Slack is configured, say so in the log."""
    try:
        configured = settings()
    except ConfigurationError:
        configured = Settings()  # perhaps why the run failed; a saved block does without it
    alerts = slack_alerts(configured, os.environ)
    if alerts is None:
        _log.info("no Slack is configured: the failure of %s is told nowhere else", flow_run.name)
        return
    session = flow_run.parameters.get("session") or flow_run.parameters.get("start")
    message = failure_message(
        flow=flow.name,
        run=flow_run.name,
        session=str(session) if session else None,
        cause=state.message or state.name or "unknown",
        link=url_for(flow_run),
    )
    post(alerts, message)
