"""A share's trades: a session's frames made into trades whose bars are the frames' bars, and their reports.

A trade is made at the time that decides its bar; when it is reported is decided last. The trades between a frame's own
are in fillers.py; what a condition does to a bar is in conditions.py. A corrected row here is always an official print,
which counts for nothing, so that no bar depends on whether corrected rows are left out.
"""

from datetime import date

import numpy as np
import pyarrow as pa

from simulator.synthetic.calendar import Session
from simulator.synthetic.conditions import CODE_LISTS, Kind
from simulator.synthetic.draws import stream
from simulator.synthetic.fillers import filler_trades, offset_ns
from simulator.synthetic.minutes import CENT, PRICE_UNIT, VOLUME_UNIT, Frames, IntArray
from simulator.synthetic.path import FloatArray
from simulator.synthetic.prints import ShareTrades
from simulator.synthetic.reference import (
    OFF_EXCHANGE,
    REPORTING_FACILITIES,
    SHARE_EXCHANGE_WEIGHTS,
    SHARE_EXCHANGES,
    Share,
)

SECOND_NS = 1_000_000_000

SWEEP_PART = 0.35
CORRECTED_CLOSE = 0.3  # of the sessions
REPLACED, REPLACEMENT = 1, 12  # correction codes of the tapes: a row that was corrected later, and the correcting one
# Exact sizes of share trades are in the feed since fractional trading reached it.
DECIMAL_SIZE_SINCE = date(2026, 2, 23)

_LATE_KINDS = (Kind.OUT_OF_SEQUENCE, Kind.LATE_FORM_T, Kind.PRIOR_REFERENCE, Kind.EXTENDED_OUT_OF_SEQUENCE)

TRADE_SCHEMA = pa.schema(
    {
        "ticker": pa.string(),
        "sip_timestamp": pa.int64(),
        "participant_timestamp": pa.int64(),
        "trf_timestamp": pa.int64(),
        "trf_id": pa.int64(),
        "price": pa.float64(),
        "size": pa.float64(),
        "decimal_size": pa.string(),
        "conditions": pa.list_(pa.int64()),
        "correction": pa.int64(),
        "exchange": pa.int64(),
        "id": pa.string(),
        "sequence_number": pa.int64(),
        "tape": pa.int64(),
    }
)


def make_trades(seed: int, share: Share, session: Session, frames: Frames) -> ShareTrades:
    """The session's trades."""
    draws = stream(seed, "trades", share.ticker, session.day.isoformat())
    # When the minute's first and last price are made: the law of the least and greatest of as many uniform times.
    priced = np.maximum(frames.priced + frames.fillers // 3, 2)
    first = 1.0 - draws.random(len(priced)) ** (1.0 / priced)
    last = first + (1.0 - first) * draws.random(len(priced)) ** (1.0 / (priced - 1))
    parts = [
        _frame_trades(draws, session, frames, first, last),
        filler_trades(draws, frames, first, last),
        _official_prints(draws, share, session, frames),
    ]
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ShareTrades.__slots__]
    order = np.argsort(columns[0], kind="stable")
    return ShareTrades(*(column[order] for column in columns))


def _frame_trades(
    draws: np.random.Generator, session: Session, frames: Frames, first: FloatArray, last: FloatArray
) -> ShareTrades:
    """The trades that make open, high, low and close."""
    shape = frames.sizes.shape
    at = np.stack(
        (first, first + (last - first) * frames.high_at, first + (last - first) * frames.low_at, last), axis=1
    )
    price = np.stack((frames.open, frames.high, frames.low, frames.close), axis=1)
    kind = np.where(draws.random(shape) < SWEEP_PART, Kind.SWEEP, Kind.PLAIN)
    kind = np.where(frames.regular[:, None], kind, Kind.EXTENDED)
    kind[session.open_minute, 0] = Kind.OPENING
    kind[session.close_minute - 1, 3] = Kind.CLOSING
    # The auctions open and close the session; the closing one is kept inside its last minute.
    at[session.open_minute, 0] *= 0.1
    at[session.close_minute - 1, 3] = 1.0 - 0.1 * (1.0 - at[session.close_minute - 1, 3])
    time_ns = frames.start_ms[:, None] * 1_000_000 + offset_ns(at)
    exists = frames.sizes > 0
    count = int(exists.sum())
    return ShareTrades(
        time_ns[exists],
        price[exists],
        frames.sizes[exists],
        kind[exists].astype(np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )


def _official_prints(draws: np.random.Generator, share: Share, session: Session, frames: Frames) -> ShareTrades:
    """Each listing venue's official open and close: prices for the record that count for nothing."""
    others = [venue for venue in SHARE_EXCHANGES[:4] if venue != share.listing_exchange]
    opening = closing = [share.listing_exchange, *others]
    correction = [0] * (len(opening) + len(closing))
    if draws.random() < CORRECTED_CLOSE:
        closing = [*closing, closing[-1]]
        correction = [*correction[:-1], REPLACED, REPLACEMENT]
    first, last = session.open_minute, session.close_minute - 1
    opened_ns = session.open_ms * 1_000_000 + np.sort(draws.integers(SECOND_NS, 3 * SECOND_NS, len(opening)))
    closed_ns = session.close_ms * 1_000_000 + np.sort(draws.integers(SECOND_NS, 9 * SECOND_NS, len(closing)))
    # Only the listing venue's auction is the market's price; the others print their own last.
    closing_price = frames.close[last] + CENT * draws.integers(-2, 3, len(closing))
    closing_price[0] = frames.close[last]
    return ShareTrades(
        np.concatenate((opened_ns, closed_ns)),
        np.concatenate((np.full(len(opening), frames.open[first]), closing_price)),
        np.repeat((frames.sizes[first, 0], frames.sizes[last, 3]), (len(opening), len(closing))),
        np.repeat((Kind.OFFICIAL_OPEN, Kind.OFFICIAL_CLOSE), (len(opening), len(closing))).astype(np.int64),
        np.array([*opening, *closing], np.int64),
        np.array(correction, np.int64),
    )


def trades_table(seed: int, share: Share, session: Session, trades: ShareTrades) -> pa.Table:
    """Trades in the vendor's fields, by SIP time.

    A late report stands in the bar of its participant time and arrives minutes after that bar was first published.
    """
    draws = stream(seed, "trade-reports", share.ticker, session.day.isoformat())
    count = len(trades.time_ns)
    venue = draws.choice(SHARE_EXCHANGES, count, p=SHARE_EXCHANGE_WEIGHTS)
    exchange = np.where(trades.exchange > 0, trades.exchange, venue)
    off = exchange == OFF_EXCHANGE
    lag = draws.integers(150_000, 1_200_000, count)
    lag = np.where(off, draws.integers(2_000_000, 900_000_000, count), lag)
    long_lag = draws.integers(20 * SECOND_NS, 600 * SECOND_NS, count)
    # Nothing is reported once the session's last minute is over.
    in_time = trades.time_ns + long_lag < session.post_market_end_ms * 1_000_000
    late = np.isin(trades.kind, _LATE_KINDS) & in_time
    reported = trades.time_ns + np.where(late, long_lag, 0)
    participant = trades.time_ns - np.where(late, 0, lag)
    facility = draws.choice(REPORTING_FACILITIES, count, p=(0.25, 0.65, 0.1))
    received = reported - np.minimum(draws.integers(20_000, 400_000, count), lag)
    order = np.argsort(reported, kind="stable")
    exchange, on_exchange = exchange[order], pa.array(~off[order])
    size = trades.size[order] / VOLUME_UNIT
    correction = trades.correction[order]
    decimal_size = (
        pa.array([str(shares) for shares in size.tolist()], pa.string())
        if session.day >= DECIMAL_SIZE_SINCE
        else pa.nulls(count, pa.string())
    )
    return pa.table(
        [
            pa.repeat(pa.scalar(share.ticker), count),
            reported[order],
            participant[order],
            _masked(received[order], on_exchange),
            _masked(facility[order], on_exchange),
            trades.price[order] / PRICE_UNIT,
            size,
            decimal_size,
            CODE_LISTS.take(pa.array(trades.kind[order])),
            _masked(correction, pa.array(correction == 0)),
            exchange,
            pa.array(52_983_525_000_000 + np.arange(count) * 7).cast(pa.string()),
            np.cumsum(draws.geometric(0.4, count)) + 1000,
            np.full(count, share.tape),
        ],
        schema=TRADE_SCHEMA,
    )


def _masked(values: IntArray, absent: pa.Array) -> pa.Array:
    return pa.array(values, pa.int64(), mask=absent.to_numpy(zero_copy_only=False))
