"""Recorded sessions on the grid: every minute and contract is priced or says why not, and spot checks from the source.

The worlds' files name their columns as the vendor does; each test lays them into the tables of the lake itself, so
that nothing but the consolidation is under test.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import erf, exp, log, sqrt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from marketlake.consolidate import Inputs, contracts_with_data, market_minutes, option_minutes
from marketlake.selection import OpeningSource, choose, opening_price
from marketlake.tables import STRIKE, TABLES, TIME, Reason
from marketlake.tickers import Underlying

MINUTE = timedelta(minutes=1)
BAR_NAMES = {"timespan": "span", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap"}
CONTRACT_NAMES = {"expiration_date": "expiry", "strike_price": "strike", "contract_type": "right"}


@dataclass(frozen=True)
class Limits:
    max_price_age_s: int = 900
    max_underlying_age_s: int = 900
    max_vix_age_s: int = 900
    news_lag_s: int = 60


def as_table(name: str, columns: dict[str, pa.ChunkedArray]) -> pa.Table:
    schema = TABLES[name].schema
    rows = len(next(iter(columns.values())))
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def columns_of(path: Path, names: dict[str, str]) -> dict[str, pa.ChunkedArray]:
    table = pq.read_table(path)
    return {names.get(name, name): table[name] for name in table.column_names}


def read_world(folder: Path, underlying: str) -> Inputs:
    """The whole world as inputs; its contracts are those with a bar or quote."""
    columns = columns_of(folder / "bars.parquet", {**BAR_NAMES, "n": "trades"})
    columns["start"] = pc.multiply(columns.pop("t"), 1_000_000).cast(TIME)
    bars = as_table("option_bars", columns)
    columns = columns_of(folder / "contracts.parquet", CONTRACT_NAMES)
    columns["strike"] = pc.round(columns["strike"], 3).cast(pa.decimal128(20, 3)).cast(STRIKE)
    columns["chosen"] = pa.chunked_array([pa.array([False] * len(columns["ticker"]))])
    contracts = as_table("option_contracts", columns)
    columns = columns_of(folder / "rates.parquet", {})
    columns["date"] = columns["date"].cast(pa.string()).cast(pa.date32())
    quotes = None
    if (folder / "quotes.parquet").exists():
        named = columns_of(folder / "quotes.parquet", {})
        named["sip_timestamp"] = named["sip_timestamp"].cast(TIME)
        quotes = as_table("option_quotes", named)
    return Inputs(
        Underlying.parse(underlying),
        underlying_bars=bars,
        vix_bars=bars,
        contracts=contracts_with_data(contracts, bars, quotes),
        option_bars=bars,
        option_quotes=quotes,
        yields=as_table("treasury_yields", columns),
    )


@dataclass(frozen=True)
class Session:
    inputs: Inputs
    market: list[dict[str, object]]
    table: pa.Table

    @classmethod
    def of(cls, folder: Path, underlying: str, session: date) -> "Session":
        inputs = read_world(folder, underlying)
        market = market_minutes(inputs, session, Limits()).to_pylist()
        return cls(inputs, market, option_minutes(inputs, session, Limits()))

    def row(self, ticker: str, minute: datetime) -> dict[str, object]:
        found = pc.and_(pc.equal(self.table["ticker"], ticker), pc.equal(self.table["minute"], pa.scalar(minute)))
        (row,) = self.table.filter(found).to_pylist()
        return dict(row)


@pytest.fixture(scope="module")
def spy(worlds: Path) -> Session:
    return Session.of(worlds / "spy-options-2025-08-29", "SPY", date(2025, 8, 29))


@pytest.fixture(scope="module")
def spx(worlds: Path) -> Session:
    return Session.of(worlds / "spx-options-2021-01", "SPX", date(2021, 1, 4))


def black_scholes(spot: float, strike: float, years: float, rate: float, sigma: float, right: str) -> float:
    d1 = (log(spot / strike) + (rate + sigma**2 / 2) * years) / (sigma * sqrt(years))
    sign = 1 if right == "call" else -1
    first, second = ((1 + erf(sign * d / sqrt(2))) / 2 for d in (d1, d1 - sigma * sqrt(years)))
    return sign * (spot * first - strike * exp(-rate * years) * second)


def assert_priced_or_explained(table: pa.Table) -> None:
    priced = pc.is_null(table["reason"])
    for name in ("implied_volatility", "delta", "gamma", "vega_per_point", "theta_per_day", "rho_per_point"):
        assert pc.is_valid(table[name]).equals(priced), name
    for row in table.filter(priced).to_pylist():
        again = black_scholes(
            row["underlying_price"],
            float(row["strike"]),
            row["years_to_expiry"],
            row["rate"],
            row["implied_volatility"],
            row["right"],
        )
        assert again == pytest.approx(row["option_price"], abs=1e-8)


def test_every_minute_and_contract_of_spy_has_greeks_or_a_reason(spy: Session) -> None:
    assert 390 == len(spy.market)
    assert (10 * 405 - 128, 10) == (spy.table.num_rows, len(spy.table["ticker"].unique()))
    assert_priced_or_explained(spy.table)
    assert {
        None: 1692,
        Reason.STALE_PRICE: 1745,
        Reason.BELOW_INTRINSIC: 485,
    } == Counter(spy.table["reason"].to_pylist())


def test_the_first_prices_of_a_contract_of_spy_are_those_of_its_first_bars(spy: Session) -> None:
    """O:SPY250902C00625000 first trades in the minute 13:48 UTC, at 21.49; SPY's bar of 13:49 closes at 646.10."""
    ticker, first = "O:SPY250902C00625000", datetime(2025, 8, 29, 13, 48, tzinfo=UTC)
    own, after = (spy.row(ticker, first + step * MINUTE) for step in (0, 1))

    assert first == min(spy.table.filter(pc.equal(spy.table["ticker"], ticker))["minute"].to_pylist())
    assert (21.49, "bar_close", 0.0) == (own["option_price"], own["price_source"], own["price_age_s"])
    assert (21.49, 60.0, 646.1) == (after["option_price"], after["price_age_s"], after["underlying_price"])


def test_an_option_of_spy_in_its_last_minute_is_priced_by_the_share_after_its_close(spy: Session) -> None:
    """20:14 UTC: the put of 635 closes at 0.16; from 20:15 on Friday to 20:00 on Tuesday are 5,745 minutes; one month
    yielded 4.42 % the day before."""
    row = spy.row("O:SPY250902P00635000", datetime(2025, 8, 29, 20, 14, tzinfo=UTC))
    (share,) = [
        bar["close"]
        for bar in spy.inputs.underlying_bars.to_pylist()  # type: ignore[union-attr]
        if bar["ticker"] == "SPY" and bar["start"] == row["minute"]
    ]

    assert (0.16, share) == (row["option_price"], row["underlying_price"])
    assert row["years_to_expiry"] == pytest.approx(5745 / 525_600, rel=1e-12)
    assert row["rate"] == pytest.approx(2 * log(1 + 0.0442 / 2), rel=1e-12)
    price = black_scholes(644.97, 635.0, 5745 / 525_600, row["rate"], row["implied_volatility"], "put")  # type: ignore[arg-type]
    assert price == pytest.approx(0.16, abs=1e-9)


def test_the_vix_of_spys_session_is_the_close_of_the_day_before(spy: Session) -> None:
    """There are daily bars only: 14.43 on 2025-08-28, known from 16:15; the session's own day bar is not looked at."""
    values = [(row["vix"], row["vix_age_s"]) for row in spy.market]
    first = (datetime(2025, 8, 29, 13, 31, tzinfo=UTC) - datetime(2025, 8, 28, 20, 15, tzinfo=UTC)).total_seconds()

    assert [(pytest.approx(14.43, abs=1e-6), first + 60 * minute) for minute in range(390)] == values


def test_spys_opening_price_chooses_26_contracts_of_the_next_expiry(worlds: Path) -> None:
    """No contract of the day itself is listed; 647.47 less and plus 1 % are 640.9953 and 653.9447: 13 strikes."""
    session = date(2025, 8, 29)
    columns = columns_of(worlds / "spy-options-2025-08-29" / "contracts.parquet", CONTRACT_NAMES)
    columns["strike"] = pc.round(columns["strike"], 3).cast(pa.decimal128(20, 3)).cast(STRIKE)
    columns["chosen"] = pa.chunked_array([pa.array([False] * len(columns["ticker"]))])
    bars = read_world(worlds / "spy-options-2025-08-29", "SPY").underlying_bars
    assert bars is not None
    opens = opening_price(bars.filter(pc.equal(bars["ticker"], "SPY")), session)
    assert opens == (Decimal("647.47"), OpeningSource.OPENING_BAR)

    chosen = choose(as_table("option_contracts", columns), opens[0], session, "SPY", Decimal(1), 30, 1)
    chosen = chosen.filter(chosen["chosen"])

    expected = {f"O:SPY250902{letter}{strike * 1000:08d}" for letter in "CP" for strike in range(641, 654)}
    assert expected == set(chosen["ticker"].to_pylist())


def test_every_minute_and_contract_of_spx_has_greeks_or_a_reason(spx: Session) -> None:
    assert (18 * 405, 18) == (spx.table.num_rows, len(spx.table["ticker"].unique()))
    assert_priced_or_explained(spx.table)
    assert {
        None: 6522,
        Reason.EXPIRED: 4 * 16,
        Reason.NO_PRICE: 405,
        Reason.STALE_PRICE: 89,
        Reason.BELOW_INTRINSIC: 210,
    } == Counter(spx.table["reason"].to_pylist())


def test_an_option_of_spx_has_the_middle_of_its_last_quote(spx: Session) -> None:
    """O:SPX210115C03200000, 14:30:59.999: 564.10 bid, 569.10 asked; it settles at the open of 2021-01-15."""
    row = spx.row("O:SPX210115C03200000", datetime(2021, 1, 4, 14, 30, tzinfo=UTC))

    assert (564.1, 569.1, 115.0, 115.0) == tuple(
        row[name] for name in ("bid_price", "ask_price", "bid_size", "ask_size")
    )
    assert (pytest.approx(566.6), "quote_mid") == (row["option_price"], row["price_source"])
    assert row["price_age_s"] == pytest.approx(0.001)
    assert row["underlying_price"] == 3766.63
    assert row["years_to_expiry"] == pytest.approx((11 * 1440 - 1) / 525_600, rel=1e-12)


def test_options_of_spx_that_end_today_expire_with_the_session(spx: Session) -> None:
    """The grid goes on to 16:15; the four contracts of the day end at 16:00 and have no time left in minute 15:59."""
    expired = spx.table.filter(pc.equal(spx.table["reason"], Reason.EXPIRED))

    assert {"O:SPXW210104"} == {ticker[:12] for ticker in expired["ticker"].to_pylist()}
    assert datetime(2021, 1, 4, 20, 59, tzinfo=UTC) == pc.min(expired["minute"]).as_py()


def test_an_index_has_indicators_and_no_volume(spx: Session) -> None:
    last = spx.market[-1]

    assert (None, None) == (last["volume"], last["session_vwap"])
    assert None not in {last[name] for name in ("rsi_14", "macd_12_26_9", "bollinger_lower_20_2", "atr_14")}
