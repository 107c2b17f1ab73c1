"""A Slack that answers as told, and one Prefect server for the blocks that are saved."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr
from slack_api import SlackApiDouble

from blocks import SlackAlerts


@pytest.fixture
def slack() -> Iterator[SlackApiDouble]:
    with SlackApiDouble() as double:
        yield double


@pytest.fixture
def alerts(slack: SlackApiDouble) -> SlackAlerts:
    return SlackAlerts(token=SecretStr(slack.token), channel="C0123456789", api_url=slack.url)


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A real server with an empty database; it takes a quarter of a minute."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
