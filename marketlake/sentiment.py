"""The sentiment of an article where the vendor has none for a ticker: VADER's, of its title and description.

VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM
2014) knows general English and no company: its word is about the article, and the same for all tickers of it.
"""

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

# https://github.com/cjhutto/vaderSentiment#about-the-scoring: the authors' thresholds of the compound score.
_POSITIVE_FROM: Final = 0.05
_NEGATIVE_FROM: Final = -0.05


class Scored(NamedTuple):
    """``positive``, ``neutral`` or ``negative``, and the compound score from -1 to 1 that it was read from."""

    sentiment: str
    compound: float


def score(title: str, description: str | None) -> Scored:
    """What VADER says of an article."""
    compound: float = _analyzer().polarity_scores(f"{title}. {description or ''}")["compound"]
    if compound >= _POSITIVE_FROM:
        return Scored("positive", compound)
    return Scored("negative" if compound <= _NEGATIVE_FROM else "neutral", compound)


@cache
def _analyzer() -> "SentimentIntensityAnalyzer":
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # noqa: PLC0415 - it reads its lexicon

    return SentimentIntensityAnalyzer()
