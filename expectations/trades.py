"""The rules of stock_trades and option_trades."""

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.relations import relation
from expectations.rules import (
    above_zero,
    holds,
    instant_in_calendar,
    not_negative,
    required_present,
    ticker_of_class,
)
from expectations.view import Mask, is_null, numbers
from marketlake.tables import Table
from marketlake.tickers import AssetClass


def rules(table: Table) -> list[Expectation]:
    """The rules of a table of trades, in the order in which they are asked."""
    return [
        required_present(table),
        ticker_of_class(table.asset_class or AssetClass.STOCKS),
        instant_in_calendar("sip_timestamp"),
        instant_in_calendar("participant_timestamp"),
        instant_in_calendar("trf_timestamp"),
        above_zero("price"),
        not_negative("size", "A size is a finite number; zero is a fraction of a share that the tape rounded down."),
        holds(
            decimal_size_is_size,
            ["size", "decimal_size"],
            "The exact size is a number that rounds to the size given beside it.",
        ),
        not_negative("exchange", "The vendor numbers exchanges from zero."),
        not_negative("sequence_number", "The tape numbers its messages from zero."),
    ]


@relation
def decimal_size_is_size(frame: pd.DataFrame) -> Mask:
    """The exact size is null, or less than one away from the size."""
    texts = frame["decimal_size"].cat
    exact = np.asarray([*(_number(text) for text in texts.categories), np.nan])[texts.codes]
    with np.errstate(invalid="ignore"):  # infinity less infinity: refused, since it is not below one
        return is_null(frame, "decimal_size") | (np.abs(exact - numbers(frame, "size")) < 1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
