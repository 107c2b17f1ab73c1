"""News while a session runs: the session's articles so far, asked for again and again, and published each time.

Each poll asks for all of the session's news, from the end of the session before on, so that polls overlap wholly: an
article that appears late, one that was changed, and an hour in which the vendor was away are made good by the next
poll. The partition is that of any backfill; its record says up to when it is known to be complete.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from marketlake.backfill import Outcome, pending_batches, run_batch
from marketlake.desk import Desk
from marketlake.errors import MarketlakeError, may_pass
from marketlake.plan import Request
from marketlake.sessions import to_ns
from marketlake.tables import TABLES, Partition
from marketlake.tickers import Underlying

logger = logging.getLogger(__name__)

type _Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll brought: rows that stand now, those of them that are new, and underlyings that were not heard."""

    rows: int = 0
    added: int = 0
    withdrawn: int = 0
    refused: int = 0
    missed: tuple[str, ...] = ()

    def plus(self, outcome: Outcome, before: set[_Key], after: set[_Key]) -> "Poll":
        """The poll with one more underlying in it."""
        return replace(
            self,
            rows=self.rows + len(after),
            added=self.added + len(after - before),
            withdrawn=self.withdrawn + len(before - after),
            refused=self.refused + outcome.refused,
        )


def poll_news(underlyings: Sequence[str], session: date, desk: Desk, now: datetime) -> Poll:
    """Publish the news of a session as the vendor has them ``now``, by the session's clock.

    What may pass by itself is left to the next poll, and behind the last one to the healing after the close.

    Raises:
        VendorError: the vendor refuses, and will again.
        LakeError: the lake cannot be written.
    """
    poll = Poll()
    for name in underlyings:
        symbol = Underlying.parse(name).symbol
        partition = Partition.of_session(TABLES["news"], symbol, session)
        request = Request.parse(["news"], [name], [session], underlyings, to_ns(now), refresh=True)
        before = _keys_of(partition, desk)
        try:
            (outcome,) = [run_batch(batch, desk) for batch in pending_batches(request, "news", desk)]
        except MarketlakeError as error:
            if not may_pass(error):
                raise
            logger.warning("the news of %s are left to the next poll: %s", name, error)
            poll = replace(poll, missed=(*poll.missed, name))
            continue
        after = _keys_of(partition, desk)
        if before - after:
            articles = ", ".join(sorted({article for article, _ in before - after}))
            logger.warning("the vendor has taken back news of %s, which stay in the capture: %s", name, articles)
        poll = poll.plus(outcome, before, after)
    return poll


def _keys_of(partition: Partition, desk: Desk) -> set[_Key]:
    rows = desk.lake.read(partition, columns=["id", "ticker"])
    return set() if rows is None else set(zip(rows["id"].to_pylist(), rows["ticker"].to_pylist(), strict=True))
