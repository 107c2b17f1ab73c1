"""Looking at the rows that a rule refused; judging them again is :mod:`marketlake.healing`'s."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Final

import pyarrow as pa

from marketlake.errors import UsageError
from marketlake.feeds import feed_named
from marketlake.lake import Lake, partitions_at
from marketlake.segments import read_unowned, unowned_at
from marketlake.tables import Partition, table_named

_STREAM: Final = "stream"


@dataclass(frozen=True, slots=True)
class QuarantineSummary:
    """How many rows of a partition one rule refused; what of a feed belongs to no partition is of table "stream"."""

    table: str
    owner: str
    session: str
    rule: str
    rows: int

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "table": self.table,
            "owner": self.owner,
            "session": self.session,
            "rule": self.rule,
            "rows": self.rows,
        }


def partition_named(table: str, owner: str, session: date) -> Partition:
    """The partition that a person means by a table, an owner and a session."""
    return Partition.of_session(table_named(table), owner, session)


def summary(lake: Lake) -> list[QuarantineSummary]:
    """Every partition that has refused rows, by rule."""
    found = []
    paths = lake.store.list("quarantine")
    for partition in partitions_at(paths, "data.parquet"):
        rows = lake.quarantined(partition)
        if rows is not None:
            found += _counted((partition.table, partition.owner, partition.period), rows)
    for feed, session in unowned_at(paths):
        found += _counted((_STREAM, feed, str(session)), read_unowned(lake.store, feed, session))
    return found


def _counted(place: tuple[str, str, str], rows: pa.Table) -> list[QuarantineSummary]:
    counts = Counter(rows["rule"].to_pylist())
    return [QuarantineSummary(*place, rule, count) for rule, count in sorted(counts.items())]


def refused_rows(lake: Lake, table: str, owner: str, session: date) -> pa.Table:
    """The refused rows of a partition: key columns, rule, raw text, and where in which captured page they stood.

    Raises:
        UsageError: the partition has none.
    """
    if table == _STREAM:
        rows: pa.Table | None = read_unowned(lake.store, feed_named(owner), session)
    else:
        rows = lake.quarantined(partition_named(table, owner, session))
    if rows is None or rows.num_rows == 0:
        message = (
            f"no row of {table} {owner} {session} is in quarantine: "
            "`marketlake quarantine list` shows which partitions have some"
        )
        raise UsageError(message)
    return rows
