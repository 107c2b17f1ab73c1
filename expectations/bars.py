"""The rules of stock_bars, index_bars and option_bars."""

from typing import Final

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.relations import relation
from expectations.rules import (
    MINUTE_NS,
    above_zero,
    holds,
    instant_in_calendar,
    not_negative,
    one_of,
    present,
    required_present,
    ticker_of_class,
)
from expectations.view import FINITE, Mask, equals, numbers, unknown, whole_numbers
from marketlake.tables import Span, Table
from marketlake.tickers import AssetClass

PRICES: Final = ("open", "high", "low", "close")
_STEP_NS: Final = {Span.SECOND.value: MINUTE_NS // 60, Span.MINUTE.value: MINUTE_NS}


def rules(table: Table) -> list[Expectation]:
    """The rules of a table of bars, in the order in which they are asked."""
    if table.asset_class is AssetClass.INDICES:
        aligned, city = start_aligned_in_chicago, "Chicago"
    else:
        aligned, city = start_aligned_in_new_york, "New York"
    suite = [
        required_present(table),
        ticker_of_class(table.asset_class or AssetClass.STOCKS),
        one_of("span", Span, "The lengths of bars that are asked for."),
        instant_in_calendar("start"),
        holds(
            aligned,
            ["span", "start"],
            f"A bar starts on a whole second or minute, that of a day at midnight in {city}.",
            rule="start_aligned",
        ),
        *prices_of_bar(),
        not_negative("volume", "A volume is a finite number, zero or above."),
        vwap_is_price(),
        not_negative("trades", "A number of trades is zero or above."),
    ]
    if table.asset_class is not AssetClass.INDICES:
        why = "The vendor gives every bar of a share or an option a volume; only indices have none."
        suite.append(present("volume", why))
    return suite


def prices_of_bar() -> list[Expectation]:
    """The rules of a bar's prices; in consolidated tables a minute without a bar has none, and passes."""
    return [
        *(above_zero(price) for price in PRICES),
        holds(high_is_highest, PRICES, "No price of a bar is above its high."),
        holds(low_is_lowest, PRICES, "No price of a bar is below its low."),
    ]


def vwap_is_price() -> Expectation:
    """The rule of a bar's volume-weighted price."""
    why = (
        "A volume-weighted price is finite and above zero; zero stands only where nothing was traded. It may lie "
        "outside low and high, since odd lots and extended hours count for it and not for them."
    )
    return holds(vwap_or_nothing_traded, ["vwap", "volume"], why, rule="vwap_is_price")


@relation
def high_is_highest(frame: pd.DataFrame) -> Mask:
    """No other price is above the high."""
    high = numbers(frame, "high")
    return ~((numbers(frame, "open") > high) | (numbers(frame, "low") > high) | (numbers(frame, "close") > high))


@relation
def low_is_lowest(frame: pd.DataFrame) -> Mask:
    """No other price is below the low."""
    low = numbers(frame, "low")
    return ~((numbers(frame, "open") < low) | (numbers(frame, "high") < low) | (numbers(frame, "close") < low))


@relation
def vwap_or_nothing_traded(frame: pd.DataFrame) -> Mask:
    """The vwap is null or a price, or zero where the volume is."""
    vwap, volume = numbers(frame, "vwap"), numbers(frame, "volume")
    nothing_traded: Mask = (vwap == 0) & (volume == 0)
    return unknown(vwap) | ((vwap > 0) & (vwap <= FINITE)) | nothing_traded


@relation
def start_aligned_in_new_york(frame: pd.DataFrame) -> Mask:
    """Bars of shares and options: the vendor stamps a day with midnight in New York."""
    return _start_aligned(frame, "America/New_York")


@relation
def start_aligned_in_chicago(frame: pd.DataFrame) -> Mask:
    """Bars of indices: the vendor stamps a day with midnight in Chicago."""
    return _start_aligned(frame, "America/Chicago")


def _start_aligned(frame: pd.DataFrame, zone: str) -> Mask:
    aligned = np.ones(len(frame), dtype=np.bool_)
    start = whole_numbers(frame, "start")
    for span, step_ns in _STEP_NS.items():
        rows = equals(frame, "span", span)
        aligned[rows] = start[rows] % step_ns == 0
    days = equals(frame, "span", Span.DAY.value)
    local = pd.DatetimeIndex(start[days].astype("datetime64[ns]"), tz="UTC").tz_convert(zone)
    aligned[days] = local == local.normalize()
    return aligned
