"""How a flow takes a step: as a Prefect task inside a flow run, as a plain call outside one.

So the same flow runs from the command line without a server (docs/adr/0001). Retrying an outage belongs to the task: on
the command line there is a person, and every run goes on where the last one stopped.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import as_completed as as_calls_completed
from dataclasses import dataclass
from datetime import date
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.futures import as_completed as as_runs_completed
from prefect.task_runners import ThreadPoolTaskRunner

from marketlake.errors import KeyRefused, MarketlakeError, is_transient
from marketlake.plan import Batch
from tasks.desk import settings


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Not that a time limit ends a task of a thread only behind the call that it waits for: ours wait for seconds."""
    return not str(record.msg).startswith("Timeout of %s seconds configured for this task")


logging.getLogger("prefect.task_runs").addFilter(_is_worth_telling)


@dataclass(frozen=True, slots=True)
class Failure:
    """A batch that ended in one of our own errors."""

    table: str
    title: str
    sessions: tuple[date, ...]
    error: MarketlakeError


def in_flow_run() -> bool:
    """Whether a Prefect flow run is going on."""
    return FlowRunContext.get() is not None


def take[**P, R](step: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Take one step and return what it gives."""
    if not in_flow_run():
        return step.fn(*args, **kwargs)
    return _retrying(step)(*args, **kwargs)


def take_each[R](step: Task[[Batch], R], batches: Sequence[Batch], workers: int) -> Iterator[R | Failure]:
    """Take a step for each batch, some at once, and give what comes back as it comes.

    One of our own errors ends its batch only; a refused key ends everything, since no other batch would fare better.
    Anything else is a defect and is raised.
    """
    if in_flow_run():
        runnable = _retrying(step)
        runner: ThreadPoolTaskRunner[R] = ThreadPoolTaskRunner(max_workers=workers)
        with runner:
            runs: list[PrefectFuture[R]] = [runner.submit(runnable, {"batch": batch}) for batch in batches]
            of = {run.task_run_id: batch for run, batch in zip(runs, batches, strict=True)}
            for run in as_runs_completed(runs):
                yield _outcome(run.result, of[run.task_run_id])
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        calls = {pool.submit(step.fn, batch): batch for batch in batches}
        try:
            for call in as_calls_completed(calls):
                yield _outcome(call.result, calls[call])
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome[R](result: Callable[[], R], batch: Batch) -> R | Failure:
    try:
        return result()
    except KeyRefused:
        raise
    except MarketlakeError as error:
        return Failure(batch.table, batch.title, batch.sessions, error)


def _retrying[**P, R](step: Task[P, R]) -> Task[P, R]:
    retry = settings().retry.task
    return step.with_options(
        retries=retry.retries,
        retry_delay_seconds=list(retry.waits_s),
        retry_condition_fn=_is_worth_retrying,
        timeout_seconds=retry.timeout_minutes * 60,
    )


def _is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)
