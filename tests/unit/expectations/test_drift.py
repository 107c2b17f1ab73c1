"""A session that looks as those before it gives no finding; each way in which it does not gives one that says so."""

from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import pytest

from expectations.drift import findings
from marketlake.profiles import Profile, Series, bands
from marketlake.tables import TABLES, Partition

TABLE = TABLES["index_bars"]
PARTITION = Partition.of_session(TABLE, "I:VIX", date(2025, 8, 29))
COLUMNS = {field.name: str(field.type) for field in TABLE.schema}
FIELDS = dict.fromkeys(["c", "h", "l", "o", "t"], 1.0)


def profile(rows: float = 400, close: float = 15.0, nulls: float = 0.0) -> Profile:
    statistics = {"rows": rows, "close.minimum": close - 1, "close.median": close, "close.maximum": close + 1}
    return Profile(COLUMNS, FIELDS, {**statistics, "close.nulls": nulls})


BEFORE = (profile(390, 14.0), profile(405, 16.0), profile(400, 15.0), profile(210, 15.5))


def said(changed: Profile, before: tuple[Profile, ...] = BEFORE) -> list[str]:
    return [item.what for item in findings(Series(PARTITION, changed, before))]


@pytest.mark.parametrize("rows", [60.0, 400.0, 1600.0])
def test_a_session_as_those_before_gives_no_finding(rows: float) -> None:
    assert [] == said(profile(rows, 17.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 40}, ["rows is 40", "52.5 to 1620"]),
        ({"rows": 40_000}, ["rows is 40000"]),
        ({"nulls": 0.5}, ["close.nulls is 0.5"]),
        ({"close": 1500.0}, ["close.minimum is 1499", "close.median is 1500", "close.maximum is 1501"]),
    ],
)
def test_a_number_beyond_what_was_seen_is_one(changes: dict[str, Any], words: list[str]) -> None:
    text = "; ".join(said(profile(**changes)))

    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (COLUMNS | {"extra": "double"}, ["column is new: extra: double"]),
        (COLUMNS | {"close": "float"}, ["column is new: close: float", "column is gone: close: double"]),
        ({name: kind for name, kind in COLUMNS.items() if name != "vwap"}, ["column is gone: vwap: double"]),
    ],
)
def test_a_column_that_is_not_as_declared_is_one_even_without_a_past(
    columns: dict[str, str], expected: list[str]
) -> None:
    assert expected == said(msgspec.structs.replace(profile(), columns=columns), ())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (FIELDS | {"auction": 0.01}, ["field of the vendor is new: auction"]),
        ({name: 1.0 for name in FIELDS if name != "t"}, ["field of the vendor is gone: t"]),
        (FIELDS | {"otc": 0.2}, []),  # documented, and in few rows
        ({}, []),  # no captured page to read them from
    ],
)
def test_a_field_that_the_vendor_adds_or_drops_is_one(fields: dict[str, float], expected: list[str]) -> None:
    assert expected == said(msgspec.structs.replace(profile(), fields=fields))


def test_a_field_that_nobody_documents_is_one_even_without_a_past() -> None:
    fields = FIELDS | {"auction": 1.0, "otc": 1.0}

    assert ["field of the vendor is new: auction"] == said(msgspec.structs.replace(profile(), fields=fields), ())


def test_a_rare_field_that_is_in_no_row_today_is_not_missed() -> None:
    before = (msgspec.structs.replace(profile(), fields=FIELDS | {"otc": 0.4}), *BEFORE)

    assert [] == said(profile(), before)


@pytest.mark.parametrize(("volume", "is_found"), [(3e6, False), (1e8, True), (1e4, True)])
def test_a_day_of_three_times_the_volume_is_a_day(volume: float, is_found: bool) -> None:
    def with_volume(value: float) -> Profile:
        return msgspec.structs.replace(profile(), statistics={"volume.minimum": 1.0, "volume.maximum": value})

    before = tuple(with_volume(value) for value in (0.8e6, 0.9e6, 1e6, 1.2e6))

    assert is_found == bool(said(with_volume(volume), before))


def test_around_zero_the_size_of_a_column_counts() -> None:
    def with_change(low: float, high: float) -> Profile:
        return msgspec.structs.replace(profile(), statistics={"macd.minimum": low, "macd.maximum": high})

    before = tuple(with_change(-0.5, 0.1) for _ in range(3))

    assert [] == said(with_change(-2.0, 2.5), before)
    assert ["macd.maximum is 50"] == [what.split(";")[0] for what in said(with_change(-0.5, 50.0), before)]


def test_of_fewer_than_three_sessions_no_range_is_made() -> None:
    assert {} == bands(BEFORE[:2])
    assert [] == said(profile(1, 9999.0), BEFORE[:2])


def test_the_partition_is_named() -> None:
    series = Series(PARTITION, profile(1), BEFORE)
    assert {str(PARTITION)} == {item.as_json()["partition"] for item in findings(replace(series))}
