"""The rules of option_minutes. A row that breaks one was computed wrongly, so the caller publishes nothing then."""

from typing import Final

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.bars import prices_of_bar
from expectations.contracts import expiry_as_in_symbol, right_as_in_symbol
from expectations.market_minutes import AGE, minute_is_whole, prices_together, vix_with_age
from expectations.relations import relation
from expectations.rules import (
    About,
    above_zero,
    between,
    holds,
    instant_in_calendar,
    not_negative,
    one_of,
    required_present,
    ticker_of_class,
    together,
)
from expectations.view import (
    FINITE,
    Mask,
    Numbers,
    equals,
    in_all_columns,
    is_null,
    numbers,
    unknown,
    values,
    whole_numbers,
)
from marketlake.tables import PriceSource, Reason, Table
from marketlake.tickers import AssetClass, Right

GREEKS: Final = ("delta", "gamma", "vega_per_point", "theta_per_day", "rho_per_point")
# Volatility times the root of time: at 17 a call is worth its underlying to the last digit of a float, so a solver that
# answers more has not solved anything. A bound on the volatility alone would refuse true rows of the last minutes.
LARGEST_TOTAL_VOLATILITY: Final = 20.0


def rules(table: Table) -> list[Expectation]:
    """The rules of the minutes of the contracts, in the order in which they are asked."""
    size = "A size is a finite number, zero or above."
    return [
        holds(
            ticker_then_minute,
            ["ticker", "minute"],
            "Rows ascend by ticker and then by minute, and no row is repeated.",
            about=About.WHOLE,
        ),
        required_present(table),
        ticker_of_class(AssetClass.OPTIONS),
        instant_in_calendar("minute"),
        holds(minute_is_whole, ["minute"], "A minute is named by its start."),
        holds(expiry_as_in_symbol, ["ticker", "expiry"], "The symbol spells out the expiry date."),
        one_of("right", Right, "Call or put."),
        holds(right_as_in_symbol, ["ticker", "right"], "The symbol spells out whether it is a call or a put."),
        above_zero("strike", "A strike is above zero."),
        *prices_of_bar(),
        holds(prices_together, ("open", "high", "low", "close"), "A minute has a bar or it has none."),
        not_negative("volume", "A volume is a finite number, zero or above."),
        not_negative("bid_price", "A bid is a finite number, zero or above."),
        not_negative("ask_price", "An ask is a finite number, zero or above."),
        not_negative("bid_size", size),
        not_negative("ask_size", size),
        not_negative("quote_age_s", AGE),
        above_zero("underlying_price"),
        not_negative("underlying_age_s", AGE),
        holds(
            underlying_with_age,
            ["underlying_price", "underlying_age_s"],
            "A price and its age are known together.",
        ),
        above_zero("vix"),
        not_negative("vix_age_s", AGE),
        holds(vix_with_age, ["vix", "vix_age_s"], "A value and its age are known together."),
        above_zero("option_price"),
        one_of("price_source", PriceSource, "Where a price can come from."),
        not_negative("price_age_s", AGE),
        holds(
            option_price_with_source,
            ["option_price", "price_source", "price_age_s"],
            "A price, its source and its age are known together.",
        ),
        not_negative("years_to_expiry", "The time to expiry is finite, and zero once the contract has expired."),
        between("rate", -0.05, 1, "A continuously compounded rate a year; the yields it comes from lie as wide."),
        not_negative("dividends_present_value", "What dividends are worth is finite, zero or above."),
        above_zero("implied_volatility", "An implied volatility is finite and above zero."),
        holds(
            total_volatility_told_apart,
            ["implied_volatility", "years_to_expiry"],
            f"Volatility times the root of the years is at most {LARGEST_TOTAL_VOLATILITY:g}: beyond that no price "
            "tells it from any larger one.",
        ),
        one_of("reason", Reason, "Why a row may have no implied volatility."),
        holds(volatility_or_reason, ["implied_volatility", "reason"], "Each row has exactly one of the two."),
        holds(
            greeks_with_volatility,
            ["implied_volatility", *GREEKS],
            "The Greeks are known exactly where the implied volatility is, and are finite.",
        ),
        holds(
            delta_by_right,
            ["right", "delta"],
            "The delta of a call lies between 0 and 1, that of a put between -1 and 0.",
        ),
        not_negative("gamma", "A held option gains from movement."),
        not_negative("vega_per_point", "A held option gains from volatility."),
        holds(rho_by_right, ["right", "rho_per_point"], "A higher rate lifts a call and lowers a put."),
    ]


@relation
def ticker_then_minute(frame: pd.DataFrame) -> Mask:
    """The row is after the row before, by ticker and then by minute."""
    tickers = frame["ticker"].cat
    place = np.argsort(np.argsort(np.asarray(tickers.categories, dtype=object)))
    step = np.diff(np.append(place, [-1])[tickers.codes])
    minutes = np.diff(whole_numbers(frame, "minute"))
    after: Mask = (step > 0) | ((step == 0) & (minutes > 0))
    return np.append([True], after)[: len(frame)]


@relation
def underlying_with_age(frame: pd.DataFrame) -> Mask:
    """Both are there or both are null."""
    return together(frame, "underlying_price", "underlying_age_s")


@relation
def option_price_with_source(frame: pd.DataFrame) -> Mask:
    """All are there or all are null."""
    return together(frame, "option_price", "price_source", "price_age_s")


@relation
def total_volatility_told_apart(frame: pd.DataFrame) -> Mask:
    """The volatility over the whole time to expiry is null or in range."""
    volatility, years = numbers(frame, "implied_volatility"), numbers(frame, "years_to_expiry")
    with np.errstate(invalid="ignore", over="ignore"):  # infinite over no time: refused, since it compares with nothing
        small: Mask = volatility**2 * years <= LARGEST_TOTAL_VOLATILITY**2
    return unknown(volatility) | small


@relation
def volatility_or_reason(frame: pd.DataFrame) -> Mask:
    """Exactly one of the two is there."""
    return is_null(frame, "implied_volatility") ^ is_null(frame, "reason")


@relation
def greeks_with_volatility(frame: pd.DataFrame) -> Mask:
    """All are there and finite, or all are null."""
    greeks = values(frame[list(GREEKS)])
    finite = in_all_columns(unknown(greeks) | (np.abs(greeks) <= FINITE))
    return finite & together(frame, "implied_volatility", *GREEKS)


@relation
def delta_by_right(frame: pd.DataFrame) -> Mask:
    """The delta is null or on the right's side of zero, and not beyond one."""
    return _on_side_of_right(frame, "delta", 1.0)


@relation
def rho_by_right(frame: pd.DataFrame) -> Mask:
    """The rho is null or on the right's side of zero."""
    return _on_side_of_right(frame, "rho_per_point", FINITE)


def _on_side_of_right(frame: pd.DataFrame, column: str, farthest: float) -> Mask:
    values = numbers(frame, column)
    sided: Numbers = np.where(equals(frame, "right", Right.CALL), values, -values)
    return unknown(sided) | ((sided >= 0) & (sided <= farthest))
