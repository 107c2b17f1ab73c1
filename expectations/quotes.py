"""The rules of stock_quotes and option_quotes.

A missing side (zero or null), a crossed, locked or empty market are facts; they are counted as flags and never refused.
"""

from great_expectations.expectations.expectation import Expectation

from expectations.rules import instant_in_calendar, not_negative, required_present, ticker_of_class
from marketlake.tables import Table
from marketlake.tickers import AssetClass


def rules(table: Table) -> list[Expectation]:
    """The rules of a table of quotes, in the order in which they are asked."""
    price = "A price is a finite number; zero means that the side is missing, and nothing is bid below it."
    size = "A size is a finite number, zero or above."
    exchange = "The vendor numbers exchanges from zero, which means that the side is missing."
    return [
        required_present(table),
        ticker_of_class(table.asset_class or AssetClass.STOCKS),
        instant_in_calendar("sip_timestamp"),
        instant_in_calendar("participant_timestamp"),
        instant_in_calendar("trf_timestamp"),
        not_negative("bid_price", price),
        not_negative("ask_price", price),
        not_negative("bid_size", size),
        not_negative("ask_size", size),
        not_negative("bid_exchange", exchange),
        not_negative("ask_exchange", exchange),
        not_negative("sequence_number", "The tape numbers its messages from zero."),
    ]
