"""Profiles of published partitions, of every table."""

from datetime import date
from pathlib import Path

import pytest
from lake_places import Place
from lake_workers import coverage_of
from table_rows import ALL_TABLES, a_partition, refused_rows_of, rows_of

from expectations.drift import findings
from marketlake.lake import Lake
from marketlake.ledger import Operational
from marketlake.profiles import series_of
from marketlake.tables import Period, Table

SESSION = date(2025, 8, 29)
SESSIONS = ("2025-08-26", "2025-08-27", "2025-08-28", "2025-08-29")


@pytest.mark.parametrize(
    "table", [table for table in ALL_TABLES if table.period is Period.SESSION], ids=lambda table: table.name
)
def test_a_table_that_is_published_as_it_is_declared_and_as_before_gives_no_finding(
    table: Table, tmp_path: Path
) -> None:
    lake = Lake(Place(str(tmp_path)).open())
    for session in SESSIONS:
        rows, refused = rows_of(table, 400), refused_rows_of(table, 0)
        lake.publish(
            a_partition(table, session),
            rows,
            coverage=coverage_of(rows, refused, 1),
            quarantined=refused,
            flags={},
            operational=Operational("run", "2025-08-29T21:00:00+00:00"),
        )

    (series,) = series_of(lake, table, SESSION, 20)

    assert 3 == len(series.before)
    assert set(table.schema.names) == set(series.profile.columns)
    assert [] == findings(series)
