"""How a rule is written down, and the rules that several tables share.

A rule is an expectation of Great Expectations with a name in its ``meta``, short and stable because the quarantine
keeps it, and in its ``notes`` the reason why a row that breaks it cannot be true. Rules of one table stand in its own
module.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypedDict

import numpy as np
import pandas as pd
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull
from great_expectations.expectations.core.expect_table_row_count_to_be_between import ExpectTableRowCountToBeBetween
from great_expectations.expectations.expectation import Expectation

from expectations.relations import ExpectColumnToHold, ExpectRowsToHold, Relation, relation
from expectations.view import FINITE, Mask, days, in_all_columns
from marketlake.errors import UsageError
from marketlake.sessions import FIRST_DATE, LAST_DATE, whole_day
from marketlake.tables import Table
from marketlake.tickers import AssetClass, OptionTicker, asset_class_of

MINUTE_NS: Final = 60_000_000_000


class About(StrEnum):
    """What a rule judges."""

    ROW = "row"
    """Rows that break it are quarantined; the others pass."""
    WHOLE = "whole"
    """All rows together; if it does not hold, none of them is published."""


class Labels(TypedDict):
    """What every rule carries beside its condition."""

    meta: dict[str, str]
    notes: str


def labels(rule: str, why: str, about: About = About.ROW) -> Labels:
    """The name of a rule and its reason, in the fields of an expectation."""
    return {"meta": {"rule": rule, "about": about.value}, "notes": why}


def holds(
    condition: Relation, columns: Sequence[str], why: str, *, rule: str = "", about: About = About.ROW
) -> Expectation:
    """A relation as a rule, named after it unless another name is given; one of a single column passes over nulls."""
    named = labels(rule or condition.name, why, about)
    if len(columns) == 1:
        return ExpectColumnToHold(column=columns[0], relation=condition.name, **named)
    return ExpectRowsToHold(
        column_list=list(columns),
        relation=condition.name,
        ignore_row_if="never",
        **named,
    )


def required_present(table: Table) -> Expectation:
    """The columns that are never null hold something; first in every suite, since other rules pass over nulls."""
    columns = [field.name for field in table.schema if not field.nullable]
    why = f"Never null: {', '.join(columns)}. A row without one of them cannot be told from others, or not be used."
    if len(columns) == 1:
        return ExpectColumnValuesToNotBeNull(column=columns[0], **labels("required_present", why))
    return holds(no_nulls, columns, why, rule="required_present")


def present(column: str, why: str) -> Expectation:
    """A column that may be null in the schema is not."""
    return ExpectColumnValuesToNotBeNull(column=column, **labels(f"{column}_present", why))


def some_rows(rule: str, why: str) -> Expectation:
    """There is at least one row."""
    return ExpectTableRowCountToBeBetween(min_value=1, **labels(rule, why, About.WHOLE))


def ticker_of_class(asset_class: AssetClass) -> Expectation:
    """The ticker is one of an asset class."""
    condition, why = {
        AssetClass.STOCKS: (ticker_of_share, "The ticker of a share, such as SPY or BRK.B."),
        AssetClass.OPTIONS: (
            ticker_of_option,
            "The symbol of an option, such as O:SPY250919C00650000, with an expiry date that exists.",
        ),
        AssetClass.INDICES: (ticker_of_index, "The ticker of an index, such as I:VIX."),
    }[asset_class]
    return holds(condition, ["ticker"], why, rule="ticker_of_class")


def instant_in_calendar(column: str) -> Expectation:
    """An instant lies on a day that the calendar knows."""
    return ExpectColumnValuesToBeBetween(
        column=column,
        min_value=whole_day(FIRST_DATE).start_ns,
        max_value=whole_day(LAST_DATE).end_ns - 1,
        **labels(
            f"{column}_in_calendar",
            f"From {FIRST_DATE} to {LAST_DATE}: seconds taken for nanoseconds, and a time never set, lie outside.",
        ),
    )


def date_between(column: str, first: date, last: date, why: str) -> Expectation:
    """A date lies in a closed range."""
    return ExpectColumnValuesToBeBetween(
        column=column,
        min_value=days(first),
        max_value=days(last),
        **labels(f"{column}_in_range", f"From {first} to {last}: {why}"),
    )


def above_zero(column: str, why: str = "A price is a finite number above zero.") -> Expectation:
    """A number is above zero and finite."""
    return ExpectColumnValuesToBeBetween(
        column=column, min_value=0, strict_min=True, max_value=FINITE, **labels(f"{column}_above_zero", why)
    )


def not_negative(column: str, why: str) -> Expectation:
    """A number is zero or above, and finite."""
    return ExpectColumnValuesToBeBetween(
        column=column, min_value=0, max_value=FINITE, **labels(f"{column}_not_negative", why)
    )


def between(column: str, low: float, high: float, why: str) -> Expectation:
    """A number lies in a closed range."""
    return ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, **labels(f"{column}_in_range", why)
    )


def one_of(column: str, values: Iterable[str], why: str) -> Expectation:
    """A text is one of an enumeration."""
    return ExpectColumnValuesToBeInSet(
        column=column, value_set=[str(value) for value in values], **labels(f"{column}_known", why)
    )


def of_each_text(frame: pd.DataFrame, column: str, is_good: Callable[[str], bool]) -> Mask:
    """A judgement of texts, asked once for each distinct one; null passes."""
    texts = frame[column].cat
    return np.asarray([*(is_good(text) for text in texts.categories), True], dtype=np.bool_)[texts.codes]


def together(frame: pd.DataFrame, *columns: str) -> Mask:
    """Whether the columns of a row are all null or all there."""
    null = np.asarray(frame[list(columns)].isna())
    return in_all_columns(null) | in_all_columns(~null)


@lru_cache(maxsize=65_536)
def option_of(symbol: str) -> OptionTicker | None:
    """What an option symbol says; None where it is none."""
    try:
        return OptionTicker.parse(symbol)
    except UsageError:
        return None


def _class_of(ticker: str) -> AssetClass | None:
    try:
        return asset_class_of(ticker)
    except UsageError:
        return None


@relation
def no_nulls(frame: pd.DataFrame) -> Mask:
    """Every column of the row holds something."""
    return in_all_columns(np.asarray(frame.notna()))


@relation
def ticker_of_share(frame: pd.DataFrame) -> Mask:
    """The ticker names a share."""
    return of_each_text(frame, "ticker", lambda ticker: _class_of(ticker) is AssetClass.STOCKS)


@relation
def ticker_of_index(frame: pd.DataFrame) -> Mask:
    """The ticker names an index."""
    return of_each_text(frame, "ticker", lambda ticker: _class_of(ticker) is AssetClass.INDICES)


@relation
def ticker_of_option(frame: pd.DataFrame) -> Mask:
    """The ticker is an option symbol whose expiry date exists."""
    return of_each_text(frame, "ticker", lambda ticker: option_of(ticker) is not None)
