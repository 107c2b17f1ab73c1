"""Whether a session's tables look as those before them.

Columns and types are as declared, the vendor's fields as they were, numbers within the bands that were seen. Nothing is
refused by it; a person is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet

from expectations.judging import evaluated
from marketlake.asks import AskKind
from marketlake.profiles import Profile, Series, bands
from marketlake.tables import Partition, Table
from marketlake.vendor_rows import documented_fields

# A field that stood in so many of the rows of each session before.
_COMMON: Final = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """In what a partition is not as it was."""

    partition: Partition
    what: str

    def as_json(self) -> dict[str, str]:
        """For the report, and for a person."""
        return {"partition": str(self.partition), "what": self.what}


def findings(series: Series) -> list[Finding]:
    """What is not as it was, or not as it is declared."""
    return [Finding(series.partition, what) for what in _differences(series)]


def _differences(series: Series) -> Iterator[str]:
    declared = {f"{field.name}: {field.type}" for field in series.partition.spec.schema}
    yield from _other_names("column", _typed(series.profile), declared)
    yield from _other_fields(series)
    known_ranges = bands(series.before)
    ranges = {name: known_ranges[name] for name in series.profile.statistics if name in known_ranges}
    frame = pd.DataFrame({name: [series.profile.statistics[name]] for name in ranges})
    suite = [
        ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high)
        for name, (low, high) in ranges.items()
    ]
    for (name, (low, high)), holds in zip(ranges.items(), evaluated(frame, suite), strict=True):
        if not holds:
            value = series.profile.statistics[name]
            yield f"{name} is {value:g}; after the sessions before it, {low:g} to {high:g} is expected"


def _other_names(kind: str, found: set[str], expected: set[str]) -> Iterator[str]:
    expectation = ExpectTableColumnsToMatchSet(column_set=sorted(expected), exact_match=True)
    (holds,) = evaluated(pd.DataFrame(columns=sorted(found)), [expectation])
    if not holds:
        yield from (f"{kind} is new: {name}" for name in sorted(found - expected))
        yield from (f"{kind} is gone: {name}" for name in sorted(expected - found))


def _other_fields(series: Series) -> Iterator[str]:
    """A field that is documented may be in few rows, or in none today; what most rows had is missed."""
    kind = _kind_of(series.partition.spec)
    found, before = series.profile.fields, [profile.fields for profile in series.before if profile.fields]
    if kind is None or not found:
        return
    seen = set().union(*before)
    common = {name for name in seen if all(fields.get(name, 0.0) >= _COMMON for fields in before)}
    rare = documented_fields(kind) - common
    yield from _other_names("field of the vendor", set(found) - rare, common)


def _kind_of(table: Table) -> AskKind | None:
    """What the vendor's rows of a table are; None where it is made here, or is streamed alone."""
    name = table.folder.rpartition("/")[2]
    return AskKind(name) if table.over_rest and name in set(AskKind) else None


def _typed(profile: Profile) -> set[str]:
    return {f"{name}: {kind}" for name, kind in profile.columns.items()}
