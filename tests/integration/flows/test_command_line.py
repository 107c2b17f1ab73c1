import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import MEASURED, Simulation, marketlake, simulated


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", "2025-08-29") as simulation:
        yield simulation


def test_help_is_instant_and_imports_nothing_heavy() -> None:
    heavy = ("great_expectations", "prefect", "pandas_ta", "numba", "pandas", "pyarrow")
    code = (
        "import sys\n"
        "from flows.__main__ import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"
    assert "backfill" in done.stdout


def test_every_command_has_help() -> None:
    from flows.__main__ import cli  # noqa: PLC0415

    commands = [("", cli)]
    while commands:
        name, command = commands.pop()
        assert command.help, name
        commands += [(f"{name} {child}", item) for child, item in getattr(command, "commands", {}).items()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["backfill", "--tables", "stonks"], "no table 'stonks'", id="unknown table"),
        pytest.param(["backfill", "--tickers", "spy"], "no ticker", id="unknown ticker"),
        pytest.param(["backfill", "--start", "2025-08-30", "--end", "2025-08-31"], "no trading session", id="weekend"),
        pytest.param(["backfill", "--start", "2025-08-29", "--end", "2025-08-28"], "before it starts", id="backwards"),
        pytest.param(["backfill", "--tables", "index_bars", "--tickers", "SPY"], "nothing is named", id="no index"),
        pytest.param(["consolidate", "--session", "2025-08-30"], "no trading session", id="closed day"),
        pytest.param(["quarantine", "show", "stock_bars", "SPY", "2025-08-29"], "quarantine list", id="none refused"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_two(
    arguments: list[str], says: str, vendor: Simulation, tmp_path: Path
) -> None:
    done = marketlake(*arguments, env=vendor.environment(tmp_path / "lake", **{MEASURED: "yes"}))

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lake" / "raw").exists()


def test_without_a_key_it_says_what_to_set(vendor: Simulation, tmp_path: Path) -> None:
    environment = vendor.environment(tmp_path / "lake")
    del environment["POLYGON_API_KEY"]

    done = marketlake("backfill", "--start", "2025-08-29", env=environment)

    assert done.returncode == 2
    assert "POLYGON_API_KEY" in done.stderr


def test_a_session_goes_through_the_commands(vendor: Simulation, tmp_path: Path) -> None:
    """Each command's --json is documented, and each names what the next one needs."""
    env = vendor.environment(tmp_path / "lake", **{MEASURED: "yes"})
    day = ["--start", "2025-08-29", "--end", "2025-08-29"]

    preview = marketlake("backfill", "--tables", "stock_bars", "--tickers", "SPY", *day, "--preview", "--json", env=env)
    assert json.loads(preview.stdout)["calls"] == 1 + 3  # the vendor's time, and a span each
    assert not (tmp_path / "lake" / "raw").exists()

    bars = marketlake("backfill", "--tables", "stock_bars,index_bars,treasury_yields", *day, "--json", env=env)
    assert bars.returncode == 0, bars.stderr
    assert json.loads(bars.stdout)["failed"] == 0

    found = marketlake("discover", "--underlying", "SPY", "--session", "2025-08-29", "--json", env=env)
    selection = json.loads(found.stdout)
    assert selection["opening_price_source"] == "opening_bar"
    assert len(selection["chosen"]) == 24

    early = marketlake("consolidate", "--session", "2025-08-29", "--json", env=env)
    assert json.loads(early.stdout)["reasons"] == {"expired": 16 * 24, "not_collected": 389 * 24}

    options = marketlake("backfill", "--tables", "option_bars", "--tickers", "SPY,@chosen", *day, "--json", env=env)
    assert options.returncode == 0, options.stderr

    made = marketlake("consolidate", "--underlying", "SPY", "--session", "2025-08-29", "--json", env=env)
    assert made.returncode == 0, made.stderr
    assert "not_collected" not in json.loads(made.stdout)["reasons"]
    rows = {item["table"]: item["rows"] for item in json.loads(made.stdout)["published"]}
    assert rows == {"market_minutes": 390, "option_minutes": 405 * len(selection["chosen"])}

    newest = marketlake("consolidate", "--json", env=env)
    assert json.loads(newest.stdout)["session"] == "2025-08-29"

    status = marketlake("status", "--json", env=env)
    assert status.returncode == 0, status.stderr
    assert {"stock_bars", "option_minutes"} <= {item["table"] for item in json.loads(status.stdout)["tables"]}
    assert marketlake("status", env=env).stdout.count("2025-08-29") >= 2


def test_a_key_whose_data_is_late_cannot_claim_the_last_quarter_of_an_hour(vendor: Simulation, tmp_path: Path) -> None:
    """At 20:05 New York, a key of 15 minutes ago sees the market of 19:50, whatever plan the settings name."""
    env = vendor.environment(tmp_path / "lake") | {"POLYGON_API_KEY": vendor.keys["starter"]}
    bars = ("backfill", "--tables", "stock_bars", "--tickers", "SPY", "--start", "2025-08-29", "--end", "2025-08-29")

    unaware = marketlake(*bars, env=env)
    aware = marketlake(*bars, "--json", env=env | {"MARKETLAKE__VENDOR__PLAN": "starter"})

    assert unaware.returncode == 2
    assert "set vendor.plan" in unaware.stderr
    assert json.loads(aware.stdout)["postponed"] == ["2025-08-29"]
    assert not list((tmp_path / "lake").glob("ledger/**/record.json"))


def test_options_without_their_contracts_are_not_consolidated_away(vendor: Simulation, tmp_path: Path) -> None:
    env = vendor.environment(tmp_path / "lake")
    tickers = "SPY,O:SPY250829C00602000"
    filled = marketlake(
        "backfill", "--tables", "stock_bars,option_bars", "--tickers", tickers, "--start", "2025-08-29", env=env
    )
    made = marketlake("consolidate", "--session", "2025-08-29", env=env)

    assert filled.returncode == 0, filled.stderr
    assert made.returncode == 2
    assert "marketlake discover" in made.stderr


def test_every_raw_table_can_be_judged_again(vendor: Simulation, tmp_path: Path) -> None:
    env = vendor.environment(tmp_path / "lake", **{MEASURED: "yes"})
    tables = ["stock_bars", "treasury_yields", "dividends", "splits", "news", "option_contracts"]
    filled = marketlake("backfill", "--tables", ",".join(tables), "--tickers", "SPY", "--start", "2025-08-29", env=env)
    assert filled.returncode == 0, filled.stderr
    raw = tmp_path / "lake" / "raw"
    before = {path: path.read_bytes() for path in raw.rglob("*.parquet")}
    for table in tables:
        done = marketlake("quarantine", "replay", table, "SPY", "2025-08-29", "--json", env=env)
        assert json.loads(done.stdout)["accepted"] == 0, done.stderr

    assert before == {path: path.read_bytes() for path in raw.rglob("*.parquet")}


def test_an_empty_lake_has_nothing_to_consolidate_and_says_so(vendor: Simulation, tmp_path: Path) -> None:
    done = marketlake("consolidate", env=vendor.environment(tmp_path / "lake"))

    assert done.returncode == 0
    assert "Nothing to do" in done.stdout


def test_results_do_not_depend_on_the_machines_time_zone(vendor: Simulation, tmp_path: Path) -> None:
    lakes = {}
    for zone in ("UTC", "Asia/Tokyo"):
        env = vendor.environment(tmp_path / zone.replace("/", "-"), TZ=zone)
        done = marketlake(
            "backfill", "--tables", "stock_bars,news", "--tickers", "SPY", "--start", "2025-08-29", env=env
        )
        assert done.returncode == 0, done.stderr
        raw = Path(env["MARKETLAKE_LAKE"]) / "raw"
        lakes[zone] = {str(path.relative_to(raw)): path.read_bytes() for path in raw.rglob("*.parquet")}

    assert lakes["UTC"]
    assert lakes["UTC"] == lakes["Asia/Tokyo"]


def test_python_dash_m_and_the_console_script_are_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("marketlake")
    outputs = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ)
        for command in ([str(script)], [sys.executable, "-m", "flows"])
    ]

    assert outputs[0].stdout.split("\n", 2)[2] == outputs[1].stdout.split("\n", 2)[2]
