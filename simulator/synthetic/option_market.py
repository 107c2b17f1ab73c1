"""A session of one option contract: quotes around its value, and the trades that hit them.

Trading hours: 09:30-16:15 New York for options of broad funds (13:15 on a half day), 09:30-16:00 (13:00) for others,
and on the expiry day to the share's close for all. Adjusted contracts are listed but nobody quotes them. Bars come from
aggregate.py: every option trade here counts for everything.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.synthetic.calendar import MINUTE_MS, Session
from simulator.synthetic.chain import Contract
from simulator.synthetic.draws import stream
from simulator.synthetic.indices import AFTER_CLOSE_MINUTES
from simulator.synthetic.minutes import CENT, VOLUME_UNIT, IntArray, day_shape
from simulator.synthetic.path import FloatArray
from simulator.synthetic.pricing import SECONDS_A_YEAR, Terms, bid_and_ask, option_value, sensitivities
from simulator.synthetic.prints import Prints
from simulator.synthetic.reference import OPTION_EXCHANGES, Share

MINUTE_NS = MINUTE_MS * 1_000_000

TRADES_AT_THE_MONEY = 900.0  # a session, on the expiry day, for an activity of 1
TRADING_WIDTH = 1.3  # standard deviations from the money within which most trading happens
QUOTING_WIDTH = 2.0
TENOR_DECAY_DAYS = 3.0
STRAY_TRADES = 0.4  # a session, however far from the money
QUOTES_AT_THE_MONEY = 4.0  # a minute, besides those that a trade meets
QUOTES_FAR = 0.3
QUOTE_LEAD_NS = 150_000  # a trade follows the quote that it hits
OPENING_MINUTES = 5  # in which quotes are wider
LOCKED_QUOTES = 0.001
OPEN_AT_THE_MONEY = 6_000.0  # contracts at the end of the last session
OPEN_WIDTH = 0.12  # of the log of strike against share

# Vendor's codes of single-leg and sweep trades; the empty list is a plain one.
_CONDITIONS = pa.array([None, [209], [219], [227], [232]], pa.list_(pa.int64()))
_CONDITION_WEIGHTS = (0.05, 0.5, 0.2, 0.15, 0.1)

OPTION_TRADE_SCHEMA = pa.schema(
    {
        "ticker": pa.string(),
        "sip_timestamp": pa.int64(),
        "participant_timestamp": pa.int64(),
        "price": pa.float64(),
        "size": pa.float64(),
        "exchange": pa.int64(),
        "conditions": pa.list_(pa.int64()),
        "sequence_number": pa.int64(),
    }
)
OPTION_QUOTE_SCHEMA = pa.schema(
    {
        "ticker": pa.string(),
        "sip_timestamp": pa.int64(),
        "bid_price": pa.float64(),
        "bid_size": pa.float64(),
        "bid_exchange": pa.int64(),
        "ask_price": pa.float64(),
        "ask_size": pa.float64(),
        "ask_exchange": pa.int64(),
        "sequence_number": pa.int64(),
    }
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session's options are priced off: edges of minutes from 09:30, dollars and points."""

    share_prices: FloatArray
    vix: FloatArray


@dataclass(frozen=True, slots=True)
class ContractTrades:
    """Trades in time order with the quote that each met; prices in cents."""

    time_ns: IntArray
    price: IntArray
    bid: IntArray
    ask: IntArray
    size: IntArray
    exchange: IntArray
    condition: IntArray  # row of the condition list
    report_lag_ns: IntArray


def trading_minutes(share: Share, session: Session, expiry_ms: int) -> int:
    """Minutes of an option session from 09:30; expiry_ms is the close of the expiry day."""
    regular = session.close_minute - session.open_minute
    return regular + (AFTER_CLOSE_MINUTES if share.is_fund and session.close_ms < expiry_ms else 0)


def open_interest(seed: int, contract: Contract, *, distance: float, sessions: int, lifetime: int) -> int:
    """Contracts open after so many of a contract's sessions: none at first, more with each, most near the money.

    ``distance`` is the log of the strike against the share's close before the listing.
    """
    draws = stream(seed, "open-interest", contract.ticker)
    most = OPEN_AT_THE_MONEY * np.exp(draws.normal(0.0, 0.8) - 0.5 * (distance / OPEN_WIDTH) ** 2)
    return int(most * np.sqrt(sessions / lifetime))


class ContractSession:
    """One contract on one session, priced at any instant of its hours."""

    def __init__(
        self,
        *,
        seed: int,
        share: Share,
        contract: Contract,
        session: Session,
        expiry_ms: int,
        terms: Terms,
        around: Surroundings,
        activity: float,
    ) -> None:
        self._key = (contract.ticker, session.day.isoformat())
        self._seed = seed
        self._share = share
        self._ticker = contract.ticker
        self._open_ns = session.open_ms * 1_000_000
        self._expiry_ns = expiry_ms * 1_000_000
        self._terms = terms
        self._around = around
        self._minutes = 0 if contract.is_adjusted else trading_minutes(share, session, expiry_ms)
        self._activity = activity * share.activity
        self._away, self._tenor_days = self._standing()

    def _standing(self) -> tuple[float, float]:
        years = (self._expiry_ns - self._open_ns) / 1e9 / SECONDS_A_YEAR
        deviation = self._around.vix[0] / 100.0 * self._terms.volatility_scale * np.sqrt(years)
        away = np.log(self._terms.strike / self._around.share_prices[0]) / max(deviation, 0.002)
        return float(away), years * 365.0

    def value(self, time_ns: IntArray) -> FloatArray:
        """Dollars a share at instants of the session."""
        minute = (time_ns - self._open_ns) / MINUTE_NS
        edges = np.arange(len(self._around.vix))
        price = np.interp(minute, edges, self._around.share_prices)
        vix = np.interp(minute, edges, self._around.vix)
        # The last trade happens a moment before the expiry, at a time to expiry that is not zero.
        years = np.maximum((self._expiry_ns - time_ns) / 1e9, 1.0) / SECONDS_A_YEAR
        return option_value(self._terms, price, vix, years)

    def sensitivities(self, at_ns: int) -> dict[str, float]:
        """Implied volatility and Greeks at an instant, after the session those of its end; none where nobody quotes."""
        if not self._minutes:
            return {}
        time_ns = min(at_ns, self._open_ns + self._minutes * MINUTE_NS)
        minute, edges = (time_ns - self._open_ns) / MINUTE_NS, np.arange(len(self._around.vix))
        price = float(np.interp(minute, edges, self._around.share_prices))
        vix = float(np.interp(minute, edges, self._around.vix))
        return sensitivities(self._terms, price, vix, (self._expiry_ns - time_ns) / 1e9 / SECONDS_A_YEAR)

    def _market(self, time_ns: IntArray, draws: np.random.Generator) -> tuple[IntArray, IntArray]:
        width = np.exp(draws.normal(0.0, 0.25, len(time_ns)))
        width *= np.where(time_ns - self._open_ns < OPENING_MINUTES * MINUTE_NS, 2.0, 1.0)
        return bid_and_ask(self.value(time_ns), width, penny=self._share.is_fund)

    @cached_property
    def trades(self) -> ContractTrades:
        """The session's trades, kept because quotes, bars and reports are all made from them."""
        draws = stream(self._seed, "option-trades", *self._key)
        rate = (
            TRADES_AT_THE_MONEY
            * np.exp(-0.5 * (self._away / TRADING_WIDTH) ** 2)
            / (1.0 + self._tenor_days / TENOR_DECAY_DAYS)
        )
        count = int(draws.poisson((rate + STRAY_TRADES) * self._activity)) if self._minutes else 0
        shape = np.concatenate(([0.0], np.cumsum(day_shape(max(self._minutes, 1), 1.5, 1.0))))
        minute = np.interp(np.sort(draws.random(count)), shape / shape[-1], np.arange(len(shape)))
        time_ns = self._open_ns + (minute * MINUTE_NS).astype(np.int64)
        bid, ask = self._market(time_ns, draws)
        at = draws.random(count)
        inside = bid + (ask - bid) // 2
        price = np.select([(at < 0.45) & (bid > 0), (at < 0.55) & (bid > 0)], [bid, np.maximum(inside, 1)], ask)
        return ContractTrades(
            time_ns=time_ns,
            price=price,
            bid=bid,
            ask=ask,
            size=np.minimum(draws.geometric(0.25, count) * np.where(draws.random(count) < 0.05, 10, 1), 500),
            exchange=draws.choice(OPTION_EXCHANGES, count),
            condition=draws.choice(len(_CONDITION_WEIGHTS), count, p=_CONDITION_WEIGHTS),
            report_lag_ns=draws.integers(200_000, 3_000_000, count),
        )

    def quotes_table(self) -> pa.Table:
        """The session's quotes in the vendor's fields: those that a trade met and others."""
        met = self.trades
        draws = stream(self._seed, "option-quotes", *self._key)
        rate = QUOTES_AT_THE_MONEY * np.exp(-0.5 * (self._away / QUOTING_WIDTH) ** 2) + QUOTES_FAR
        count = int(draws.poisson(rate * self._minutes * self._activity))
        idle_ns = self._open_ns + (np.sort(draws.random(count)) * self._minutes * MINUTE_NS).astype(np.int64)
        idle_bid, idle_ask = self._market(idle_ns, draws)
        time_ns = np.concatenate((np.maximum(met.time_ns - QUOTE_LEAD_NS, self._open_ns), idle_ns))
        order = np.argsort(time_ns, kind="stable")
        bid = np.concatenate((met.bid, idle_bid))[order]
        ask = np.concatenate((met.ask, idle_ask))[order]
        count = len(order)
        locked = (draws.random(count) < LOCKED_QUOTES) & (bid > 0)
        bid = np.where(locked, ask, bid)
        quoted = bid > 0
        return pa.table(
            [
                pa.repeat(pa.scalar(self._ticker), count),
                time_ns[order],
                bid / 100.0,
                np.where(quoted, np.minimum(draws.geometric(0.02, count), 2000), 0).astype(np.float64),
                np.where(quoted, draws.choice(OPTION_EXCHANGES, count), 0),
                ask / 100.0,
                np.minimum(draws.geometric(0.02, count), 2000).astype(np.float64),
                draws.choice(OPTION_EXCHANGES, count),
                _sequence(draws, count),
            ],
            schema=OPTION_QUOTE_SCHEMA,
        )

    def trades_table(self) -> pa.Table:
        """The session's trades in the vendor's fields."""
        trades = self.trades
        count = len(trades.time_ns)
        sequence = _sequence(stream(self._seed, "option-sequence", *self._key), count)
        return pa.table(
            [
                pa.repeat(pa.scalar(self._ticker), count),
                trades.time_ns,
                trades.time_ns - trades.report_lag_ns,
                trades.price / 100.0,
                trades.size.astype(np.float64),
                trades.exchange,
                _CONDITIONS.take(pa.array(trades.condition)),
                sequence,
            ],
            schema=OPTION_TRADE_SCHEMA,
        )

    def prints(self) -> Prints:
        """The trades as they enter bars."""
        trades = self.trades
        counts: NDArray[np.bool_] = np.ones(len(trades.time_ns), np.bool_)
        return Prints(trades.time_ns, trades.price * CENT, trades.size * VOLUME_UNIT, counts, counts, counts)


def _sequence(draws: np.random.Generator, count: int) -> IntArray:
    """Rising numbers with holes, as one contract sees of a feed that numbers all of them."""
    return np.asarray(10_000 + np.cumsum(draws.geometric(0.01, count)), np.int64)
