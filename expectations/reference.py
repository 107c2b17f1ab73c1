"""The rules of dividends, splits and treasury_yields."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.relations import relation
from expectations.rules import above_zero, date_between, holds, not_negative, required_present, ticker_of_class
from expectations.view import Mask, in_all_columns, unknown, values
from marketlake.sessions import LAST_DATE
from marketlake.tables import YIELD_MONTHS, Table
from marketlake.tickers import AssetClass

# Older than the calendar: the vendor's splits begin in 1978, the Treasury's daily yields in 1962.
FIRST_EVENT: Final = date(1970, 1, 2)
FIRST_CURVE: Final = date(1962, 1, 2)
_EVENT: Final = "a date never set, or of a year mistyped, lies outside."
# Percent a year. US bills have traded some hundredths below zero and yields never above 17 (1981); a yield in basis
# points, or one whose decimal point was lost, lies outside.
LOWEST_YIELD: Final = -5.0
HIGHEST_YIELD: Final = 100.0


def rules(table: Table) -> list[Expectation]:
    """The rules of a table of reference data, in the order in which they are asked."""
    return _RULES[table.name](table)


def _dividends(table: Table) -> list[Expectation]:
    return [
        required_present(table),
        ticker_of_class(AssetClass.STOCKS),
        date_between("ex_dividend_date", FIRST_EVENT, LAST_DATE, _EVENT),
        above_zero("cash_amount", "A dividend pays a finite amount above zero."),
        not_negative("frequency", "Payments a year; zero means once."),
    ]


def _splits(table: Table) -> list[Expectation]:
    return [
        required_present(table),
        ticker_of_class(AssetClass.STOCKS),
        date_between("execution_date", FIRST_EVENT, LAST_DATE, _EVENT),
        above_zero("split_from", "A split turns a finite number of shares above zero into others."),
        above_zero("split_to", "A split turns shares into a finite number above zero."),
    ]


def _treasury_yields(table: Table) -> list[Expectation]:
    return [
        required_present(table),
        date_between("date", FIRST_CURVE, LAST_DATE, "no daily curve is older."),
        holds(yields_in_range, list(YIELD_MONTHS), f"Percent a year, from {LOWEST_YIELD:g} to {HIGHEST_YIELD:g}."),
        holds(
            curve_not_empty,
            list(YIELD_MONTHS),
            "A date without any yield is no curve, and would hide the last one before it.",
        ),
    ]


_RULES: Final[Mapping[str, Callable[[Table], list[Expectation]]]] = {
    "dividends": _dividends,
    "splits": _splits,
    "treasury_yields": _treasury_yields,
}


@relation
def yields_in_range(frame: pd.DataFrame) -> Mask:
    """Each yield is null or in the range."""
    yields = values(frame)
    return in_all_columns(unknown(yields) | ((yields >= LOWEST_YIELD) & (yields <= HIGHEST_YIELD)))


@relation
def curve_not_empty(frame: pd.DataFrame) -> Mask:
    """At least one yield is there."""
    return ~in_all_columns(np.asarray(frame.isna()))
