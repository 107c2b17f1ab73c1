"""Bars on the wire: stamps, windows, snapping, envelopes, and what longer bars owe to shorter ones."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MINUTES = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?limit=50000"
MINUTE_MS = 60_000


def test_day_bars_across_the_change_of_the_clocks_are_stamped_at_midnight_new_york(sim) -> None:
    pages = sim.pages("/v2/aggs/ticker/SPY/range/1/day/2024-03-08/2024-03-11?limit=1")
    stamps = [page["results"][0]["t"] for page in pages]

    assert [1709874000000, 1710129600000] == stamps  # 2024-03-08T05:00Z and 2024-03-11T04:00Z


def test_index_day_bars_are_stamped_at_midnight_chicago(sim) -> None:
    bars = sim.rows("/v2/aggs/ticker/I:VIX/range/1/day/2024-03-08/2024-03-11")
    week = sim.rows("/v2/aggs/ticker/I:VIX/range/1/week/2024-03-11/2024-03-11")

    assert [1709877600000, 1710133200000] == [bar["t"] for bar in bars]
    assert [1710050400000] == [bar["t"] for bar in week]  # Sunday 2024-03-10T06:00Z
    assert {"t", "o", "h", "l", "c"} == set(bars[0])


def test_previous_close_and_grouped_bars_are_stamped_at_16_new_york(sim) -> None:
    previous = sim.get("/v2/aggs/ticker/SPY/prev").json()
    grouped = sim.get("/v2/aggs/grouped/locale/us/market/stocks/2024-03-11").json()

    assert [("SPY", 1709931600000)] == [(row["T"], row["t"]) for row in previous["results"]]  # 2024-03-08T21:00Z
    assert [("AAA", 1710187200000), ("SPY", 1710187200000)] == [(r["T"], r["t"]) for r in grouped["results"]]


def test_weeks_begin_on_sunday_and_months_on_the_first(sim) -> None:
    week = sim.rows("/v2/aggs/ticker/SPY/range/1/week/2024-03-05/2024-03-05")
    quarter = sim.rows("/v2/aggs/ticker/SPY/range/1/quarter/2024-02-05/2024-02-05")
    month = sim.rows("/v2/aggs/ticker/SPY/range/1/month/2024-03-05/2024-03-05")

    assert [1709442000000] == [bar["t"] for bar in week]  # Sunday 2024-03-03T05:00Z
    assert [1704085200000] == [bar["t"] for bar in quarter]  # 2024-01-01T05:00Z
    assert [1709269200000] == [bar["t"] for bar in month]  # 2024-03-01T05:00Z


@pytest.mark.parametrize(
    ("multiplier", "timespan", "size_ms"),
    [(5, "minute", 300_000), (1, "hour", 3_600_000), (2, "hour", 7_200_000), (30, "minute", 1_800_000)],
)
def test_longer_bars_are_made_of_their_minutes(sim, multiplier, timespan, size_ms) -> None:
    minutes = sim.rows(MINUTES)
    longer = sim.rows(f"/v2/aggs/ticker/SPY/range/{multiplier}/{timespan}/2024-03-08/2024-03-11?limit=50000")

    groups: dict[int, list[dict[str, float]]] = {}
    for minute in minutes:
        midnight = 1709874000000 if minute["t"] < 1710050400000 else 1710129600000  # Friday's 05:00Z, Monday's 04:00Z
        start = midnight + (int(minute["t"]) - midnight) // size_ms * size_ms
        groups.setdefault(start, []).append(minute)
    assert list(groups) == [bar["t"] for bar in longer]
    for bar, parts in zip(longer, groups.values(), strict=True):
        volume = sum(part["v"] for part in parts)
        assert parts[0]["o"] == bar["o"]
        assert parts[-1]["c"] == bar["c"]
        assert max(part["h"] for part in parts) == bar["h"]
        assert min(part["l"] for part in parts) == bar["l"]
        assert volume == bar["v"]
        assert sum(part["n"] for part in parts) == bar["n"]
        assert sum(part["v"] * part["vw"] for part in parts) / volume == pytest.approx(bar["vw"], rel=1e-12)


def test_a_minute_without_trades_is_absent(sim) -> None:
    stamps = {bar["t"] for bar in sim.rows(MINUTES)}

    assert 1710160200000 + 5 * MINUTE_MS in stamps
    assert 1710160200000 + 6 * MINUTE_MS not in stamps


def test_a_range_is_snapped_outwards_to_whole_windows(sim) -> None:
    at_09_32, at_09_41 = 1710163920000, 1710164460000
    bars = sim.rows(f"/v2/aggs/ticker/SPY/range/5/minute/{at_09_32}/{at_09_41}")

    assert [1710163800000, 1710164100000, 1710164400000] == [bar["t"] for bar in bars]


def test_no_day_bars_are_made_up_from_minutes(sim) -> None:
    assert [] == sim.rows("/v2/aggs/ticker/O:SPY240311C00500000/range/1/day/2024-03-08/2024-03-11")


def test_an_empty_answer_of_bars_has_no_results_key(sim) -> None:
    answer = sim.get("/v2/aggs/ticker/SPY/range/1/minute/2023-01-01/2023-01-02").json()

    assert {"ticker", "queryCount", "resultsCount", "adjusted", "status", "request_id"} == set(answer)
    assert 0 == answer["queryCount"] == answer["resultsCount"]


def test_a_fractional_volume_and_missing_fields_come_as_recorded(sim) -> None:
    share = sim.rows("/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11")[0]
    option = sim.rows("/v2/aggs/ticker/O:SPY240311C00500000/range/1/minute/2024-03-11/2024-03-11")[0]

    assert {"t", "o", "h", "l", "c", "v", "vw", "n"} == set(share)
    assert 100.5 == share["v"]
    assert {"t", "o", "h", "l", "c", "v", "n"} == set(option)


def test_bars_before_a_split_are_adjusted_unless_asked_otherwise(start_simulator, tmp_path) -> None:
    (tmp_path / "world.json").write_text('{"underlying": "AAA", "sessions": ["2024-03-11"]}')
    bar = {"ticker": "AAA", "timespan": "day", "o": 40.0, "h": 44.0, "l": 36.0, "c": 42.0, "v": 100.0}
    stamps = [1709874000000, 1710129600000]
    pq.write_table(pa.Table.from_pylist([bar | {"t": t} for t in stamps]), tmp_path / "bars.parquet")
    split = {"ticker": "AAA", "execution_date": "2024-03-11", "split_from": 1, "split_to": 4}
    pq.write_table(pa.Table.from_pylist([split]), tmp_path / "splits.parquet")
    simulator = start_simulator(tmp_path)
    path = "/v2/aggs/ticker/AAA/range/1/day/2024-03-08/2024-03-11"

    assert [(10.0, 400.0), (40.0, 100.0)] == [(bar["o"], bar["v"]) for bar in simulator.rows(path)]
    assert [(40.0, 100.0)] * 2 == [(b["o"], b["v"]) for b in simulator.rows(f"{path}?adjusted=FALSE")]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/aggs/ticker/SPY/range/1/minute/2024-13-01/2024-03-11",
        "/v2/aggs/ticker/SPY/range/1/minute/yesterday/2024-03-11",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-08",
        "/v2/aggs/ticker/SPY/range/0/minute/2024-03-08/2024-03-11",
        "/v2/aggs/ticker/SPY/range/x/minute/2024-03-08/2024-03-11",
        "/v2/aggs/ticker/SPY/range/1/fortnight/2024-03-08/2024-03-11",
        "/v2/aggs/ticker/SPY/range/1/minute/99999999999999999/2024-03-11",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?sort=sideways",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?limit=0",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?limit=ten",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?adjusted=maybe",
        "/v2/aggs/ticker/SPY/range/1/minute/2024-03-08/2024-03-11?cursor=%25%25",
        "/v3/trades/SPY?timestamp.gte=soon",
        "/v3/trades/SPY?order=up",
        "/v3/reference/options/contracts?expiration_date.lt=2024",
        "/v3/reference/options/contracts?strike_price.gte=high",
        "/v2/reference/news?published_utc.gte=2024-03-11Tnoon",
        "/v2/reference/news?cursor=YWJj",
        "/fed/v1/treasury-yields?sort=colour",
    ],
)
def test_a_malformed_parameter_is_refused_with_the_vendors_error_body(sim, path) -> None:
    answer = sim.get(path)

    assert 400 == answer.status
    assert {"status", "request_id", "error"} == set(answer.json())
    assert "ERROR" == answer.json()["status"]


def test_open_close_is_flat_and_an_unfinished_day_has_none(sim) -> None:
    share = sim.get("/v1/open-close/SPY/2024-03-11").json()
    index = sim.get("/v1/open-close/I:VIX/2024-03-11").json()
    sim.set_clock("2024-03-11T15:00")
    unfinished = sim.get("/v1/open-close/SPY/2024-03-11")

    assert {"status", "from", "symbol", "open", "high", "low", "close", "volume", "preMarket"} == set(share)
    assert "2024-03-11" == share["from"]
    assert "2024-03-11T00:00:00.000Z" == index["from"]
    assert "volume" not in index
    assert (404, "NOT_FOUND") == (unfinished.status, unfinished.json()["status"])
