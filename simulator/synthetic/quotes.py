"""A share's best bid and offer through a session: what stood when each trade printed, and changes of size between.

Quotes follow the trades of trades.py: one stands just before each trade that made a price, at that price or around it.
Crossed, locked and one-sided quotes occur and are facts of the feed. Sizes are round lots until the tapes went over to
shares, and shares from then on.
"""

from datetime import date

import numpy as np
import pyarrow as pa

from simulator.synthetic.calendar import Session
from simulator.synthetic.conditions import MAKES_EDGES
from simulator.synthetic.draws import stream
from simulator.synthetic.minutes import CENT, PRICE_UNIT, IntArray
from simulator.synthetic.prints import ShareTrades
from simulator.synthetic.reference import SHARE_EXCHANGE_WEIGHTS, SHARE_EXCHANGES, Share

SIZES_IN_SHARES_SINCE = date(2025, 11, 3)
RESIZED = 0.5  # of the quotes are followed by one that changes only sizes
LOCKED = 0.003
CROSSED = 0.0007
ONE_SIDED_EARLY = 0.01  # before the open, where sometimes nobody stands on one side
CONDITION_REGULAR = 1

QUOTE_SCHEMA = pa.schema(
    {
        "ticker": pa.string(),
        "sip_timestamp": pa.int64(),
        "participant_timestamp": pa.int64(),
        "bid_price": pa.float64(),
        "bid_size": pa.float64(),
        "bid_exchange": pa.int64(),
        "ask_price": pa.float64(),
        "ask_size": pa.float64(),
        "ask_exchange": pa.int64(),
        "conditions": pa.list_(pa.int64()),
        "sequence_number": pa.int64(),
        "tape": pa.int64(),
    }
)


def quotes_table(seed: int, share: Share, session: Session, trades: ShareTrades) -> pa.Table:
    """The session's quotes in the vendor's fields."""
    draws = stream(seed, "quotes", share.ticker, session.day.isoformat())
    made = MAKES_EDGES[trades.kind]
    trade_ns, price = trades.time_ns[made], trades.price[made]
    count = len(trade_ns)
    previous = np.concatenate(([session.pre_market_ms * 1_000_000], trade_ns[:-1]))
    gap = trade_ns - previous
    # Before the trade that meets it and after the trade before, however close these are.
    quote_ns = trade_ns - np.minimum(draws.integers(50_000, 900_000, count), gap // 2)

    regular = (trade_ns >= session.open_ms * 1_000_000) & (trade_ns < session.close_ms * 1_000_000)
    spread = np.where(regular, draws.choice((1, 2, 3), count, p=(0.8, 0.15, 0.05)), draws.integers(2, 9, count)) * CENT
    at_ask = draws.random(count) < 0.5
    # A trade between ticks has the tick on each side of it around itself.
    ask = np.where(at_ask, -(-price // CENT) * CENT, price // CENT * CENT + spread)
    bid = np.where(at_ask, ask - spread, price // CENT * CENT)
    odd = draws.random(count)
    bid = np.where(odd < LOCKED, ask, bid)
    bid = np.where((odd >= LOCKED) & (odd < LOCKED + CROSSED), ask + CENT, bid)
    alone = ~regular & (draws.random(count) < ONE_SIDED_EARLY)
    no_bid = alone & (draws.random(count) < 0.5)
    bid, ask = np.where(no_bid, 0, bid), np.where(alone & ~no_bid, 0, ask)

    again = np.flatnonzero(draws.random(count) < RESIZED)
    later = np.concatenate((quote_ns[1:], [session.post_market_end_ms * 1_000_000 - 1]))
    again_ns = trade_ns[again] + ((later - trade_ns)[again] * draws.random(len(again))).astype(np.int64)
    time_ns = np.concatenate((quote_ns, again_ns))
    order = np.argsort(time_ns, kind="stable")
    return _table(
        draws,
        share,
        session,
        time_ns=time_ns[order],
        bid=np.concatenate((bid, bid[again]))[order],
        ask=np.concatenate((ask, ask[again]))[order],
    )


def _table(
    draws: np.random.Generator, share: Share, session: Session, *, time_ns: IntArray, bid: IntArray, ask: IntArray
) -> pa.Table:
    count = len(time_ns)
    lots = 1 if session.day < SIZES_IN_SHARES_SINCE else 100

    def side(price: IntArray) -> tuple[IntArray, IntArray]:
        size = np.minimum(draws.geometric(0.2, count), 90) * lots
        venue = draws.choice(SHARE_EXCHANGES, count, p=SHARE_EXCHANGE_WEIGHTS)
        return np.where(price > 0, size, 0), np.where(price > 0, venue, 0)

    bid_size, bid_exchange = side(bid)
    ask_size, ask_exchange = side(ask)
    return pa.table(
        [
            pa.repeat(pa.scalar(share.ticker), count),
            time_ns,
            time_ns - draws.integers(20_000, 900_000, count),
            bid / PRICE_UNIT,
            bid_size.astype(np.float64),
            bid_exchange,
            ask / PRICE_UNIT,
            ask_size.astype(np.float64),
            ask_exchange,
            pa.array([[CONDITION_REGULAR]], QUOTE_SCHEMA.field("conditions").type).take(
                pa.array(np.zeros(count, np.int64))
            ),
            np.cumsum(draws.geometric(0.25, count)) + 1000,
            np.full(count, share.tape),
        ],
        schema=QUOTE_SCHEMA,
    )
