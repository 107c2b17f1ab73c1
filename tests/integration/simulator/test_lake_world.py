"""A lake's stored sessions as a world: what went into it over REST comes out of it again, over REST and the stream."""

import json
from pathlib import Path

import pytest
from raw_feed import subscribed
from simulation import marketlake, simulated

DAY = "2024-03-11"
OPEN_MS = 1710163800000
CALL = "O:SPY240311C00500000"
TABLES = (
    "stock_bars,stock_trades,stock_quotes,option_bars,option_trades,option_quotes,option_contracts,index_bars,news,"
    "dividends,splits,treasury_yields"
)
QUESTIONS = [
    f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}?limit=50000",
    f"/v2/aggs/ticker/SPY/range/1/day/{DAY}/{DAY}",
    f"/v2/aggs/ticker/{CALL}/range/1/minute/{DAY}/{DAY}?limit=50000",
    f"/v2/aggs/ticker/I:VIX/range/1/minute/{DAY}/{DAY}?limit=50000",
    f"/v3/trades/SPY?limit=50000&order=asc&timestamp={DAY}",
    f"/v3/quotes/{CALL}?limit=50000&order=asc&timestamp={DAY}",
    f"/v3/reference/options/contracts?underlying_ticker=SPY&limit=1000&as_of={DAY}",
    f"/v2/reference/news?ticker=SPY&limit=1000&published_utc.gte={DAY}",
    "/fed/v1/treasury-yields?date=2024-03-08",
    "/v3/reference/dividends?ticker=SPY&limit=1000",
]


@pytest.fixture(scope="module")
def lake(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake into which both sessions of the tiny world were collected."""
    folder = tmp_path_factory.mktemp("lake")
    with simulated(tiny_world, folder) as simulator:
        environment = simulator.environment(
            folder / "lake", MARKETLAKE__SOURCES__SPANS__STOCK_BARS='["second", "minute", "day"]'
        )
        done = marketlake(
            "backfill", "--tables", TABLES, "--tickers", "SPY,I:VIX,@all", "--start", "2024-03-08", "--end", DAY,
            env=environment,
        )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return folder / "lake"


@pytest.fixture(scope="module")
def from_lake(start_simulator, lake):
    return start_simulator(lake, "--session", DAY)


@pytest.mark.parametrize("question", QUESTIONS)
def test_rest_gives_the_rows_that_the_first_world_gave(from_lake, sim, question) -> None:
    stored, original = from_lake.rows(question), sim.rows(question)

    assert len(stored) > 0
    if "/news" in question:
        assert [(row["id"], row["title"], row["published_utc"]) for row in original] == [
            (row["id"], row["title"], row["published_utc"]) for row in stored
        ]
    elif "/contracts" in question:
        assert [(row["ticker"], row["strike_price"], row["expiration_date"]) for row in original] == [
            (row["ticker"], row["strike_price"], row["expiration_date"]) for row in stored
        ]
    else:
        assert original == stored


@pytest.mark.parametrize(
    ("feed_name", "pairs"),
    [
        ("stocks", ["AM.SPY", "A.SPY", "T.SPY", "Q.SPY"]),
        ("options", [f"AM.{CALL}", f"Q.{CALL}"]),
        ("indices", ["AM.I:VIX", "V.I:VIX"]),
    ],
)
def test_the_stream_is_that_of_the_first_world(from_lake, sim, feed_name, pairs) -> None:
    frames = []
    for simulator in (from_lake, sim):
        simulator.set_clock(f"{DAY}T09:00")
        with subscribed(simulator.ready, feed_name, *pairs) as raw:
            simulator.control("POST", "/clock", {"advance_s": 7200})
            frames.append([json.loads(frame) for frame in raw.frames_so_far()])

    assert {pair.partition(".")[0] for pair in pairs} == {event["ev"] for frame in frames[0] for event in frame}
    assert frames[1] == frames[0]


def test_its_sessions_are_those_that_are_stored(start_simulator, lake) -> None:
    simulator = start_simulator(lake)
    state = simulator.control("GET", "/state")

    assert ("lake", "SPY") == (state["world"], state["underlying"])
    assert simulator.ready["clock"].startswith(f"{DAY}T20:05")


def test_wildcards_are_what_is_stored(from_lake) -> None:
    from_lake.set_clock(f"{DAY}T09:00")
    with subscribed(from_lake.ready, "options", "AM.*") as raw:
        from_lake.control("POST", "/clock", {"advance_s": 7200})
        events = raw.events_so_far()

    assert {CALL} == {event["sym"] for event in events}


def test_a_lake_without_a_session_is_no_world(tmp_path) -> None:
    from simulator.lake import LakeWorld  # noqa: PLC0415
    from simulator.recorded_files import WorldError  # noqa: PLC0415

    (tmp_path / "raw").mkdir()

    with pytest.raises(WorldError, match="no session"):
        LakeWorld(tmp_path)
