"""Indicators and momentum, against formulas written out here and values that other libraries publish."""

import builtins
import csv
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from marketlake.errors import ConfigurationError
from marketlake.indicators import COLUMNS, indicators, momentum
from marketlake.tables import MOMENTUM_MINUTES, TABLES, TIME

OPEN_NS = 1_734_359_400_000_000_000  # 2024-12-16 14:30 UTC


def minute_bars(
    high: Sequence[float],
    low: Sequence[float],
    close: Sequence[float],
    volume: Sequence[float | None],
    vwap: Sequence[float | None] | None = None,
    start_ns: int = OPEN_NS,
) -> pa.Table:
    count = len(close)
    columns = {
        "ticker": ["SPY"] * count,
        "span": ["minute"] * count,
        "start": pa.array(start_ns + np.arange(count) * 60_000_000_000).cast(TIME),
        "open": close,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "vwap": [None] * count if vwap is None else vwap,
        "trades": [None] * count,
    }
    schema = TABLES["stock_bars"].schema
    return pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema)


def random_walk(count: int, seed: int = 7) -> pa.Table:
    rng = np.random.default_rng(seed)
    close = 600 + np.cumsum(rng.normal(0, 0.3, count))
    high, low = close + rng.uniform(0, 0.4, count), close - rng.uniform(0, 0.4, count)
    return minute_bars(high.tolist(), low.tolist(), close.tolist(), rng.integers(1, 10_000, count).tolist())


def wilder(values: list[float], first: float, length: int) -> list[float]:
    smoothed = [first]
    for value in values:
        smoothed.append((smoothed[-1] * (length - 1) + value) / length)
    return smoothed


def rsi_by_hand(close: list[float], length: int) -> list[float]:
    """Wilder, New Concepts in Technical Trading Systems (1978): first averages are plain means of the first changes."""
    changes = np.diff(close)
    gains, losses = np.maximum(changes, 0).tolist(), np.maximum(-changes, 0).tolist()
    up = wilder(gains[length:], sum(gains[:length]) / length, length)
    down = wilder(losses[length:], sum(losses[:length]) / length, length)
    return [math.nan] * length + [100 * u / (u + d) for u, d in zip(up, down, strict=True)]


def atr_by_hand(high: list[float], low: list[float], close: list[float], length: int) -> list[float]:
    """Wilder (1978); the first bar has no previous close, and so no true range."""
    ranges = [
        max(h - lo, abs(h - before), abs(lo - before))
        for h, lo, before in zip(high[1:], low[1:], close[:-1], strict=True)
    ]
    return [math.nan] * length + wilder(ranges[length:], sum(ranges[:length]) / length, length)


def ema_by_hand(values: list[float], first: float, length: int) -> list[float]:
    smoothed = [first]
    for value in values:
        smoothed.append(smoothed[-1] + 2 / (length + 1) * (value - smoothed[-1]))
    return smoothed


def macd_by_hand(close: list[float]) -> tuple[list[float], list[float]]:
    """Appel's 12, 26, 9; each average starts as the mean of as many closes as it is long, both with close 26."""
    fast = ema_by_hand(close[26:], sum(close[14:26]) / 12, 12)
    slow = ema_by_hand(close[26:], sum(close[:26]) / 26, 26)
    line = [f - s for f, s in zip(fast, slow, strict=True)]
    signal = ema_by_hand(line[9:], sum(line[:9]) / 9, 9)
    return [math.nan] * 33 + line[8:], [math.nan] * 33 + signal


def bands_by_hand(close: list[float]) -> list[tuple[float, float, float]]:
    """Bollinger's 20 and 2, with the deviation of the population."""
    bands = [(math.nan,) * 3] * 19
    for end in range(20, len(close) + 1):
        part = close[end - 20 : end]
        middle = sum(part) / 20
        deviation = math.sqrt(sum((value - middle) ** 2 for value in part) / 20)
        bands.append((middle - 2 * deviation, middle, middle + 2 * deviation))
    return bands


def test_indicators_are_what_their_formulas_say() -> None:
    bars = random_walk(390)
    high, low, close = (bars[name].to_pylist() for name in ("high", "low", "close"))

    answer = indicators(bars)

    macd, signal = macd_by_hand(close)
    lower, middle, upper = zip(*bands_by_hand(close), strict=True)
    expected = {
        "rsi_14": rsi_by_hand(close, 14),
        "atr_14": atr_by_hand(high, low, close, 14),
        "macd_12_26_9": macd,
        "macd_signal_12_26_9": signal,
        "macd_histogram_12_26_9": [line - slower for line, slower in zip(macd, signal, strict=True)],
        "bollinger_lower_20_2": lower,
        "bollinger_middle_20_2": middle,
        "bollinger_upper_20_2": upper,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(answer[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert set(COLUMNS) == set(answer)


def test_session_vwap_weighs_the_bars_own_vwap_and_else_their_typical_price() -> None:
    bars = minute_bars(
        high=[10.0, 12.0, 14.0],
        low=[8.0, 9.0, 12.0],
        close=[9.0, 9.0, 13.0],
        volume=[100.0, 300.0, 0.0],
        vwap=[9.5, None, 13.0],
    )

    assert indicators(bars)["session_vwap"].tolist() == pytest.approx(
        [9.5, (100 * 9.5 + 300 * 10) / 400, (100 * 9.5 + 300 * 10) / 400]
    )


def test_an_index_has_no_vwap_and_every_other_indicator() -> None:
    close = (20 + np.sin(np.arange(60))).tolist()

    answer = indicators(minute_bars(close, close, close, [None] * 60))

    assert np.isnan(answer.pop("session_vwap")).all()
    assert [] == [name for name, values in answer.items() if np.isnan(values[-1])]


@pytest.mark.parametrize("count", [0, 1, 13, 14, 15, 19, 20, 33, 34])
def test_warm_up_is_nan_and_a_short_session_is_the_beginning_of_a_long_one(count: int) -> None:
    """The library answers a series shorter than its warm-up with nothing at all."""
    long = indicators(random_walk(60))
    bars = random_walk(60).slice(0, count)

    short = indicators(bars)

    for name in COLUMNS:
        np.testing.assert_array_equal(long[name][:count], short[name], err_msg=name)
    assert (count > 14) == bool(np.isfinite(short["rsi_14"]).any())
    assert (count > 33) == bool(np.isfinite(short["macd_12_26_9"]).any())


def test_fails_clearly_where_talib_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TA-Lib pandas-ta says nothing and gives other numbers."""
    real_import = builtins.__import__

    def no_talib(name: str, *args: object, **kwargs: object) -> object:
        if name == "talib":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type] # handed through unchanged

    monkeypatch.setattr(builtins, "__import__", no_talib)

    with pytest.raises(ConfigurationError, match="TA-Lib cannot be imported"):
        indicators(random_walk(5))


def test_leaves_the_warnings_of_the_process_as_they_were() -> None:
    indicators(random_walk(5))

    with pytest.raises(UserWarning, match="still told"):
        warnings.warn("still told", UserWarning, stacklevel=1)


def test_momentum_compares_with_the_price_that_many_minutes_ago() -> None:
    prices = 600 + np.arange(70, dtype=np.float64)

    returns = momentum(prices).to_pylist()

    assert [[None] * len(MOMENTUM_MINUTES)] == returns[:1]
    assert [600 / 600 - 1 + 1 / 600, None, None, None, None] == pytest.approx(returns[1], nan_ok=True)
    expected = [prices[61] / prices[61 - minutes] - 1 for minutes in (1, 5, 15, 30, 60)]
    assert expected == pytest.approx(returns[61], rel=1e-15)


def test_momentum_is_null_where_either_price_is_unknown() -> None:
    prices = np.full(70, 600.0)
    prices[10] = np.nan

    returns = momentum(prices).to_pylist()

    unknown = {(row, column) for row, values in enumerate(returns) for column, one in enumerate(values) if one is None}
    early = {(row, column) for column, minutes in enumerate(MOMENTUM_MINUTES) for row in range(minutes)}
    touched = {(10, column) for column in range(5)} | {
        (10 + minutes, column) for column, minutes in enumerate(MOMENTUM_MINUTES) if 10 + minutes < 70
    }
    assert early | touched == unknown


def test_momentum_of_a_session_of_a_minute_is_one_row_of_nulls() -> None:
    assert [[None] * 5] == momentum(np.array([600.0])).to_pylist()


def column_of(path: Path, name: str) -> list[float]:
    with path.open(encoding="utf-8") as file:
        return [float(row[name]) if row[name] else math.nan for row in csv.DictReader(file)]


def lean_bars(path: Path, *names: str) -> pa.Table:
    high, low, close = (column_of(path, name) for name in names)
    return minute_bars(high, low, close, [1.0] * len(close), start_ns=OPEN_NS - 14 * 3_600_000_000_000)


@pytest.mark.parametrize("name", ["rsi", "vwap"])
def test_agrees_with_stock_indicators(reference_data: Path, name: str) -> None:
    """502 daily bars and their values by Stock.Indicators (C#), to all digits; the days are laid out as minutes."""
    folder = reference_data / "indicators" / "stock_indicators"
    source = folder / "spy_daily_input.csv"
    high, low, close, volume = (column_of(source, column) for column in ("high", "low", "close", "volume"))
    published = json.loads((folder / f"{name}.standard.json").read_text(encoding="utf-8"))
    column = {"rsi": "rsi_14", "vwap": "session_vwap"}[name]

    answer = indicators(minute_bars(high, low, close, volume, start_ns=OPEN_NS - 14 * 3_600_000_000_000))[column]

    expected = [math.nan if row[name] is None else row[name] for row in published]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("file", "theirs", "prices", "ours", "skip", "tolerance"),
    [
        ("spy_bollinger_bands.txt", "Moving Average 20", ("High", "Low", "Close"), "bollinger_middle_20_2", 0, 5.1e-5),
        # Printed to four digits, and computed by the charting service with one digit less in between.
        (
            "spy_bollinger_bands.txt",
            "Bollinger Bands® 20 2 Top",
            ("High", "Low", "Close"),
            "bollinger_upper_20_2",
            0,
            6.1e-5,
        ),
        (
            "spy_bollinger_bands.txt",
            "Bollinger Bands® 20 2 Bottom",
            ("High", "Low", "Close"),
            "bollinger_lower_20_2",
            0,
            6.1e-5,
        ),
        ("spy_with_indicators.txt", "RSI 14 Wilder", ("Close", "Close", "Close"), "rsi_14", 0, 5.1e-6),
        # Theirs counts a range for the first bar, which has no previous close; the start is forgotten by 13/14 a bar.
        ("spy_atr_wilder.txt", "Average True Range 14", ("High", "Low", "Close"), "atr_14", 300, 5.1e-6),
        # Theirs starts the fast average at close 12, TA-Lib both with close 26; the start is forgotten by 25/27 a bar.
        ("spy_with_indicators.txt", "MACD 12 26", ("Close", "Close", "Close"), "macd_12_26_9", 300, 2e-4),
    ],
)
def test_agrees_with_the_values_that_lean_is_tested_with(
    reference_data: Path, file: str, theirs: str, prices: tuple[str, str, str], ours: str, skip: int, tolerance: float
) -> None:
    path = reference_data / "indicators" / "lean" / file
    expected = np.array(column_of(path, theirs))

    answer = indicators(lean_bars(path, *prices))[ours]

    assert np.nanmax(np.abs(answer - expected)[skip:]) <= tolerance
    assert np.isfinite(answer - expected).sum() >= 460
