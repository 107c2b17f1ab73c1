"""Opening a recorded world: what is malformed is told, what is merely absent is not."""

import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.plans import AssetClass
from simulator.recorded import RecordedWorld
from simulator.recorded_files import WorldError
from simulator.world import BAR_SCHEMA, BaseSpan

WORLD = '{"underlying": "SPY", "sessions": ["2024-03-11"]}'
BAR = {"ticker": "SPY", "timespan": "minute", "t": 1710163800000, "o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0}
TRADE = {"ticker": "SPY", "sip_timestamp": 1710163800000000000, "price": 1.0}
ARTICLE = {"id": "a", "published_utc": "2024-03-11T13:00:00Z", "tickers": ["SPY"]}


def write(folder, files) -> None:
    for name, content in files.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            pq.write_table(pa.Table.from_pylist(content), folder / name)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "world.json: missing"),
        ({"world.json": "{"}, "world.json"),
        ({"world.json": '{"sessions": ["2024-03-11"]}'}, "underlying"),
        ({"world.json": '{"underlying": "SPY", "sessions": ["yesterday"]}'}, "$.sessions[0]"),
        ({"world.json": '{"underlying": "SPY", "sessions": []}'}, "sessions"),
        ({"world.json": WORLD, "bars.parquet": "not parquet"}, "bars.parquet: not a readable Parquet file"),
        (
            {"world.json": WORLD, "bars.parquet": [{"ticker": "SPY", "t": 1}]},
            "bars.parquet: column timespan is missing",
        ),
        ({"world.json": WORLD, "bars.parquet": [BAR | {"t": "noon"}]}, "bars.parquet: column t is string, not int64"),
        ({"world.json": WORLD, "bars.parquet": [BAR, BAR | {"t": None}]}, "bars.parquet: column t has 1 nulls"),
        ({"world.json": WORLD, "bars.parquet": [BAR | {"timespan": "hour"}]}, "column timespan holds ['hour']"),
        ({"world.json": WORLD, "bars.parquet": [BAR | {"o": "high"}]}, "bars.parquet: column o is string, not double"),
        ({"world.json": WORLD, "trades.parquet": [{"ticker": "SPY"}]}, "column sip_timestamp is missing"),
        ({"world.json": WORLD, "trades.parquet": [TRADE | {"price": "x"}]}, "column price is string, not double"),
        ({"world.json": WORLD, "rates.parquet": [{"date": "Monday"}]}, "rates.parquet: column date holds 'Monday'"),
        ({"world.json": WORLD, "news.json": "nothing"}, "news.json: not JSON"),
        ({"world.json": WORLD, "news.json": '"text"'}, "news.json: neither a list"),
        ({"world.json": WORLD, "news.json": '[{"id": "a"}]'}, "news.json: article 'a' has published_utc None"),
        ({"world.json": WORLD, "bars.parquet": [BAR | {"n": 1.5}]}, "bars.parquet: column n is double, not int64"),
    ],
)
def test_a_malformed_world_is_refused_by_file_and_fault(tmp_path, files, problem) -> None:
    write(tmp_path, files)

    with pytest.raises(WorldError) as refused:
        RecordedWorld(tmp_path)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(WorldError, match="no such folder"):
        RecordedWorld(tmp_path / "nowhere")


def test_a_world_needs_nothing_but_its_description(tmp_path) -> None:
    write(tmp_path, {"world.json": WORLD})
    world = RecordedWorld(tmp_path)

    assert 0 == world.bars("SPY", BaseSpan.MINUTE, 0, 2**60).num_rows
    assert BAR_SCHEMA == world.bars("SPY", BaseSpan.MINUTE, 0, 2**60).schema
    assert 0 == world.trades("SPY", 0, 2**62).num_rows == world.dividends("SPY").num_rows
    assert [] == list(world.news(0, 2**60))
    assert world.knows("SPY")
    assert not world.knows("QQQ")


def test_missing_columns_are_null_and_not_a_number_is_null(tmp_path) -> None:
    write(tmp_path, {"world.json": WORLD, "bars.parquet": [BAR | {"vw": float("nan"), "v": 3}]})
    (row,) = RecordedWorld(tmp_path).bars("SPY", BaseSpan.MINUTE, 0, 2**60).to_pylist()

    assert (None, None, 3.0) == (row["vw"], row["n"], row["v"])


def test_rows_out_of_order_are_sorted_and_rows_of_one_time_keep_theirs(tmp_path) -> None:
    times = [3, 1, 2, 1, 2]
    rows = [TRADE | {"sip_timestamp": t, "price": float(place)} for place, t in enumerate(times)]
    write(tmp_path, {"world.json": WORLD, "trades.parquet": [*rows, TRADE | {"ticker": "A", "sip_timestamp": 9}]})
    world = RecordedWorld(tmp_path)

    assert [1.0, 3.0, 2.0, 4.0, 0.0] == world.trades("SPY", 0, 10)["price"].to_pylist()
    assert [2.0, 4.0] == world.trades("SPY", 2, 2)["price"].to_pylist()
    assert ["A", "SPY"] == list(world.tickers(AssetClass.STOCKS, date(2024, 3, 8)))


@pytest.mark.parametrize(
    "content", [[ARTICLE], {"results": [ARTICLE], "status": "OK"}, [{"results": [ARTICLE]}, {"results": None}]]
)
def test_news_may_be_a_list_an_answer_or_a_list_of_answers(tmp_path, content) -> None:
    write(tmp_path, {"world.json": WORLD, "news.json": json.dumps(content)})

    assert [ARTICLE] == list(RecordedWorld(tmp_path).news(0, 2**60))


def test_a_contract_lives_until_the_end_of_its_expiry_date(tmp_path) -> None:
    contract = {"ticker": "O:SPY240311C00500000", "underlying_ticker": "SPY", "expiration_date": "2024-03-11"}
    write(tmp_path, {"world.json": WORLD, "contracts.parquet": [contract]})
    world = RecordedWorld(tmp_path)

    def count(day: str, *, expired: bool) -> int:
        table = world.contracts("SPY", date.fromisoformat(day), expired=expired, expiry_from=None, expiry_to=None)
        return int(table.num_rows)

    assert (1, 0) == (count("2024-03-11", expired=False), count("2024-03-11", expired=True))
    assert (0, 1) == (count("2024-03-12", expired=False), count("2024-03-12", expired=True))
