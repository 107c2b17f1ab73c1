"""From what a batch wants to the rows that came: ask, parse, and remember where each row stood.

Whether they may pass, and where they are written, is :mod:`marketlake.backfill`'s.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketlake import asks
from marketlake.asks import Ask
from marketlake.capture import Captures
from marketlake.ledger import Coverage, Lack, Proof
from marketlake.plan import Want
from marketlake.rest import Vendor
from marketlake.sessions import FIRST_DATE
from marketlake.store import Store
from marketlake.tables import Partition, Period, Span, Table
from marketlake.tickers import Underlying
from marketlake.wire import Unparsed, parse

type Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Received:
    """The complete answer to one want, in receive order.

    ``page`` and ``position`` say of each row in which of ``pages`` it stood and where; ``unparsed`` are rows that have
    not the shape they were promised, each with the number of its page.
    """

    want: Want
    rows: pa.Table
    page: Ints
    position: Ints
    unparsed: tuple[tuple[int, Unparsed], ...]
    pages: tuple[Proof, ...]
    fetched_pages: int
    is_delayed: bool = False  # the vendor said that the key's plan gives data of 15 minutes ago
    lack: Lack | None = None  # why there is no answer, where the vendor has none to give

    @property
    def came(self) -> int:
        """How many rows came, whatever becomes of them."""
        return int(self.rows.num_rows) + len(self.unparsed)


def receive(
    table: Table, owner: str, want: Want, vendor: Vendor, page_size: int, *, newer_than: datetime | None = None
) -> Received:
    """Ask for everything that a want means; each page is captured before it is read.

    What was captured before ``newer_than`` is asked for again.

    Raises:
        VendorError: the answer could not be had whole.
    """
    tables: list[pa.Table] = [table.schema.empty_table()]
    page_numbers: list[Ints] = []
    positions: list[Ints] = []
    unparsed: list[tuple[int, Unparsed]] = []
    proof: list[Proof] = []
    fetched = 0
    is_delayed = False
    for ask in asks_of(table, owner, want, page_size):
        for page in vendor.pages(ask, newer_than=newer_than):
            parsed = parse(ask, page.body)
            tables.append(parsed.rows)
            positions.append(parsed.positions)
            page_numbers.append(np.full(parsed.rows.num_rows, len(proof), dtype=np.int64))
            unparsed += [(len(proof), row) for row in parsed.unparsed]
            proof.append(Proof(page.path, page.sha256))
            fetched += page.fetched
            is_delayed |= page.is_delayed
    return Received(
        want=want,
        rows=pa.concat_tables(tables),
        page=_joined(page_numbers),
        position=_joined(positions),
        unparsed=tuple(unparsed),
        pages=tuple(proof),
        fetched_pages=fetched,
        is_delayed=is_delayed,
    )


def lacking(table: Table, want: Want, lack: Lack) -> Received:
    """What came of a want that the vendor does not answer: no page and no row, but why."""
    nothing = _joined([])
    return Received(want, table.schema.empty_table(), nothing, nothing, (), (), 0, lack=lack)


def receive_again(
    partition: Partition, covered: Coverage, inside: tuple[int, int], refused: Container[tuple[str, int]], store: Store
) -> Received:
    """The part of an answer that a partition was made from, read back from its captured pages.

    A page may hold other sessions too: taken are the rows whose time lies ``inside`` the partition's range, and those
    that the partition holds in quarantine (``refused``: page and position) because they lie in no session at all.
    """
    table = partition.spec
    day = {
        Period.SESSION: lambda: partition.session,
        Period.YEAR: lambda: date(int(partition.period), 1, 1),
        Period.ALL: lambda: FIRST_DATE,
    }[table.period]()
    want = Want(covered.ticker, Span(covered.span) if covered.span else None, day, day)
    ask = next(asks_of(table, partition.owner, want, page_size=1))
    captures = Captures(store)
    tables: list[pa.Table] = [table.schema.empty_table()]
    page_numbers: list[Ints] = []
    positions: list[Ints] = []
    unparsed: list[tuple[int, Unparsed]] = []
    for number, proof in enumerate(covered.proof):
        parsed = parse(ask, captures.read(proof.path).body)
        mine = np.array([(proof.path, int(position)) in refused for position in parsed.positions], dtype=bool)
        if table.time_column is None or table.period is not Period.SESSION:
            mine[:] = True
        else:
            times = parsed.rows[table.time_column].cast(pa.int64()).to_numpy()
            mine |= (inside[0] <= times) & (times < inside[1])
        tables.append(parsed.rows.filter(pa.array(mine)))
        positions.append(parsed.positions[mine])
        page_numbers.append(np.full(int(mine.sum()), number, dtype=np.int64))
        unparsed += [(number, row) for row in parsed.unparsed if (proof.path, row.position) in refused]
    return Received(
        want,
        pa.concat_tables(tables),
        _joined(page_numbers),
        _joined(positions),
        tuple(unparsed),
        covered.proof,
        0,
        lack=covered.reason,
    )


def asks_of(table: Table, owner: str, want: Want, page_size: int) -> Iterator[Ask]:  # noqa: C901 - one case a table
    """The questions that a want comes down to: one, but for contracts."""
    match table.name:
        case "stock_bars" | "index_bars" | "option_bars":
            if want.span is not None:
                yield asks.bars_ask(table, owner, want.ticker, want.span, want.first, want.last, page_size)
        case "stock_trades" | "option_trades":
            yield asks.trades_ask(table, owner, want.ticker, want.first, page_size)
        case "stock_quotes" | "option_quotes":
            yield asks.quotes_ask(table, owner, want.ticker, want.first, page_size)
        case "option_contracts":
            underlying = Underlying.parse(owner)
            yield asks.contracts_ask(underlying, want.first)
            yield asks.contracts_ask(underlying, want.first, expired=True)
        case "option_snapshots":
            yield asks.snapshots_ask(Underlying.parse(owner), want.first, page_size)
        case "news":
            yield asks.news_ask(Underlying.parse(owner), want.first, want.last)
        case "dividends":
            yield asks.dividends_ask(want.ticker, want.last)
        case "splits":
            yield asks.splits_ask(want.ticker, want.last)
        case "treasury_yields":
            yield asks.treasury_yields_ask(want.first.year)


def _joined(pieces: Sequence[Ints]) -> Ints:
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)
