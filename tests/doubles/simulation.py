"""Starts the simulator and the command line as processes, as a user would."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from coverage import Coverage

PATIENCE_S = 60
# Set for commands whose coverage counts. Measuring doubles their time, and most tests run them once more on other data.
MEASURED = "TEST_MEASURED"
# The command kills itself before it makes its n-th file or folder durable.
KILLED_AT_SYNC = "TEST_KILLED_AT_SYNC"


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that is not under test itself: measuring its coverage would double its time."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_PROCESS")}


@dataclass(frozen=True)
class Simulation:
    """A running simulator."""

    rest: str
    ws: str
    control: str
    key: str
    keys: Mapping[str, str]
    pid: int

    def requests(self) -> list[dict[str, object]]:
        """What was asked so far, oldest first."""
        with urllib.request.urlopen(f"{self.control}/log", timeout=10) as answer:
            found: list[dict[str, object]] = json.loads(answer.read())
        return found

    def struck(self) -> int:
        """How often the fault rules in force have struck."""
        with urllib.request.urlopen(f"{self.control}/faults", timeout=10) as answer:
            return sum(rule["struck"] for rule in json.loads(answer.read()))

    def misbehave(self, *rules: Mapping[str, object]) -> None:
        """From now on these fault rules, and no others, are in force."""
        for method, body in (("DELETE", b""), ("POST", json.dumps(rules).encode())):
            request = urllib.request.Request(f"{self.control}/faults", body, method=method)
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()

    def environment(self, lake: Path | str, **more: str) -> dict[str, str]:
        """A process environment in which marketlake talks to this simulator and writes to a lake."""
        return {
            **os.environ,
            "POLYGON_API_KEY": self.key,
            "MARKETLAKE_REST_URL": self.rest,
            "MARKETLAKE_WS_URL": self.ws,
            "MARKETLAKE_LAKE": str(lake),
            **more,
        }


@contextmanager
def launched(
    world: Path | str, folder: Path, *options: str, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A simulator's process and what its ready file says, until the end of the block."""
    ready = folder / f"simulator-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "simulator", "--world", str(world), "--ready", str(ready), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(process.communicate()[1])
            time.sleep(0.02)
        yield process, json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


@contextmanager
def simulated(world: Path | str, folder: Path, *options: str) -> Iterator[Simulation]:
    """A simulator of a world on a free port, until the end of the block."""
    with launched(world, folder, *options, environment=unmeasured(os.environ)) as (_, facts):
        yield Simulation(**{name: facts[name] for name in ("rest", "ws", "control", "key", "keys", "pid")})


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


@cache
def processes() -> ForkServerContext:
    """A process from which the command line's processes are forked.

    They are real processes, without the seconds that Python takes to import Great Expectations and Prefect.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked_commands"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    try:
        forkserver.ensure_running()  # it finds the module to preload by the environment alone
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def started(*arguments: str, env: Mapping[str, str], folder: Path) -> BaseProcess:
    """A process of the command line, running; its output goes to files in a folder."""
    child = processes().Process(target=_command_line, args=(arguments, dict(env), str(folder)))
    child.start()
    return child


def marketlake(*arguments: str, env: Mapping[str, str], cwd: Path | None = None) -> Done:
    """Run one command of the command line to its end."""
    with tempfile.TemporaryDirectory() as folder:
        child = started(*arguments, env={**env, "TEST_CWD": str(cwd or Path.cwd())}, folder=Path(folder))
        child.join(600)
        assert child.exitcode is not None, "the command did not end"
        out, err = ((Path(folder) / name).read_text() for name in ("stdout", "stderr"))
    return Done(child.exitcode, out, err)


def _command_line(arguments: tuple[str, ...], environment: Mapping[str, str], folder: str) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(environment.get("TEST_CWD", folder))
    measuring = Coverage.current()
    if measuring is not None and MEASURED not in environment:
        measuring.stop()
    if KILLED_AT_SYNC in environment:
        _die_at_sync(int(environment[KILLED_AT_SYNC]))
    sys.argv = ["marketlake", *arguments]
    from flows.__main__ import main  # noqa: PLC0415

    main()


def _die_at_sync(number: int) -> None:
    sync, calls = os.fsync, count(1)

    def counted(descriptor: int) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = counted
