"""Reference data of option contracts: the list with ``as_of`` and ``expired``, and a single contract."""

from datetime import date, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from simulator.asks import Ask
from simulator.filters import FieldType, Listing, day_bounds, list_page
from simulator.replies import NotFound, Reply, single
from simulator.rows import row_dicts
from simulator.view import View

CONTRACTS: Final = Listing(
    fields={
        "ticker": FieldType.TEXT,
        "underlying_ticker": FieldType.TEXT,
        "contract_type": FieldType.TEXT,
        "expiration_date": FieldType.DAY,
        "strike_price": FieldType.NUMBER,
    },
    default_limit=10,
    maximum_limit=1000,
    sorts=("ticker", "underlying_ticker", "expiration_date", "strike_price"),
)
NOT_REFERENCE: Final = frozenset({"open_interest"})
"""Columns that a world may keep with its contracts for the snapshots."""


def contracts(ask: Ask, view: View) -> Reply:
    """``/v3/reference/options/contracts``."""
    ask.choice("contract_type", ("call", "put", "other"), "call")
    expiry_from, expiry_to = day_bounds(ask, "expiration_date")
    as_of = ask.day("as_of") or view.today
    is_expired = ask.flag("expired", default=False)
    exact = ask.text("underlying_ticker")
    tables = [
        view.contracts(underlying, as_of, expired=is_expired, expiry_from=expiry_from, expiry_to=expiry_to)
        for underlying in ([exact] if exact else view.underlyings())
    ]
    table = pa.concat_tables(tables) if len(tables) > 1 else tables[0]
    return list_page(ask, CONTRACTS, _reference_columns(table), "OK")


def contract(ask: Ask, view: View) -> Reply:
    """``/v3/reference/options/contracts/{ticker}``; an expired one needs ``as_of``."""
    ticker = ask.values["ticker"]
    found = find_contract(view, ticker, ask.day("as_of") or view.today)
    if found is None:
        raise NotFound(f"Contract {ticker}")
    return single(row_dicts(_reference_columns(found))[0], ask.request_id, "OK")


def find_contract(view: View, ticker: str, as_of: date) -> pa.Table | None:
    """The one row of a contract that is alive on a date."""
    expiry = expiry_of(ticker)
    if expiry is None:
        return None
    # A root begins with its underlying's name nearly always; the others are asked last.
    for underlying in sorted(view.underlyings(), key=lambda name: not ticker.startswith(f"O:{name}")):
        table = view.contracts(underlying, as_of, expired=False, expiry_from=expiry, expiry_to=expiry)
        row = table.filter(pc.equal(table["ticker"], ticker)) if table.num_rows else table
        if row.num_rows:
            return row.slice(0, 1)
    return None


def expiry_of(ticker: str) -> date | None:
    """The expiry in an option ticker, read from the right as roots may hold digits; None where there is none."""
    try:
        return datetime.strptime(ticker[-15:-9], "%y%m%d").date()  # noqa: DTZ007 - a date without a time
    except ValueError:
        return None


def _reference_columns(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in table.column_names if name in NOT_REFERENCE])
