"""A small world in the vendor's fields, whose every row follows from its number: SPY, AAA, the VIX, and contracts.

Its two sessions are a Friday and a Monday with the change of the clocks between them.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

SESSIONS = (date(2024, 3, 8), date(2024, 3, 11))
CALL, HALF = "O:SPY240311C00500000", "O:SPY240315P00499500"


def instant_ms(day: date, hour: int, minute: int = 0) -> int:
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo("America/New_York"))
    return int(local.timestamp()) * 1_000


def _bar(ticker: str, timespan: str, t: int, place: int, **fields: float | None) -> dict[str, Any]:
    price = 500 + (place * 37 % 100) / 100
    bar = {
        "o": price,
        "h": price + 0.5,
        "l": price - 0.25,
        "c": price + 0.125,
        "v": 100.5 + place,
        "vw": price,
        "n": 10,
    }
    return {"ticker": ticker, "timespan": timespan, "t": t, **bar, **fields}


def bars() -> list[dict[str, Any]]:
    no_volume = {"v": None, "vw": None, "n": None}
    rows = []
    for day in SESSIONS:
        for place in range(150):  # 08:30 to 11:00, without every seventh minute
            if place % 7 != 6:
                rows.append(_bar("SPY", "minute", instant_ms(day, 8, 30) + place * 60_000, place))
                rows.append(_bar("I:VIX", "minute", instant_ms(day, 8, 30) + place * 60_000, place, **no_volume))
        rows += [_bar("SPY", "second", instant_ms(day, 9, 30) + place * 1000, place) for place in range(0, 90, 2)]
        rows += [
            _bar(CALL, "minute", instant_ms(day, 9, 30) + place * 60_000, place, vw=None) for place in range(0, 60, 3)
        ]
    day = date(2024, 1, 2)
    while day <= SESSIONS[-1]:
        if day.weekday() < 5:
            rows.append(_bar("SPY", "day", instant_ms(day, 0), day.toordinal()))
            rows.append(_bar("AAA", "day", instant_ms(day, 0), day.toordinal()))
            rows.append(_bar("I:VIX", "day", instant_ms(day, 1), day.toordinal(), **no_volume))  # midnight in Chicago
        day += timedelta(days=1)
    return rows


def trades() -> list[dict[str, Any]]:
    rows = []
    for day in SESSIONS:
        for place in range(60):
            stamp = instant_ms(day, 9, 30) * 1_000_000 + place // 4 * 30_000_000_001  # four to a nanosecond
            trade = {"ticker": "SPY", "sip_timestamp": stamp, "participant_timestamp": stamp - 1000, "price": 500.25}
            trade |= {"size": 10.0 + place, "exchange": 11, "conditions": [37, 12] if place % 3 else None}
            rows.append(trade | {"id": f"t{place}", "sequence_number": place * 3 + 1, "tape": 2})
        stamp = instant_ms(day, 9, 30) * 1_000_000
        rows += [
            {"ticker": CALL, "sip_timestamp": stamp + place // 2, "price": 3.5, "size": 1.0, "exchange": 302}
            for place in range(11)
        ]
    return rows


def quotes() -> list[dict[str, Any]]:
    rows = []
    for ticker, place in ((ticker, place) for ticker in ("SPY", CALL) for place in range(50)):
        for day in SESSIONS:
            quote = {
                "ticker": ticker,
                "sip_timestamp": instant_ms(day, 9, 30) * 1_000_000 + place // 3 * 20_000_000_000,
            }
            quote |= {"bid_price": 3.0, "bid_size": 5.0, "bid_exchange": 302, "sequence_number": place + 1}
            is_one_sided = place % 10 == 9
            quote |= {"ask_price": 0.0 if is_one_sided else 3.25, "ask_size": 0.0 if is_one_sided else 7.0}
            rows.append(quote | {"ask_exchange": 0 if is_one_sided else 304})
    return rows


def contracts() -> list[dict[str, Any]]:
    rows = []
    for expiry in ("2024-03-08", "2024-03-11", "2024-03-15"):
        for letter, kind in (("C", "call"), ("P", "put")):
            for strike in (499.0, 499.5, 500.0, 501.0):
                ticker = f"O:SPY{expiry[2:].replace('-', '')}{letter}{round(strike * 1000):08d}"
                rows.append(
                    {
                        "ticker": ticker,
                        "underlying_ticker": "SPY",
                        "contract_type": kind,
                        "expiration_date": expiry,
                        "strike_price": strike,
                        "shares_per_contract": 100,
                        "exercise_style": "american",
                        "cfi": f"O{letter}ASPS",
                        "primary_exchange": "BATO",
                    }
                )
    return rows


def dividends() -> list[dict[str, Any]]:
    rows = [
        {
            "id": f"{ticker}-{year}",
            "ticker": ticker,
            "cash_amount": 1.5,
            "currency": "USD",
            "declaration_date": f"{year}-01-05",
            "ex_dividend_date": f"{year}-02-15",
            "record_date": f"{year}-02-16",
            "pay_date": f"{year}-04-30",
            "frequency": 4,
            "dividend_type": "CD",
        }
        for ticker in ("AAA", "SPY")
        for year in (2020, 2021, 2022, 2023, 2024)
    ]
    declared_later = {"id": "later", "declaration_date": "2024-03-12", "ex_dividend_date": "2024-03-15"}
    return [*rows, rows[-1] | declared_later]


def news() -> list[dict[str, Any]]:
    articles = []
    for place in range(14):
        published = datetime(2024, 3, 11, 13, tzinfo=UTC) + timedelta(minutes=place // 3)  # three to a minute
        article = {"id": f"a{place:02d}", "title": f"Title {place}", "author": "A. Writer", "tickers": ["SPY", "VOO"]}
        article |= {"published_utc": f"{published:%Y-%m-%dT%H:%M:%SZ}", "article_url": f"https://example.com/{place}"}
        article["publisher"] = {"name": "Example Wire", "homepage_url": "https://example.com/", "logo_url": ""}
        if place % 2:
            article["insights"] = [{"ticker": "SPY", "sentiment": "neutral", "sentiment_reasoning": "None."}]
        articles.append(article)
    other = articles[0] | {"id": "other", "tickers": ["AAA"]}
    return [*articles, other]


def splits() -> list[dict[str, Any]]:
    rows = [
        {"id": f"s{year}", "ticker": ticker, "execution_date": f"{year}-03-11", "split_from": 1, "split_to": 2}
        for ticker in ("AAA", "SPY")
        for year in (2010, 2012, 2014)
    ]
    later = {"id": "s-later", "ticker": "AAA", "execution_date": "2024-03-12", "split_from": 1, "split_to": 10}
    return [*rows, later]


def rates() -> list[dict[str, Any]]:
    rows = [{"date": f"2024-02-{day:02}", "yield_1_month": 5 + day / 100} for day in range(1, 29)]
    return [*rows, {"date": "2024-03-08", "yield_1_month": 5.5}, {"date": "2024-03-11", "yield_1_month": 5.6}]


def write_small_world(folder: Path) -> Path:
    """Write the world where a simulator finds it."""
    folder.mkdir(parents=True)
    sessions = [str(day) for day in SESSIONS]
    (folder / "world.json").write_text(json.dumps({"name": "small", "underlying": "SPY", "sessions": sessions}))
    tables = {
        "bars": bars(),
        "trades": trades(),
        "quotes": quotes(),
        "contracts": contracts(),
        "dividends": dividends(),
        "splits": splits(),
        "rates": rates(),
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / "news.json").write_text(json.dumps(news()))
    return folder
