"""One session on one page: price, VIX, a smile, coverage, as an HTML file that needs nothing else.

Takes consolidated tables; knows nothing of where they lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.ledger import How
from marketlake.sessions import NEW_YORK
from marketlake.strip import Strip, around_the_stream

COLOURS: Final = {
    How.HALTED: "#5b4b8a",
    How.STREAMED: "#2b7a78",
    How.HEALED: "#e0a030",
    How.VERIFIED_EMPTY: "#c8c8c8",
    How.BACKFILLED: "#9fc5c3",
    How.UNAVAILABLE: "#b23a48",
}


@dataclass(frozen=True, slots=True)
class CoverageLine:
    """What the lake holds of one table for the session: rows stored and refused, and how it was obtained."""

    table: str
    owner: str
    rows: int
    refused: int
    how: str


def session_page(
    underlying: str,
    session: date,
    market: pa.Table,
    options: pa.Table | None,
    *,
    coverage: Sequence[CoverageLine],
    strips: Sequence[Strip],
) -> str:
    """The page's HTML, plotly's script included, so that it opens without a network."""
    import plotly.graph_objects as go  # noqa: PLC0415 - a second that only a picture pays
    from plotly.subplots import make_subplots  # noqa: PLC0415

    figure = make_subplots(
        rows=5,
        cols=1,
        row_heights=[0.27, 0.12, 0.19, 0.11, 0.31],
        vertical_spacing=0.06,
        subplot_titles=(
            f"{underlying} price",
            "VIX",
            _smile_title(options),
            "How each second is known, around what was recorded live",
            "What the lake holds of this session",
        ),
        specs=[[{"type": "xy"}], [{"type": "xy"}], [{"type": "xy"}], [{"type": "xy"}], [{"type": "table"}]],
    )
    clock = market["minute"].cast(pa.timestamp("ns", tz="America/New_York"))
    minutes = pc.strftime(clock, format="%Y-%m-%d %H:%M").to_pylist()
    prices = {name: market[name].to_pylist() for name in ("open", "high", "low", "close", "session_vwap", "vix")}
    bars = go.Candlestick(
        x=minutes,
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        close=prices["close"],
        name=underlying,
        increasing_line_color="#2b7a78",
        decreasing_line_color="#b23a48",
    )
    figure.add_trace(bars, row=1, col=1)
    vwap = go.Scatter(x=minutes, y=prices["session_vwap"], name="session VWAP", line={"color": "#666", "width": 1})
    figure.add_trace(vwap, row=1, col=1)
    vix = go.Scatter(x=minutes, y=prices["vix"], name="VIX", line={"color": "#5b4b8a", "width": 1.5})
    figure.add_trace(vix, row=2, col=1)
    for right, colour in (("put", "#b23a48"), ("call", "#2b7a78")):
        strikes, volatilities = _smile(options, right)
        points = go.Scatter(x=strikes, y=volatilities, mode="markers+lines", name=f"{right}s", line={"color": colour})
        figure.add_trace(points, row=3, col=1)
    shown = around_the_stream(strips)
    for how, colour in COLOURS.items():
        parts = [(strip.title, part.stretch) for strip in strips for part in strip.parts if part.how is how]
        if not parts or shown is None:
            continue
        bars_of_time = go.Bar(
            y=[title for title, _ in parts],
            base=[_clock(stretch.start_ns) for _, stretch in parts],
            x=[(stretch.end_ns - stretch.start_ns) / 1e6 for _, stretch in parts],
            orientation="h",
            name=how.replace("_", " "),
            marker={"color": colour, "line": {"width": 0}},
        )
        figure.add_trace(bars_of_time, row=4, col=1)
    if shown is not None:
        span = [_clock(shown.start_ns), _clock(shown.end_ns)]
        figure.update_xaxes(type="date", range=span, tickformat="%H:%M", row=4, col=1)
        figure.update_yaxes(autorange="reversed", row=4, col=1)
    cells = [
        [line.table for line in coverage],
        [line.owner for line in coverage],
        [f"{line.rows:,}" for line in coverage],
        [f"{line.refused:,}" for line in coverage],
        [line.how for line in coverage],
    ]
    table = go.Table(
        header={"values": ["table", "of", "rows", "refused", "how"], "align": "left"},
        cells={"values": cells, "align": ["left", "left", "right", "right", "left"]},
    )
    figure.add_trace(table, row=5, col=1)
    figure.update_layout(
        title={"text": f"{underlying}, session of {session:%A %d %B %Y} (New York time)", "y": 0.985},
        template="plotly_white",
        barmode="overlay",
        height=1650,
        width=1080,
        legend={"orientation": "h", "y": 1.035, "x": 1, "xanchor": "right"},
        margin={"t": 140, "l": 70, "r": 30, "b": 30},
    )
    figure.update_xaxes(rangeslider_visible=False)
    figure.update_yaxes(title_text="USD" if not underlying.startswith("I:") else "points", row=1, col=1)
    figure.update_yaxes(title_text="points", row=2, col=1)
    figure.update_xaxes(title_text="strike", row=3, col=1)
    figure.update_yaxes(title_text="implied volatility a year", tickformat=".1%", row=3, col=1)
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="session")
    return page


def _clock(instant_ns: int) -> str:
    """New York's time without an offset: what the other axes show."""
    return f"{datetime.fromtimestamp(instant_ns / 1e9, NEW_YORK):%Y-%m-%d %H:%M:%S.%f}"


def _smile_minute(options: pa.Table | None) -> object | None:
    """The minute in which most contracts of the nearest expiry have a volatility."""
    if options is None or options.num_rows == 0:
        return None
    priced = options.filter(pc.is_valid(options["implied_volatility"]))
    if priced.num_rows == 0:
        return None
    counts = priced.group_by("minute").aggregate([("ticker", "count")]).sort_by("minute")
    number = counts["ticker_count"].to_numpy()
    latest_best = int(np.flatnonzero(number == number.max())[-1])
    minute: object = counts["minute"][latest_best]
    return minute


def _smile(options: pa.Table | None, right: str) -> tuple[list[float], list[float]]:
    minute = _smile_minute(options)
    if options is None or minute is None:
        return [], []
    now = options.filter(pc.and_(pc.equal(options["minute"], minute), pc.is_valid(options["implied_volatility"])))
    nearest = pc.min(now["expiry"])
    side = now.filter(pc.and_(pc.equal(now["expiry"], nearest), pc.equal(now["right"], right))).sort_by("strike")
    return [float(strike) for strike in side["strike"].to_pylist()], side["implied_volatility"].to_pylist()


def _smile_title(options: pa.Table | None) -> str:
    minute = _smile_minute(options)
    if minute is None:
        return "Smile (no option of this session could be priced)"
    clock = pc.strftime(minute.cast(pa.timestamp("ns", tz="America/New_York")), format="%H:%M")  # type: ignore[attr-defined]
    return f"Smile of the nearest expiry at {clock.as_py()}"
