"""Telling that a run failed: one event and one plain Slack message, in the words of :mod:`marketlake.alerts`."""

import logging
import os
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from blocks.slack import post, slack_alerts
from marketlake.alerts import failure_message
from marketlake.errors import ConfigurationError
from marketlake.settings import Settings
from tasks.alarms import Alarm, send_event
from tasks.desk import settings

_log = logging.getLogger(__name__)


def tell_slack(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a failed or crashed run; where no Slack is configured, say so in the log."""
    session = flow_run.parameters.get("session") or flow_run.parameters.get("start")
    cause = state.message or state.name or "unknown"
    facts = {
        "flow": flow.name,
        "run": flow_run.name,
        "session": str(session or ""),
        "state": state.type.value,
        "cause": cause,
    }
    send_event(Alarm.RUN_FAILED, f"flow.{flow.name}", facts)
    try:
        configured = settings()
    except ConfigurationError:
        configured = Settings()  # perhaps why the run failed; a saved block does without it
    alerts = slack_alerts(configured, os.environ)
    if alerts is None:
        _log.info("no Slack is configured: the failure of %s is told nowhere else", flow_run.name)
        return
    message = failure_message(
        flow=flow.name,
        run=flow_run.name,
        session=str(session) if session else None,
        cause=cause,
        link=url_for(flow_run),
    )
    post(alerts, message)
