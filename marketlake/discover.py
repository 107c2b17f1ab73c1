"""Discover a session's contracts: the opening price, and the choice that it decides.

The rule itself is :mod:`marketlake.selection`'s; fetching the contracts is a batch like any other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from marketlake.asks import bars_ask
from marketlake.dedupe import last_revision
from marketlake.desk import Desk
from marketlake.errors import UsageError
from marketlake.lake import QUARANTINE
from marketlake.ledger import Operational
from marketlake.plan import covered_range
from marketlake.selection import Opening, choose, opening_price
from marketlake.tables import TABLES, Partition, Span
from marketlake.tickers import AssetClass, Underlying
from marketlake.wire import parse


@dataclass(frozen=True, slots=True)
class Selection:
    """The contracts chosen for a session, in order of choice, and how many were refused for which reason."""

    underlying: str
    session: date
    opening_price: Decimal | None
    opening_price_source: str | None
    chosen: tuple[str, ...]
    refused: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "underlying": self.underlying,
            "session": self.session.isoformat(),
            "opening_price": None if self.opening_price is None else str(self.opening_price),
            "opening_price_source": self.opening_price_source,
            "chosen": list(self.chosen),
            "refused": dict(self.refused),
        }


def opening_price_of(underlying: Underlying, session: date, desk: Desk) -> Opening | None:
    """The session's opening price and where it came from: the lake's minute bars, else the vendor's.

    The vendor's bars go through the same rules as a backfill's, so the choice does not depend on the order of runs.
    """
    kind = "index_bars" if underlying.asset_class is AssetClass.INDICES else "stock_bars"
    partition = Partition.of_session(TABLES[kind], underlying.price_ticker, session)
    record = desk.lake.record(partition)
    if record is not None and record.covers(underlying.price_ticker, Span.MINUTE, *covered_range(partition, 0)):
        stored = desk.lake.read(partition)
        if stored is not None:
            return opening_price(stored, session)
    ask = bars_ask(
        TABLES[kind], underlying.price_ticker, underlying.price_ticker, Span.MINUTE, session, session,
        desk.settings.sources.page_size,
    )  # fmt: skip
    rows = pa.concat_tables([parse(ask, page.body).rows for page in desk.vendor.pages(ask)])
    passed = np.ones(rows.num_rows, dtype=bool)
    passed[desk.check(TABLES[kind], rows).rows] = False
    bars = rows.filter(pa.array(passed))
    return opening_price(last_revision(TABLES[kind], bars, np.zeros(bars.num_rows, dtype=np.int64)).rows, session)


def with_choice(
    contracts: pa.Table,
    underlying: Underlying,
    session: date,
    desk: Desk,
    opening: Opening | None = None,
) -> pa.Table:
    """The contracts of a session with the columns of the choice filled in."""
    rule = desk.settings.selection
    price, source = opening or opening_price_of(underlying, session, desk) or (None, None)
    return choose(contracts, price, session, underlying.symbol, rule.range_percent, rule.limit, rule.expiries, source)


def choose_again(underlying: Underlying, session: date, desk: Desk, opening: Opening | None = None) -> Selection:
    """Apply the rule to the contracts in the lake; publish them where that changed anything.

    ``opening`` is the opening price and where it came from, where it is known already.

    Raises:
        UsageError: the session's contracts are not in the lake.
    """
    partition = Partition.of_session(TABLES["option_contracts"], underlying.symbol, session)
    ttl = timedelta(minutes=desk.settings.lake.lease_minutes)
    with desk.lake.lease(partition, owner=desk.run_id, now=desk.now, ttl=ttl):
        record, contracts = desk.lake.record(partition), desk.lake.read(partition)
        refused = desk.lake.quarantined(partition)
        if record is None or contracts is None:
            message = f"the contracts of {underlying.symbol} on {session} are not in the lake"
            raise UsageError(message)
        chosen = with_choice(contracts, underlying, session, desk, opening)
        desk.lake.publish(
            partition,
            chosen,
            coverage=record.coverage,
            quarantined=QUARANTINE[partition.table].empty_table() if refused is None else refused,
            flags=record.flags,
            operational=Operational(desk.run_id, desk.now().isoformat()),
        )
    return selection_of(chosen, underlying, session)


def selection_of(contracts: pa.Table, underlying: Underlying, session: date) -> Selection:
    """What a table of contracts says about the choice."""
    prices = contracts["opening_price"].drop_null().unique().to_pylist()
    sources = contracts["opening_price_source"].drop_null().unique().to_pylist()
    picked = contracts.filter(contracts["chosen"]).sort_by("rank")
    return Selection(
        underlying.symbol,
        session,
        Decimal(repr(prices[0])) if prices else None,
        sources[0] if sources else None,
        tuple(picked["ticker"].to_pylist()),
        dict(sorted(Counter(contracts["refusal"].drop_null().to_pylist()).items())),
    )
