"""The process: the ready file, worlds that cannot be served, fault scripts, and the end."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3


def test_the_ready_file_says_where_and_as_whom_to_ask(sim) -> None:
    assert {"rest", "ws", "control", "key", "keys", "clock", "pid"} == set(sim.ready)
    assert sim.ready["keys"]["advanced"] == sim.ready["key"]
    assert {"free", "starter", "developer", "advanced"} <= set(sim.ready["keys"])
    assert sim.ready["ws"].startswith("ws://127.0.0.1:")
    assert sim.ready["ws"].rpartition(":")[2] != sim.ready["rest"].rpartition(":")[2]
    assert sim.process.pid == sim.ready["pid"]
    assert "2024-03-11T20:05:00-04:00" == sim.ready["clock"]


@pytest.mark.parametrize("broken", ["world", "faults"])
def test_what_cannot_be_served_is_one_line_and_a_non_zero_exit(tmp_path, tiny_world, broken) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("- do: {action: explode}")
    options = ["--faults", str(script)] if broken == "faults" else []
    world = tmp_path if broken == "world" else tiny_world
    ended = _run("--world", str(world), "--ready", str(tmp_path / "ready.json"), *options)

    assert 0 != ended.returncode
    assert 1 == len(ended.stderr.strip().splitlines())
    assert str(tmp_path) in ended.stderr
    assert not (tmp_path / "ready.json").exists()


def test_options_are_obeyed_from_the_first_request(start_simulator, tiny_world, tmp_path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("- name: busy\n  match: {path: /v3/*}\n  when: {first: 1}\n  do: {action: status, code: 503}\n")
    options = ["--session", "2024-03-08", "--clock", "2024-03-11T09:30", "--speed", "0.001", "--faults", str(script)]
    simulator = start_simulator(tiny_world, *options)
    statuses = [simulator.get("/v3/reference/exchanges").status for _ in range(2)]
    state = simulator.control("GET", "/state")

    assert [503, 200] == statuses
    assert simulator.ready["clock"].startswith("2024-03-11T09:30:00")
    assert 0.001 == state["speed"]
    assert 1710163800000000000 < state["clock_ns"] < 1710163801000000000


def test_a_session_sets_the_clock_to_20_05_new_york_of_it(start_simulator, tiny_world) -> None:
    assert "2024-03-08T20:05:00-05:00" == start_simulator(tiny_world, "--session", "2024-03-08").ready["clock"]


def test_a_port_that_is_taken_is_one_line(sim, tiny_world, tmp_path) -> None:
    ready = tmp_path / "ready.json"
    ended = _run("--world", str(tiny_world), "--ready", str(ready), "--port", str(sim.port))

    assert 0 != ended.returncode
    assert 1 == len(ended.stderr.strip().splitlines())
    assert "cannot start" in ended.stderr


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_at_once_even_with_an_answer_that_hangs(start_simulator, tiny_world, sig) -> None:
    simulator = start_simulator(tiny_world)
    simulator.add_fault({"action": "hang"}, when={"first": 1})
    hanging = threading.Thread(target=_ask_in_vain, args=(simulator.ready,))
    hanging.start()
    while not simulator.control("GET", "/log"):
        pass
    simulator.process.send_signal(sig)

    assert 0 == simulator.process.wait(5)
    hanging.join(5)
    assert not hanging.is_alive()


def _ask_in_vain(ready) -> None:
    with urllib3.PoolManager() as pool:
        try:
            pool.request("GET", ready["rest"] + "/v3/reference/exchanges", retries=False, timeout=20)
        except urllib3.exceptions.HTTPError:
            return


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_ready_file_holds_all_of_it_as_soon_as_it_is_there(sim) -> None:
    path = Path(sim.process.args[sim.process.args.index("--ready") + 1])

    assert json.loads(path.read_text()) == sim.ready
    assert [path] == list(path.parent.iterdir())
