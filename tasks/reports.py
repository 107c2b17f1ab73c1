"""What a run leaves behind for a person: a value that the command line prints, and an artifact in the UI."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from marketlake.backfill import Outcome
from marketlake.consolidation import Consolidation
from marketlake.discover import Selection
from marketlake.errors import BatchesFailed, MarketlakeError
from marketlake.ledger import Lack
from marketlake.meanings import CLOSED_WORDS
from marketlake.redaction import redacted
from tasks.step import Failure, in_flow_run


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a backfill did: batches done and failed, and sessions that are not over yet."""

    postponed: tuple[date, ...]
    done: tuple[Outcome, ...] = field(default=())
    failed: tuple[Failure, ...] = field(default=())

    def plus(self, outcome: Outcome | Failure) -> "BackfillReport":
        """The report with one more batch in it."""
        if isinstance(outcome, Failure):
            return replace(self, failed=(*self.failed, outcome))
        return replace(self, done=(*self.done, outcome))

    def raise_failures(self) -> None:
        """Do nothing where every batch came through.

        Raises:
            BatchesFailed: some batches did not.
        """
        if self.failed:
            # In the order of their titles: the first decides the exit code, and which ended first is chance.
            failures = sorted(((item.title, item.error) for item in self.failed), key=lambda item: item[0])
            raise BatchesFailed(tuple(failures), self.totals())

    @property
    def newest_session(self) -> date | None:
        """The newest session that a batch was about."""
        return max((session for item in self.done for session in item.sessions), default=None)

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints."""
        batches = [
            {"batch": item.title, "partitions": item.partitions, "pages": item.pages, "received": item.received,
             "stored": item.stored, "refused": item.refused, "dropped": item.dropped}
            for item in self.done
        ]  # fmt: skip
        unavailable = [{"batch": item.title, "reason": item.lack} for item in self.done if item.lack is not None]
        postponed = [day.isoformat() for day in self.postponed]
        return {**self.totals(), "postponed": postponed, "unavailable": unavailable, "done": batches}

    def totals(self) -> dict[str, int]:
        """Sums over the batches, under the names of the command line's --json."""
        counts = ("partitions", "pages", "fetched_pages", "received", "stored", "refused", "dropped")
        return {
            "batches": len(self.done),
            **{name: sum(getattr(outcome, name) for outcome in self.done) for name in counts},
            "failed": len(self.failed),
        }


def raise_failures(failed: Sequence[tuple[str, MarketlakeError]], *, done: int) -> None:
    """Do nothing where nothing failed.

    Raises:
        MarketlakeError: what failed, itself where nothing else was to be done, else a BatchesFailed.
    """
    if len(failed) == 1 and not done:
        raise failed[0][1]
    if failed:
        raise BatchesFailed(tuple(failed), {"batches": done, "failed": len(failed)})


def keep_selection(selection: Selection) -> None:
    """Leave the chosen contracts as a table artifact on the flow run."""
    if in_flow_run():
        rows = [{"rank": rank, "contract": ticker} for rank, ticker in enumerate(selection.chosen, start=1)]
        refused = ", ".join(f"{reason}: {count}" for reason, count in selection.refused.items())
        price = f"opening price {selection.opening_price}"
        text = f"{selection.underlying} {selection.session}, {price}. Refused: {refused or 'none'}."
        create_table_artifact(rows or [{"rank": "-", "contract": "none"}], key="contracts", description=text)


def keep_consolidation(result: Consolidation) -> None:
    """Leave what was published, or why there was nothing to do, as an artifact on the flow run."""
    if not in_flow_run():
        return
    if result.nothing_to_do:
        create_markdown_artifact(f"Nothing to do: {result.nothing_to_do}", key="consolidation")
        return
    rows = [{"table": item.table, "rows": item.rows, "file": item.path} for item in result.published]
    reasons = ", ".join(f"{reason}: {count}" for reason, count in result.reasons.items())
    text = f"{result.underlying} {result.session}: {result.priced} option minutes priced; without: {reasons or 'none'}."
    create_table_artifact(rows, key="consolidation", description=text)


def keep_backfill_report(report: BackfillReport) -> None:
    """Leave the report as a table artifact on the flow run; on the command line it is printed instead."""
    if not in_flow_run():
        return
    rows = [
        {"batch": item.title, "stored": item.stored, "refused": item.refused, "dropped": item.dropped,
         "pages": item.pages, "asked now": item.fetched_pages}
        | ({} if item.lack is None else {"unavailable": CLOSED_WORDS[Lack][1][item.lack]})
        for item in report.done
    ]  # fmt: skip
    rows += [{"batch": item.title, "failed": redacted(str(item.error))} for item in report.failed]
    create_table_artifact(rows or [{"batch": "nothing to do"}], key="backfill", description="What each batch brought.")
