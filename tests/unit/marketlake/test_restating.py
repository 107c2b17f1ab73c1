"""Two versions of a table, held against each other row by row; expected values come from plain dictionaries."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from marketlake.restating import restated
from marketlake.tables import TABLES, Span

TABLE = TABLES["stock_bars"]
KEYS = st.tuples(st.sampled_from(["SPY", "QQQ"]), st.sampled_from([*Span]), st.integers(0, 3))
VALUES = st.fixed_dictionaries(
    {
        "close": st.sampled_from([1.0, 2.0]),
        "vwap": st.sampled_from([None, 1.5]),
        "trades": st.sampled_from([None, 0, 7]),
    }
)
VERSIONS = st.dictionaries(KEYS, VALUES, max_size=8)
type Version = dict[tuple[str, str, int], dict[str, Any]]


def table_of(version: Version) -> pa.Table:
    rows = [
        {"ticker": ticker, "span": span, "start": minute * 60 * 10**9, "open": 1.0, "high": 3.0, "low": 0.5, **values}
        for (ticker, span, minute), values in version.items()
    ]
    return pa.Table.from_pylist(rows, schema=TABLE.schema)


@given(VERSIONS, VERSIONS)
def test_exactly_the_rows_that_differ_are_listed_with_both_their_values(before: Version, after: Version) -> None:
    rows = restated(TABLE, table_of(before), table_of(after))

    expected = {}
    for key in {*before, *after}:
        if before.get(key) != after.get(key):
            change = "changed" if key in before and key in after else "added" if key in after else "removed"
            expected[key] = (change, before.get(key, {}), after.get(key, {}))
    found = [(row["ticker"], row["span"], row["start"].value // (60 * 10**9)) for row in rows.to_pylist()]
    assert sorted(expected) == found, "once each, in the order of their keys"
    for key, row in zip(found, rows.to_pylist(), strict=True):
        change, was, now = expected[key]
        assert change == row["change"]
        for name in ("close", "vwap", "trades"):
            assert (was.get(name), now.get(name)) == (row[f"{name}_before"], row[f"{name}_after"])


@given(VERSIONS)
def test_what_is_the_same_is_not_listed(version: Version) -> None:
    assert 0 == restated(TABLE, table_of(version), table_of(dict(reversed(version.items())))).num_rows
