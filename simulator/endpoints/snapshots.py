"""Snapshots of the market now: the option chain, one contract, indices, and the universal one.

A world that values its options offers implied volatility, Greeks and open interest (ValuesOptions); for a recorded
world they are left out, as the vendor leaves them out where it cannot compute them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import pyarrow as pa

from simulator import exchange_hours
from simulator.asks import Ask
from simulator.endpoints.contracts import NOT_REFERENCE, find_contract
from simulator.filters import FieldType, Listing, day_bounds, list_page
from simulator.newyork import NS_PER_MS
from simulator.plans import AssetClass, DataKind, asset_of
from simulator.replies import BadParameter, NotFound, Reply, single
from simulator.rows import row_dicts
from simulator.view import View

Row = dict[str, object]

MAX_TICKERS: Final = 250
CHAIN: Final = Listing(
    fields={
        "ticker": FieldType.TEXT,
        "contract_type": FieldType.TEXT,
        "expiration_date": FieldType.DAY,
        "strike_price": FieldType.NUMBER,
    },
    default_limit=10,
    maximum_limit=250,
    sorts=("ticker", "expiration_date", "strike_price"),
)
TICKERS: Final = Listing(
    fields={"ticker": FieldType.TEXT, "type": FieldType.TEXT},
    default_limit=10,
    maximum_limit=250,
    sorts=("ticker",),
)
_DETAILS: Final = (
    "ticker",
    "contract_type",
    "exercise_style",
    "expiration_date",
    "shares_per_contract",
    "strike_price",
)
_GREEKS: Final = ("delta", "gamma", "theta", "vega")
_DAY_NAMES: Final = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw"}
_INDEX_NAMES: Final = {
    "I:VIX": "Cboe Volatility Index",
    "I:SPX": "S&P 500",
    "I:NDX": "Nasdaq 100",
    "I:DJI": "Dow Jones",
}


@runtime_checkable
class ValuesOptions(Protocol):
    """A world that knows what its options are worth."""

    def option_values(self, ticker: str, at_ns: int) -> Mapping[str, float]:
        """Any of implied_volatility, delta, gamma, theta, vega, open_interest, as known at an instant."""


@dataclass(frozen=True, slots=True)
class _Underlying:
    """The underlying's part of an option's snapshot."""

    ticker: str
    price: float | None
    updated_ns: int | None

    def row(self, view: View, break_even: float | None) -> Row:
        asset = asset_of(self.ticker)
        row: Row = {"ticker": self.ticker, "timeframe": view.timeframe(asset)}
        if self.price is not None:
            row["value" if asset is AssetClass.INDICES else "price"] = self.price
            row["last_updated"] = self.updated_ns
            if break_even is not None:
                row["change_to_break_even"] = break_even - self.price
        return row


def option_chain(ask: Ask, view: View) -> Reply:
    """``/v3/snapshot/options/{underlying}``: contracts alive today; ``date`` and ``as_of`` are ignored."""
    expiry_from, expiry_to = day_bounds(ask, "expiration_date")
    name = ask.values["ticker"].removeprefix("I:")
    table = view.contracts(name, view.today, expired=False, expiry_from=expiry_from, expiry_to=expiry_to)
    underlying = _underlying(view, name)
    return list_page(
        ask,
        CHAIN,
        table,
        view.status(AssetClass.OPTIONS),
        render=lambda page: [_option_row(view, contract, underlying) for contract in row_dicts(page)],
    )


def option_contract(ask: Ask, view: View) -> Reply:
    """``/v3/snapshot/options/{underlying}/{contract}``; an expired one has none, nor one of another underlying."""
    ticker, underlying = ask.values["contract"], ask.values["ticker"].removeprefix("I:")
    found = find_contract(view, ticker, view.today)
    if found is None or found["underlying_ticker"][0].as_py() != underlying:
        raise NotFound(f"Snapshot of {ticker}")
    row = _option_row(view, row_dicts(found)[0], _underlying(view, underlying))
    return single(row, ask.request_id, view.status(AssetClass.OPTIONS))


def indices(ask: Ask, view: View) -> Reply:
    """``/v3/snapshot/indices``; a ticker that cannot be shown is an error row."""
    asked = _asked_tickers(ask)
    tickers = asked or [ticker for ticker in view.tickers() if asset_of(ticker) is AssetClass.INDICES]
    status = view.status(AssetClass.INDICES)
    return list_page(ask, TICKERS, _ticker_table(tickers), status, render=lambda page: _ticker_rows(view, page))


def universal(ask: Ask, view: View) -> Reply:
    """``/v3/snapshot``: shares, options and indices in one answer."""
    tickers = _asked_tickers(ask) or view.tickers()
    return list_page(ask, TICKERS, _ticker_table(tickers), "OK", render=lambda page: _ticker_rows(view, page))


def _asked_tickers(ask: Ask) -> list[str]:
    text = ask.text("ticker.any_of") or ask.text("ticker") or ""
    tickers = [ticker.strip() for ticker in text.split(",") if ticker.strip()]
    if len(tickers) > MAX_TICKERS:
        raise BadParameter("ticker.any_of", text, f"at most {MAX_TICKERS} tickers")
    return tickers


def _ticker_table(tickers: Sequence[str]) -> pa.Table:
    names = sorted(set(tickers))
    return pa.table({"ticker": pa.array(names, pa.string()), "type": pa.array(map(asset_of, names), pa.string())})


def _ticker_rows(view: View, page: pa.Table) -> list[Row]:
    return [_ticker_row(view, ticker) for ticker in page["ticker"].to_pylist()]


def _ticker_row(view: View, ticker: str) -> Row:
    if not view.world.knows(ticker):
        return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
    if not view.may_see(ticker, DataKind.SNAPSHOT):
        return {"ticker": ticker, "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."}
    asset = asset_of(ticker)
    head: Row = {
        "ticker": ticker,
        "type": str(asset),
        "market_status": exchange_hours.market_phase(view.now_ns)[0],
        "name": _INDEX_NAMES.get(ticker, ticker),
    }
    if asset is AssetClass.OPTIONS:
        contract = find_contract(view, ticker, view.today)
        if contract is None:
            return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
        fields = row_dicts(contract)[0]
        row = _option_row(view, fields, _underlying(view, str(fields["underlying_ticker"])))
        row["session"] = {
            name: v for name, v in _mapping(row.pop("day")).items() if name not in {"vwap", "last_updated"}
        }
        return head | row
    newest = _newest(view, ticker)
    session = {name: v for name, v in _day(view, ticker, newest).items() if name not in {"vwap", "last_updated"}}
    if asset is AssetClass.INDICES:
        row = head | {"timeframe": view.timeframe(asset), "session": session}
        price, updated = _price(view, ticker)
        return row if price is None else row | {"value": price, "last_updated": updated}
    return head | {"session": session} | newest


def _option_row(view: View, contract: Mapping[str, object], underlying: _Underlying) -> Row:
    ticker = str(contract["ticker"])
    newest = _newest(view, ticker)
    row: Row = {
        "details": {name: contract[name] for name in _DETAILS if name in contract},
        "day": _day(view, ticker, newest),
    }
    row |= newest
    row |= {name: contract[name] for name in NOT_REFERENCE if name in contract}
    if isinstance(view.world, ValuesOptions):
        values = view.world.option_values(ticker, view.horizon_ns(AssetClass.OPTIONS))
        row |= {name: values[name] for name in ("implied_volatility", "open_interest") if name in values}
        greeks = {name: values[name] for name in _GREEKS if name in values}
        row |= {"greeks": greeks} if greeks else {}
    break_even = _break_even(contract, row)
    if break_even is not None:
        row["break_even_price"] = break_even
    row["underlying_asset"] = underlying.row(view, break_even)
    return row


def _break_even(contract: Mapping[str, object], row: Mapping[str, object]) -> float | None:
    """Strike plus (a put: less) the newest price: last trade, else today's close, else the middle of the quote."""
    newest = _mapping(row.get("last_trade")).get("price")
    newest = newest or _mapping(row.get("day")).get("close") or _mapping(row.get("last_quote")).get("midpoint")
    strike = contract.get("strike_price")
    if not isinstance(newest, float) or not isinstance(strike, float):
        return None
    return strike - newest if contract.get("contract_type") == "put" else strike + newest


def _newest(view: View, ticker: str) -> Row:
    """``last_quote`` and ``last_trade``, each where the plan has it and there is one."""
    timeframe = view.timeframe(asset_of(ticker))
    row: Row = {}
    if view.may_see(ticker, DataKind.QUOTES):
        for quote in row_dicts(view.last_quote(ticker)):
            row["last_quote"] = _quote_row(quote) | {"timeframe": timeframe}
    if view.may_see(ticker, DataKind.TRADES):
        for trade in row_dicts(view.last_trade(ticker)):
            names = ("price", "size", "conditions", "exchange", "sip_timestamp")
            row["last_trade"] = {name: trade[name] for name in names if name in trade} | {"timeframe": timeframe}
    return row


def _quote_row(quote: Mapping[str, object]) -> Row:
    names = ("bid", "bid_size", "bid_exchange", "ask", "ask_size", "ask_exchange")
    recorded = {"bid": "bid_price", "ask": "ask_price"}
    row: Row = {name: quote[recorded.get(name, name)] for name in names if recorded.get(name, name) in quote}
    bid, ask = row.get("bid"), row.get("ask")
    if isinstance(bid, float) and isinstance(ask, float) and bid and ask:
        row["midpoint"] = (bid + ask) / 2
    return row | {"last_updated": quote["sip_timestamp"]}


def _day(view: View, ticker: str, newest: Mapping[str, object]) -> Row:
    """Today so far against the last day before; ``{}`` when nothing traded today.

    It was updated by the last trade of the newest ones given, where the plan shows it, else by the last minute.
    """
    bars = row_dicts(view.day_so_far(ticker))
    if not bars:
        return {}
    bar = bars[0]
    row: Row = {name: bar[short] for name, short in _DAY_NAMES.items() if short in bar}
    for previous in row_dicts(view.previous_day(ticker)):
        before, now = previous.get("c"), bar.get("c")
        if isinstance(before, float) and isinstance(now, float) and before:
            row |= {"previous_close": before, "change": now - before, "change_percent": (now / before - 1) * 100}
    traded_ns, started_ms = _mapping(newest.get("last_trade")).get("sip_timestamp"), bar["t"]
    if isinstance(traded_ns, int) and isinstance(started_ms, int) and traded_ns >= started_ms * NS_PER_MS:
        return row | {"last_updated": traded_ns}
    return row | {"last_updated": _of_bars(view, ticker)[1]}


def _underlying(view: View, name: str) -> _Underlying:
    index = f"I:{name}"
    ticker = index if not view.world.knows(name) and view.world.knows(index) else name
    if not view.may_see(ticker, DataKind.SNAPSHOT):
        return _Underlying(ticker, None, None)
    return _Underlying(ticker, *_price(view, ticker))


def _price(view: View, ticker: str) -> tuple[float | None, int | None]:
    """The newest price and its time in ns: the last trade, else the close of the last finished minute or day."""
    if view.may_see(ticker, DataKind.TRADES):
        for trade in row_dicts(view.last_trade(ticker)):
            return trade["price"], trade["sip_timestamp"]  # type: ignore[return-value]
    return _of_bars(view, ticker)


def _of_bars(view: View, ticker: str) -> tuple[float | None, int | None]:
    return view.newest_close(ticker) or (None, None)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
