from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.errors import UsageError
from marketlake.tickers import AssetClass, OptionTicker, Right, Underlying, asset_class_of, underlying_of_option


@pytest.mark.parametrize(
    ("ticker", "kind"),
    [
        ("SPY", AssetClass.STOCKS),
        ("BRK.B", AssetClass.STOCKS),
        ("I:VIX", AssetClass.INDICES),
        ("O:SPY241220C00585000", AssetClass.OPTIONS),
        ("O:SPY1250919P00012500", AssetClass.OPTIONS),
    ],
)
def test_a_tickers_prefix_says_what_it_is(ticker: str, kind: AssetClass) -> None:
    assert kind is asset_class_of(ticker)


@pytest.mark.parametrize(
    "text",
    ["", "spy", "../../etc/passwd", "SPY/..", "O:SPY", "I:", "SPY\n", "O:SPY241220X00585000", "A" * 40, "SPY?apiKey=x"],
)
def test_what_is_no_ticker_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no ticker"):
        asset_class_of(text)


def test_an_option_symbol_is_read_from_the_right() -> None:
    """OSI symbology: the vendor's own example, and an adjusted root that ends in a digit."""
    plain = OptionTicker.parse("O:SPY241220C00585000")
    adjusted = OptionTicker.parse("O:SPY1241220P00582500")

    assert ("SPY", date(2024, 12, 20), Right.CALL, Decimal(585)) == (
        plain.root,
        plain.expiry,
        plain.right,
        plain.strike,
    )
    assert ("SPY1", Right.PUT, Decimal("582.5")) == (adjusted.root, adjusted.right, adjusted.strike)


@given(
    root=st.from_regex(r"[A-Z]{1,5}[0-9]?", fullmatch=True),
    expiry=st.dates(date(2000, 1, 1), date(2068, 12, 31)),
    right=st.sampled_from(["C", "P"]),
    thousandths=st.integers(0, 99_999_999),
)
def test_every_symbol_gives_back_what_it_was_made_of(root: str, expiry: date, right: str, thousandths: int) -> None:
    contract = OptionTicker.parse(f"O:{root}{expiry:%y%m%d}{right}{thousandths:08d}")

    assert (root, expiry, right) == (contract.root, contract.expiry, contract.right[0].upper())
    assert thousandths == contract.strike * 1000


def test_a_date_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        OptionTicker.parse("O:SPY250230C00585000")


@pytest.mark.parametrize(
    ("text", "symbol", "price_ticker"),
    [("SPY", "SPY", "SPY"), ("I:SPX", "SPX", "I:SPX"), ("SPX", "SPX", "I:SPX"), ("AAPL", "AAPL", "AAPL")],
)
def test_an_underlying_names_its_options_and_what_prices_them(text: str, symbol: str, price_ticker: str) -> None:
    assert (symbol, price_ticker) == (Underlying.parse(text).symbol, Underlying.parse(text).price_ticker)


def test_a_contract_is_no_underlying() -> None:
    with pytest.raises(UsageError, match="not an underlying"):
        Underlying.parse("O:SPY241220C00585000")


@pytest.mark.parametrize(
    ("symbol", "underlying"),
    [
        ("O:SPXW210104C03700000", "SPX"),
        ("O:SPX210115C03200000", "SPX"),
        ("O:SPY1250919P00012500", "SPY"),
        ("O:AAPL140606C00490000", "AAPL"),
    ],
)
def test_a_contract_knows_its_underlying(symbol: str, underlying: str) -> None:
    assert underlying == underlying_of_option(symbol)
