"""Blocks that are saved on a real Prefect server are used, and what goes wrong with them is said without secrets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from pydantic import SecretStr

from blocks import Lake, PolygonCredentials, SlackAlerts
from blocks.lake import open_lake
from blocks.polygon import polygon_credentials
from blocks.saved import saved
from blocks.slack import slack_alerts
from marketlake.errors import ConfigurationError
from marketlake.settings import Settings

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(300)]
CANARY = "canary-8c1f0e55"
ENVIRON = {"POLYGON_API_KEY": "key-of-the-environment"}


@pytest.fixture(autouse=True)
def _nothing_saved() -> Iterator[None]:
    yield
    for kind in (Lake, PolygonCredentials, SlackAlerts):
        if saved(kind) is not None:
            kind.delete("default", _sync=True)


def test_the_environment_serves_where_no_block_is_saved() -> None:
    assert "key-of-the-environment" == polygon_credentials(ENVIRON).api_key.get_secret_value()
    assert slack_alerts(Settings(), {}) is None


def test_a_saved_block_comes_before_the_environment(tmp_path: Path) -> None:
    PolygonCredentials(api_key=SecretStr(CANARY), plan="free").save("default", _sync=True)
    Lake(root=str(tmp_path / "saved")).save("default", _sync=True)
    SlackAlerts(token=SecretStr(CANARY), channel="#alerts").save("default", _sync=True)
    alerts = slack_alerts(Settings(), {})

    credentials = polygon_credentials(ENVIRON)
    assert (CANARY, "free") == (credentials.api_key.get_secret_value(), credentials.plan)
    assert str(tmp_path / "saved") == open_lake(Settings()).store.root
    assert alerts is not None
    assert (CANARY, "#alerts") == (alerts.token.get_secret_value(), alerts.channel)


def test_a_saved_block_is_found_within_a_flow_run() -> None:
    PolygonCredentials(api_key=SecretStr(CANARY)).save("default", _sync=True)

    @flow
    def asks() -> bool:
        return polygon_credentials(ENVIRON).api_key.get_secret_value() == CANARY

    assert asks()


def test_no_server_is_asked_where_none_is_in_use() -> None:
    """An embedded one would take a quarter of a minute to start."""
    PolygonCredentials(api_key=SecretStr(CANARY)).save("default", _sync=True)

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert "key-of-the-environment" == polygon_credentials(ENVIRON).api_key.get_secret_value()


def test_a_server_that_does_not_answer_is_an_error_and_not_another_lake() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConfigurationError, match=r"^block market-data-lake/default: .*unset PREFECT_API_URL"),
    ):
        open_lake(Settings())


def test_a_saved_block_of_another_version_is_an_error_without_what_is_saved() -> None:
    """The plan that was saved is one that this version does not know."""
    document = PolygonCredentials(api_key=SecretStr(CANARY)).save("default", _sync=True)
    older = BlockDocumentUpdate(data={"api_key": CANARY, "plan": "unlimited"}, merge_existing_data=False)
    with get_client(sync_client=True) as client:
        client.update_block_document(document, older)
    with pytest.raises(ConfigurationError, match="does not fit this version") as caught:
        polygon_credentials(ENVIRON)
    PolygonCredentials.delete("default", _sync=True)

    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


def test_the_command_of_the_readme_registers_all_blocks() -> None:
    prefect = str(Path(sys.executable).with_name("prefect"))
    environment = {**os.environ, "PREFECT_API_URL": str(get_current_settings().api.url), "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [prefect, "block", "register", "-m", "blocks"],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert all(name in done.stdout for name in ("Market Data Lake", "Polygon Credentials", "Slack Alerts"))
