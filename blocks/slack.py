"""Whom we tell when something needs a person, and telling them. What is said is made in :mod:`marketlake.alerts`."""

import logging
from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr
from slack_sdk import WebClient
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState

from blocks.saved import QuietBlock, saved
from marketlake.logs import protect
from marketlake.redaction import redacted
from marketlake.settings import Settings
from marketlake.settings_grammar import Channel, SlackAddress

VARIABLE: Final = "SLACK_BOT_TOKEN"
TIMEOUT_S: Final = 10
# A failed run ends only after somebody was told: Slack may ask for an hour, and is not waited for that long.
LONGEST_RATE_LIMIT_WAIT_S: Final = 20
_log = logging.getLogger(__name__)
# slack_sdk logs each failed attempt as an error of its own; post says it once, when it is final.
_client_log = logging.getLogger(f"{__name__}.client")
_client_log.setLevel(logging.CRITICAL)


class SlackAlerts(QuietBlock):
    """A Slack app's token and the channel that it tells.

    Example:
        Load the stored block:
        ```python
        from blocks.slack import SlackAlerts

        alerts = SlackAlerts.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Slack Alerts"
    _block_type_slug = "slack-alerts"
    _documentation_url = "https://docs.slack.dev/authentication/tokens"  # type: ignore[assignment]

    token: SecretStr = Field(
        min_length=1, title="Bot token", description="Bot token of the Slack app, with the scope chat:write."
    )
    channel: Channel = Field(min_length=1, title="Channel", description="Channel that is told, by name or id.")
    api_url: SlackAddress = Field(
        default="https://slack.com/api/", title="API address", description="Address of Slack's Web API."
    )

    def get_client(self) -> WebClient:
        """A client of Slack's Web API that waits out passing faults, and gives up within about a minute."""
        protect([self.token.get_secret_value()])
        return WebClient(
            self.token.get_secret_value(),
            base_url=self.api_url,
            timeout=TIMEOUT_S,
            retry_handlers=[
                ConnectionErrorRetryHandler(max_retry_count=1),
                BoundedRateLimitRetryHandler(max_retry_count=2),
                ServerErrorRetryHandler(max_retry_count=2),
            ],
            logger=_client_log,
        )


class BoundedRateLimitRetryHandler(RateLimitErrorRetryHandler):
    """Waits for as long as Slack asks, but for no longer than LONGEST_RATE_LIMIT_WAIT_S."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or not super()._can_retry(state=state, request=request, response=response, error=error):
            return False
        waits = [values[0] for name, values in response.headers.items() if name.lower() == "retry-after"]
        return all(wait.isdecimal() and int(wait) <= LONGEST_RATE_LIMIT_WAIT_S for wait in waits)


def slack_alerts(settings: Settings, environ: Mapping[str, str]) -> SlackAlerts | None:
    """The saved block, else the environment's token with the configured channel; None where nobody is to be told.

    A channel without a token is said in the log: whoever named it waits for messages.
    """
    block = saved(SlackAlerts)
    if block is not None:
        return block
    token, channel = environ.get(VARIABLE, "").strip(), settings.slack.channel
    if not channel:
        return None
    if not token:
        _log.warning("slack.channel is configured, but %s is not set: nobody is told", VARIABLE)
        return None
    return SlackAlerts(token=SecretStr(token), channel=channel, api_url=settings.slack.api_url)


def post(alerts: SlackAlerts, message: str) -> bool:
    """Post one plain message; whether Slack took it.

    Never raises: what failed is the work that is told of, and its own error must stay the one that is seen. A message
    that Slack did not take is one warning in the log.
    """
    try:
        alerts.get_client().chat_postMessage(
            channel=alerts.channel, text=message, mrkdwn=False, unfurl_links=False, unfurl_media=False
        )
    except Exception as error:  # noqa: BLE001 - see above; slack_sdk lets through whatever urllib and json raise
        _log.warning("Slack was not told of a failure: %s", redacted(f"{type(error).__name__}: {error}"))
        return False
    return True
