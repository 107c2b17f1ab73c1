"""What the lake holds, added up from ledger entries."""

import json
from dataclasses import replace

import pytest

from marketlake.ledger import Operational, Record
from marketlake.status import Status, render, status_of
from marketlake.tables import Partition


def _record(partition: Partition, rows: int = 10, quarantined: int = 0, size: int = 1_000) -> Record:
    return Record(partition, (), rows, quarantined, {}, "c", "f", size, (), Operational("run", "then"))


def _bars(day: str, owner: str = "SPY") -> Partition:
    return Partition("stock_bars", owner, day)


def _status(*proven: Partition, broken: tuple[Partition, ...] = ()) -> Status:
    return status_of([*((item, _record(item)) for item in proven), *((item, None) for item in broken)])


def test_an_empty_lake_holds_nothing_and_says_so() -> None:
    status = _status()

    assert status.tables == ()
    assert render(status) == "The lake is empty: nothing has been published yet."


def test_counts_are_added_up_by_table_and_owner() -> None:
    spy = [_bars("2025-08-28"), _bars("2025-08-29")]
    entries = [
        (Partition("market_minutes", "SPY", "2025-08-29"), _record(spy[0], 390)),
        (spy[1], _record(spy[1], 5, 2, 1_500)),
        (spy[0], _record(spy[0], 7, 1, 2_500)),
        (_bars("2025-08-29", "QQQ"), _record(spy[0], 100)),
    ]
    status = status_of(iter(entries))

    assert [(item.table, item.owner) for item in status.tables] == [
        ("stock_bars", "QQQ"),
        ("stock_bars", "SPY"),
        ("market_minutes", "SPY"),
    ]
    found = status.tables[1]
    assert (found.partitions, found.first, found.last) == (2, "2025-08-28", "2025-08-29")
    assert (found.rows, found.quarantined, found.bytes) == (12, 3, 4_000)
    assert (status.partitions, status.rows, status.quarantined, status.bytes) == (4, 502, 3, 6_000)


def test_sessions_without_a_record_between_the_first_and_the_last_are_missing() -> None:
    """Labor Day (Monday 2025-09-01) and the weekend are none: https://www.nyse.com/trade/hours-calendars."""
    status = _status(_bars("2025-08-28"), _bars("2025-09-04"), _bars("2025-09-02"))

    assert status.tables[0].missing == ("2025-08-29", "2025-09-03")
    assert status.missing == 2
    assert "stock_bars SPY: not published: 2025-08-29, 2025-09-03" in render(status)


def test_a_file_that_does_not_match_is_named_and_neither_counted_nor_missing() -> None:
    status = _status(_bars("2025-08-27"), _bars("2025-08-29"), broken=(_bars("2025-08-28"),))

    assert status.tables[0].mismatched == ("2025-08-28",)
    assert status.tables[0].missing == ()
    assert (status.partitions, status.rows, status.mismatched) == (2, 20, 1)
    assert "does not match its record, backfill again: 2025-08-28" in render(status)


def test_a_holding_of_which_nothing_is_proven_has_no_first_and_last() -> None:
    status = _status(broken=(_bars("2025-08-28"),))

    assert (status.tables[0].partitions, status.tables[0].first, status.tables[0].last) == (0, "", "")


@pytest.mark.parametrize(
    ("partition", "shown"),
    [(Partition("treasury_yields", "", "2025"), "2025"), (Partition("dividends", "SPY", ""), "-")],
    ids=str,
)
def test_years_and_whole_histories_have_no_sessions_to_miss(partition: Partition, shown: str) -> None:
    status = _status(partition)
    line = next(line for line in render(status).splitlines() if line.startswith(partition.table))

    assert (status.missing, status.mismatched) == (0, 0)
    assert line.split()[3] == shown


def test_a_long_list_is_cut_and_its_rest_counted() -> None:
    status = _status(_bars("2025-08-01"), _bars("2025-08-29"))

    assert len(status.tables[0].missing) == 19  # 21 sessions in August 2025
    assert "2025-08-04, 2025-08-05, 2025-08-06, 2025-08-07, 2025-08-08 and 14 more" in render(status)


def test_the_text_is_a_table_with_sums() -> None:
    lines = render(_status(_bars("2025-08-28"), _bars("2025-08-29"))).splitlines()

    assert lines == [
        "table       owner  partitions  first       last        rows  quarantined    size",
        "-" * 80,
        "stock_bars  SPY             2  2025-08-28  2025-08-29    20            0  2.0 kB",
        "-" * 80,
        "                            2                            20            0  2.0 kB",
    ]


def test_the_json_has_the_fields_of_the_value() -> None:
    found = json.loads(json.dumps(_status(_bars("2025-08-27"), broken=(_bars("2025-08-29"),)).as_json()))

    assert found == {
        "tables": [
            {
                "table": "stock_bars",
                "owner": "SPY",
                "partitions": 1,
                "first": "2025-08-27",
                "last": "2025-08-27",
                "rows": 10,
                "quarantined": 0,
                "bytes": 1000,
                "mismatched": ["2025-08-29"],
                "missing": ["2025-08-28"],
                "stale": [],
            }
        ],
        "partitions": 1,
        "rows": 10,
        "quarantined": 0,
        "bytes": 1000,
        "mismatched": 1,
        "missing": 1,
        "stale": 0,
    }


def _made_from(*inputs: tuple[Partition, str], period: str = "2025-08-29", table: str = "market_minutes") -> Record:
    named = tuple((partition.path, content) for partition, content in inputs)
    return replace(_record(Partition(table, "SPY", period)), inputs=named)


@pytest.mark.parametrize(
    ("now", "stale"),
    [
        pytest.param([("2025-08-28", "c"), ("2025-08-29", "c")], (), id="unchanged"),
        pytest.param([("2025-08-28", "c"), ("2025-08-29", "other")], ("2025-08-29",), id="restated"),
        pytest.param([("2025-08-28", "c"), ("2025-08-29", None)], ("2025-08-29",), id="not proven any more"),
        pytest.param([("2025-08-28", "c")], ("2025-08-29",), id="gone"),
    ],
)
def test_what_was_made_from_partitions_that_have_changed_is_stale(
    now: list[tuple[str, str | None]], stale: tuple[str, ...]
) -> None:
    made = _made_from((_bars("2025-08-28"), "c"), (_bars("2025-08-29"), "c"))
    inputs = [
        (_bars(day), None if content is None else replace(_record(_bars(day)), content_hash=content))
        for day, content in now
    ]
    status = status_of([*inputs, (made.partition, made)])
    holding = next(item for item in status.tables if item.table == "market_minutes")

    assert (stale, len(stale)) == (holding.stale, status.stale)
    assert ("market_minutes SPY: made from partitions that have changed, consolidate again" in render(status)) == bool(
        stale
    )


def test_a_raw_partition_is_not_stale_when_the_segments_that_it_was_made_from_are_gone() -> None:
    made = replace(_record(Partition("index_values", "I:VIX", "2025-08-29")), inputs=(("live/gone.parquet", "c"),))

    assert status_of([(made.partition, made)]).stale == 0
