"""Steps that show a session to a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.consolidation import Consolidation
from marketlake.errors import UsageError
from marketlake.picture import CoverageLine, session_page
from marketlake.strip import Strip, strips_of
from marketlake.tables import TABLES, Owner, Partition, Period
from tasks.desk import lake
from tasks.reports import BackfillReport
from tasks.stream import StreamReport


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demo made: the report of each step, where the picture and the tables are, and some rows."""

    result: Consolidation
    live: tuple[StreamReport, ...]
    strips: tuple[Strip, ...]
    backfills: tuple[BackfillReport, ...]
    picture: Path
    lake: Path
    sample: pa.Table


@task(name="draw session", cache_policy=NO_CACHE)
def draw_session(
    result: Consolidation, live: Sequence[StreamReport], backfills: Sequence[BackfillReport], folder: str
) -> Demonstration:
    """Draw a consolidated session on one page, and pick five rows to show.

    Raises:
        UsageError: nothing was consolidated.
    """
    at = lake()
    if result.session is None:
        raise UsageError(result.nothing_to_do)
    market, options = (
        at.read(Partition.of_session(TABLES[name], result.underlying, result.session))
        for name in ("market_minutes", "option_minutes")
    )
    if market is None or options is None:
        message = f"{result.underlying} {result.session} was not published"
        raise UsageError(message)
    coverage, records = [], []
    for table in TABLES.values():
        for partition in at.partitions(table):
            record = at.record(partition)
            if record is None or (table.period is Period.SESSION and partition.session != result.session):
                continue
            records.append(record)
            how = ", ".join(sorted({str(item.how) for item in record.coverage})) or "computed"
            owner = partition.owner if table.owner is not Owner.NONE else partition.period
            coverage.append(CoverageLine(table.name, owner, record.rows, record.quarantined, how))
    picture = Path(folder) / "session.html"
    strips = strips_of(records)
    page = session_page(result.underlying, result.session, market, options, coverage=coverage, strips=strips)
    picture.write_text(page, encoding="utf-8")
    sample = _sample(options) if result.priced else market.slice(0, 5)
    return Demonstration(result, tuple(live), tuple(strips), tuple(backfills), picture, Path(folder) / "lake", sample)


def _sample(options: pa.Table) -> pa.Table:
    """Five priced contracts near the money, in the minute in which most are priced."""
    priced = options.filter(pc.is_valid(options["implied_volatility"]))
    counts = priced.group_by("minute").aggregate([("ticker", "count")]).sort_by("ticker_count")
    now = priced.filter(pc.equal(priced["minute"], counts["minute"][-1]))
    distance = pc.abs(pc.subtract(now["strike"].cast(pa.float64()), now["underlying_price"]))
    return (
        now.append_column("distance", distance)
        .sort_by([("expiry", "ascending"), ("distance", "ascending")])
        .slice(0, 5)
    )
