"""Running the rules: a suite, rows, and what comes back as a verdict.

Great Expectations runs in one context that lives in memory; which rules a table has stands in the module of that table.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation

from expectations import (
    bars,
    contracts,
    index_values,
    market_minutes,
    news,
    option_minutes,
    quotes,
    reference,
    snapshots,
    trades,
)
from expectations.rules import About
from expectations.view import frame_of
from marketlake.checks import Verdict
from marketlake.tables import TABLES, Table

SCHEMA_AS_DECLARED: Final = "schema_as_declared"
"""The rule about the columns and their types. It is asked of Arrow, before any other: pandas knows fewer types."""

_RULES: Final[Mapping[str, Callable[[Table], list[Expectation]]]] = {
    "stock_bars": bars.rules,
    "stock_trades": trades.rules,
    "stock_quotes": quotes.rules,
    "index_bars": bars.rules,
    "index_values": index_values.rules,
    "option_bars": bars.rules,
    "option_trades": trades.rules,
    "option_quotes": quotes.rules,
    "option_contracts": contracts.rules,
    "option_snapshots": snapshots.rules,
    "news": news.rules,
    "dividends": reference.rules,
    "splits": reference.rules,
    "treasury_yields": reference.rules,
    "market_minutes": market_minutes.rules,
    "option_minutes": option_minutes.rules,
}
# Great Expectations gives this logger a level of its own, and tells there of each temporary folder that it makes.
logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)

_RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",
    "return_unexpected_index_query": False,
}
# The context holds the rows of one batch at a time.
_ONE_AT_A_TIME: Final = threading.Lock()


@cache
def suite_of(table_name: str) -> gx.ExpectationSuite:
    """The rules of a table, in the order in which they are asked."""
    _batches()  # a suite belongs to the context of the process
    return gx.ExpectationSuite(name=table_name, expectations=_RULES[table_name](TABLES[table_name]))


def judge(table: Table, rows: pa.Table) -> Verdict:
    """What the table's suite says of the rows; see :func:`expectations.check`."""
    if [(field.name, field.type) for field in rows.schema] != [(field.name, field.type) for field in table.schema]:
        return Verdict.first_rule_wins((), rows.num_rows, (SCHEMA_AS_DECLARED,))
    frame = frame_of(rows)
    suite = suite_of(table.name)
    with _ONE_AT_A_TIME:
        batch = _batches().get_batch(batch_parameters={"dataframe": frame})
        result = batch.validate(suite, result_format=_RESULT_FORMAT)
        _batches().get_batch(batch_parameters={"dataframe": frame.iloc[:0]})  # the context lets go of the rows
    by_rule = {
        rule_of(answer.expectation_config.meta): answer for answer in result.results if answer.expectation_config
    }
    refusals, failed = [], []
    for expectation in suite.expectations:
        name = rule_of(expectation.meta)
        answer = by_rule[name]
        _require_evaluated(name, answer)
        if answer.success:
            continue
        if is_about_whole(expectation.meta):
            failed.append(name)
        else:
            refusals.append((name, np.asarray(answer.result["unexpected_index_list"], dtype=np.int64)))
    return Verdict.first_rule_wins(refusals, rows.num_rows, tuple(failed))


def evaluated(frame: pd.DataFrame, expectations: Sequence[Expectation]) -> list[bool]:
    """Whether each expectation holds of a frame."""
    with _ONE_AT_A_TIME:
        batch = _batches().get_batch(batch_parameters={"dataframe": frame})
        answers = [batch.validate(expectation) for expectation in expectations]
    for expectation, answer in zip(expectations, answers, strict=True):
        _require_evaluated(expectation.expectation_type, answer)
    return [bool(answer.success) for answer in answers]


def rule_of(meta: Mapping[str, Any] | None) -> str:
    """The name of a rule, from its expectation's meta."""
    return str((meta or {})["rule"])


def is_about_whole(meta: Mapping[str, Any] | None) -> bool:
    """Whether a rule judges all rows together, from its expectation's meta."""
    return About((meta or {})["about"]) is About.WHOLE


@cache
def _batches() -> BatchDefinition[Any]:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    rows = context.data_sources.add_pandas("marketlake").add_dataframe_asset("rows")
    return rows.add_batch_definition_whole_dataframe("given")


def _require_evaluated(rule: str, answer: ExpectationValidationResult) -> None:
    """Great Expectations turns an exception inside a rule into a failed result; here it is one again."""
    info = answer.exception_info or {}
    for part in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if part.get("raised_exception"):
            message = f"the rule {rule} could not be evaluated: {part.get('exception_message')}"
            raise RuntimeError(message)
