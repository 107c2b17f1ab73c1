"""What prefect.yaml declares can be loaded, takes the parameters that it is given, and is scheduled as it says."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint

ROOT = Path(__file__).parents[3]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(params=DEPLOYMENTS, ids=lambda item: item["name"])
def deployment(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture
def flow(deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Flow[..., Any]:
    monkeypatch.chdir(ROOT)
    return load_flow_from_entrypoint(deployment["entrypoint"])


def test_parameters_are_those_that_the_flow_takes(deployment: dict[str, Any], flow: Flow[..., Any]) -> None:
    flow.validate_parameters(deployment.get("parameters", {}))


def test_every_parameter_is_described_for_the_form(flow: Flow[..., Any]) -> None:
    properties = flow.parameters.properties

    assert properties
    assert all(item.get("description") for item in properties.values())


def test_every_run_sends_a_heartbeat_and_one_without_is_ended(deployment: dict[str, Any]) -> None:
    (automation,) = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    every_s = int(deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])

    assert 2 * every_s < AutomationCore.model_validate(automation).trigger.within.total_seconds()


def test_schedules_parse_and_are_new_yorks(deployment: dict[str, Any]) -> None:
    for schedule in deployment.get("schedules", []):
        parsed = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])

        assert parsed.timezone == "America/New_York"


def test_failures_are_told(flow: Flow[..., Any]) -> None:
    assert flow.on_failure_hooks
    assert flow.on_crashed_hooks


def test_the_daily_consolidation_keeps_its_name() -> None:
    """Others script against `prefect deployment run consolidate/daily`."""
    daily = [item for item in DEPLOYMENTS if item["name"] == "daily"]

    assert "consolidate" in {load_flow_from_entrypoint(str(ROOT / item["entrypoint"])).name for item in daily}


@pytest.mark.parametrize("file", sorted((ROOT / "flows").glob("*.py")), ids=lambda file: file.stem)
def test_no_flow_file_is_named_like_a_module_it_could_hide(file: Path) -> None:
    """Prefect puts a flow's own folder first on sys.path."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert file.stem not in sys.stdlib_module_names - {"__main__"}
    assert file.stem not in packages
