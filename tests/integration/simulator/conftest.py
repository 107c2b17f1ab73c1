"""Simulator processes on real sockets, and a small world whose every row a test can work out by hand."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3

NEW_YORK = ZoneInfo("America/New_York")
START_TIMEOUT_S = 60


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

    process: subprocess.Popen[bytes]
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


def run_until_ready(command: list[str], ready: Path) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Starts a process and returns once its ready file stands there."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None:
            _, stderr = process.communicate()
            pytest.fail(f"the simulator ended with {process.returncode}: {stderr.decode()}")
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail("the simulator wrote no ready file")
        time.sleep(0.01)  # there is nothing to wait on for a file that is not there yet
    return process, json.loads(ready.read_bytes())


@pytest.fixture(scope="session")
def start_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a simulator on a world with more options; all of them are stopped at the end."""
    with ExitStack() as stack:

        def start(world: Path | str, *options: str) -> Simulator:
            ready = tmp_path_factory.mktemp("ready") / "ready.json"
            command = [sys.executable, "-m", "simulator", "--world", str(world), "--ready", str(ready), *options]
            process, content = run_until_ready(command, ready)
            stack.callback(_stop, process)
            return Simulator(process, content, stack.enter_context(urllib3.PoolManager(maxsize=4)))

        yield start


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small world."""
    folder = tmp_path_factory.mktemp("worlds") / "tiny"
    write_tiny_world(folder)
    return folder


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
    defaults = {"retry_after": False, "over_limit": "clamp", "calls": 5, "window_s": 60}
    tiny_process.control("POST", "/switches", defaults)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


# The small world: SPY and the VIX on Friday 2024-03-08 and Monday 2024-03-11, with the change of the clocks between.

FRIDAY, MONDAY = date(2024, 3, 8), date(2024, 3, 11)
CALL = "O:SPY240311C00500000"


def at_ms(day: date, text: str) -> int:
    """Milliseconds of a New York time of day."""
    hour, minute, *second = (int(part) for part in text.split(":"))
    when = datetime(day.year, day.month, day.day, hour, minute, *second, tzinfo=NEW_YORK)
    return int(when.timestamp()) * 1000


def write_tiny_world(folder: Path) -> None:
    folder.mkdir(parents=True)
    description = {"name": "tiny", "underlying": "SPY", "sessions": [str(FRIDAY), str(MONDAY)]}
    (folder / "world.json").write_text(json.dumps(description))
    tables = {
        "bars": _bars(),
        "trades": _trades(),
        "quotes": _quotes(),
        "contracts": _contracts(),
        "rates": [{"date": f"2024-02-{day:02d}", "yield_1_month": 5 + day / 100} for day in range(1, 29)]
        + [{"date": "2024-03-08", "yield_1_month": 5.5}, {"date": "2024-03-11", "yield_1_month": 5.6}],
        "dividends": _dividends(),
        "splits": [
            {"id": f"s{year}", "ticker": ticker, "execution_date": f"{year}-03-11", "split_from": 1, "split_to": 2}
            for ticker in ("AAA", "SPY")
            for year in (2010, 2012, 2014)
        ]
        + [{"id": "s-later", "ticker": "AAA", "execution_date": "2024-03-12", "split_from": 1, "split_to": 10}],
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / "news.json").write_text(json.dumps(_articles()))


def _bar(ticker: str, timespan: str, t: int, place: int, **fields: float | None) -> dict[str, Any]:
    price = 500 + (place * 37 % 100) / 100
    bar = {
        "o": price,
        "h": price + 0.5,
        "l": price - 0.25,
        "c": price + 0.125,
        "v": 100.5 + place,
        "vw": price,
        "n": 10,
    }
    return {"ticker": ticker, "timespan": timespan, "t": t, **bar, **fields}


def _bars() -> list[dict[str, Any]]:
    no_volume = {"v": None, "vw": None, "n": None}
    rows = []
    for day in (FRIDAY, MONDAY):
        for place in range(150):  # 08:30 to 11:00, without every seventh minute
            if place % 7 != 6:
                rows.append(_bar("SPY", "minute", at_ms(day, "08:30") + place * 60_000, place))
                rows.append(_bar("I:VIX", "minute", at_ms(day, "08:30") + place * 60_000, place, **no_volume))
        rows += [_bar("SPY", "second", at_ms(day, "09:30") + place * 1000, place) for place in range(0, 90, 2)]
        rows += [
            _bar(CALL, "minute", at_ms(day, "09:30") + place * 60_000, place, vw=None) for place in range(0, 60, 3)
        ]
    day = date(2024, 1, 2)
    while day <= MONDAY:
        if day.weekday() < 5:
            rows.append(_bar("SPY", "day", at_ms(day, "00:00"), day.toordinal()))
            rows.append(_bar("AAA", "day", at_ms(day, "00:00"), day.toordinal()))
            rows.append(_bar("I:VIX", "day", at_ms(day, "01:00"), day.toordinal(), **no_volume))  # midnight in Chicago
        day += timedelta(days=1)
    return rows


def _trades() -> list[dict[str, Any]]:
    rows = []
    for day in (FRIDAY, MONDAY):
        for place in range(60):
            stamp = at_ms(day, "09:30") * 1_000_000 + place // 4 * 30_000_000_001  # four to a nanosecond
            trade = {"ticker": "SPY", "sip_timestamp": stamp, "participant_timestamp": stamp - 1000, "price": 500.25}
            trade |= {"size": 10.0 + place, "exchange": 11, "conditions": [37, 12] if place % 3 else None}
            rows.append(trade | {"id": f"{day}-{place}", "sequence_number": place * 3 + 1, "tape": 2})
        stamp = at_ms(day, "09:45") * 1_000_000
        rows += [
            {"ticker": CALL, "sip_timestamp": stamp + place // 2, "price": 3.5, "size": 1.0, "exchange": 302}
            for place in range(11)
        ]
    return rows


def _quotes() -> list[dict[str, Any]]:
    rows = []
    for ticker, place in ((ticker, place) for ticker in ("SPY", CALL) for place in range(50)):
        for day in (FRIDAY, MONDAY):
            quote = {"ticker": ticker, "sip_timestamp": at_ms(day, "09:30") * 1_000_000 + place // 3 * 20_000_000_000}
            quote |= {"bid_price": 3.0, "bid_size": 5.0, "bid_exchange": 302, "sequence_number": place + 1}
            is_one_sided = place % 10 == 9
            quote |= {"ask_price": 0.0 if is_one_sided else 3.25, "ask_size": 0.0 if is_one_sided else 7.0}
            rows.append(quote | {"ask_exchange": 0 if is_one_sided else 304})
    return rows


def _contracts() -> list[dict[str, Any]]:
    rows = []
    for expiry in ("2024-03-08", "2024-03-11", "2024-03-15"):
        for letter, kind in (("C", "call"), ("P", "put")):
            for strike in (499.0, 499.5, 500.0, 501.0):
                ticker = f"O:SPY{expiry[2:].replace('-', '')}{letter}{round(strike * 1000):08d}"
                rows.append(
                    {
                        "ticker": ticker,
                        "underlying_ticker": "SPY",
                        "contract_type": kind,
                        "expiration_date": expiry,
                        "strike_price": strike,
                        "shares_per_contract": 100,
                        "exercise_style": "american",
                        "cfi": f"O{letter}ASPS",
                        "primary_exchange": "BATO",
                    }
                )
    return rows


def _dividends() -> list[dict[str, Any]]:
    rows = [
        {
            "id": f"{ticker}-{year}",
            "ticker": ticker,
            "cash_amount": 1.5,
            "currency": "USD",
            "declaration_date": f"{year}-01-05",
            "ex_dividend_date": f"{year}-02-15",
            "record_date": f"{year}-02-16",
            "pay_date": f"{year}-04-30",
            "frequency": 4,
            "dividend_type": "CD",
        }
        for ticker in ("AAA", "SPY")
        for year in (2020, 2021, 2022, 2023, 2024)
    ]
    declared_later = {"id": "later", "declaration_date": "2024-03-12", "ex_dividend_date": "2024-03-15"}
    return [*rows, rows[-1] | declared_later]


def _articles() -> list[dict[str, Any]]:
    articles = []
    for place in range(14):
        published = datetime(2024, 3, 11, 13, tzinfo=UTC) + timedelta(minutes=place // 3)  # three to a second
        article = {"id": f"a{place:02d}", "title": f"Title {place}", "author": "A. Writer", "tickers": ["SPY", "VOO"]}
        article |= {"published_utc": f"{published:%Y-%m-%dT%H:%M:%SZ}", "article_url": f"https://example.com/{place}"}
        article["publisher"] = {"name": "Example Wire", "homepage_url": "https://example.com/", "logo_url": ""}
        if place % 2:
            article["insights"] = [{"ticker": "SPY", "sentiment": "neutral", "sentiment_reasoning": "None."}]
        articles.append(article)
    other = articles[0] | {"id": "other", "tickers": ["AAA"]}
    return [*articles, other]
