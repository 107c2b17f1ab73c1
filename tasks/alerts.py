"""Telling a person that a run failed: one plain Slack message."""

import logging
import os
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from blocks.slack import post, slack_alerts
from marketlake.alerts import failure_message
from marketlake.logs import protect
from marketlake.settings_text import SECRETS
from tasks.desk import settings

_log = logging.getLogger(__name__)


def tell_slack(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Post one message about a failed or crashed run; where no Slack is configured, say so in the log."""
    alerts = slack_alerts(settings(), os.environ)
    protect([os.environ[name] for name in SECRETS if os.environ.get(name)])
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
