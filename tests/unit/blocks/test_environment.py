"""What serves where no block is saved: the environment and the settings, without a Prefect server."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from blocks import Lake, PolygonCredentials, SlackAlerts
from blocks.lake import open_lake
from blocks.polygon import polygon_credentials
from blocks.slack import BoundedRateLimitRetryHandler, slack_alerts
from marketlake.errors import ConfigurationError
from marketlake.settings import LakeSettings, Settings, SlackSettings, VendorSettings

CANARY = "canary-8c1f0e55"


def test_the_key_comes_from_the_environment_and_is_not_shown() -> None:
    credentials = polygon_credentials({"POLYGON_API_KEY": f" {CANARY}\n"})

    assert CANARY == credentials.api_key.get_secret_value()
    assert CANARY not in repr(credentials) + str(credentials) + credentials.model_dump_json()


@pytest.mark.parametrize("environ", [{}, {"POLYGON_API_KEY": ""}, {"POLYGON_API_KEY": "  "}])
def test_without_a_key_the_error_says_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^environment: POLYGON_API_KEY: no key is set: .*PolygonCredentials"):
        polygon_credentials(environ)


def test_a_block_that_says_nothing_leaves_the_settings_alone() -> None:
    configured = VendorSettings(plan="starter", calls_per_minute=100, client="polygon")

    assert configured == PolygonCredentials(api_key=SecretStr(CANARY)).vendor_settings(configured)


def test_what_follows_from_the_plan_follows_from_the_plan_of_the_block() -> None:
    """A free key allows five calls a minute, whatever plan is configured."""
    block = PolygonCredentials(api_key=SecretStr(CANARY), plan="free", rest_url="http://127.0.0.1:9")
    settings = block.vendor_settings(VendorSettings(plan="advanced", client="massive"))

    assert ("free", 5, "http://127.0.0.1:9", "massive") == (
        settings.plan, settings.calls_per_minute, settings.rest_url, settings.client,
    )  # fmt: skip


def test_a_number_of_calls_that_was_configured_stays() -> None:
    block = PolygonCredentials(api_key=SecretStr(CANARY), plan="free")

    assert 60 == block.vendor_settings(VendorSettings(calls_per_minute=60)).calls_per_minute


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"plan": CANARY}, id="in-the-plan"),
        pytest.param({"rest_url": CANARY}, id="in-the-address"),
        pytest.param({"api_key": [CANARY]}, id="of-another-type"),
    ],
)
def test_an_error_about_a_block_quotes_nothing_that_was_given(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        PolygonCredentials(**{"api_key": CANARY, **fields})

    assert CANARY not in str(caught.value)


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ValidationError, match="api_key"):
        PolygonCredentials(api_key=SecretStr(""))


def test_the_lake_is_where_the_settings_say(tmp_path: Path) -> None:
    root = tmp_path / "lake"

    assert str(root) == open_lake(Settings(lake=LakeSettings(root=str(root)))).store.root


def test_the_lake_of_a_block_is_where_the_block_says(tmp_path: Path) -> None:
    assert str(tmp_path / "elsewhere") == Lake(root=str(tmp_path / "elsewhere")).open().store.root


def test_half_of_a_pair_of_s3_keys_is_refused() -> None:
    with pytest.raises(ValidationError, match="together") as caught:
        Lake(root="s3://bucket/lake", access_key=SecretStr(CANARY))

    assert CANARY not in str(caught.value)


SLACK = Settings(slack=SlackSettings(channel="C0123456789", api_url="http://127.0.0.1:9/api"))


def test_slack_is_told_with_the_token_of_the_environment() -> None:
    alerts = slack_alerts(SLACK, {"SLACK_BOT_TOKEN": CANARY})

    assert alerts is not None
    assert (CANARY, "C0123456789", "http://127.0.0.1:9/api/") == (
        alerts.token.get_secret_value(), alerts.channel, alerts.api_url,
    )  # fmt: skip
    assert CANARY not in repr(alerts)


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        pytest.param(Settings(), {}, id="nothing"),
        pytest.param(Settings(), {"SLACK_BOT_TOKEN": CANARY}, id="no-channel"),
        pytest.param(SLACK, {"SLACK_BOT_TOKEN": " "}, id="no-token"),
    ],
)
def test_nobody_is_told_where_half_is_missing(settings: Settings, environ: dict[str, str]) -> None:
    assert slack_alerts(settings, environ) is None


def test_the_client_is_bounded_and_goes_where_the_block_says() -> None:
    client = SlackAlerts(token=SecretStr(CANARY), channel="#alerts", api_url="http://127.0.0.1:9/api").get_client()

    assert "http://127.0.0.1:9/api/" == client.base_url
    assert 0 < client.timeout <= 30
    assert any(isinstance(handler, BoundedRateLimitRetryHandler) for handler in client.retry_handlers)
