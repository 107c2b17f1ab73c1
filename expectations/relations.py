"""The expectation that Great Expectations does not bring, for one column and for several: a named relation holds.

A relation is a plain vectorised function over the columns that it names, written next to the suite that uses it and
registered by :func:`relation`; Great Expectations keeps only its name, so a suite stays a value that can be compared,
printed and stored. How a table is shown to relations is :mod:`expectations.view`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

from expectations.view import Mask

type Holds = Callable[[pd.DataFrame], Mask]


@dataclass(frozen=True, slots=True)
class Relation:
    """A condition between the columns of a row; ``holds`` gives True for each row in which it does."""

    name: str
    holds: Holds


_RELATIONS: Final[dict[str, Relation]] = {}


def relation(holds: Holds) -> Relation:
    """Make a function known to Great Expectations by its name.

    Raises:
        ValueError: another relation has that name.
    """
    made = Relation(holds.__name__, holds)
    if made.name in _RELATIONS:
        message = f"there are two relations named {made.name}"
        raise ValueError(message)
    _RELATIONS[made.name] = made
    return made


class ExpectColumnToHold(ColumnMapExpectation):
    """Expect a registered relation to hold for each value of a column that is not null."""

    relation: str

    map_metric = "column_values.related"
    args_keys = ("column", "relation")
    success_keys = ("relation", "mostly")


class ColumnValuesRelated(ColumnMapMetricProvider):
    """For each value that is not null, whether the relation holds; it sees a frame of this one column."""

    condition_metric_name = "column_values.related"
    condition_value_keys = ("relation",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, relation: str, **_given: Any) -> "pd.Series[bool]":  # noqa: N805
        return pd.Series(_RELATIONS[relation].holds(column.to_frame()), index=column.index)


class ExpectRowsToHold(MulticolumnMapExpectation):
    """Expect a registered relation between the columns of a row to hold; nulls are shown to it as they are."""

    relation: str

    map_metric = "multicolumn_values.related"
    args_keys = ("column_list", "relation")
    success_keys = ("relation", "mostly")


class MulticolumnValuesRelated(MulticolumnMapMetricProvider):
    """For each row, whether the relation holds."""

    condition_metric_name = "multicolumn_values.related"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ("relation",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, relation: str, **_given: Any) -> "pd.Series[bool]":  # noqa: N805
        return pd.Series(_RELATIONS[relation].holds(column_list), index=column_list.index)
