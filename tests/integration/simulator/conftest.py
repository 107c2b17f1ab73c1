"""Simulator processes on real sockets, and a client that asks them."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from simulation import launched
from small_world import write_small_world


@dataclass(frozen=True)
class Response:
    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Simulator:
    """A running simulator and what its ready file says."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    pool: urllib3.PoolManager

    def get(self, path: str, plan: str = "advanced", method: str = "GET", **headers: str) -> Response:
        """One request to a path, or to an absolute next_url."""
        url = path if path.startswith("http") else self.ready["rest"] + path
        sent = {"Authorization": f"Bearer {self.ready['keys'][plan]}"} | headers
        raw = self.pool.request(method, url, headers=sent, retries=False, timeout=10)
        return Response(raw.status, raw.headers, raw.data)

    def pages(self, path: str, plan: str = "advanced") -> list[dict[str, Any]]:
        """All pages of a list, by next_url as given."""
        pages = [self.get(path, plan).json()]
        while "next_url" in pages[-1]:
            pages.append(self.get(pages[-1]["next_url"], plan).json())
        return pages

    def rows(self, path: str, plan: str = "advanced") -> list[dict[str, Any]]:
        """All rows of a list."""
        return [row for page in self.pages(path, plan) for row in page.get("results", [])]

    def control(self, method: str, path: str, body: object = None) -> Any:
        """One command to the control address; a refused one fails the test."""
        encoded = None if body is None else json.dumps(body).encode()
        raw = self.pool.request(method, self.ready["control"] + path, body=encoded, retries=False, timeout=10)
        assert raw.status == 200, raw.data
        return json.loads(raw.data)

    def add_fault(self, do: object, match: object = None, when: object = None) -> None:
        """Arms one rule."""
        self.control("POST", "/faults", {"do": do, "match": match or {}, "when": when or {}})

    def set_clock(self, text: str) -> None:
        """Sets the simulated now, New York time."""
        self.control("POST", "/clock", {"set": text})

    @property
    def port(self) -> int:
        port = urlsplit(self.ready["rest"]).port
        assert port is not None
        return port


Start = Callable[..., Simulator]
STREAM_DEFAULTS = {
    "strict": False,
    "buffer_bytes": 8 << 20,
    "slow_reader": "status",
    "evicted": "older",
    "connections_per_key": 1,
    "auth_timeout_s": 30,
}


@pytest.fixture(scope="session")
def start_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a simulator on a world with more options; all of them are stopped at the end."""
    with ExitStack() as stack:

        def start(world: Path | str, *options: str) -> Simulator:
            # Here the simulator itself is under test, so its coverage counts.
            running = launched(world, tmp_path_factory.mktemp("ready"), *options, environment=os.environ)
            process, ready = stack.enter_context(running)
            return Simulator(process, ready, stack.enter_context(urllib3.PoolManager(maxsize=4)))

        yield start


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small world."""
    return write_small_world(tmp_path_factory.mktemp("worlds") / "small")


@pytest.fixture(scope="session")
def tiny_process(start_simulator: Start, tiny_world: Path) -> Simulator:
    return start_simulator(tiny_world)


@pytest.fixture
def sim(tiny_process: Simulator) -> Iterator[Simulator]:
    """A simulator of the small world, as if just started."""
    tiny_process.control("POST", "/reset")
    yield tiny_process
    tiny_process.control("DELETE", "/faults")
    tiny_process.control("POST", "/clock", {"pause": True, "set": tiny_process.ready["clock"]})
    defaults = {"retry_after": False, "over_limit": "clamp", "history": "all", "calls": 5, "window_s": 60}
    tiny_process.control("POST", "/switches", defaults | STREAM_DEFAULTS)


@pytest.fixture(scope="session")
def market_process(start_simulator: Start) -> Simulator:
    return start_simulator("synthetic", "--session", "2025-08-29")


@pytest.fixture
def market(market_process: Simulator) -> Iterator[Simulator]:
    """The synthetic market at 09:30:00 of 2025-08-29, standing still."""
    market_process.control("POST", "/reset")
    market_process.control("POST", "/clock", {"pause": True, "set": "2025-08-29T09:30"})
    yield market_process
    market_process.control("DELETE", "/faults")
    market_process.control("POST", "/clock", {"pause": True})
    market_process.control("POST", "/switches", STREAM_DEFAULTS)
