"""The rules of option_contracts: what the vendor says of a contract is what its symbol says."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations.expectations.expectation import Expectation

from expectations.relations import relation
from expectations.rules import (
    above_zero,
    date_between,
    holds,
    one_of,
    option_of,
    required_present,
    ticker_of_class,
)
from expectations.view import Mask, Numbers, days, equals, is_null, numbers, same
from marketlake.checks import adjusted
from marketlake.sessions import FIRST_DATE, LAST_DATE
from marketlake.tables import Table
from marketlake.tickers import AssetClass, OptionTicker, Right

_ADJUSTED_BY: Final = ("ticker", "shares_per_contract", "additional_underlyings")


def rules(table: Table) -> list[Expectation]:
    """The rules of the contracts, in the order in which they are asked."""
    return [
        required_present(table),
        ticker_of_class(AssetClass.OPTIONS),
        date_between("expiry", FIRST_DATE, LAST_DATE, "the calendar knows no session on which others would expire."),
        holds(expiry_as_in_symbol, ["ticker", "expiry"], "The symbol spells out the expiry date."),
        one_of("right", Right, "Call or put; the vendor's third word, other, is stored as null."),
        holds(right_as_in_symbol, ["ticker", "right"], "The symbol spells out whether it is a call or a put."),
        above_zero("strike", "A strike is above zero."),
        holds(
            strike_as_in_symbol,
            ["strike", *_ADJUSTED_BY],
            "The symbol spells out the strike; only an adjusted contract may carry one that its symbol does not.",
        ),
        above_zero("shares_per_contract", "A contract delivers a finite number of units above zero."),
        one_of("exercise_style", ("american", "european", "bermudan"), "The styles that the vendor documents."),
        above_zero("opening_price", "The price that the choice is made around is finite and above zero."),
    ]


def said_by_symbol(frame: pd.DataFrame, told: Callable[[OptionTicker], float]) -> Numbers:
    """A number that the symbol of each row spells out; NaN where it is no option symbol."""
    symbols = frame["ticker"].cat
    parsed = [option_of(symbol) for symbol in symbols.categories]
    said = [np.nan if option is None else told(option) for option in parsed]
    return np.asarray([*said, np.nan], dtype=np.float64)[symbols.codes]


@relation
def expiry_as_in_symbol(frame: pd.DataFrame) -> Mask:
    """The expiry is the symbol's."""
    return same(numbers(frame, "expiry"), said_by_symbol(frame, lambda option: days(option.expiry)))


@relation
def right_as_in_symbol(frame: pd.DataFrame) -> Mask:
    """The right is null or the symbol's."""
    is_call = said_by_symbol(frame, lambda option: option.right is Right.CALL)
    return is_null(frame, "right") | same(equals(frame, "right", Right.CALL).astype(np.float64), is_call)


@relation
def strike_as_in_symbol(frame: pd.DataFrame) -> Mask:
    """The strike is the symbol's, or the contract is adjusted."""
    thousandths: Numbers = np.rint(numbers(frame, "strike") * 1_000)
    as_in_symbol = same(thousandths, said_by_symbol(frame, lambda option: int(option.strike * 1_000)))
    facts = {
        "ticker": pa.array(frame["ticker"].astype(object), pa.string()),
        "shares_per_contract": pa.array(frame["shares_per_contract"], pa.float64(), from_pandas=True),
        "additional_underlyings": pa.array(frame["additional_underlyings"].astype(object), pa.string()),
    }
    return as_in_symbol | adjusted(pa.table(facts))
