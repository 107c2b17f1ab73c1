"""Writers of a spool as processes: killed at any instant, and flooded for long."""

import asyncio
import os
import random
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import recorder_process
from scripted_exchange import KEY, Talk, scripted_exchange, trade

from marketlake.recorder import Report
from marketlake.recorder_files import read_report
from marketlake.spool import MAGIC, Position, Spool, Tail, local_folder
from marketlake.tickers import AssetClass

FEED, SESSION = AssetClass.STOCKS, date(2025, 8, 29)

# Writes numbered records, as fast as the disk takes them, and says after each batch what is synced.
WRITER = """
import sys
from pathlib import Path
from marketlake.spool import Kind
from marketlake.spool_writing import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), after=0, sync_s=0.001, most_pending_bytes=2**22)
number = 0
while True:
    if writer.append(number, Kind.FRAME, b'[{"ev":"T","q":%d}]' % number * (1 + number % 50)):
        number += 1
    if number % 1000 == 0:
        writer.begin_file()
    if number % 10 == 0:
        print(*writer.synced, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_reported_as_synced(tmp_path: Path) -> None:
    chance = random.Random(20250829)
    for attempt in range(12):
        folder = local_folder(tmp_path / str(attempt), FEED, SESSION)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(2_000)):
                writer.stdout.readline()
            writer.kill()
            told = [line.split() for line in writer.stdout if line.endswith("\n")]
        synced = Position(*map(int, told[-1])) if told else Position(1, len(MAGIC))
        spool = Spool(tmp_path / str(attempt), FEED, SESSION)
        read = list(spool.read())

        assert list(range(len(read))) == [record.received_ns for record in read]
        assert synced in {record.position for record in read} | {Position(n, len(MAGIC)) for n in spool.numbers()}
        assert {spool.remainder(Position(number, 0)).tail for number in spool.numbers()} <= {Tail.NOTHING, Tail.TORN}
        assert [] == [path.name for path in folder.glob("*.spool") if path.read_bytes()[:8] != MAGIC]


@pytest.mark.soak
def test_memory_stays_where_it_is_under_a_flood(tmp_path: Path) -> None:
    """A recorder is sent twenty million messages as fast as the socket takes them; its memory does not follow."""
    frame = "[" + ",".join(trade(number)[1:-1] for number in range(20)) + "]"

    async def flood(talk: Talk) -> None:
        await talk.subscribe()
        for number in range(1_000_000):
            await talk.say(frame)
            if number % 100 == 0:
                await asyncio.sleep(0)  # sending alone would not let the test look
        await talk.until_gone()

    async def run() -> tuple[list[int], Report | None]:
        sizes: list[int] = []
        async with scripted_exchange(flood) as exchange:
            environ = {
                **os.environ,
                "POLYGON_API_KEY": KEY,
                "MARKETLAKE_WS_URL": exchange.url,
                "MARKETLAKE_LAKE": str(tmp_path / "lake"),
                "MARKETLAKE__STREAM__SPOOL": str(tmp_path / "spool"),
                "MARKETLAKE__STREAM__FILE_MB": "16",
            }
            arguments = [sys.executable, recorder_process.__file__, FEED, SESSION.isoformat(), "T.SPY"]
            process = await asyncio.create_subprocess_exec(*arguments, env=environ, cwd=tmp_path)
            folder = local_folder(tmp_path / "spool", FEED, SESSION)
            report = None
            while report is None or report.frames < 1_000_002:
                report = read_report(folder)
                if report is not None and report.frames > 10_000:
                    sizes.append(_resident_bytes(process.pid))
                    _remove_finished_files(folder)
                await asyncio.sleep(0.2)
            process.terminate()
            await process.wait()
            return sizes, read_report(folder)

    sizes, report = asyncio.run(run())

    assert report is not None
    assert 0 == report.frames_lost
    assert len(sizes) > 20
    assert max(sizes) < 120 * 2**20
    assert sizes[-1] < 1.1 * sizes[len(sizes) // 4]


def _remove_finished_files(folder: Path) -> None:
    # As sealing would; two gigabytes are not needed to see that memory does not grow.
    for path in sorted(folder.glob("*.spool"))[:-2]:
        path.unlink()


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
