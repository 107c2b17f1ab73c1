"""The market's tables, one ticker and one session at a time, made from the seed and kept in bounded caches.

This is where the pieces meet: days (path.py), minutes, trades, quotes, indices, chain and option prices. Ranges of
time and the shape that the server asks for are in world.py.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.synthetic.aggregate import bar_table, bars_of_prints, bars_of_values
from simulator.synthetic.calendar import MINUTE_MS, Session, TradingCalendar, new_york_day
from simulator.synthetic.chain import Chain, Contract, parse_option
from simulator.synthetic.dividends import dividends_of
from simulator.synthetic.indices import IndexValues, spx_values, vix_edges, vix_values
from simulator.synthetic.minutes import PRICE_UNIT, VOLUME_UNIT, Frames, edge_prices, make_frames
from simulator.synthetic.option_market import ContractSession, Surroundings, open_interest
from simulator.synthetic.path import FloatArray, SharePath, market_path, share_path, years_since_first
from simulator.synthetic.pricing import Terms
from simulator.synthetic.prints import ShareTrades
from simulator.synthetic.quotes import quotes_table
from simulator.synthetic.rates import yield_curves
from simulator.synthetic.reference import INDICES, MARKET_SHARE, SHARES, VIX
from simulator.synthetic.trades import make_trades, trades_table
from simulator.world import VALUE_SCHEMA, BaseSpan

# The activity of options is that of this many trades a minute in the share.
USUAL_TRADES_PER_MINUTE = 150.0
WIDTH_MS = {BaseSpan.SECOND: 1000, BaseSpan.MINUTE: MINUTE_MS, BaseSpan.DAY: 86_400_000}
_NEAR = 0.03  # of the last close
# Sessions of shares whose trades and quotes are kept, some megabytes each: whoever streams all shares reads them in
# turns, a little of each at a time, and none may be made anew at each turn.
_KEPT_TICKS = len(SHARES) + 2
_KEPT_CONTRACTS = 1200  # the same of contracts, of which one connection may have a thousand; some ten kilobytes each
# How many sessions of a ticker are kept, by the size of their bars.
_KEPT_BARS = {BaseSpan.SECOND: 16, BaseSpan.MINUTE: 512, BaseSpan.DAY: 8192}


class Market:
    """All tables of a seed; each depends on its arguments alone, and what is cached could be made again."""

    def __init__(self, seed: int, calendar: TradingCalendar, trades_per_minute: float) -> None:
        self._seed = seed
        self._calendar = calendar
        self._trades_per_minute = trades_per_minute
        self._market = market_path(seed, calendar)
        self._path: Callable[[str], SharePath] = lru_cache(maxsize=len(SHARES))(self._make_path)
        self.chain: Callable[[str], Chain] = lru_cache(maxsize=len(SHARES))(self._make_chain)
        self._edges: Callable[[str, Session], FloatArray] = lru_cache(maxsize=128)(self._make_edges)
        self._frames: Callable[[str, Session], Frames] = lru_cache(maxsize=16)(self._make_frames)
        self._trades: Callable[[str, Session], ShareTrades] = lru_cache(maxsize=_KEPT_TICKS)(self._make_trades)
        self._around: Callable[[str, Session], Surroundings] = lru_cache(maxsize=64)(self._make_surroundings)
        self._contract_session: Callable[[str, Session], ContractSession] = lru_cache(maxsize=_KEPT_CONTRACTS)(
            self._make_contract_session
        )
        self._bars: dict[BaseSpan, Callable[[str, Session], pa.Table]] = {
            span: lru_cache(maxsize=kept)(partial(self._make_bars, span)) for span, kept in _KEPT_BARS.items()
        }
        self._share_trades: Callable[[str, Session], pa.Table] = lru_cache(maxsize=_KEPT_TICKS)(self._make_share_trades)
        self._share_quotes: Callable[[str, Session], pa.Table] = lru_cache(maxsize=_KEPT_TICKS)(self._make_share_quotes)
        self._option_trades: Callable[[str, Session], pa.Table] = lru_cache(maxsize=_KEPT_CONTRACTS)(
            self._make_option_trades
        )
        self._option_quotes: Callable[[str, Session], pa.Table] = lru_cache(maxsize=_KEPT_CONTRACTS)(
            self._make_option_quotes
        )
        self._values: Callable[[str, Session], pa.Table] = lru_cache(maxsize=16)(self._make_values)

    def bars(self, ticker: str, span: BaseSpan, session: Session) -> pa.Table:
        """A session's bars of a known ticker."""
        return self._bars[span](ticker, session)

    def trades(self, ticker: str, session: Session) -> pa.Table:
        """A session's trades of a known share or contract."""
        return self._share_trades(ticker, session) if ticker in SHARES else self._option_trades(ticker, session)

    def quotes(self, ticker: str, session: Session) -> pa.Table:
        """A session's quotes of a known share or contract."""
        return self._share_quotes(ticker, session) if ticker in SHARES else self._option_quotes(ticker, session)

    def values(self, ticker: str, session: Session) -> pa.Table:
        """A session's published values of a known index."""
        return self._values(ticker, session)

    def near_contracts(self, ticker: str, session: Session) -> list[str]:
        """Contracts of a share within 3 % of its last close that expire within a week, sorted."""
        close = self._path(ticker).close[max(session.index - 1, 0)]
        expiry_to = session.day + timedelta(days=6)
        listed = self.chain(ticker).contracts(session.day, expired=False, expiry_from=None, expiry_to=expiry_to)
        distance = pc.abs(pc.subtract(pc.divide(listed["strike_price"], close), 1.0))
        near: list[str] = listed.filter(pc.less_equal(distance, _NEAR))["ticker"].to_pylist()
        return near

    def contract(self, ticker: str) -> Contract | None:
        """The contract of a symbol, or None when no such contract was ever listed."""
        contract = parse_option(ticker)
        if contract is None or contract.underlying not in SHARES:
            return None
        return contract if self.chain(contract.underlying).listed_on(contract) else None

    def option_values(self, ticker: str, at_ns: int) -> dict[str, float]:
        """Implied volatility, Greeks and open interest of a contract by the vendor's names, as known at an instant."""
        contract, day = self.contract(ticker), new_york_day(at_ns // 1_000_000)
        if contract is None:
            return {}
        listed = self._calendar.on_or_after(self.chain(contract.underlying).listed_on(contract) or contract.expiry)
        closes = self._path(contract.underlying).close
        values: dict[str, float] = {
            "open_interest": open_interest(
                self._seed,
                contract,
                distance=float(np.log(contract.strike_mills / 1000.0 / closes[max(listed.index - 1, 0)])),
                sessions=max(self._calendar.count_before(day) - listed.index, 0),
                lifetime=self._calendar.on_or_after(contract.expiry).index - listed.index + 1,
            )
        }
        session = self._calendar.on_or_before(day)
        if session.open_ms * 1_000_000 > at_ns:
            session = self._calendar.sessions[session.index - 1]
        if self.is_traded(ticker, session):
            values |= self._contract_session(ticker, session).sensitivities(at_ns)
        return values

    def is_traded(self, ticker: str, session: Session) -> bool:
        """Whether the ticker can have rows on the session: a contract only from its listing to its expiry."""
        if ticker in SHARES or ticker in INDICES:
            return True
        contract = parse_option(ticker)
        if contract is None or contract.underlying not in SHARES:
            return False
        listed = self.chain(contract.underlying).listed_on(contract)
        return listed is not None and listed <= session.day <= contract.expiry

    def _make_path(self, ticker: str) -> SharePath:
        share, calendar = SHARES[ticker], self._calendar
        cash = {
            calendar.on_or_after(dividend.ex_dividend_date).index: dividend.cash_amount
            for dividend in dividends_of(self._seed, share, calendar)
        }
        return share_path(self._seed, share, self._market, years_since_first(calendar), cash)

    def _make_chain(self, ticker: str) -> Chain:
        return Chain(self._seed, SHARES[ticker], self._calendar, self._path(ticker).close)

    def _make_edges(self, ticker: str, session: Session) -> FloatArray:
        return edge_prices(self._seed, SHARES[ticker], self._path(ticker), session)

    def _make_frames(self, ticker: str, session: Session) -> Frames:
        return make_frames(
            self._seed,
            SHARES[ticker],
            session,
            self._edges(ticker, session),
            volatility=float(self._path(ticker).volatility[session.index]),
            trades_per_minute=self._trades_per_minute,
        )

    def _make_trades(self, ticker: str, session: Session) -> ShareTrades:
        return make_trades(self._seed, SHARES[ticker], session, self._frames(ticker, session))

    def _make_surroundings(self, ticker: str, session: Session) -> Surroundings:
        vix = vix_edges(self._seed, self._market, session)
        begin = session.open_minute
        return Surroundings(self._edges(ticker, session)[begin : begin + len(vix)], vix)

    def _index_values(self, ticker: str, session: Session) -> IndexValues:
        if ticker == VIX.ticker:
            return vix_values(self._seed, self._market, session)
        return spx_values(self._seed, self._edges(MARKET_SHARE.ticker, session), session)

    def _make_values(self, ticker: str, session: Session) -> pa.Table:
        values = self._index_values(ticker, session)
        return pa.table([values.time_ns, values.value], schema=VALUE_SCHEMA)

    def _make_contract_session(self, ticker: str, session: Session) -> ContractSession:
        contract = parse_option(ticker)
        if contract is None:
            raise ValueError(f"{ticker} is no option symbol")
        share = SHARES[contract.underlying]
        expiry = self._calendar.on_or_after(contract.expiry)
        return ContractSession(
            seed=self._seed,
            share=share,
            contract=contract,
            session=session,
            expiry_ms=expiry.close_ms,
            terms=self._terms(contract, session),
            around=self._around(share.ticker, session),
            activity=self._trades_per_minute / USUAL_TRADES_PER_MINUTE,
        )

    def _terms(self, contract: Contract, session: Session) -> Terms:
        share = SHARES[contract.underlying]
        coming = [
            dividend
            for dividend in dividends_of(self._seed, share, self._calendar)
            if session.day < dividend.ex_dividend_date <= contract.expiry
        ]
        days = np.array(
            [(contract.expiry - session.day).days] + [(d.ex_dividend_date - session.day).days for d in coming]
        )
        rates = yield_curves(self._seed).continuous_rates(session.day, days / 365.0)
        cash = np.array([dividend.cash_amount for dividend in coming])
        return Terms(
            is_call=contract.is_call,
            strike=contract.strike_mills / 1000.0,
            rate=float(rates[0]),
            dividends=float((cash * np.exp(-rates[1:] * days[1:] / 365.0)).sum()),
            volatility_scale=share.volatility,
        )

    def _make_share_trades(self, ticker: str, session: Session) -> pa.Table:
        return trades_table(self._seed, SHARES[ticker], session, self._trades(ticker, session))

    def _make_share_quotes(self, ticker: str, session: Session) -> pa.Table:
        return quotes_table(self._seed, SHARES[ticker], session, self._trades(ticker, session))

    def _make_option_trades(self, ticker: str, session: Session) -> pa.Table:
        return self._contract_session(ticker, session).trades_table()

    def _make_option_quotes(self, ticker: str, session: Session) -> pa.Table:
        return self._contract_session(ticker, session).quotes_table()

    def _make_bars(self, span: BaseSpan, ticker: str, session: Session) -> pa.Table:
        if ticker in SHARES:
            return self._share_bars(span, ticker, session)
        if ticker in INDICES:
            return self._index_bars(span, ticker, session)
        bars = bars_of_prints(self._contract_session(ticker, session).prints(), WIDTH_MS[span])
        return _stamped(bars, session.midnight_ms) if span is BaseSpan.DAY else bars

    def _share_bars(self, span: BaseSpan, ticker: str, session: Session) -> pa.Table:
        if span is BaseSpan.SECOND:
            return bars_of_prints(self._trades(ticker, session).prints(), WIDTH_MS[span])
        frames = self._frames(ticker, session)
        return day_bar(frames, session) if span is BaseSpan.DAY else minute_bars(frames)

    def _index_bars(self, span: BaseSpan, ticker: str, session: Session) -> pa.Table:
        values = self._index_values(ticker, session)
        if span is not BaseSpan.DAY:
            return bars_of_values(values.time_ns, values.value, WIDTH_MS[span])
        regular = values.time_ns >= session.open_ms * 1_000_000
        bars = bars_of_values(values.time_ns[regular], values.value[regular], WIDTH_MS[span])
        return _stamped(bars, session.chicago_midnight_ms)


def minute_bars(frames: Frames) -> pa.Table:
    """The minute bars of a share's frames: none where nothing made a price."""
    exists = frames.priced > 0
    return bar_table(
        t=frames.start_ms[exists],
        ohlc=np.stack((frames.open, frames.high, frames.low, frames.close))[:, exists] / PRICE_UNIT,
        volume=frames.volume[exists] / VOLUME_UNIT,
        vwap=frames.vwap[exists] / PRICE_UNIT,
        count=frames.trades[exists],
    )


def day_bar(frames: Frames, session: Session) -> pa.Table:
    """The daily bar: prices of the regular session, volume, average and count of the whole day."""
    regular = slice(session.open_minute, session.close_minute)
    volume = frames.volume.sum()
    ohlc = (
        frames.open[regular][0],
        frames.high[regular].max(),
        frames.low[regular].min(),
        frames.close[regular][-1],
    )
    return bar_table(
        t=np.array([session.midnight_ms]),
        ohlc=np.array(ohlc).reshape(4, 1) / PRICE_UNIT,
        volume=np.array([volume / VOLUME_UNIT]),
        vwap=np.rint([(frames.vwap * frames.volume).sum() / volume]) / PRICE_UNIT,
        count=np.array([frames.trades.sum()]),
    )


def _stamped(bars: pa.Table, at_ms: int) -> pa.Table:
    """The bar of one day with the vendor's stamp; sessions do not cross midnight UTC, so there is one at most."""
    return bars.set_column(0, bars.schema.field("t"), pa.array([at_ms] * len(bars), pa.int64()))
