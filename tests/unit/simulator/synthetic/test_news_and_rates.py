"""Articles and yield curves: the vendor's fields, the facts of their history, words that fit their sentiment."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from simulator.synthetic import SyntheticWorld
from simulator.synthetic.calendar import new_york_calendar
from simulator.synthetic.news import articles_of_day

TENORS = [
    "1_month",
    "3_month",
    "6_month",
    "1_year",
    "2_year",
    "3_year",
    "5_year",
    "7_year",
    "10_year",
    "20_year",
    "30_year",
]
# A few words of either kind, as any list of sentiment words has them.
GOOD = {"strong", "gained", "excellent", "cheer", "confidence", "optimism", "upbeat", "healthy", "praising", "record"}
BAD = {
    "slumps",
    "weak",
    "fears",
    "losses",
    "disappointing",
    "hurt",
    "warning",
    "worsening",
    "bleak",
    "worried",
    "worries",
}


def month(world: SyntheticWorld, at: Callable[..., int], first: date) -> list[dict[str, Any]]:
    return list(world.news(at(first), at(first + timedelta(days=30)) - 1))


def test_articles_have_the_required_fields_and_may_lack_the_others(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    articles = month(world, at, date(2025, 8, 1))

    assert 200 < len(articles) < 500
    for article in articles:
        assert {"id", "title", "author", "article_url", "published_utc", "publisher", "tickers"} <= article.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", article["published_utc"])
        assert {"name", "homepage_url", "logo_url"} <= article["publisher"].keys()
        assert re.match(r"https://\w+\.example\.com/", article["article_url"])
        assert article["tickers"] != []
    for name in ("image_url", "amp_url", "description", "keywords", "insights"):
        present = sum(name in article for article in articles)
        assert 0 < present < len(articles), name
    assert 0 < sum("favicon_url" in article["publisher"] for article in articles) < len(articles)
    assert len({article["id"] for article in articles}) == len(articles)
    assert sum("SPY" in article["tickers"] for article in articles) > 50


def test_articles_come_in_order_inside_both_bounds(world: SyntheticWorld, at: Callable[..., int]) -> None:
    times = [datetime.fromisoformat(a["published_utc"]).timestamp() for a in month(world, at, date(2025, 8, 1))]
    first, last = int(times[5] * 1000), int(times[20] * 1000)
    cut = world.news(first, last)

    assert times == sorted(times)
    assert [datetime.fromisoformat(str(a["published_utc"])).timestamp() for a in cut] == times[5:21]


@pytest.mark.parametrize("day", [date(2024, 3, 10), date(2024, 11, 3), date(2025, 8, 29)])
def test_articles_of_a_day_are_published_on_it_even_when_clocks_change(at: Callable[..., int], day: date) -> None:
    """Over many seeds, because few articles appear in the last hour of a Sunday."""
    articles = [article for seed in range(300) for article in articles_of_day(seed, new_york_calendar(), day)]
    times_ms = [datetime.fromisoformat(str(article["published_utc"])).timestamp() * 1000 for article in articles]

    assert at(day) <= min(times_ms) < at(day) + 3_600_000
    assert at(day + timedelta(days=1)) - 3_600_000 < max(times_ms) < at(day + timedelta(days=1))


def test_insights_began_in_the_middle_of_2024_and_cover_some_tickers(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    assert not any("insights" in article for article in month(world, at, date(2024, 5, 1)))

    articles = [article for article in month(world, at, date(2025, 8, 1)) if "insights" in article]
    covered = [{insight["ticker"] for insight in article["insights"]} for article in articles]

    assert all(some <= set(article["tickers"]) for some, article in zip(covered, articles, strict=True))
    assert any(some < set(article["tickers"]) for some, article in zip(covered, articles, strict=True))
    assert {i["sentiment"] for a in articles for i in a["insights"]} == {"positive", "neutral", "negative"}


def test_the_words_of_an_article_fit_its_first_tickers_sentiment(world: SyntheticWorld, at: Callable[..., int]) -> None:
    for article in month(world, at, date(2025, 8, 1)):
        words = set(re.findall(r"[a-z]+", f"{article['title']} {article.get('description', '')}".lower()))
        balance = len(words & GOOD) - len(words & BAD)
        for insight in article.get("insights", [])[:1]:
            expected = {"positive": 1, "neutral": 0, "negative": -1}[insight["sentiment"]]
            assert np.sign(balance) == expected, article["title"]


def test_curves_exist_on_the_treasurys_business_days(world: SyntheticWorld) -> None:
    # No curve on Columbus Day and Veterans Day, when shares trade; one on 2025-01-09, when they did not.
    days = set(world.treasury_yields(date(2024, 1, 1), date(2025, 12, 31))["date"].to_pylist())

    assert not days & {"2024-10-14", "2024-11-11", "2024-03-29", "2024-07-04", "2025-08-30", "2025-08-31"}
    assert {"2025-01-09", "2025-08-28", "2025-08-29"} <= days


def test_curves_have_all_tenors_in_percent_and_are_smooth(world: SyntheticWorld) -> None:
    table = world.treasury_yields(date(2018, 10, 1), date(2027, 12, 31))
    curves = np.array([table[f"yield_{tenor}"].to_pylist() for tenor in TENORS])

    assert table.column_names == ["date", *(f"yield_{tenor}" for tenor in TENORS)]
    assert not np.isnan(curves).any()
    assert curves.min() >= 0.01
    assert 4.5 < curves.max() < 8.0
    assert np.abs(np.diff(curves, axis=0)).max() < 1.6  # between neighbouring tenors
    assert np.abs(np.diff(curves, axis=1)).max() < 0.5  # between neighbouring days


def test_curve_dates_are_cut_to_both_bounds(world: SyntheticWorld) -> None:
    rows = world.treasury_yields(date(2025, 8, 26), date(2025, 8, 28))

    assert rows["date"].to_pylist() == ["2025-08-26", "2025-08-27", "2025-08-28"]
