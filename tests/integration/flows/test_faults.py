"""What a hostile vendor can do to a backfill: exact data, or a typed error, a non-zero exit and no ledger claim."""

import os
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from echoes import FRIDAY, MONDAY, echoes, leaks
from scripted_vendor import ok, scripted_vendor
from seam import KEY
from simulation import Simulation, marketlake, simulated

SESSION = "2025-08-29"
BACKFILL = ("backfill", "--tables", "stock_bars", "--tickers", "SPY", "--start", SESSION, "--end", SESSION)
# Small pages make chains; short waits make the retry policy end within a test.
QUICK = {
    "MARKETLAKE__SOURCES__PAGE_SIZE": "200",
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": '["minute"]',
    "MARKETLAKE__RETRY__REST__READ_TIMEOUT_S": "1",
    "MARKETLAKE__RETRY__REST__ATTEMPTS": "3",
    "MARKETLAKE__RETRY__REST__FIRST_WAIT_S": "0.05",
    "MARKETLAKE__RETRY__REST__LONGEST_WAIT_S": "0.2",
    "MARKETLAKE__RETRY__REST__RATE_LIMIT_PATIENCE_S": "10",
}
EXACT, REFUSED = "exact", "refused"


@pytest.fixture(scope="module")
def well_behaved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", SESSION) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def exact(well_behaved: Simulation, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("exact")
    done = marketlake(*BACKFILL, env=well_behaved.environment(folder / "lake", **QUICK))
    assert done.returncode == 0, done.stderr
    return _rows(folder / "lake")


@pytest.fixture
def vendor(well_behaved: Simulation, exact: list[dict[str, object]]) -> Iterator[Simulation]:
    """The same simulator, which a test may make misbehave; what it said while it behaved is known by then."""
    yield well_behaved
    well_behaved.misbehave()


def _rows(lake: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(lake / "raw" / "stocks" / "bars").to_pylist()
    return rows


ONCE = {"nth": 1}
SECOND_PAGE = {"path": "/v2/aggs/*", "page": 2}
FAULTS = [
    pytest.param({"action": "cut"}, ONCE, EXACT, id="body cut once"),
    pytest.param({"action": "cut"}, {}, REFUSED, id="body cut always"),
    pytest.param({"action": "truncate"}, ONCE, EXACT, id="truncated JSON once"),
    pytest.param({"action": "truncate"}, {}, REFUSED, id="truncated JSON always"),
    pytest.param({"action": "drop_results"}, ONCE, EXACT, id="no results once"),
    pytest.param({"action": "drop_results"}, {}, REFUSED, id="no results always"),
    pytest.param({"action": "drop_results", "keep_next_url": False}, {}, REFUSED, id="no results and no cursor"),
    pytest.param({"action": "null_results"}, {}, REFUSED, id="results null"),
    pytest.param({"action": "next_url", "to": "self"}, {}, REFUSED, id="cursor to itself"),
    pytest.param({"action": "next_url", "to": "previous"}, {}, REFUSED, id="cursor to the page before"),
    pytest.param({"action": "next_url", "to": "first"}, {}, REFUSED, id="cursor to the first page"),
    pytest.param({"action": "next_url", "to": "garbage"}, {}, REFUSED, id="garbage cursor"),
    pytest.param({"action": "next_url", "to": "null"}, {}, REFUSED, id="cursor null"),
    pytest.param({"action": "next_url", "to": "empty"}, {}, REFUSED, id="cursor empty"),
    pytest.param({"action": "html"}, ONCE, EXACT, id="HTML with 200 once"),
    pytest.param({"action": "html"}, {}, REFUSED, id="HTML with 200 always"),
    pytest.param({"action": "error_status"}, {}, REFUSED, id="status ERROR with 200"),
    pytest.param({"action": "status", "code": 429, "retry_after": 1}, ONCE, EXACT, id="429 with Retry-After once"),
    pytest.param({"action": "status", "code": 429}, ONCE, EXACT, id="429 without Retry-After once"),
    pytest.param({"action": "status", "code": 429, "retry_after": 4}, {}, REFUSED, id="429 with Retry-After always"),
    pytest.param({"action": "status", "code": 429}, {}, REFUSED, id="429 without Retry-After always"),
    pytest.param({"action": "status", "code": 500}, ONCE, EXACT, id="500 once"),
    pytest.param({"action": "status", "code": 502, "html": True}, ONCE, EXACT, id="502 in HTML once"),
    pytest.param({"action": "status", "code": 503}, {}, REFUSED, id="503 always"),
    pytest.param({"action": "status", "code": 504}, {}, REFUSED, id="504 always"),
    pytest.param({"action": "hang"}, ONCE, EXACT, id="hang before headers once"),
    pytest.param({"action": "hang"}, {}, REFUSED, id="hang before headers always"),
    pytest.param({"action": "hang_mid_body"}, ONCE, EXACT, id="hang in the body once"),
    pytest.param({"action": "bad_gzip"}, {}, REFUSED, id="bad gzip"),
    pytest.param({"action": "repeat_page"}, {}, REFUSED, id="page repeated"),
    pytest.param({"action": "overlap_page"}, {}, REFUSED, id="page overlapping"),
    pytest.param({"action": "shuffle_rows"}, {}, REFUSED, id="rows out of order"),
    pytest.param({"action": "status", "code": 403}, {}, REFUSED, id="403"),
    pytest.param({"action": "status", "code": 401}, {}, REFUSED, id="401"),
]


@pytest.mark.parametrize(("action", "when", "ends"), FAULTS)
def test_a_fault_ends_in_exact_data_or_a_typed_error(
    action: dict[str, object],
    when: dict[str, int],
    ends: str,
    exact: list[dict[str, object]],
    vendor: Simulation,
    tmp_path: Path,
) -> None:
    vendor.misbehave({"match": SECOND_PAGE, "when": when, "do": action})
    done = marketlake(*BACKFILL, env=vendor.environment(tmp_path / "lake", XDG_STATE_HOME=str(tmp_path), **QUICK))

    if ends == EXACT:
        assert done.returncode == 0, done.stderr
        assert exact == _rows(tmp_path / "lake")
    else:
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert not list((tmp_path / "lake").glob("raw/**/*.parquet"))
        assert not list((tmp_path / "lake").glob("ledger/**/record.json"))


def test_what_was_refused_is_whole_after_the_fault_is_gone(
    exact: list[dict[str, object]], vendor: Simulation, tmp_path: Path
) -> None:
    env = vendor.environment(tmp_path / "lake", **QUICK)
    vendor.misbehave({"match": SECOND_PAGE, "do": {"action": "next_url", "to": "self"}})
    assert marketlake(*BACKFILL, env=env).returncode == 3
    vendor.misbehave()
    assert marketlake(*BACKFILL, env=env).returncode == 0

    assert exact == _rows(tmp_path / "lake")


def test_a_key_that_the_vendor_repeats_is_nowhere_even_at_debug(tmp_path: Path) -> None:
    replies = echoes(KEY)
    now = ok({"market": "closed", "serverTime": "2024-03-12T00:05:00-04:00"})
    command = ("backfill", "--tables", "stock_bars", "--tickers", "SPY", "--start", str(FRIDAY), "--end", str(MONDAY))
    said = ""
    with scripted_vendor(replies, {"/v1/marketstatus/now": now}) as echo:
        environment = {
            **os.environ, **QUICK, "POLYGON_API_KEY": KEY, "MARKETLAKE_REST_URL": echo.url,
            "MARKETLAKE_LAKE": str(tmp_path / "lake"), "MARKETLAKE__LOGGING__LEVEL": "DEBUG",
        }  # fmt: skip
        for form in cycle(("people", "json")):
            done = marketlake(*command, "--json", env={**environment, "MARKETLAKE__LOGGING__FORMAT": form})
            assert done.returncode != 0, "no run gets what it asks for"
            said += done.stdout + done.stderr
            if len(echo.requests) >= len(replies):
                break
        assert all(f"Authorization: Bearer {KEY}" in head for head in echo.heads)
        said += repr(marketlake("config", "show", env=environment))

    assert "DEBUG" in said, "nothing can leak from a silent log"
    assert "is not entitled" in said
    assert KEY not in said
    assert list(tmp_path.rglob("*.zst"))
    assert list(Path(os.environ["XDG_STATE_HOME"]).rglob("calls-*")), "the state is searched too"
    assert [] == leaks(tmp_path, KEY)
