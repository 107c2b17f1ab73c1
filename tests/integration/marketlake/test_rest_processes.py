"""The seam in processes of their own: killed in the middle of a chain, and with every logger at DEBUG."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_world
from echoes import echoes, leaks
from scripted_vendor import scripted_vendor
from seam import KEY, rows_of, seam
from simulation import Simulation, simulated

from marketlake import asks
from marketlake.tables import TABLES, Span

FRIDAY, MONDAY = small_world.SESSIONS
DOUBLES = Path(small_world.__file__).parent
ROOT = DOUBLES.parent.parent
ASK = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, FRIDAY, MONDAY, 2)

PROGRAM = """
import logging, sys, traceback
from pathlib import Path
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
sys.path[:0] = [sys.argv[1]]
from datetime import date
from marketlake import asks
from marketlake.errors import MarketlakeError
from marketlake.tables import TABLES, Span
from seam import IMPATIENT, seam
url, lake, client, key = sys.argv[2:6]
for name in list(logging.root.manager.loggerDict):
    logging.getLogger(name).setLevel(logging.DEBUG)
first, last = (date.fromisoformat(text) for text in sys.argv[6:8])
ask = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, first, last, 2)
vendor = seam(url, Path(lake), client=client, key=key, retry=IMPATIENT)
for _ in range(int(sys.argv[8])):
    try:
        for page in vendor.pages(ask):
            print("page", page.number, flush=True)
    except MarketlakeError as error:
        traceback.print_exc(file=sys.stdout)
        print(repr(error), error.args, vars(error), flush=True)
print(vendor, flush=True)
"""


def start(
    url: str, lake: Path, client: str, key: str, first: object, last: object, times: int
) -> subprocess.Popen[str]:
    arguments = [DOUBLES, url, lake, client, key, first, last, times]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("killed")
    with simulated(small_world.write_small_world(folder / "small"), folder) as simulation:
        yield simulation


@pytest.mark.parametrize("seed", range(4))
def test_a_walk_that_was_killed_goes_on_and_asks_one_page_again_at_most(
    seed: int, vendor: Simulation, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    asked_before = len(vendor.requests())
    child = start(vendor.rest, tmp_path / "lake", "polygon", vendor.key, FRIDAY, MONDAY, 1)
    assert child.stdout is not None
    wanted = dice.randrange(1, 50)
    for line in child.stdout:
        if line.startswith("page"):
            wanted -= 1
            if not wanted:
                break
    time.sleep(dice.uniform(0, 0.1))  # anywhere between two pages
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)

    found = rows_of(seam(vendor.rest, tmp_path / "lake", key=vendor.key).pages(ASK))

    expected = [row for row in small_world.bars() if row["ticker"] == "SPY" and row["timespan"] == "minute"]
    assert [row["t"] * 1_000_000 for row in expected] == [row["start"].value for row in found]
    asked = Counter((entry["path"], entry["query"]) for entry in vendor.requests()[asked_before:])
    assert sum(count - 1 for count in asked.values()) <= 1
    assert {"attempt-001"} == {path.parent.name for path in (tmp_path / "lake").rglob("page-*.zst")}


@pytest.mark.parametrize("client", ["polygon", "massive"])
def test_the_key_appears_nowhere_even_where_the_vendor_repeats_it(client: str, tmp_path: Path) -> None:
    replies = echoes(KEY)
    with scripted_vendor(replies) as echo:
        child = start(echo.url, tmp_path / "lake", client, KEY, FRIDAY, MONDAY, 8)
        output, _ = child.communicate(timeout=60)

        assert 0 == child.returncode, output
        assert len(replies) <= len(echo.requests), "every reply of the script was met"
        assert all(f"Authorization: Bearer {KEY}" in head for head in echo.heads)
        assert not [request for request in echo.requests if KEY in request]
    assert "DEBUG:urllib3" in output, "the loggers were listening"
    assert "is not entitled" in output
    assert KEY not in output
    assert list(tmp_path.rglob("*.zst"))
    assert [] == leaks(tmp_path, KEY)


def test_importing_the_clients_prints_nothing_twice(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from marketlake.transport import client_opener\n"
        "for name in ('polygon', 'massive'): client_opener(name, 'k' * 32, 'http://127.0.0.1:1', "
        "connect_timeout_s=1, read_timeout_s=1)()\n"
        "print([logging.getLogger(n).handlers for n in ('RESTClient', 'WebSocketClient')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)

    assert "[[], []]" == done.stdout.strip()
