"""A small world in the vendor's fields, whose every row follows from its number: SPY, the VIX, and two contracts."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

# The clocks changed between the two.
SESSIONS = (date(2024, 3, 8), date(2024, 3, 11))
CALL, HALF = "O:SPY240311C00500000", "O:SPY240315P00499500"


def instant_ms(day: date, hour: int, minute: int = 0) -> int:
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo("America/New_York"))
    return int(local.timestamp()) * 1_000


def bars() -> list[dict[str, Any]]:
    rows = []
    for day in SESSIONS:
        for ticker in ("SPY", "I:VIX", CALL):
            for place in range(60):
                if place % 7 == 6:
                    continue  # minutes without a trade have no bar
                price = 500 + place / 64
                bar = {"o": price, "h": price + 0.5, "l": price - 0.25, "c": price + 0.125, "v": 10.5 + place}
                bar |= {"vw": price, "n": place}
                if ticker == "I:VIX":
                    bar |= {"v": None, "vw": None, "n": None}
                rows.append(
                    {"ticker": ticker, "timespan": "minute", "t": instant_ms(day, 9, 30) + place * 60_000, **bar}
                )
        rows += [rows[-1] | {"ticker": "SPY", "timespan": "day", "t": instant_ms(day, 0)}]
        rows += [
            rows[-1] | {"ticker": "I:VIX", "timespan": "day", "t": instant_ms(day, 1), "v": None, "vw": None, "n": None}
        ]
    return rows


def trades() -> list[dict[str, Any]]:
    rows = []
    for day in SESSIONS:
        for place in range(40):
            stamp = instant_ms(day, 9, 30) * 1_000_000 + place // 4 * 1_000_000_007  # four to an instant
            row = {"ticker": "SPY", "sip_timestamp": stamp, "participant_timestamp": stamp - 1_001, "price": 500.25}
            row |= {"size": 10.0 + place, "exchange": 11, "conditions": [12, 37] if place % 3 else None, "tape": 2}
            rows.append(row | {"id": f"t{place}", "sequence_number": 3 * place + 1})
            rows.append({"ticker": CALL, "sip_timestamp": stamp, "price": 3.5, "size": 1.0, "exchange": 302})
    return rows


def quotes() -> list[dict[str, Any]]:
    rows = []
    for day in SESSIONS:
        for ticker in ("SPY", CALL):
            for place in range(30):
                row = {
                    "ticker": ticker,
                    "sip_timestamp": instant_ms(day, 9, 30) * 1_000_000 + place // 3 * 1_000_000_009,
                }
                row |= {"bid_price": 3.0, "bid_size": 5.0, "bid_exchange": 302, "sequence_number": place + 1}
                one_sided = place % 10 == 9  # the vendor writes a missing side as zeros
                row |= {"ask_price": 0.0 if one_sided else 3.25, "ask_size": 0.0 if one_sided else 7.0}
                rows.append(row | {"ask_exchange": 0 if one_sided else 304})
    return rows


def contracts() -> list[dict[str, Any]]:
    return [
        {
            "ticker": f"O:SPY{expiry[2:].replace('-', '')}{right[0].upper()}{round(strike * 1_000):08d}",
            "underlying_ticker": "SPY",
            "contract_type": right,
            "expiration_date": expiry,
            "strike_price": strike,
            "shares_per_contract": 100,
            "exercise_style": "american",
            "cfi": "OCASPS",
            "primary_exchange": "BATO",
        }
        for expiry in ("2024-03-08", "2024-03-11", "2024-03-15")
        for right in ("call", "put")
        for strike in (499.0, 499.5, 500.0)
    ]


def news() -> list[dict[str, Any]]:
    return [
        {
            "id": f"a{place:02}",
            "title": f"Title {place}",
            "author": "A. Writer",
            "tickers": ["SPY", "VOO"],
            "published_utc": f"{datetime(2024, 3, 11, 13, place // 3, tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}",
            "article_url": f"https://example.com/{place}",
            "publisher": {"name": "Example Wire", "homepage_url": "https://example.com/", "logo_url": ""},
            "insights": [{"ticker": "SPY", "sentiment": "neutral", "sentiment_reasoning": "None."}],
        }
        for place in range(14)
    ]


def dividends() -> list[dict[str, Any]]:
    return [
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
        for year in range(2016, 2025)
    ]


def splits() -> list[dict[str, Any]]:
    return [
        {"id": f"s{year}", "ticker": ticker, "execution_date": f"{year}-03-11", "split_from": 1, "split_to": 2}
        for ticker in ("AAA", "SPY")
        for year in range(2008, 2020, 2)
    ]


def rates() -> list[dict[str, Any]]:
    return [{"date": f"2024-02-{day:02}", "yield_1_month": 5 + day / 100} for day in range(1, 29)]


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
