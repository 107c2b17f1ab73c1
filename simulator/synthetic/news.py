"""News of the synthetic market: invented articles from templates whose words match their sentiment.

Articles appear on every calendar day, more of them on trading days. Insights exist from about when the vendor began to
give them, and not for all articles or tickers.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from simulator.newyork import HOUR_MS, midnight_ms
from simulator.synthetic.calendar import TradingCalendar
from simulator.synthetic.draws import digest, stream

INSIGHTS_SINCE: Final = date(2024, 6, 17)
ARTICLES_ON_SESSIONS: Final = 16.0
ARTICLES_ON_OTHER_DAYS: Final = 4.0
SENTIMENTS: Final = ("positive", "neutral", "negative")
_SENTIMENT_WEIGHTS: Final = (0.42, 0.33, 0.25)
_ANALYZED: Final = 0.95  # of the articles
_WITH_INSIGHT: Final = 0.8  # of the tickers that an article mentions besides its first

NEWS_TICKERS: Final = ("SPY", "QQQ", "IWM", "AAPL", "MSFT", "VOO", "DIA", "XLF", "XLE", "TLT")
_TICKER_WEIGHTS: Final = (0.3, 0.14, 0.08, 0.12, 0.1, 0.1, 0.06, 0.04, 0.03, 0.03)
_NAMES: Final = {
    "SPY": "the large-cap fund",
    "QQQ": "the growth fund",
    "IWM": "the small-cap fund",
    "AAPL": "the phone maker",
    "MSFT": "the software maker",
    "VOO": "the index fund",
    "DIA": "the blue-chip fund",
    "XLF": "the bank fund",
    "XLE": "the energy fund",
    "TLT": "the bond fund",
}
_PUBLISHERS: Final = (
    ("Example Wire", "wire"),
    ("Sample Street Journal", "street"),
    ("The Invented Investor", "investor"),
    ("Placeholder Finance", "finance"),
)
_AUTHORS: Final = ("A. Writer", "B. Columnist", "C. Reporter", "D. Analyst", "E. Editor")

# (title, description, reasoning); {name} and {ticker} are filled in.
_STORIES: Final = {
    "positive": (
        ("{ticker} rallies as strong earnings beat forecasts", "Shares of {name} gained on an excellent quarter.",
         "Earnings beat forecasts and the outlook improved."),
        ("Investors cheer record inflows into {name}", "Confidence grew and {ticker} reached a new high.",
         "Record inflows show growing confidence."),
        ("Optimism returns: {ticker} climbs on upbeat outlook", "An upbeat outlook lifted {name} in active trading.",
         "The article calls the outlook upbeat."),
        ("Analysts upgrade {ticker}, praising healthy growth", "Analysts see strong and healthy growth at {name}.",
         "Analysts upgraded the share and praise its growth."),
    ),
    "neutral": (
        ("{ticker} little changed before central bank minutes", "Trading in {name} was quiet.",
         "The article reports an unchanged price without judging it."),
        ("What to know about the options expiry in {ticker}", "A guide to the calendar of {name}.",
         "The article explains dates and takes no view."),
        ("{ticker} holdings: a look inside", "The composition of {name} this month.",
         "The article lists holdings."),
        ("Volume report: {ticker}", "Turnover in {name} was in line with its average.",
         "The article reports turnover in line with the average."),
    ),
    "negative": (
        ("{ticker} slumps as weak data raises recession fears", "Losses mounted for {name} after weak data.",
         "Weak data raised fears of a recession."),
        ("Sell-off deepens: {ticker} drops on disappointing results", "Disappointing results hurt {name}.",
         "Results disappointed and the price dropped."),
        ("Analysts cut {ticker}, warning of worsening risks", "A downgrade and a bleak forecast hit {name}.",
         "Analysts downgraded the share and warn of risks."),
        ("Outflows accelerate as worried investors leave {name}", "Worries about losses weighed on {ticker}.",
         "Outflows show that investors are worried."),
    ),
}  # fmt: skip
_KEYWORDS: Final = ("etf", "stocks", "options", "earnings", "volatility", "rates", "index", "dividends")

# Weight of each New York hour; most is written between six and six.
_HOUR_WEIGHTS: Final = np.array([1, 1, 1, 1, 2, 3, 6, 8, 9, 10, 9, 8, 7, 7, 8, 9, 9, 7, 5, 3, 2, 2, 1, 1], np.float64)


def articles_of_day(seed: int, calendar: TradingCalendar, day: date) -> tuple[dict[str, object], ...]:
    """The articles published on a New York date, oldest first, in the vendor's fields; absent fields are left out."""
    draws = stream(seed, "news", day.isoformat())
    usual = ARTICLES_ON_SESSIONS if calendar.on(day) else ARTICLES_ON_OTHER_DAYS
    count = int(draws.poisson(usual))
    hours = draws.choice(24, count, p=_HOUR_WEIGHTS / _HOUR_WEIGHTS.sum())
    seconds = np.sort(hours * (HOUR_MS // 1000) + draws.integers(0, HOUR_MS // 1000, count))
    # In parts of the day, because a day of the clock change has 23 or 25 hours.
    start, end = (midnight_ms(of) // 1000 for of in (day, day + timedelta(days=1)))
    published = [datetime.fromtimestamp(start + int(second) * (end - start) // 86_400, UTC) for second in seconds]
    return tuple(_article(seed, draws, day, number, at) for number, at in enumerate(published))


def _article(seed: int, draws: np.random.Generator, day: date, number: int, published: datetime) -> dict[str, object]:
    name, slug = _PUBLISHERS[int(draws.integers(len(_PUBLISHERS)))]
    chosen = draws.choice(len(NEWS_TICKERS), int(draws.integers(1, 5)), replace=False, p=_TICKER_WEIGHTS)
    tickers = [NEWS_TICKERS[i] for i in chosen]
    sentiment = SENTIMENTS[int(draws.choice(len(SENTIMENTS), p=_SENTIMENT_WEIGHTS))]
    stories = _STORIES[sentiment]
    title, description, reasoning = stories[int(draws.integers(len(stories)))]
    words = {"ticker": tickers[0], "name": _NAMES[tickers[0]]}
    identity = digest(seed, "article", day.isoformat(), number)
    publisher = {
        "name": name,
        "homepage_url": f"https://{slug}.example.com/",
        "logo_url": f"https://{slug}.example.com/logo.svg",
    }
    has_favicon, has_image, has_amp, has_keywords, has_description = draws.random(5) < (0.8, 0.9, 0.4, 0.85, 0.95)
    if has_favicon:
        publisher["favicon_url"] = f"https://{slug}.example.com/favicon.ico"
    article: dict[str, object] = {
        "id": identity,
        "publisher": publisher,
        "title": title.format(**words),
        "author": _AUTHORS[int(draws.integers(len(_AUTHORS)))],
        "published_utc": published.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "article_url": f"https://{slug}.example.com/{published:%Y/%m/%d}/{identity[:12]}",
        "tickers": tickers,
    }
    if has_image:
        article["image_url"] = f"https://{slug}.example.com/images/{identity[:12]}.png"
    if has_amp:
        article["amp_url"] = f"https://{slug}.example.com/amp/{identity[:12]}"
    if has_description:
        article["description"] = description.format(**words)
    if has_keywords:
        picked = draws.choice(len(_KEYWORDS), int(draws.integers(1, 4)), replace=False)
        article["keywords"] = [_KEYWORDS[i] for i in picked]
    if day >= INSIGHTS_SINCE:
        others = [ticker for ticker in tickers[1:] if draws.random() < _WITH_INSIGHT]
        # The words are about the first ticker; what else is named is only mentioned.
        insights = [{"ticker": tickers[0], "sentiment": sentiment, "sentiment_reasoning": reasoning}]
        insights += [
            {"ticker": other, "sentiment": "neutral", "sentiment_reasoning": f"{other} is only mentioned."}
            for other in others
        ]
        if draws.random() < _ANALYZED:
            article["insights"] = insights
    return article
