"""What a backfill would cost before it is run: calls, rows, bytes and time, by table.

Rows are estimated from what sessions of SPY, VIX and near-the-money contracts held where they were recorded; the calls
are exact as long as an answer fits one page, which bars of a month do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from marketlake.asks import MAX_REFERENCE_PAGE, MAX_SNAPSHOT_PAGE
from marketlake.plan import Batch, Want
from marketlake.sessions import sessions_between
from marketlake.tables import TABLES, Period, Span

# Rows a session and ticker. Bars of shares: recorded SPY sessions of 2013 and 2025; of options: recorded SPY contracts
# near the money of 2025; trades: SPY of 2013. Quotes and option ticks are guesses at liquid contracts.
ROWS_A_SESSION: Final = {
    ("stock_bars", Span.SECOND): 20_000,
    ("stock_bars", Span.MINUTE): 830,
    ("stock_bars", Span.DAY): 1,
    ("index_bars", Span.SECOND): 1_600,
    ("index_bars", Span.MINUTE): 760,
    ("index_bars", Span.DAY): 1,
    ("option_bars", Span.SECOND): 600,
    ("option_bars", Span.MINUTE): 92,
    ("option_bars", Span.DAY): 1,
    ("stock_trades", None): 350_000,
    ("stock_quotes", None): 1_500_000,
    ("option_trades", None): 1_500,
    ("option_quotes", None): 60_000,
    ("option_contracts", None): 8_000,
    ("option_snapshots", None): 9_000,
    ("news", None): 10,
}
# Snappy Parquet, a row, as published for recorded and synthetic sessions.
BYTES_A_ROW: Final = {
    "stock_trades": 32,
    "option_trades": 32,
    "stock_quotes": 36,
    "option_quotes": 36,
    "option_snapshots": 130,
    "news": 600,
}
BYTES_A_BAR: Final = 40
# Where the vendor gives fewer rows a page than are asked for.
LARGEST_PAGES: Final = {
    "option_contracts": MAX_REFERENCE_PAGE,
    "news": MAX_REFERENCE_PAGE,
    "option_snapshots": MAX_SNAPSHOT_PAGE,
}
SECONDS_A_CALL: Final = 0.25  # round trip and decoding, where the plan sets no limit


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """What one table would cost; rows and bytes are estimates."""

    table: str
    batches: int
    calls: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backfill would cost; nothing of it was asked."""

    lines: tuple[PreviewLine, ...]
    calls_per_minute: int

    @property
    def calls(self) -> int:
        """All calls: those of the tables, and one that asks the vendor for the time."""
        return sum(line.calls for line in self.lines) + 1

    @property
    def seconds(self) -> float:
        """How long it takes: the calls' own time, or what the rate limit makes of them."""
        return max(self.calls * SECONDS_A_CALL, self.calls / self.calls_per_minute * 60)

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "tables": [
                {
                    "table": line.table,
                    "batches": line.batches,
                    "calls": line.calls,
                    "rows": line.rows,
                    "bytes": line.bytes,
                }
                for line in self.lines
            ],
            "calls": self.calls,
            "rows": sum(line.rows for line in self.lines),
            "bytes": sum(line.bytes for line in self.lines),
            "seconds": round(self.seconds, 1),
            "calls_per_minute": self.calls_per_minute,
        }


def preview_of(batches: Iterable[tuple[str, list[Batch]]], page_size: int, calls_per_minute: int) -> Preview:
    """Estimate the cost of the batches of each table."""
    lines = []
    for table, found in batches:
        wants = [want for batch in found for want in batch.wants]
        rows = [_rows(table, want) for want in wants]
        page = min(page_size, LARGEST_PAGES.get(table, page_size))
        calls = sum(max(1, ceil(count / page)) for count in rows)
        if table == "option_contracts":
            calls += len(wants)  # those that expire on the day itself are a question of their own
        if TABLES[table].period is not Period.SESSION or table == "news" or TABLES[table].present_only:
            calls += len(
                found
            )  # what goes on, and what passes, is judged by the vendor's clock: each batch asks for it
        size = sum(rows) * BYTES_A_ROW.get(table, BYTES_A_BAR)
        lines.append(PreviewLine(table, len(found), calls, sum(rows), size))
    return Preview(tuple(lines), calls_per_minute)


def _rows(table: str, want: Want) -> int:
    sessions = len(sessions_between(want.first, want.last))
    return ROWS_A_SESSION.get((table, want.span), 5) * max(1, sessions)
