"""The rules of index_values."""

from great_expectations.expectations.expectation import Expectation

from expectations.rules import above_zero, instant_in_calendar, required_present, ticker_of_class
from marketlake.tables import Table
from marketlake.tickers import AssetClass


def rules(table: Table) -> list[Expectation]:
    """The rules of the values of an index, in the order in which they are asked."""
    return [
        required_present(table),
        ticker_of_class(AssetClass.INDICES),
        instant_in_calendar("event_time"),
        above_zero("value", "The value of an index is a finite number above zero."),
    ]
