"""The simulator's process: opens the world, listens on the loopback address, says so in the ready file, runs.

What it answers is built in ``app``; the options are read from the command line in ``command``.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import uvicorn

from simulator.app import CONTROL_PREFIX, build_app
from simulator.clock import SimulatedClock
from simulator.faults.script import FaultScript, read_script
from simulator.lake import LakeWorld, is_lake
from simulator.newyork import instant_ns
from simulator.plans import Plan, RateLimiter, standard_accounts
from simulator.recorded import RecordedWorld
from simulator.recorded_files import WorldError
from simulator.simulation import Simulation
from simulator.stream.gateway import Gateway, bound_socket
from simulator.view import POST_MARKET_END
from simulator.world import World
from simulator.world_thread import WorldThread

HOST: Final = "127.0.0.1"
SYNTHETIC: Final = "synthetic"
DEFAULT_SEED: Final = 7
_AFTER_POST_MARKET: Final = POST_MARKET_END.replace(minute=5)
_SHUTDOWN_GRACE_S: Final = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; ``clock_ns`` None is 20:05 New York after the last session."""

    world: str
    ready: Path
    session: date | None = None
    seed: int = DEFAULT_SEED
    clock_ns: int | None = None
    speed: float = 0.0
    faults: Path | None = None
    port: int = 0
    stream_port: int = 0
    has_compression: bool = True


def run(options: Options) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises WorldError or FaultScriptError when the world or the fault script is malformed, OSError when the port is
    taken; nothing listens then.
    """
    world = open_world(options)
    last_session = options.session or world.sessions[-1]
    start_ns = instant_ns(last_session, _AFTER_POST_MARKET) if options.clock_ns is None else options.clock_ns
    simulation = Simulation(
        world=world,
        clock=SimulatedClock(start_ns, options.speed, time.monotonic_ns),
        accounts=standard_accounts(),
        limiter=RateLimiter(time.monotonic_ns),
        seed=options.seed,
        faults=FaultScript([] if options.faults is None else read_script(options.faults)),
    )
    with bound_socket(HOST, options.port) as listener, bound_socket(HOST, options.stream_port) as stream_listener:
        _serve(simulation, listener, stream_listener, options)


def open_world(options: Options) -> World:
    """The world that the options name."""
    if options.world == SYNTHETIC:
        from simulator.synthetic import SyntheticWorld  # noqa: PLC0415 - a recorded world does without its imports

        if options.session is None:
            return SyntheticWorld(seed=options.seed)
        try:
            return SyntheticWorld(seed=options.seed, last_session=options.session)
        except ValueError as error:
            raise WorldError(Path(SYNTHETIC), str(error)) from error
    folder = Path(options.world)
    return LakeWorld(folder) if is_lake(folder) else RecordedWorld(folder)


class _Server(uvicorn.Server):
    """Says when it listens, and ends hanging answers when it is told to stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        stopping: asyncio.Event,
        gateway: Gateway,
        stream_listener: socket.socket,
        announce: "_Announcement",
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._gateway = gateway
        self._stream_listener = stream_listener
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._gateway.open(self._stream_listener, self._stop)
        self._announce.publish()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._gateway.close()
        await super().shutdown(sockets)

    def _stop(self) -> None:
        """A stream that has failed must not look like a quiet one."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._stopping.set()


@dataclass(frozen=True, slots=True)
class _Announcement:
    ready: Path
    port: int
    stream_port: int
    keys: dict[str, str]
    clock: str

    def publish(self) -> None:
        """Writes the ready file in one step, so that whoever sees it sees all of it."""
        rest = f"http://{HOST}:{self.port}"
        content = {
            "rest": rest,
            "ws": f"ws://{HOST}:{self.stream_port}",
            "control": f"{rest}{CONTROL_PREFIX}",
            "key": self.keys[Plan.ADVANCED],
            "keys": self.keys,
            "clock": self.clock,
            "pid": os.getpid(),
        }
        aside = self.ready.with_name(f".{self.ready.name}.{os.getpid()}")
        aside.write_bytes(msgspec.json.encode(content) + b"\n")
        aside.replace(self.ready)


def _serve(simulation: Simulation, listener: socket.socket, stream_listener: socket.socket, options: Options) -> None:
    stopping = asyncio.Event()
    worker = WorldThread()
    gateway = Gateway(simulation, worker, time.monotonic_ns, has_compression=options.has_compression)
    config = uvicorn.Config(
        build_app(simulation, gateway, worker, stopping),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_GRACE_S,
        timeout_keep_alive=3600,  # a paused client must not find its connection gone
    )
    keys = {account.name: key for key, account in simulation.accounts.items()}
    ports = listener.getsockname()[1], stream_listener.getsockname()[1]
    announcement = _Announcement(options.ready, *ports, keys, simulation.clock.iso())
    server = _Server(config, stopping, gateway, stream_listener, announcement)
    logging.getLogger("uvicorn.error").addFilter(_is_not_deliberate)
    # uvicorn raises the signal again when it is done, for whoever listens after it; that must not end us with -15.
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: None)
    server.run(sockets=[listener])


def _is_not_deliberate(record: logging.LogRecord) -> bool:
    """Drops complaints about an answer without an end (a cut, a hang), and about one that stopping leaves unmade."""
    is_cancelled = record.exc_info is not None and record.exc_info[0] is asyncio.CancelledError
    return not is_cancelled and not str(record.msg).startswith("ASGI callable returned without")
