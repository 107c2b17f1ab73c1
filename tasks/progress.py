"""How far a long run is: a bar in the terminal, a progress artifact in the UI, and a heartbeat in the log."""

import sys
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from marketlake.backfill import Outcome
from marketlake.logs import Heartbeat
from tasks.desk import settings
from tasks.step import Failure, in_flow_run


class Progress:
    """Counts batches of one run, table by table; a context manager.

    How many batches a table needs is known when the tables before it are done, so each table is an equal share.
    """

    def __init__(self, what: str, tables: int) -> None:
        self._tables = tables
        self._tables_done = -1
        self._total = 0
        self._done = 0
        self._rows = 0
        self._table = ""
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=in_flow_run() or not sys.stderr.isatty(),
        )
        self._line = self._bar.add_task(what, total=0)
        created = create_progress_artifact(0.0, key=f"{what}-progress") if in_flow_run() else None
        self._artifact = created if isinstance(created, UUID) else None
        self._heartbeat = Heartbeat(what, self._facts, every_s=settings().logging.heartbeat_seconds)

    def __enter__(self) -> Self:
        self._bar.start()
        self._heartbeat.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.__exit__(kind, error, trace)
        self._bar.stop()

    def expect(self, table: str, batches: int) -> None:
        """The next table, and how many batches it needs."""
        self._tables_done += 1
        self._total, self._done, self._table = batches, 0, table
        self._bar.update(self._line, total=batches, completed=0, description=table)
        self._show()

    def advance(self, outcome: Outcome | Failure) -> None:
        """One batch is over."""
        self._done += 1
        if isinstance(outcome, Outcome):
            self._rows += outcome.stored
        self._bar.update(self._line, completed=self._done)
        self._show()

    def _show(self) -> None:
        if self._artifact is not None:
            of_table = self._done / self._total if self._total else 1.0
            update_progress_artifact(self._artifact, 100.0 * (self._tables_done + of_table) / self._tables)

    def _facts(self) -> dict[str, object]:
        return {"table": self._table, "batches": self._done, "of": self._total, "rows": self._rows}
