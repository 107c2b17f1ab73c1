"""Every rule of every suite is shown a row that it lets pass and one that it refuses."""

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

import expectations
from marketlake.checks import Verdict
from marketlake.tables import TABLES, YIELD_MONTHS

INF = float("inf")
NAN = float("nan")
Row = dict[str, Any]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# 2025-08-29 10:00 New York, a Friday in summer: New York is UTC-4, Chicago UTC-5.
TEN = at("2025-08-29T14:00:00")
BAR = {
    "ticker": "SPY", "span": "minute", "start": TEN, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5,
    "volume": 10.0, "vwap": 2.1, "trades": 3,
}  # fmt: skip
CALL = "O:SPY250919C00650000"
TRADE = {
    "ticker": "SPY", "sip_timestamp": TEN, "participant_timestamp": TEN, "trf_timestamp": TEN, "trf_id": 201,
    "exchange": 4, "id": "71", "sequence_number": 5, "price": 645.1, "size": 100.0, "decimal_size": "100.0",
    "conditions": [12, 37], "correction": 0, "tape": 2,
}  # fmt: skip
QUOTE = {
    "ticker": "SPY", "sip_timestamp": TEN, "participant_timestamp": TEN, "trf_timestamp": None, "sequence_number": 5,
    "bid_price": 645.0, "bid_size": 3.0, "bid_exchange": 11, "ask_price": 645.1, "ask_size": 2.0, "ask_exchange": 12,
    "conditions": [1], "indicators": None, "tape": 2,
}  # fmt: skip
CONTRACT = {
    "ticker": CALL, "expiry": date(2025, 9, 19), "strike": Decimal("650.000"), "right": "call",
    "shares_per_contract": 100.0, "exercise_style": "american", "primary_exchange": "BATO", "cfi": "OCASPS",
    "correction": None, "additional_underlyings": None, "chosen": False, "rank": None, "refusal": None,
    "opening_price": None, "opening_price_source": None,
}  # fmt: skip
SNAPSHOT = {
    "ticker": CALL, "expiry": date(2025, 9, 19), "strike": Decimal("650.000"), "right": "call",
    "exercise_style": "american", "shares_per_contract": 100.0, "open_interest": 18211.0,
    "vendor_implied_volatility": 0.162, "vendor_delta": 0.51, "vendor_gamma": 0.071, "vendor_theta_per_day": -1.93,
    "vendor_vega_per_point": 0.06, "break_even_price": 653.1, "open": 2.5, "high": 3.6, "low": 2.2, "close": 3.1,
    "volume": 41230.0, "vwap": 2.94, "previous_close": 2.7, "day_updated": TEN, "bid_price": 3.09, "bid_size": 61.0,
    "bid_exchange": 302, "ask_price": 3.12, "ask_size": 44.0, "ask_exchange": 304, "quote_updated": TEN,
    "trade_price": 3.1, "trade_size": 2.0, "trade_exchange": 316, "trade_conditions": [209],
    "trade_sip_timestamp": TEN, "underlying_price": 650.2, "underlying_updated": TEN,
}  # fmt: skip
ARTICLE = {
    "id": "9f2c", "ticker": "SPY", "published": TEN, "title": "Index fund sees inflow", "author": None,
    "publisher": "Example Wire", "article_url": None, "description": None, "keywords": ["etf"],
    "sentiment": "positive", "sentiment_source": "vendor", "sentiment_reasoning": None, "sentiment_compound": None,
}  # fmt: skip
OF_VADER = {"sentiment_source": "vader", "sentiment_compound": -1.0}
DIVIDEND = {
    "ticker": "SPY", "id": "E1", "ex_dividend_date": date(2025, 9, 19), "declaration_date": None, "record_date": None,
    "pay_date": None, "cash_amount": 1.83, "currency": "USD", "frequency": 4, "dividend_type": "CD",
}  # fmt: skip
SPLIT = {"ticker": "AAPL", "id": "E2", "execution_date": date(2014, 6, 9), "split_from": 1.0, "split_to": 7.0}
CURVE = {"date": date(2025, 8, 28), **dict.fromkeys(YIELD_MONTHS, 4.2)}
MARKET = {
    "minute": TEN, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 10.0, "vwap": 2.1, "trades": 3,
    "last_price": 2.5, "last_price_age_s": 0.0, "vix": 15.0, "vix_age_s": 30.0, "news_count_60m": 2,
    "news_sentiment_60m": 0.5, "session_vwap": 2.2, "rsi_14": 55.0, "macd_12_26_9": 0.3, "macd_signal_12_26_9": 0.2,
    "macd_histogram_12_26_9": 0.1, "bollinger_lower_20_2": 1.0, "bollinger_middle_20_2": 2.0,
    "bollinger_upper_20_2": 3.0, "atr_14": 0.4, "momentum_returns": [0.01, -0.01, None, None, None],
}  # fmt: skip
OPTION = {
    "minute": TEN, "ticker": CALL, "expiry": date(2025, 9, 19), "strike": Decimal("650.000"), "right": "call",
    "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 10.0, "bid_price": 2.4, "ask_price": 2.6,
    "bid_size": 1.0, "ask_size": 1.0, "quote_age_s": 0.5, "underlying_price": 645.0, "underlying_age_s": 0.0,
    "vix": 15.0, "vix_age_s": 30.0, "option_price": 2.5, "price_source": "quote_mid", "price_age_s": 0.5,
    "years_to_expiry": 0.058, "rate": 0.042, "dividends_present_value": 1.8, "implied_volatility": 0.12, "delta": 0.3,
    "gamma": 0.02, "vega_per_point": 0.5, "theta_per_day": -0.1, "rho_per_point": 0.1, "reason": None,
}  # fmt: skip
PUT = {"ticker": "O:SPY250919P00650000", "right": "put"}
NO_BAR: Row = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "trades"))
UNPRICED: Row = dict.fromkeys(
    ("implied_volatility", "delta", "gamma", "vega_per_point", "theta_per_day", "rho_per_point")
) | {"reason": "no_rate"}

GOOD: dict[str, Row] = {
    "stock_bars": BAR,
    "index_bars": BAR | {"ticker": "I:VIX", "volume": None, "vwap": None, "trades": None},
    "index_values": {"ticker": "I:VIX", "event_time": at("2025-08-29T14:00:05.123"), "value": 15.36},
    "option_bars": BAR | {"ticker": CALL},
    "stock_trades": TRADE,
    "option_trades": TRADE | {"ticker": CALL, "id": None, "trf_id": None, "trf_timestamp": None, "decimal_size": None},
    "stock_quotes": QUOTE,
    "option_quotes": QUOTE | {"ticker": CALL},
    "option_contracts": CONTRACT,
    "option_snapshots": SNAPSHOT,
    "news": ARTICLE,
    "dividends": DIVIDEND,
    "splits": SPLIT,
    "treasury_yields": CURVE,
    "market_minutes": MARKET,
    "option_minutes": OPTION,
}

BAR_RULES: dict[str, tuple[Row, Row]] = {
    "required_present": ({"trades": None}, {"close": None}),
    "span_known": ({"span": "day", "start": at("2025-08-29T04:00:00")}, {"span": "hour"}),
    "start_in_calendar": ({"start": at("2035-12-31T20:00:00")}, {"start": at("1994-12-30T15:00:00")}),
    "start_aligned": ({"span": "second", "start": at("2025-08-29T14:00:07")}, {"start": at("2025-08-29T14:00:07")}),
    "open_above_zero": ({"open": 1.0}, {"open": 0.0}),
    "high_above_zero": ({"high": 1e6}, {"high": INF}),
    "low_above_zero": ({"low": 0.0001}, {"low": -0.0001}),
    "close_above_zero": ({"close": 3.0}, {"close": NAN}),
    "high_is_highest": ({"high": 2.5}, {"high": 2.4}),
    "low_is_lowest": ({"low": 2.0}, {"low": 2.2, "vwap": None}),
    "volume_not_negative": ({"volume": 0.0}, {"volume": -1.0}),
    "vwap_is_price": ({"vwap": 99.0}, {"vwap": 0.0}),
    "trades_not_negative": ({"trades": 0}, {"trades": -1}),
}
TRADE_RULES: dict[str, tuple[Row, Row]] = {
    "required_present": ({"conditions": None}, {"exchange": None}),
    "sip_timestamp_in_calendar": ({"sip_timestamp": at("1995-01-03T14:30:00")}, {"sip_timestamp": at("1970-01-01")}),
    "participant_timestamp_in_calendar": ({"participant_timestamp": None}, {"participant_timestamp": at("1970-01-01")}),
    "trf_timestamp_in_calendar": ({"trf_timestamp": None}, {"trf_timestamp": at("2036-01-01T12:00:00")}),
    "price_above_zero": ({"price": 0.0001}, {"price": 0.0}),
    "size_not_negative": ({"size": 0.0, "decimal_size": "0.4"}, {"size": -1.0}),
    "decimal_size_is_size": ({"size": 10.0, "decimal_size": "10.75"}, {"decimal_size": "many"}),
    "exchange_not_negative": ({"exchange": 0}, {"exchange": -1}),
    "sequence_number_not_negative": ({"sequence_number": None}, {"sequence_number": -1}),
}
QUOTE_RULES: dict[str, tuple[Row, Row]] = {
    "required_present": ({"bid_price": None}, {"sip_timestamp": None}),
    "sip_timestamp_in_calendar": ({"sip_timestamp": at("1995-01-03T14:30:00")}, {"sip_timestamp": at("1970-01-01")}),
    "participant_timestamp_in_calendar": ({"participant_timestamp": None}, {"participant_timestamp": at("1970-01-01")}),
    "trf_timestamp_in_calendar": ({"trf_timestamp": None}, {"trf_timestamp": at("2036-01-01T12:00:00")}),
    "bid_price_not_negative": ({"bid_price": 0.0, "bid_size": 0.0, "bid_exchange": 0}, {"bid_price": -0.01}),
    "ask_price_not_negative": ({"ask_price": 600.0}, {"ask_price": INF}),  # crossed: a fact
    "bid_size_not_negative": ({"bid_size": 0.0}, {"bid_size": -1.0}),
    "ask_size_not_negative": ({"ask_size": None}, {"ask_size": NAN}),
    "bid_exchange_not_negative": ({"bid_exchange": 0}, {"bid_exchange": -1}),
    "ask_exchange_not_negative": ({"ask_exchange": None}, {"ask_exchange": -1}),
    "sequence_number_not_negative": ({"sequence_number": 0}, {"sequence_number": -1}),
}
OF_DAYS_AND_TRADES = ("open", "high", "low", "close", "vwap", "previous_close", "trade_price", "underlying_price")
OF_QUOTES = ("bid_price", "ask_price", "bid_size", "ask_size", "volume", "trade_size", "open_interest")
OF_EXCHANGES = ("bid_exchange", "ask_exchange", "trade_exchange")
OF_INSTANTS = ("day_updated", "quote_updated", "trade_sip_timestamp", "underlying_updated")
SNAPSHOT_RULES: dict[str, tuple[Row, Row]] = {
    "required_present": (dict.fromkeys(set(SNAPSHOT) - {"ticker", "expiry", "strike"}), {"strike": None}),
    "expiry_in_range": (
        {"ticker": "O:SPY351221C00650000", "expiry": date(2035, 12, 21)},
        {"ticker": "O:SPY361219C00650000", "expiry": date(2036, 12, 19)},
    ),
    "expiry_as_in_symbol": ({"expiry": date(2025, 9, 19)}, {"expiry": date(2025, 9, 18)}),
    "right_known": (PUT, {"right": "straddle"}),
    "right_as_in_symbol": ({"right": None}, {"right": "put"}),
    "strike_above_zero": ({"strike": Decimal("92.860")}, {"strike": Decimal("0.000")}),  # adjusted: another strike
    "exercise_style_known": ({"exercise_style": "european"}, {"exercise_style": "asian"}),
    "shares_per_contract_above_zero": ({"shares_per_contract": 104.0}, {"shares_per_contract": 0.0}),
    "vendor_implied_volatility_not_negative": (
        {"vendor_implied_volatility": 0.0},
        {"vendor_implied_volatility": -0.01},
    ),
    "vendor_delta_in_range": ({"vendor_delta": -1.0}, {"vendor_delta": 1.01}),
    **{f"{name}_not_negative": ({name: 0.0}, {name: -0.01}) for name in (*OF_DAYS_AND_TRADES, *OF_QUOTES)},
    **{f"{name}_not_negative": ({name: 0}, {name: -1}) for name in OF_EXCHANGES},
    **{f"{name}_in_calendar": ({name: None}, {name: at("1970-01-01")}) for name in OF_INSTANTS},
}
OF_SHARE = {"ticker_of_class": ({"ticker": "BRK.B"}, {"ticker": "I:VIX"})}
OF_OPTION = {"ticker_of_class": ({"ticker": "O:SPY1250919C00650000"}, {"ticker": "O:SPY250931C00650000"})}
EVENT_DAYS = (date(1978, 10, 25), date(1970, 1, 1))

EXAMPLES: dict[str, dict[str, tuple[Row, Row]]] = {
    "stock_bars": BAR_RULES | OF_SHARE | {"volume_present": ({"volume": 0.5}, {"volume": None})},
    "index_bars": BAR_RULES
    | {
        "ticker_of_class": ({"ticker": "I:SPX"}, {"ticker": "VIX"}),
        "span_known": ({"span": "day", "start": at("2025-08-29T05:00:00")}, {"span": ""}),
        "start_aligned": (
            {"span": "day", "start": at("2025-08-29T05:00:00")},
            {"span": "day", "start": at("2025-08-29T04:00:00")},
        ),
        "low_is_lowest": ({"low": 2.0}, {"low": 2.1}),
    },
    "index_values": {
        "required_present": ({}, {"value": None}),
        "ticker_of_class": ({"ticker": "I:SPX"}, {"ticker": "VIX"}),
        "event_time_in_calendar": ({"event_time": at("2035-12-31T20:00:00")}, {"event_time": at("1970-01-01")}),
        "value_above_zero": ({"value": 0.01}, {"value": 0.0}),
    },
    "option_bars": BAR_RULES | OF_OPTION | {"volume_present": ({"volume": 1.0}, {"volume": None})},
    "stock_trades": TRADE_RULES | OF_SHARE,
    "option_trades": TRADE_RULES | OF_OPTION,
    "stock_quotes": QUOTE_RULES | OF_SHARE,
    "option_quotes": QUOTE_RULES | OF_OPTION,
    "option_contracts": OF_OPTION
    | {
        "required_present": ({"right": None}, {"strike": None}),
        "expiry_in_range": (
            {"ticker": "O:SPY351221C00650000", "expiry": date(2035, 12, 21)},
            {"ticker": "O:SPY361219C00650000", "expiry": date(2036, 12, 19)},
        ),
        "expiry_as_in_symbol": ({"expiry": date(2025, 9, 19)}, {"expiry": date(2025, 9, 18)}),
        "right_known": (PUT, {"right": "straddle"}),
        "right_as_in_symbol": ({"right": None}, {"right": "put"}),
        "strike_above_zero": (
            {"ticker": "O:SPY250919C00000500", "strike": Decimal("0.500")},
            {"strike": Decimal("0.000")},
        ),
        "strike_as_in_symbol": (
            {"strike": Decimal("92.860"), "additional_underlyings": '[{"amount":33,"underlying":"USD"}]'},
            {"strike": Decimal("92.860")},
        ),
        "shares_per_contract_above_zero": ({"shares_per_contract": None}, {"shares_per_contract": 0.0}),
        "exercise_style_known": ({"exercise_style": "european"}, {"exercise_style": "asian"}),
        "opening_price_above_zero": ({"opening_price": 645.1}, {"opening_price": 0.0}),
    },
    "option_snapshots": OF_OPTION | SNAPSHOT_RULES,
    "news": {
        "required_present": ({"description": None}, {"title": None}),
        "id_not_blank": ({"id": "1"}, {"id": ""}),
        "ticker_is_word": ({"ticker": "X:BTCUSD"}, {"ticker": "SPY QQQ"}),
        "published_in_calendar": ({"published": at("2016-05-02T00:00:00")}, {"published": at("1970-01-01")}),
        "title_not_blank": ({"title": "?"}, {"title": " \t"}),
        "sentiment_known": ({"sentiment": "neutral"}, {"sentiment": "bullish"}),
        "sentiment_source_known": (OF_VADER, {"sentiment_source": "a person"}),
        "sentiment_compound_in_range": (OF_VADER, OF_VADER | {"sentiment_compound": 1.01}),
        "compound_of_vader": (OF_VADER, {"sentiment_compound": 0.0}),
    },
    "dividends": OF_SHARE
    | {
        "required_present": ({"pay_date": None}, {"cash_amount": None}),
        "ex_dividend_date_in_range": tuple({"ex_dividend_date": day} for day in EVENT_DAYS),
        "cash_amount_above_zero": ({"cash_amount": 0.000123}, {"cash_amount": 0.0}),
        "frequency_not_negative": ({"frequency": 0}, {"frequency": -4}),
    },
    "splits": OF_SHARE
    | {
        "required_present": ({"id": None}, {"split_to": None}),
        "execution_date_in_range": tuple({"execution_date": day} for day in EVENT_DAYS),
        "split_from_above_zero": ({"split_from": 30.0}, {"split_from": 0.0}),
        "split_to_above_zero": ({"split_to": 0.5}, {"split_to": -1.0}),
    },
    "treasury_yields": {
        "required_present": ({"yield_20_year": None}, {"date": None}),
        "date_in_range": ({"date": date(1962, 1, 2)}, {"date": date(2062, 1, 2)}),
        "yields_in_range": ({"yield_1_month": -0.04}, {"yield_10_year": 427.0}),
        "curve_not_empty": (dict.fromkeys(YIELD_MONTHS) | {"yield_1_month": 4.2}, dict.fromkeys(YIELD_MONTHS)),
    },
    "market_minutes": {
        "required_present": (NO_BAR, {"minute": None}),
        "minute_in_calendar": ({"minute": at("1995-01-03T14:30:00")}, {"minute": at("2036-01-02T14:30:00")}),
        "minute_is_whole": ({"minute": at("2025-08-29T14:01:00")}, {"minute": at("2025-08-29T14:00:01")}),
        "open_above_zero": ({"open": 1.0}, {"open": 0.0}),
        "high_above_zero": ({"high": 1e6}, {"high": INF}),
        "low_above_zero": ({"low": 0.0001}, {"low": -0.0001}),
        "close_above_zero": ({"close": 3.0}, {"close": NAN}),
        "high_is_highest": ({"high": 2.5}, {"high": 2.4}),
        "low_is_lowest": ({"low": 2.0}, {"low": 2.1}),
        "prices_together": (NO_BAR, {"close": None}),
        "volume_not_negative": ({"volume": 0.0}, {"volume": -1.0}),
        "vwap_is_price": ({"vwap": 0.0, "volume": 0.0}, {"vwap": -2.0}),
        "trades_not_negative": ({"trades": 0}, {"trades": -1}),
        "last_price_above_zero": ({"last_price": 0.01}, {"last_price": 0.0}),
        "last_price_age_s_not_negative": ({"last_price_age_s": 899.0}, {"last_price_age_s": -60.0}),
        "last_price_with_age": ({"last_price": None, "last_price_age_s": None}, {"last_price_age_s": None}),
        "vix_above_zero": ({"vix": 80.0}, {"vix": 0.0}),
        "vix_age_s_not_negative": ({"vix_age_s": 0.0}, {"vix_age_s": -1.0}),
        "vix_with_age": ({"vix": None, "vix_age_s": None}, {"vix": None}),
        "news_count_60m_not_negative": (
            {"news_count_60m": 0, "news_sentiment_60m": None},
            {"news_count_60m": -1, "news_sentiment_60m": None},
        ),
        "news_sentiment_60m_in_range": ({"news_sentiment_60m": -1.0}, {"news_sentiment_60m": 1.5}),
        "sentiment_from_articles": ({"news_count_60m": 1}, {"news_count_60m": 0}),
        "session_vwap_above_zero": ({"session_vwap": None}, {"session_vwap": 0.0}),
        "rsi_14_in_range": ({"rsi_14": 100.0}, {"rsi_14": 100.5}),
        "histogram_is_difference": ({"macd_histogram_12_26_9": 0.1 + 1e-12}, {"macd_histogram_12_26_9": -0.1}),
        "bands_in_order": ({"bollinger_lower_20_2": 2.0, "bollinger_upper_20_2": 2.0}, {"bollinger_upper_20_2": 1.9}),
        "atr_14_not_negative": ({"atr_14": 0.0}, {"atr_14": -0.1}),
        "momentum_is_return": (
            {"momentum_returns": [-0.999, 5.0, None, None, None]},
            {"momentum_returns": [0.0, None, None, None, -1.0]},
        ),
    },
    "option_minutes": {
        "required_present": ({"volume": None}, {"right": None}),
        "ticker_of_class": ({}, {"ticker": "SPY"}),
        "minute_in_calendar": ({"minute": at("1995-01-03T14:30:00")}, {"minute": at("2036-01-02T14:30:00")}),
        "minute_is_whole": ({"minute": at("2025-08-29T14:01:00")}, {"minute": at("2025-08-29T14:00:01")}),
        "expiry_as_in_symbol": ({}, {"expiry": date(2025, 9, 18)}),
        "right_known": (PUT | {"delta": -0.3, "rho_per_point": -0.1}, {"right": "other"}),
        "right_as_in_symbol": ({}, {"right": "put"}),
        "strike_above_zero": ({"strike": Decimal("0.001")}, {"strike": Decimal("0.000")}),
        "open_above_zero": ({"open": 1.0}, {"open": 0.0}),
        "high_above_zero": ({"high": 1e6}, {"high": INF}),
        "low_above_zero": ({"low": 0.0001}, {"low": -0.0001}),
        "close_above_zero": ({"close": 3.0}, {"close": NAN}),
        "high_is_highest": ({"high": 2.5}, {"high": 2.4}),
        "low_is_lowest": ({"low": 2.0}, {"low": 2.1}),
        "prices_together": (dict.fromkeys(("open", "high", "low", "close", "volume")), {"open": None}),
        "volume_not_negative": ({"volume": 0.0}, {"volume": -1.0}),
        "bid_price_not_negative": ({"bid_price": 0.0}, {"bid_price": -0.01}),
        "ask_price_not_negative": ({"ask_price": None}, {"ask_price": INF}),
        "bid_size_not_negative": ({"bid_size": 0.0}, {"bid_size": -1.0}),
        "ask_size_not_negative": ({"ask_size": 0.0}, {"ask_size": -1.0}),
        "quote_age_s_not_negative": ({"quote_age_s": 0.0}, {"quote_age_s": -0.001}),
        "underlying_price_above_zero": ({"underlying_price": 0.01}, {"underlying_price": 0.0}),
        "underlying_age_s_not_negative": ({"underlying_age_s": 60.0}, {"underlying_age_s": -60.0}),
        "underlying_with_age": ({"underlying_price": None, "underlying_age_s": None}, {"underlying_price": None}),
        "vix_above_zero": ({"vix": 80.0}, {"vix": 0.0}),
        "vix_age_s_not_negative": ({"vix_age_s": 0.0}, {"vix_age_s": -1.0}),
        "vix_with_age": ({"vix": None, "vix_age_s": None}, {"vix_age_s": None}),
        "option_price_above_zero": ({"option_price": 0.005}, {"option_price": 0.0}),
        "price_source_known": ({"price_source": "bar_close"}, {"price_source": "guess"}),
        "price_age_s_not_negative": ({"price_age_s": 0.0}, {"price_age_s": -1.0}),
        "option_price_with_source": (
            {"option_price": None, "price_source": None, "price_age_s": None},
            {"price_source": None},
        ),
        "years_to_expiry_not_negative": ({"years_to_expiry": 0.0}, {"years_to_expiry": -0.1}),
        "rate_in_range": ({"rate": -0.01}, {"rate": 4.2}),
        "dividends_present_value_not_negative": (
            {"dividends_present_value": None},
            {"dividends_present_value": -1.0},
        ),
        # One minute before expiry and a quarter out of the money, a price of a dollar means a volatility of 145.
        "implied_volatility_above_zero": (
            {"implied_volatility": 145.0, "years_to_expiry": 1 / 525_600},
            {"implied_volatility": 0.0},
        ),
        "total_volatility_told_apart": (
            {"implied_volatility": 19.9, "years_to_expiry": 1.0},
            {"implied_volatility": 20.1, "years_to_expiry": 1.0},
        ),
        "reason_known": (UNPRICED, UNPRICED | {"reason": "tired"}),
        "volatility_or_reason": (UNPRICED, {"reason": "no_rate"}),
        "greeks_with_volatility": ({"theta_per_day": -50.0}, {"theta_per_day": None}),
        "delta_by_right": ({"delta": 1.0}, {"delta": -0.3}),
        "gamma_not_negative": ({"gamma": 0.0}, {"gamma": -0.01}),
        "vega_per_point_not_negative": ({"vega_per_point": 0.0}, {"vega_per_point": -0.01}),
        "rho_by_right": ({"rho_per_point": 0.0}, {"rho_per_point": -0.1}),
    },
}

WHOLES: dict[str, dict[str, tuple[list[Row], list[Row]]]] = {
    "market_minutes": {
        "grid_not_empty": ([{}], []),
        "minutes_follow": (
            [{}, {"minute": at("2025-08-29T14:01:00")}],
            [{}, {"minute": at("2025-08-29T14:02:00")}],
        ),
    },
    "option_minutes": {
        "ticker_then_minute": (
            [{"minute": at("2025-08-29T14:01:00")}, PUT | {"delta": -0.3, "rho_per_point": -0.1}],
            [{}, {}],
        )
    },
}


def rows_of(table: str, changes: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([GOOD[table] | change for change in changes], schema=TABLES[table].schema)


@cache
def verdict_on_examples(table: str) -> Verdict:
    """The passing examples of all rules first, then the failing ones."""
    examples = list(EXAMPLES[table].values())
    changes = [passing for passing, _ in examples] + [failing for _, failing in examples]
    return expectations.check(TABLES[table], rows_of(table, changes))


RULES = [pytest.param(table, rule, id=f"{table}-{rule}") for table, rules in EXAMPLES.items() for rule in rules]
WHOLE_RULES = [pytest.param(table, rule, id=f"{table}-{rule}") for table, rules in WHOLES.items() for rule in rules]


@pytest.mark.parametrize(("table", "rule"), RULES)
def test_a_rule_lets_its_good_row_pass_and_refuses_its_bad_one(table: str, rule: str) -> None:
    verdict = verdict_on_examples(table)
    reasons = dict(zip(verdict.rows.tolist(), verdict.rules, strict=True))
    number, total = list(EXAMPLES[table]).index(rule), len(EXAMPLES[table])

    assert reasons.get(number) is None
    assert rule == reasons.get(total + number)


@pytest.mark.parametrize(("table", "rule"), WHOLE_RULES)
def test_a_rule_about_the_whole_passes_its_good_rows_and_fails_its_bad_ones(table: str, rule: str) -> None:
    passing, failing = WHOLES[table][rule]
    good = expectations.check(TABLES[table], rows_of(table, passing))
    bad = expectations.check(TABLES[table], rows_of(table, failing))

    assert ((), ()) == (good.rules, good.failed)
    assert ((), (rule,)) == (bad.rules, bad.failed)


@pytest.mark.parametrize("table", TABLES)
def test_every_rule_of_a_suite_has_its_examples(table: str) -> None:
    rules = [expectation.meta["rule"] for expectation in expectations.suite_of(table).expectations]

    assert sorted(rules) == sorted([*EXAMPLES[table], *WHOLES.get(table, ())])


@pytest.mark.parametrize("table", TABLES)
def test_rules_have_unique_short_names_and_reasons(table: str) -> None:
    suite = expectations.suite_of(table).expectations
    names = [expectation.meta["rule"] for expectation in suite]

    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name == name.lower() and len(name) <= 40 for name in names)
    assert all(str(expectation.notes).endswith(".") for expectation in suite)
