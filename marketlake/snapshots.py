"""Taking what only the vendor's present has: an option chain as it stands after a session's close.

There is no history of it, and the vendor takes no date without an error: whoever asks a day later gets another day's
values under yesterday's name. So it is asked for only between the session's settlement and the next pre-market, by the
vendor's clock; what was not asked for by then is labelled unavailable. When that is stands in
:mod:`marketlake.sessions`; how pages are asked for and made partitions of is :mod:`marketlake.backfill`'s.
"""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Final

from marketlake.backfill import Outcome, label_unavailable, run_batch
from marketlake.desk import Desk
from marketlake.errors import NotEntitled, RecordMismatch, UsageError
from marketlake.ledger import How, Lack
from marketlake.plan import Batch
from marketlake.receiving import asks_of
from marketlake.sessions import snapshot_hours
from marketlake.tables import Partition

logger = logging.getLogger(__name__)

# The last page has to come before the pre-market opens: a chain may take a quarter of an hour, and its first page may
# have to be waited for. The vendor also clears its snapshots of shares at 03:30 New York.
_LATEST_BEGIN: Final = timedelta(minutes=30)


def take_snapshot(batch: Batch, desk: Desk) -> Outcome:
    """Publish the chain of one underlying and session, or label it unavailable.

    A whole chain that was captured in time is published without asking, at any time. What was published of a session
    that has passed stays as it is, also where it is to be refreshed.

    Raises:
        UsageError: the session is not over at the vendor yet.
        NotEntitled: the key's plan does not have it any more, and what it gave once is in the lake.
        RecordMismatch: the session has passed, and its file is proved by no record any more.
        VendorError: the chain could not be had whole.
        LeaseHeld: another process is writing the partition.
    """
    (partition,) = batch.partitions
    delay = timedelta(minutes=desk.settings.vendor.delay_minutes)
    hours = snapshot_hours(partition.session, delay)
    now = desk.vendor.server_time()
    if now > hours.end - _LATEST_BEGIN:
        return _of_the_past(batch, desk)
    if now < hours.start:
        message = (
            f"{partition.session} is not over yet at the vendor: its snapshot can be taken from "
            f"{hours.start:%Y-%m-%d %H:%M} to {hours.end - _LATEST_BEGIN:%Y-%m-%d %H:%M} UTC"
        )
        raise UsageError(message)
    try:
        return run_batch(batch, desk)
    except NotEntitled as error:
        if _is_answered(partition, desk):
            raise
        logger.warning("%s is labelled unavailable: %s", partition, error)
        return label_unavailable(batch, Lack.NOT_IN_PLAN, desk)


def _of_the_past(batch: Batch, desk: Desk) -> Outcome:
    (partition,) = batch.partitions
    page_size = desk.settings.sources.page_size
    asks = [ask for want in batch.wants for ask in asks_of(partition.spec, batch.owner, want, page_size)]
    if all(map(desk.vendor.has_whole, asks)):
        return run_batch(replace(batch, refresh=False), desk)
    if not _is_answered(partition, desk):
        _require_nothing_published(partition, desk)
        logger.info("%s has passed, and the vendor has no history of it: labelled unavailable", partition)
        return label_unavailable(batch, Lack.SESSION_PAST, desk)
    logger.warning("%s has passed and cannot be taken again: what was published stays", partition)
    return Outcome(
        title=batch.title,
        sessions=batch.sessions,
        partitions=0,
        pages=0,
        fetched_pages=0,
        received=0,
        stored=0,
        refused=0,
        dropped=0,
    )


def _is_answered(partition: Partition, desk: Desk) -> bool:
    record = desk.lake.record(partition)
    return record is not None and any(item.how is not How.UNAVAILABLE for item in record.coverage)


def _require_nothing_published(partition: Partition, desk: Desk) -> None:
    """Refuse to write over rows that are there without a proof and can never be had again."""
    if desk.lake.record(partition) is not None:
        return
    rows = desk.lake.read(partition)
    if rows is not None and rows.num_rows:
        problem = (
            "its ledger record is gone or of another file, and this snapshot cannot be taken again: put the record or "
            "its captured pages back, or move the file away"
        )
        raise RecordMismatch(partition.path, problem)
