import logging

import pytest

import tasks.step


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("Timeout of %s seconds configured for this task, but the task is running in a worker thread.", False),
        ("Task run exceeded timeout of %s second(s)", True),
    ],
)
def test_a_run_is_told_of_a_time_limit_that_was_passed_and_not_of_every_one(message: str, is_told: bool) -> None:
    assert tasks.step.take  # its import is what is tested
    runs = logging.getLogger("prefect.task_runs")
    record = runs.makeRecord(runs.name, logging.WARNING, __file__, 1, message, (14_400,), None)

    assert bool(runs.filter(record)) == is_told
