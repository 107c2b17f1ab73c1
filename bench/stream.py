"""A live feed at its fastest and at 20,000 events a second: ours against the official client, each in its own process.

Ours is the product: the recorder's own command, which makes what comes durable, and the decoder of the windows, which
makes columns of it. CPU time is that of the processes from the acknowledgement of the subscription until everything is
there; the sender has the other core.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.feed import SUBSCRIPTIONS, Feed, Line, messages_of, rendered
from bench.harness import ROUNDS, Comparison
from marketlake.frames import decode
from marketlake.recorder_files import read_report
from marketlake.spool import Position, Spool, local_folder
from marketlake.tickers import AssetClass

PRODUCT_GOAL, CAPTURE_GOAL, P99_GOAL = 6.0, 8.0, 10.0
WITHOUT_COLLECTOR_GOAL = 0.5
EVENTS = 300_000
PACE_A_SECOND, PACED_S = 20_000, 5
SESSION = date(2025, 8, 29)
_HANDSHAKE_FRAMES = 3
_SENDER_CORE, _CLIENT_CORE = 0, 1
_LOOK_S = 0.02
_PATIENCE_S = 120.0
# The vendor's event, the client's name of a column, ours.
COLUMNS = {
    "T": ("stock_trades", {"price": "price", "size": "size", "sequence_number": "sequence_number"}),
    "Q": ("stock_quotes", {"bid_price": "bid_price", "ask_price": "ask_price", "ask_size": "ask_size"}),
    "A": ("stock_bars", {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}),
    "AM": ("stock_bars", {"open": "open", "high": "high", "low": "low", "close": "close", "vwap": "vwap"}),
}


def equal_product() -> Comparison:
    """Durable raw and typed columns."""
    ours, peer = _turns(_our_product, functools.partial(_peer, "product"))
    return Comparison(ours, peer, PRODUCT_GOAL)


def capture() -> Comparison:
    """Durable raw, against parsed objects that are kept in memory alone."""
    ours, peer = _turns(_our_capture, functools.partial(_peer, "keep"))
    return Comparison(ours, peer, CAPTURE_GOAL)


def p99() -> Comparison:
    """The 99th percentile of the time from sending a frame until the client has it."""
    ours, peer = _paced_turns()
    return Comparison(ours, peer, P99_GOAL)


def p99_without_collector() -> Comparison:
    """The same, and the client's user has switched Python's garbage collector off."""
    ours, peer = _paced_turns("nogc")
    return Comparison(ours, peer, WITHOUT_COLLECTOR_GOAL)


@dataclass(frozen=True)
class Taken:
    """What one side has made of a feed: at what CPU time, and when it had each frame."""

    cpu_s: float
    came_ns: Sequence[int]


type Send = Callable[[Line], None]


@contextmanager
def _workspace() -> Iterator[tuple[Feed, Path]]:
    feed = Feed()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_SENDER_CORE})
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield feed, Path(folder)
    finally:
        os.sched_setaffinity(0, cores)
        feed.close()


def _turns(
    ours: Callable[[Feed, Send, int, Path], Taken], peer: Callable[[Feed, Send, int, Path], Taken]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    messages = messages_of(EVENTS)
    blob = b"".join(rendered(messages))
    found: dict[bool, list[float]] = {True: [], False: []}
    with _workspace() as (feed, folder):
        for number in range(ROUNDS):
            for is_ours, side in ((True, ours), (False, peer)):
                place = folder / f"{number}-{is_ours}"
                place.mkdir()
                count = len(messages) if is_ours else EVENTS
                found[is_ours].append(side(feed, lambda line: line.send(blob), count, place).cpu_s)
            if number == 0:
                _assert_equal(messages, folder / "0-True", folder / "0-False")
    return tuple(found[True]), tuple(found[False])


def _paced_turns(*options: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    messages = messages_of(PACE_A_SECOND * PACED_S)
    frames = rendered(messages)
    sent = np.cumsum([message.count(b'"ev"') for message in messages])
    due_s = ((sent - sent[0]) / PACE_A_SECOND).tolist()
    found: dict[bool, list[float]] = {True: [], False: []}
    stamps: list[int] = []

    def send(line: Line) -> None:
        stamps[:] = line.send_paced(frames, due_s)

    with _workspace() as (feed, folder):
        for number in range(ROUNDS):
            for is_ours in (True, False):
                place = folder / f"{number}-{is_ours}"
                place.mkdir()
                if is_ours:
                    taken = _our_capture(feed, send, len(messages), place)
                else:
                    taken = _peer("keep", feed, send, PACE_A_SECOND * PACED_S, place, *options)
                lags_ns = np.array(taken.came_ns) - np.array(stamps)
                found[is_ours].append(float(np.percentile(lags_ns, 99)) / 1e9)
    return tuple(found[True]), tuple(found[False])


def _our_capture(feed: Feed, send: Send, frames: int, folder: Path) -> Taken:
    environment = {
        **os.environ,
        "POLYGON_API_KEY": "a-key",
        "MARKETLAKE_WS_URL": f"ws://{feed.place}",
        "MARKETLAKE_LAKE": str(folder / "lake"),
        "MARKETLAKE__STREAM__SPOOL": str(folder / "spool"),
    }
    command = ["flows", "record", "--feed", "stocks", "--session", str(SESSION), "--subscribe", ",".join(SUBSCRIPTIONS)]
    with _client(command, environment) as process, feed.client() as line:
        spool = local_folder(folder / "spool", AssetClass.STOCKS, SESSION)
        _wait(lambda: (report := read_report(spool)) is not None and report.is_subscribed)
        before_s = _cpu_s(process)
        send(line)
        _wait(
            lambda: (
                (report := read_report(spool)) is not None
                and report.frames == frames + _HANDSHAKE_FRAMES
                and not report.bytes_pending
            )
        )
        cpu_s = _cpu_s(process) - before_s
    return Taken(cpu_s, [received_ns for _, received_ns, _ in _frames(folder)])


def _our_product(feed: Feed, send: Send, frames: int, folder: Path) -> Taken:
    taken = _our_capture(feed, send, frames, folder)
    with _client(["bench.stream", str(folder)], os.environ) as process:
        assert process.stdout is not None
        decoding_s = float(process.stdout.readline())
    return Taken(taken.cpu_s + decoding_s, taken.came_ns)


def _peer(way: str, feed: Feed, send: Send, events: int, folder: Path, *options: str) -> Taken:
    command = ["bench.baselines.stream", feed.place, way, str(events), str(folder), *options]
    with _client(command, os.environ) as process, feed.client() as line:
        assert process.stdout is not None
        before_s = _cpu_s(process)
        send(line)
        assert process.stdout.readline() == "done\n"
        cpu_s = _cpu_s(process) - before_s
        assert process.stdout.readline() == "left\n"
    return Taken(cpu_s, json.loads((folder / "came.json").read_text()))


@contextmanager
def _client(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=dict(environment), stdout=subprocess.PIPE, text=True
    )
    os.sched_setaffinity(process.pid, {_CLIENT_CORE})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_PATIENCE_S)


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "the client does not get on"
        time.sleep(_LOOK_S)


def _cpu_s(process: subprocess.Popen[str]) -> float:
    """CPU time of all threads of a process that lives: its clock is named by its id."""
    return time.clock_gettime((~process.pid << 3) | 2)


def _spool(folder: Path) -> Spool:
    return Spool(folder / "spool", AssetClass.STOCKS, SESSION)


def _frames(folder: Path) -> list[tuple[Position, int, bytes]]:
    return [frame for block in _spool(folder).read_blocks() for frame in block][_HANDSHAKE_FRAMES:]


def _columns(folder: Path) -> dict[str, pa.Table]:
    """The columns of everything in a spool, by kind of event."""
    found: dict[str, list[pa.Table]] = {}
    for chunk in decode(_spool(folder).read(), AssetClass.STOCKS):
        for topic in chunk.rows:
            found.setdefault(topic.topic, []).append(topic.rows)
    return {kind: pa.concat_tables(tables) for kind, tables in found.items()}


def _assert_equal(messages: Sequence[bytes], ours: Path, peers: Path) -> None:
    assert [data for _, _, data in _frames(ours)] == list(messages), "the spool holds every frame as it was sent"
    if not (peers / "T.pickle").exists():
        return
    columns = _columns(ours)
    assert {*COLUMNS} == columns.keys()
    for kind, (_, names) in COLUMNS.items():
        theirs = pd.read_pickle(peers / f"{kind}.pickle")
        for our_name, their_name in names.items():
            assert np.array_equal(columns[kind][our_name].to_numpy(), theirs[their_name].to_numpy()), (kind, our_name)


def main() -> None:
    """Print the CPU seconds that the columns of a spool take; imports and first calls are not counted."""
    folder = Path(sys.argv[1])
    for _ in zip(range(1), decode(_spool(folder).read(), AssetClass.STOCKS), strict=False):
        pass
    before_s = time.process_time()
    _columns(folder)
    print(time.process_time() - before_s)


if __name__ == "__main__":
    main()
