"""Looking at the rows that a rule refused; judging them again is :mod:`marketlake.backfill`'s."""

from collections import Counter
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from marketlake.errors import UsageError
from marketlake.lake import Lake, partitions_at
from marketlake.tables import Partition, table_named


@dataclass(frozen=True, slots=True)
class QuarantineSummary:
    """How many rows of a partition one rule refused."""

    partition: Partition
    rule: str
    rows: int

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "table": self.partition.table,
            "owner": self.partition.owner,
            "session": self.partition.period,
            "rule": self.rule,
            "rows": self.rows,
        }


def partition_named(table: str, owner: str, session: date) -> Partition:
    """The partition that a person means by a table, an owner and a session."""
    return Partition.of_session(table_named(table), owner, session)


def summary(lake: Lake) -> list[QuarantineSummary]:
    """Every partition that has refused rows, by rule."""
    found = []
    for partition in partitions_at(lake.store.list("quarantine"), "data.parquet"):
        rows = lake.quarantined(partition)
        if rows is not None:
            counts = Counter(rows["rule"].to_pylist())
            found += [QuarantineSummary(partition, rule, count) for rule, count in sorted(counts.items())]
    return found


def refused_rows(lake: Lake, partition: Partition) -> pa.Table:
    """The refused rows of a partition: key columns, rule, raw text, and where in which captured page they stood.

    Raises:
        UsageError: the partition has none.
    """
    rows = lake.quarantined(partition)
    if rows is None or rows.num_rows == 0:
        message = (
            f"no row of {partition} is in quarantine: `marketlake quarantine list` shows which partitions have some"
        )
        raise UsageError(message)
    return rows
