"""The rules of news: one row an article and ticker."""

import re
from typing import Final

import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.relations import relation
from expectations.rules import between, holds, instant_in_calendar, of_each_text, one_of, required_present
from expectations.view import Mask
from marketlake.tables import SentimentSource, Table

SENTIMENTS: Final = ("positive", "neutral", "negative")
_WORD: Final = re.compile(r"[!-~]{1,32}")  # printable ASCII without the blank


def rules(table: Table) -> list[Expectation]:
    """The rules of the news, in the order in which they are asked."""
    return [
        required_present(table),
        holds(id_not_blank, ["id"], "An article is known by its id."),
        holds(
            ticker_is_word,
            ["ticker"],
            "One short word: articles also name preferred shares, foreign shares and currencies, which no table holds.",
        ),
        instant_in_calendar("published"),
        holds(title_not_blank, ["title"], "An article has a title."),
        one_of("sentiment", SENTIMENTS, "The words that the vendor documents; they become numbers downstream."),
        one_of("sentiment_source", tuple(SentimentSource), "Whose word it is."),
        between("sentiment_compound", -1, 1, "VADER's score lies between them."),
        holds(
            compound_of_vader,
            ["sentiment_source", "sentiment_compound"],
            "VADER's word has its score; the vendor's has none.",
        ),
    ]


@relation
def id_not_blank(frame: pd.DataFrame) -> Mask:
    """The id holds more than blanks."""
    return of_each_text(frame, "id", lambda text: text.strip() != "")


@relation
def title_not_blank(frame: pd.DataFrame) -> Mask:
    """The title holds more than blanks."""
    return of_each_text(frame, "title", lambda text: text.strip() != "")


@relation
def ticker_is_word(frame: pd.DataFrame) -> Mask:
    """The ticker is printable, without blanks, and short."""
    return of_each_text(frame, "ticker", lambda text: _WORD.fullmatch(text) is not None)


@relation
def compound_of_vader(frame: pd.DataFrame) -> Mask:
    """There is a compound score where, and only where, the sentiment is VADER's."""
    of_vader = np.asarray(frame["sentiment_source"] == SentimentSource.VADER.value, dtype=np.bool_)
    return np.asarray(of_vader == np.asarray(frame["sentiment_compound"].notna()), dtype=np.bool_)
