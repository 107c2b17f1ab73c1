"""The live commands where they cannot do what is asked: one line that says what to do, and a telling exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import MEASURED, Simulation, marketlake, simulated

SESSION = ("--session", "2025-08-29")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("exchange")) as simulation:
        yield simulation


def environment(exchange: Simulation, folder: Path, **more: str) -> dict[str, str]:
    own = {"MARKETLAKE__STREAM__SPOOL": str(folder / "spool"), "MARKETLAKE__STREAM__CLOCK": "vendor"}
    return exchange.environment(folder / "lake", **own, **more)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["record", "--feed", "bonds", *SESSION], "there is no feed 'bonds'", id="record: no such feed"),
        pytest.param(["record", "--feed", "stocks", *SESSION], "nobody has said what to record", id="record: nothing"),
        pytest.param(
            ["record", "--feed", "stocks", *SESSION, "--subscribe", "V.I:VIX"], "not on the feed", id="record: other"
        ),
        pytest.param(
            ["record", "--feed", "stocks", "--session", "2025-08-30", "--subscribe", "AM.SPY"],
            "no trading session",
            id="record: closed day",
        ),
        pytest.param(["stream", "--feed", "bonds", *SESSION], "there is no feed 'bonds'", id="stream: no such feed"),
        pytest.param(["stream", "--feed", "options", *SESSION], "discover", id="stream: contracts are not chosen"),
        pytest.param(
            ["stream", "--feed", "stocks", *SESSION, "--subscribe", "AM.*"], "is no ticker", id="stream: everything"
        ),
        pytest.param(
            ["stream", "--feed", "stocks", "--session", "2025-08-30"], "no trading session", id="stream: closed day"
        ),
        pytest.param(["heal", "--tables", "stonks"], "no table 'stonks'", id="heal: no such table"),
        pytest.param(
            ["heal", "--start", "2025-08-29", "--end", "2025-08-28"], "before it starts", id="heal: backwards"
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_two(
    arguments: list[str], says: str, exchange: Simulation, tmp_path: Path
) -> None:
    done = marketlake(*arguments, env=environment(exchange, tmp_path, **{MEASURED: "yes"}))

    assert 2 == done.returncode, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lake" / "raw").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["record", "--feed", "stocks", *SESSION, "--subscribe", "AM.SPY"], id="record"),
        pytest.param(["stream", "--feed", "stocks", *SESSION], id="stream"),
        pytest.param(["heal", "--start", "2025-08-29"], id="heal"),
    ],
)
def test_without_a_key_it_says_what_to_set(arguments: list[str], exchange: Simulation, tmp_path: Path) -> None:
    env = environment(exchange, tmp_path)
    del env["POLYGON_API_KEY"]

    done = marketlake(*arguments, env=env)

    assert 2 == done.returncode, done.stderr
    assert "POLYGON_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "until"),
    [
        pytest.param("record", (), id="by the recorder"),
        pytest.param("stream", ("--until", "2099-01-01"), id="by the flow, in the recorder's words"),
    ],
)
def test_a_refused_key_is_told_and_not_shown(
    command: str, until: tuple[str, ...], exchange: Simulation, tmp_path: Path
) -> None:
    key = "a-key-that-nobody-gave-out-00000"
    env = environment(exchange, tmp_path, POLYGON_API_KEY=key) | {"MARKETLAKE__STREAM__CLOCK": "machine"}

    done = marketlake(command, "--feed", "stocks", *SESSION, "--subscribe", "AM.SPY", *until, env=env)

    assert 3 == done.returncode, done.stderr
    assert "POLYGON_API_KEY" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert key not in "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert key not in done.stdout + done.stderr
