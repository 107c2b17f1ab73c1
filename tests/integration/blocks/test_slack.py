"""A message reaches Slack over real HTTP, or the failure to send it stays what it is: a line in the log."""

import time

import pytest
from pydantic import SecretStr
from slack_api import SlackApiDouble

from blocks import SlackAlerts
from blocks.slack import LONGEST_RATE_LIMIT_WAIT_S, post


def test_a_message_arrives_as_it_was_made(slack: SlackApiDouble, alerts: SlackAlerts) -> None:
    text = "consolidate failed (2025-08-29)\nfive &lt; six “quoted” ✓"

    assert post(alerts, text)
    assert [("C0123456789", text)] == [(message["channel"], message["text"]) for message in slack.messages]


def test_it_is_plain_text(slack: SlackApiDouble, alerts: SlackAlerts) -> None:
    """A cause holds underscores and stars, which Slack would take for emphasis, and addresses, which it would fetch."""
    post(alerts, "a_b_c *d*")

    assert ["0", "0", "0"] == [str(int(slack.messages[0][name])) for name in ("mrkdwn", "unfurl_links", "unfurl_media")]


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        pytest.param((429, {"Retry-After": "0"}, ""), 2, id="rate-limit-with-retry-after"),
        pytest.param((429, {}, ""), 1, id="rate-limit-without"),
        pytest.param((500, {}, "oops"), 2, id="server-error"),
        pytest.param((503, {}, "<html>busy</html>"), 1, id="unavailable"),
    ],
)
def test_a_fault_that_passes_is_waited_out(
    slack: SlackApiDouble, alerts: SlackAlerts, fault: tuple[int, dict[str, str], str], times: int
) -> None:
    slack.faults = [fault] * times

    assert post(alerts, "no bars")
    assert 1 == len(slack.messages)
    assert times + 1 == slack.calls


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        pytest.param((500, {}, "oops"), 3, id="always-500"),
        pytest.param((429, {"Retry-After": "0"}, ""), 3, id="always-rate-limited"),
        pytest.param((429, {"Retry-After": str(LONGEST_RATE_LIMIT_WAIT_S + 1)}, ""), 1, id="longer-than-we-wait"),
        pytest.param((429, {"Retry-After": "Fri, 29 Aug 2025 20:00:00 GMT"}, ""), 1, id="retry-after-as-a-date"),
        pytest.param((200, {}, '{"ok": false, "error": "channel_not_found"}'), 1, id="refused"),
        pytest.param((200, {}, "<html>a proxy says hello</html>"), 1, id="no-json"),
        pytest.param((200, {}, '{"ok": tr'), 1, id="cut-json"),
        pytest.param((200, {}, '["ok"]'), 1, id="another-document"),
        pytest.param((404, {}, ""), 1, id="another-address"),
    ],
)
def test_a_slack_that_does_not_take_it_is_not_raised(
    slack: SlackApiDouble, alerts: SlackAlerts, fault: tuple[int, dict[str, str], str], calls: int
) -> None:
    slack.faults = [fault] * 10
    started = time.monotonic()

    assert not post(alerts, "no bars")
    assert calls == slack.calls
    assert time.monotonic() - started < LONGEST_RATE_LIMIT_WAIT_S


def test_a_wrong_token_is_not_raised(slack: SlackApiDouble) -> None:
    stranger = SlackAlerts(token=SecretStr("xoxb-somebody-else"), channel="C1", api_url=slack.url)

    assert not post(stranger, "no bars")
    assert [] == slack.messages


def test_a_refused_connection_is_not_raised() -> None:
    with SlackApiDouble() as double:
        alerts = SlackAlerts(token=SecretStr(double.token), channel="C1", api_url=double.url)

    assert not post(alerts, "no bars")
