"""Technical indicators and momentum of one session, on its own regular minute bars: no session leaks into the next.

RSI, MACD, Bollinger bands, ATR and the session's VWAP are pandas-ta's over TA-Lib. They are computed over the bars that
exist, in their order: nothing is interpolated, and a minute without a bar has no indicator. Which bars count and on
which grid they are laid is the business of :mod:`marketlake.consolidate`.
"""

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from marketlake.align import Floats
from marketlake.errors import ConfigurationError
from marketlake.tables import MOMENTUM_MINUTES

if TYPE_CHECKING:
    import pandas as pd

RSI_LENGTH: Final = 14
MACD_LENGTHS: Final = (12, 26, 9)
BOLLINGER_LENGTH: Final = 20
BOLLINGER_DEVIATIONS: Final = 2.0  # of the population (TA-Lib divides by 20, not by 19)
ATR_LENGTH: Final = 14

COLUMNS: Final = (
    "session_vwap",
    "rsi_14",
    "macd_12_26_9",
    "macd_signal_12_26_9",
    "macd_histogram_12_26_9",
    "bollinger_lower_20_2",
    "bollinger_middle_20_2",
    "bollinger_upper_20_2",
    "atr_14",
)


def indicators(bars: pa.Table) -> dict[str, Floats]:
    """The indicators of COLUMNS, one value for each of the session's minute bars; NaN while they warm up.

    ``bars`` are one ticker's minute bars of the regular hours of one session, ascending by start. First values: RSI and
    ATR with bar 15, MACD and its signal with bar 34, Bollinger bands with bar 20. The session's VWAP weighs, from the
    first bar on, each bar's own VWAP by its volume; the typical price (high + low + close) / 3 stands in where the
    vendor gives no VWAP of a bar. An index has no volume, and so none.

    Raises:
        ConfigurationError: TA-Lib cannot be imported; pandas-ta would silently give other numbers without it.
    """
    _require_talib()
    import pandas as pd  # noqa: PLC0415 - together 2 s that only a consolidation should pay
    import pandas_ta  # noqa: PLC0415

    index = pd.DatetimeIndex(bars["start"].to_numpy())
    high, low, close, volume, vwap = (
        pd.Series(bars[name].to_numpy(zero_copy_only=False), index=index, dtype="float64")
        for name in ("high", "low", "close", "volume", "vwap")
    )
    fast, slow, signal = MACD_LENGTHS
    macd = pandas_ta.macd(close, fast=fast, slow=slow, signal=signal, talib=True)
    bands = pandas_ta.bbands(
        close,
        length=BOLLINGER_LENGTH,
        lower_std=BOLLINGER_DEVIATIONS,
        upper_std=BOLLINGER_DEVIATIONS,
        talib=True,
    )
    macd_name = f"{fast}_{slow}_{signal}"
    bands_name = f"{BOLLINGER_LENGTH}_{BOLLINGER_DEVIATIONS}_{BOLLINGER_DEVIATIONS}"
    series = (
        _session_vwap(vwap.fillna((high + low + close) / 3), volume),
        pandas_ta.rsi(close, length=RSI_LENGTH, talib=True),
        None if macd is None else macd[f"MACD_{macd_name}"],
        None if macd is None else macd[f"MACDs_{macd_name}"],
        None if macd is None else macd[f"MACDh_{macd_name}"],
        None if bands is None else bands[f"BBL_{bands_name}"],
        None if bands is None else bands[f"BBM_{bands_name}"],
        None if bands is None else bands[f"BBU_{bands_name}"],
        pandas_ta.atr(high, low, close, length=ATR_LENGTH, talib=True),
    )
    return {name: _values(values, bars.num_rows) for name, values in zip(COLUMNS, series, strict=True)}


def momentum(last_price: Floats) -> pa.Array:
    """Returns over MOMENTUM_MINUTES for each minute of a session: last price now over last price then, less one.

    ``last_price`` is the last close known at the end of each minute, one value a minute of the grid, NaN where none is.
    A return is null until the session has that many minutes, and where either price is. One array of MOMENTUM_MINUTES'
    length a minute.
    """
    returns = np.full((last_price.size, len(MOMENTUM_MINUTES)), np.nan)
    for column, minutes in enumerate(MOMENTUM_MINUTES):
        returns[minutes:, column] = last_price[minutes:] / last_price[:-minutes] - 1
    return pa.FixedSizeListArray.from_arrays(pa.array(returns.ravel(), from_pandas=True), len(MOMENTUM_MINUTES))


def _session_vwap(price: "pd.Series[float]", volume: "pd.Series[float]") -> "pd.Series[float]":
    import pandas_ta  # noqa: PLC0415

    if price.size < 2:  # for which pandas-ta has no answer but a line on standard output
        return price.where(volume > 0)
    with warnings.catch_warnings():  # pandas-ta switches every UserWarning of the process off here
        average: pd.Series[float] = pandas_ta.vwap(price, price, price, volume, anchor="D")
    return average


def _values(series: "pd.Series[float] | None", length: int) -> Floats:
    """The library gives None, not NaN, for a series shorter than the warm-up."""
    if series is None:
        return np.full(length, np.nan)
    return np.asarray(series, dtype=np.float64)


def _require_talib() -> None:
    try:
        import talib  # noqa: F401, PLC0415
    except ImportError as error:
        problem = f"TA-Lib cannot be imported ({error}): install ta-lib as requirements.lock has it"
        raise ConfigurationError("environment", "ta-lib", problem) from error
