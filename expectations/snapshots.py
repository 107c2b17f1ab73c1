"""The rules of option_snapshots.

A snapshot cannot be had again, and what is refused here stands in quarantine with its text. So the vendor's numbers are
only held against what no model and no market can give; that a contract has no quote, no trade, no day or no Greeks is a
fact. A strike is not held against the symbol, because a snapshot does not tell which contracts were adjusted.
"""

from typing import Final

from great_expectations.expectations.expectation import Expectation

from expectations.contracts import expiry_as_in_symbol, right_as_in_symbol
from expectations.rules import (
    above_zero,
    between,
    date_between,
    holds,
    instant_in_calendar,
    not_negative,
    one_of,
    required_present,
    ticker_of_class,
)
from marketlake.sessions import FIRST_DATE, LAST_DATE
from marketlake.tables import Table
from marketlake.tickers import AssetClass, Right

_PRICES: Final = ("open", "high", "low", "close", "vwap", "previous_close", "trade_price", "underlying_price")


def rules(table: Table) -> list[Expectation]:
    """The rules of the snapshots, in the order in which they are asked."""
    side = "A price is a finite number; zero means that the side is missing, and nothing is bid below it."
    amount = "It is counted: a finite number, zero or above."
    exchange = "The vendor numbers exchanges from zero, which means that the side is missing."
    return [
        required_present(table),
        ticker_of_class(AssetClass.OPTIONS),
        date_between("expiry", FIRST_DATE, LAST_DATE, "the calendar knows no session on which others would expire."),
        holds(expiry_as_in_symbol, ["ticker", "expiry"], "The symbol spells out the expiry date."),
        one_of("right", Right, "Call or put; the vendor's third word, other, is stored as null."),
        holds(right_as_in_symbol, ["ticker", "right"], "The symbol spells out whether it is a call or a put."),
        above_zero("strike", "A strike is above zero."),
        one_of("exercise_style", ("american", "european", "bermudan"), "The styles that the vendor documents."),
        above_zero("shares_per_contract", "A contract delivers a finite number of units above zero."),
        not_negative("open_interest", amount),
        not_negative("vendor_implied_volatility", "A volatility is a finite number, zero or above."),
        between("vendor_delta", -1, 1, "An option moves no more than its underlying."),
        *(not_negative(column, "A price is a finite number, zero or above.") for column in _PRICES),
        not_negative("volume", amount),
        not_negative("trade_size", amount),
        not_negative("bid_price", side),
        not_negative("ask_price", side),
        not_negative("bid_size", amount),
        not_negative("ask_size", amount),
        not_negative("bid_exchange", exchange),
        not_negative("ask_exchange", exchange),
        not_negative("trade_exchange", exchange),
        *(
            instant_in_calendar(column)
            for column in ("day_updated", "quote_updated", "trade_sip_timestamp", "underlying_updated")
        ),
    ]
