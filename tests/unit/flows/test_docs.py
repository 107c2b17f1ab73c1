"""The documentation names what there is: commands, options, exit codes, JSON keys, deployments, faults; links lead."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
import yaml
from prefect import Flow
from prefect.blocks.core import Block
from prefect.flows import load_flow_from_entrypoint

from blocks import Lake, PolygonCredentials, SlackAlerts
from flows.__main__ import cli
from flows.exit_codes import ExitCode
from marketlake import errors
from marketlake.backfill import Outcome, Replay
from marketlake.consolidation import Consolidation, Published
from marketlake.discover import Selection
from marketlake.ledger import Coverage, Lack, Operational, Proof, Record
from marketlake.preview import Preview, PreviewLine
from marketlake.quarantine import QuarantineSummary
from marketlake.settings import LAYOUT
from marketlake.settings_text import SECRETS
from marketlake.status import Holding, Status
from marketlake.tables import Partition
from simulator.command import simulate
from simulator.faults import actions
from simulator.faults.script import Match, When
from simulator.plans import standard_accounts
from simulator.routes import ROUTES
from tasks.reports import BackfillReport

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs" / "API_REFERENCE.md").read_text(encoding="utf-8")
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
MADE_BY_THE_DEMO = ROOT / "docs" / "session.png"
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
FAULTS: Sequence[type[msgspec.Struct]] = get_args(actions.Action)

SPY = Partition("stock_bars", "SPY", "2025-08-29")
JSON: Mapping[str, object] = {
    "backfill": [
        BackfillReport(
            (date(2025, 9, 2),), (Outcome("a batch", (), 1, 1, 1, 3, 1, 1, 1, Lack.SESSION_PAST),)
        ).as_json(),
        errors.BatchesFailed((("a batch", errors.KeyRefused("GET /", "no")),), BackfillReport(()).totals()).as_json(),
    ],
    "backfill --preview": Preview((PreviewLine("stock_bars", 1, 1, 1, 1),), 5).as_json(),
    "discover": Selection("SPY", date(2025, 8, 29), Decimal(1), "opening_bar", (), {}).as_json(),
    "consolidate": Consolidation("SPY", None, "none", (Published("market_minutes", 1, "a path", "a hash"),)).as_json(),
    "status": Status((Holding("stock_bars", "SPY", 1, "", "", 1, 0, 1, (), (), ()),), 1, 1, 0, 1, 0, 0, 0).as_json(),
    "quarantine": [
        QuarantineSummary("stock_bars", "SPY", "2025-08-29", "a rule", 1).as_json(),
        Replay(SPY, 1, 0, 0).as_json(),
    ],
}


def section(page: str, heading: str) -> str:
    """What stands between a heading and the next one of its level or above; empty where there is no such heading."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", page, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def commands(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *names, name)
    else:
        yield names, command


def keys(value: object) -> set[str]:
    if isinstance(value, Mapping):
        return set(value).union(*map(keys, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(keys, value))
    return set()


def row(page: str, name: str) -> str:
    """The line of a table that begins with this name in code."""
    return next((line for line in page.splitlines() if line.startswith(f"| `{name}`")), "")


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(page: Path) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of one."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target == MADE_BY_THE_DEMO and not target.exists():
            continue
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        if not target.exists() or (anchor and anchor not in map(slug, headings)):
            dead.append(link)
    return dead


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("names", COMMANDS, ids="-".join)
def test_every_command_is_documented_with_its_options_and_arguments(names: tuple[str, ...]) -> None:
    command = COMMANDS[names]
    about = section(REFERENCE, f"### marketlake {names[0]}")
    wanted = {
        word
        for parameter in command.params
        for word in (
            [option for option in parameter.opts if option.startswith("--")]
            if isinstance(parameter, click.Option)
            else [str(parameter.name).upper()]
        )
    }
    if names == ("simulate",):  # it hands its words on
        wanted = set()

    assert about
    assert len(names) == 1 or f"`marketlake {' '.join(names)}" in about
    assert set() == {word for word in wanted if word not in re.findall(r"--[a-z-]+|[A-Z]+", about)}


@pytest.mark.parametrize(
    "about", [section(REFERENCE, "### marketlake simulate"), SIMULATOR], ids=["reference", "simulator"]
)
def test_every_option_of_the_simulator_is_documented(about: str) -> None:
    undocumented = {option for parameter in simulate.params for option in parameter.opts if f"| `{option}" not in about}

    assert set() == undocumented


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert f"| {code.value} | `{code.name}` |" in section(REFERENCE, "## Exit codes")


@pytest.mark.parametrize("command", JSON)
def test_every_json_key_is_documented(command: str) -> None:
    about = section(section(REFERENCE, "## JSON output"), f"### {command}")

    assert keys(JSON[command]) <= set(re.findall(r"`(\w+)`", about))


def test_every_key_of_a_ledger_record_is_documented() -> None:
    names = {name for kind in (Record, Coverage, Proof, Operational) for name in kind.__dataclass_fields__}

    assert names <= set(re.findall(r"`(\w+)`", section(REFERENCE, "## The lake")))


def test_every_variable_that_is_read_is_documented() -> None:
    about = section(REFERENCE, "## Environment")

    assert {*LAYOUT.variables, *SECRETS, "MARKETLAKE_CONFIG"} <= set(re.findall(r"`([A-Z0-9_]+)`", about))


@pytest.mark.parametrize("kind", [PolygonCredentials, Lake, SlackAlerts])
def test_every_block_is_documented_with_its_fields(kind: type[Block]) -> None:
    about = row(section(REFERENCE, "### Blocks"), kind.__name__)

    assert set(kind.model_fields) <= set(re.findall(r"`(\w+)`", about))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda item: item["name"])
def test_every_deployment_is_documented_with_its_parameters(deployment: dict[str, str]) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    about = row(section(REFERENCE, "## Flows and deployments"), f"{flow.name}/{deployment['name']}")

    assert deployment["entrypoint"] in about
    assert set(flow.parameters.properties) <= set(re.findall(r"`(\w+)`", about))


def test_the_runbook_speaks_of_every_error() -> None:
    named = {name for name, kind in vars(errors).items() if isinstance(kind, type) and not kind.__subclasses__()}

    assert "LeaseHeld" in named
    assert set() == {name for name in named if name not in RUNBOOK}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__struct_config__.tag))
def test_every_fault_is_documented_with_its_fields(fault: type[msgspec.Struct]) -> None:
    about = row(section(SIMULATOR, "## Faults"), str(fault.__struct_config__.tag))

    assert about
    assert set(fault.__struct_fields__) <= set(re.findall(r"`(\w+)`", about))


@pytest.mark.parametrize("condition", [*Match.__struct_fields__, *When.__struct_fields__])
def test_every_condition_of_a_fault_is_documented(condition: str) -> None:
    assert re.search(rf"^\| .*`{condition}`.* \|", section(SIMULATOR, "## Faults"), re.MULTILINE)


def test_every_address_of_the_simulator_is_documented() -> None:
    """By its path without the names of the values in it."""

    def nameless(path: str) -> str:
        return re.sub(r"\{\w+\}", "{}", path)

    documented = {nameless(path) for path in re.findall(r"`(/v?[^`]+)`", section(SIMULATOR, "## What it answers"))}

    assert {nameless(route.template) for route in ROUTES} == documented


def test_every_key_of_the_simulator_is_documented() -> None:
    about = section(SIMULATOR, "## Keys and plans")

    assert all(row(about, key) for key in standard_accounts())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    assert [] == dead_links(page)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here we are\n[a](gone.md) [b](#here-we-are) [c](#nowhere) [d](page.md#nor-here) [e](http://x)\n")

    assert ["gone.md", "#nowhere", "page.md#nor-here"] == dead_links(page)
