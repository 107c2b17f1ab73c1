"""How results look in a terminal; the same facts as --json, for a person."""

import sys
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from marketlake.backfill import Replay
from marketlake.consolidation import Consolidation
from marketlake.discover import Selection
from marketlake.ledger import How, Lack
from marketlake.meanings import CLOSED_WORDS
from marketlake.preview import Preview
from marketlake.quarantine import QuarantineSummary
from marketlake.restating import Restatement
from marketlake.sessions import NEW_YORK
from marketlake.strip import SIGNS, around_the_stream, text_of
from tasks.drift import Watched
from tasks.news import NewsReport
from tasks.pictures import Demonstration
from tasks.replaying import Replayed
from tasks.reports import BackfillReport
from tasks.stream import StreamReport

_STRIP_WIDTH = 84
# A pipe has no width of its own; tickers and file names should stay whole in a log.
_console = Console(width=None if sys.stdout.isatty() else 140)


def _grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(title=title, title_justify="left", show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    _console.print(table)


def print_backfill(report: BackfillReport) -> None:
    """One line a batch, the sums, and the sessions that are not over yet."""
    if report.done:
        rows = [
            (item.title, item.received, item.stored, item.refused, item.dropped, item.pages) for item in report.done
        ]
        _grid("Backfilled", ("batch", "came", "stored", "refused", "dropped", "pages"), rows)
    else:
        _console.print("Nothing was asked: the ledger covers all that was meant and is over at the vendor.")
    for lack, meaning in CLOSED_WORDS[Lack][1].items():
        titles = [item.title for item in report.done if item.lack is lack]
        if titles:
            more = f" and {len(titles) - 1:,} more" if titles[1:] else ""
            _console.print(f"Unavailable: {titles[0]}{more}. {meaning}")
    if report.postponed:
        _console.print(f"Not over yet at the vendor: {', '.join(str(day) for day in report.postponed)}")


def print_news(report: NewsReport) -> None:
    """How often was asked, and what came."""
    _console.print(
        f"{report.session}: {report.polls} polls, {report.added} rows of news came, {report.withdrawn} were taken "
        f"back, {report.rows} stand; {report.missed} times the vendor did not answer"
    )


def print_watched(watched: Watched) -> None:
    """What is not as it was, one line each."""
    if not watched.findings:
        _console.print(f"{watched.session}: all is as it was")
    for item in watched.findings:
        _console.print(f"{item['partition']}: {item['what']}")


def print_replayed(replayed: Replayed) -> None:
    """Which partitions came out as they are stored."""
    _console.print(f"{replayed.session}, replayed into {replayed.folder}: {len(replayed.equal)} partitions are equal")
    for name in replayed.differing:
        _console.print(f"  not equal: {name}")


def print_restatements(found: Sequence[Restatement]) -> None:
    """What was corrected, and where each row of it stands."""
    if not found:
        _console.print("Nothing was corrected.")
        return
    rows = [(str(item.partition), item.changed, item.added, item.removed, item.path) for item in found]
    _grid("Corrected", ("partition", "changed", "added", "removed", "rows"), rows)


def print_stream(report: StreamReport) -> None:
    """One line a window, and how the recorder did."""
    rows = [
        (item.title, piece.table, piece.received, piece.stored, piece.refused, item.unreadable)
        for item in report.windows
        for piece in item.pieces
    ]
    _grid("Sealed", ("window", "table", "came", "stored", "refused", "unreadable"), rows)
    recorder = report.recorder
    if recorder is not None:
        _console.print(
            f"{recorder.frames:,} frames, {report.frames_lost:,} lost, {recorder.reconnects} reconnects, "
            f"{report.restarts} restarts"
        )
        if recorder.refused:
            _console.print(f"Not in the plan, and not recorded: {', '.join(recorder.refused)}")


def print_preview(preview: Preview) -> None:
    """What a backfill would cost."""
    rows = [(line.table, line.batches, line.calls, line.rows, line.bytes) for line in preview.lines]
    _grid("Would ask", ("table", "batches", "calls", "rows, about", "bytes, about"), rows)
    _console.print(
        f"{preview.calls:,} calls, about {preview.seconds:,.0f} s at {preview.calls_per_minute:,} calls a minute"
    )


def print_selection(selection: Selection) -> None:
    """The chosen contracts, and how many others were refused for which reason."""
    price = f"{selection.opening_price} ({selection.opening_price_source})" if selection.opening_price else "none"
    _console.print(f"{selection.underlying} {selection.session}: opening price {price}, {len(selection.chosen)} chosen")
    for ticker in selection.chosen:
        _console.print(f"  {ticker}")
    for reason, count in selection.refused.items():
        _console.print(f"  refused, {reason}: {count:,}")


def print_consolidation(result: Consolidation) -> None:
    """What was published, or why there was nothing to do."""
    if result.nothing_to_do:
        _console.print(f"Nothing to do: {result.nothing_to_do}")
        return
    rows = [(item.table, item.rows, item.path) for item in result.published]
    _grid(f"Consolidated {result.underlying} {result.session}", ("table", "rows", "file"), rows)
    priced = ", ".join(f"{reason}: {count:,}" for reason, count in result.reasons.items())
    _console.print(f"{result.priced:,} option minutes priced{'; without volatility ' + priced if priced else ''}")


def print_quarantines(found: Sequence[QuarantineSummary]) -> None:
    """The partitions that have refused rows."""
    if not found:
        _console.print("Nothing is in quarantine.")
        return
    rows = [(f"{item.table} {item.owner} {item.session}".rstrip(), item.rule, item.rows) for item in found]
    _grid("Quarantine", ("partition", "rule", "rows"), rows)


def print_refused(rows: pa.Table) -> None:
    """Refused rows, one a line: rule, place, raw text."""
    for row in rows.to_pylist():
        _console.print(f"{row['rule']}  {row['page']}[{row['position']}]", highlight=False)
        _console.print(f"  {row['raw']}", highlight=False, markup=False)


def print_replay(result: Replay) -> None:
    """How many refused rows pass by today's rules."""
    _console.print(
        f"{result.partition}: {result.accepted:,} rows stored, {result.still_refused:,} still refused, "
        f"{result.newly_refused:,} refused anew"
    )


SHOWN = (
    "minute", "ticker", "underlying_price", "option_price", "implied_volatility", "delta", "close", "vix", "rsi_14",
)  # fmt: skip


def print_demo(show: Demonstration, seconds: float) -> None:
    """The summary, five rows, and how to go on."""
    _print_live(show)
    for report in show.backfills:
        print_backfill(report)
    print_consolidation(show.result)
    options = "implied_volatility" in show.sample.column_names
    columns = [name for name in SHOWN if name in show.sample.column_names and not (options and name == "close")]
    rows = [[_short(row[name]) for name in columns] for row in show.sample.select(columns).to_pylist()]
    _grid("Five rows of it", columns, rows)
    files = show.lake / "consolidated" / "option_minutes" / "**" / "*.parquet"
    _console.print(f"\nThe picture:  {show.picture}", soft_wrap=True)
    query = f"FROM read_parquet('{files}', hive_partitioning = true)"
    _console.print(f"In DuckDB:    {query}", soft_wrap=True, markup=False)
    _console.print(f"Done in {seconds:.0f} s.")


def _print_live(show: Demonstration) -> None:
    shown = around_the_stream(show.strips)
    drops = sum(report.recorder.reconnects for report in show.live if report.recorder is not None)
    if shown is None:
        _console.print("Recorded live: nothing; this world has no data in the minutes that were rehearsed.\n")
        return
    start, end = (f"{datetime.fromtimestamp(edge / 1e9, NEW_YORK):%H:%M:%S}" for edge in shown)
    _console.print(f"Recorded live, {start} to {end} New York, with {drops} drops of a connection, then healed:")
    for strip in show.strips:
        _console.print(f"  {strip.title:<26}{text_of(strip, shown, _STRIP_WIDTH)}", markup=False)
    known = {part.how for strip in show.strips for part in strip.parts}
    signs = ", ".join(f"{SIGNS[how]} {how.replace('_', ' ')}" for how in How if how in known)
    _console.print(f"  {signs}\n", markup=False)


def _short(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value.astimezone(NEW_YORK):%H:%M}" if isinstance(value, datetime) else value
