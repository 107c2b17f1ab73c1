"""The rules of market_minutes. A row that breaks one was computed wrongly, so the caller publishes nothing then.

How many minutes a session has is the calendar's business, and the caller's.
"""

from typing import Final

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.bars import PRICES, prices_of_bar, vwap_is_price
from expectations.relations import relation
from expectations.rules import (
    MINUTE_NS,
    About,
    above_zero,
    between,
    holds,
    instant_in_calendar,
    not_negative,
    required_present,
    some_rows,
    together,
)
from expectations.view import FINITE, Mask, in_all_columns, is_null, numbers, unknown, values, whole_numbers
from marketlake.tables import MOMENTUM_MINUTES, Table

MOMENTUM: Final = tuple(f"momentum_returns_{place}" for place in range(len(MOMENTUM_MINUTES)))
MACD: Final = ("macd_12_26_9", "macd_signal_12_26_9", "macd_histogram_12_26_9")
BANDS: Final = ("bollinger_lower_20_2", "bollinger_middle_20_2", "bollinger_upper_20_2")
AGE: Final = "An age counts back from the end of the minute: a negative one has looked ahead."


def rules(table: Table) -> list[Expectation]:
    """The rules of the minutes of an underlying, in the order in which they are asked."""
    return [
        some_rows("grid_not_empty", "Every session has minutes, traded or not."),
        holds(
            minutes_follow,
            ["minute"],
            "Each minute follows the one before: none is missing, repeated or out of order.",
            about=About.WHOLE,
        ),
        required_present(table),
        instant_in_calendar("minute"),
        holds(minute_is_whole, ["minute"], "A minute is named by its start."),
        *prices_of_bar(),
        holds(prices_together, PRICES, "A minute has a bar or it has none."),
        not_negative("volume", "A volume is a finite number, zero or above."),
        vwap_is_price(),
        not_negative("trades", "A number of trades is zero or above."),
        above_zero("last_price"),
        not_negative("last_price_age_s", AGE),
        holds(last_price_with_age, ["last_price", "last_price_age_s"], "A price and its age are known together."),
        above_zero("vix"),
        not_negative("vix_age_s", AGE),
        holds(vix_with_age, ["vix", "vix_age_s"], "A value and its age are known together."),
        not_negative("news_count_60m", "A number of articles is zero or above."),
        between("news_sentiment_60m", -1, 1, "The mean of -1, 0 and 1 lies between them."),
        holds(
            sentiment_from_articles,
            ["news_count_60m", "news_sentiment_60m"],
            "A sentiment is the mean over articles: without one there is none.",
        ),
        above_zero("session_vwap"),
        between("rsi_14", 0, 100, "The relative strength index is a percentage."),
        holds(histogram_is_difference, MACD, "The histogram is the line less its signal; all three warm up together."),
        holds(bands_in_order, BANDS, "The bands lie around their middle; all three warm up together."),
        not_negative("atr_14", "An average of ranges is finite, zero or above."),
        holds(
            momentum_is_return,
            MOMENTUM,
            "A return is finite and above -1: no price falls to zero or below.",
        ),
    ]


@relation
def minutes_follow(frame: pd.DataFrame) -> Mask:
    """Each minute is one after the minute of the row before."""
    follows: Mask = np.diff(whole_numbers(frame, "minute")) == MINUTE_NS
    return np.append([True], follows)[: len(frame)]


@relation
def minute_is_whole(frame: pd.DataFrame) -> Mask:
    """The instant is the start of a minute."""
    whole: Mask = whole_numbers(frame, "minute") % MINUTE_NS == 0
    return whole


@relation
def prices_together(frame: pd.DataFrame) -> Mask:
    """The prices of the bar are all there or all null."""
    return together(frame, *PRICES)


@relation
def last_price_with_age(frame: pd.DataFrame) -> Mask:
    """Both are there or both are null."""
    return together(frame, "last_price", "last_price_age_s")


@relation
def vix_with_age(frame: pd.DataFrame) -> Mask:
    """Both are there or both are null."""
    return together(frame, "vix", "vix_age_s")


@relation
def sentiment_from_articles(frame: pd.DataFrame) -> Mask:
    """No sentiment, or at least one article."""
    return is_null(frame, "news_sentiment_60m") | (numbers(frame, "news_count_60m") >= 1)


@relation
def histogram_is_difference(frame: pd.DataFrame) -> Mask:
    """All null, or histogram = line - signal up to rounding."""
    line, signal, histogram = (numbers(frame, name) for name in MACD)
    rounding = 1e-9 * np.fmax(np.abs(line), 1.0)
    with np.errstate(invalid="ignore"):  # infinity less infinity: refused, since nothing is close to it
        close: Mask = np.abs(line - signal - histogram) <= rounding
    return together(frame, *MACD) & (close | unknown(line))


@relation
def bands_in_order(frame: pd.DataFrame) -> Mask:
    """All null, or finite with lower <= middle <= upper."""
    lower, middle, upper = (numbers(frame, name) for name in BANDS)
    ordered: Mask = (lower <= middle) & (middle <= upper) & (upper <= FINITE)
    return together(frame, *BANDS) & (ordered | unknown(lower))


@relation
def momentum_is_return(frame: pd.DataFrame) -> Mask:
    """Each return is null, or finite and above -1."""
    returns = values(frame[list(MOMENTUM)])
    return in_all_columns(unknown(returns) | ((returns > -1) & (returns <= FINITE)))
