"""Discover a session's contracts: the opening price, and the choice that it decides.

The rule itself is :mod:`marketlake.selection`'s; fetching the contracts is a batch like any other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from marketlake.asks import bars_ask, so_far
from marketlake.dedupe import last_revision
from marketlake.desk import Desk
from marketlake.errors import UsageError
from marketlake.lake import QUARANTINE
from marketlake.ledger import Operational
from marketlake.plan import covered_range
from marketlake.selection import Opening, OpeningSource, choose, later_centres, opening_price
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


def opening_price_now(underlying: Underlying, session: date, desk: Desk) -> Opening | None:
    """The opening price of a session that may be running, as the lake's minute bars have it, else the vendor's."""
    return opening_price(_minute_bars_of(underlying, session, desk, is_running=True), session)


def _minute_bars_of(underlying: Underlying, session: date, desk: Desk, *, is_running: bool = False) -> pa.Table:
    """The session's minute bars that tell an underlying's price: the lake's, else the vendor's.

    The vendor's bars go through the same rules as a backfill's, so the choice does not depend on the order of runs. Of
    a session that is running they are asked for each time.
    """
    kind = "index_bars" if underlying.asset_class is AssetClass.INDICES else "stock_bars"
    partition = Partition.of_session(TABLES[kind], underlying.price_ticker, session)
    record = desk.lake.record(partition)
    if record is not None and record.covers(underlying.price_ticker, Span.MINUTE, *covered_range(partition, 0)):
        stored = desk.lake.read(partition)
        if stored is not None:
            return stored
    ask = bars_ask(
        TABLES[kind], underlying.price_ticker, underlying.price_ticker, Span.MINUTE, session, session,
        desk.settings.sources.page_size,
    )  # fmt: skip
    pages = desk.vendor.pages(so_far(ask) if is_running else ask)
    rows = pa.concat_tables([parse(ask, page.body).rows for page in pages])
    passed = np.ones(rows.num_rows, dtype=bool)
    passed[desk.check(TABLES[kind], rows).rows] = False
    bars = rows.filter(pa.array(passed))
    return last_revision(TABLES[kind], bars, np.zeros(bars.num_rows, dtype=np.int64)).rows


def with_choice(  # noqa: PLR0917 - as choose_again, which hands it on
    contracts: pa.Table,
    underlying: Underlying,
    session: date,
    desk: Desk,
    opening: Opening | None = None,
    later: Sequence[Decimal] | None = None,
) -> pa.Table:
    """The contracts of a session with the columns of the choice filled in.

    ``opening`` and the centres ``later`` than it are asked for where they are not given.
    """
    rule = desk.settings.selection
    if opening is None or (later is None and rule.recentre_percent):
        bars = _minute_bars_of(underlying, session, desk)
        opening = opening or opening_price(bars, session)
        later = later_centres(bars, opening.price, session, rule.recentre_percent) if opening is not None else ()
    price, source = opening or (None, None)
    return choose(
        contracts,
        price,
        session,
        underlying.symbol,
        rule.range_percent,
        rule.limit,
        rule.expiries,
        source,
        later or (),
    )


def choose_again(
    underlying: Underlying,
    session: date,
    desk: Desk,
    opening: Opening | None = None,
    later: Sequence[Decimal] | None = None,
) -> Selection:
    """Apply the rule to the contracts in the lake; publish them where that changed anything.

    ``opening`` is the opening price and where it came from, ``later`` the centres behind it, where they are known
    already.

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
        chosen = with_choice(contracts, underlying, session, desk, opening, later)
        desk.lake.publish(
            partition,
            chosen,
            coverage=record.coverage,
            quarantined=QUARANTINE[partition.table].empty_table() if refused is None else refused,
            flags=record.flags,
            operational=Operational(desk.run_id, desk.now().isoformat()),
        )
    return selection_of(chosen, underlying, session)


def centred_now(underlying: Underlying, session: date, desk: Desk) -> tuple[str, ...]:
    """The contracts to watch at the moment, where the choice follows the price: what is chosen is published first.

    Raises:
        UsageError: the session's contracts are not in the lake.
        VendorError: the vendor does not tell the price.
    """
    partition = Partition.of_session(TABLES["option_contracts"], underlying.symbol, session)
    contracts = desk.lake.read(partition)
    before = None if contracts is None else selection_of(contracts, underlying, session)
    if contracts is None or before is None or before.opening_price is None or before.opening_price_source is None:
        return choose_again(underlying, session, desk).chosen
    opening = Opening(before.opening_price, OpeningSource(before.opening_price_source))
    rule = desk.settings.selection
    bars = _minute_bars_of(underlying, session, desk, is_running=True)
    later = later_centres(bars, opening.price, session, rule.recentre_percent)
    choose_again(underlying, session, desk, opening, later)
    centre = later[-1] if later else opening.price
    watched = choose(contracts, centre, session, underlying.symbol, rule.range_percent, rule.limit, rule.expiries)
    return selection_of(watched, underlying, session).chosen


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
