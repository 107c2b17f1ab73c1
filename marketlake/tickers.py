"""The vendor's symbols as types that refuse bad input: shares, options (``O:``) and indices (``I:``).

Which contracts are chosen for a session is decided in :mod:`marketlake.selection`; when they trade, in
:mod:`marketlake.sessions`.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Self

from marketlake.errors import UsageError

_SHARE = re.compile(r"[A-Z][A-Z0-9]{0,5}(?:[.\-][A-Z]{1,3})?")
_INDEX = re.compile(r"I:[A-Z0-9]{1,12}")
# Parsed from the right (OSI symbology): 8 digits of strike, one letter, 6 digits of date, the rest is the root.
_OPTION = re.compile(r"O:(?P<root>[A-Z][A-Z0-9.]{0,5})(?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d{8})")

# Roots that trade on an index, and the index whose level prices them. PM-settled weeklies have a root of their own.
INDEX_OF_ROOT = {
    "SPX": "I:SPX",
    "SPXW": "I:SPX",
    "XSP": "I:XSP",
    "NDX": "I:NDX",
    "NDXP": "I:NDX",
    "RUT": "I:RUT",
    "RUTW": "I:RUT",
    "DJX": "I:DJX",
    "VIX": "I:VIX",
    "VIXW": "I:VIX",
}


VIX = "I:VIX"


class AssetClass(StrEnum):
    """What kind of thing a ticker names; the vendor sells an entitlement for each."""

    STOCKS = "stocks"
    OPTIONS = "options"
    INDICES = "indices"


class Right(StrEnum):
    """The right that an option gives its holder."""

    CALL = "call"
    PUT = "put"


def asset_class_of(ticker: str) -> AssetClass:
    """The asset class of a vendor ticker.

    Raises:
        UsageError: the text is no ticker; anything that could leave a path or a URL is refused here.
    """
    if _OPTION.fullmatch(ticker):
        return AssetClass.OPTIONS
    if _INDEX.fullmatch(ticker):
        return AssetClass.INDICES
    if _SHARE.fullmatch(ticker):
        return AssetClass.STOCKS
    message = f"{ticker!r} is no ticker: use SPY for a share, I:VIX for an index, O:SPY250919C00650000 for an option"
    raise UsageError(message)


@dataclass(frozen=True, slots=True)
class OptionTicker:
    """What an option symbol says about its contract; ``strike`` is exact, ``expiry`` is a New York date."""

    symbol: str
    root: str
    expiry: date
    right: Right
    strike: Decimal

    @classmethod
    def parse(cls, symbol: str) -> Self:
        """Read ``O:SPY241220C00585000``.

        Raises:
            UsageError: the text is no option symbol, or its date does not exist.
        """
        match = _OPTION.fullmatch(symbol)
        if match is None:
            message = f"{symbol!r} is no option symbol: O:, root, YYMMDD, C or P, strike x 1000 in eight digits"
            raise UsageError(message)
        try:
            expiry = datetime.strptime(match["expiry"], "%y%m%d").date()  # noqa: DTZ007 - a date, no instant
        except ValueError:
            message = f"{symbol!r} has an expiry date that does not exist: {match['expiry']}"
            raise UsageError(message) from None
        right = Right.CALL if match["right"] == "C" else Right.PUT
        return cls(symbol, match["root"], expiry, right, Decimal(match["strike"]).scaleb(-3))


@dataclass(frozen=True, slots=True)
class Underlying:
    """One underlying: ``symbol`` names its options and folders, ``price_ticker`` is the ticker whose bars price it."""

    symbol: str
    price_ticker: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``SPY``, or ``I:SPX``, for which any root of its options (``SPX``, ``SPXW``) may stand.

        Raises:
            UsageError: the text is neither a share nor an index.
        """
        kind = asset_class_of(text)
        if kind is AssetClass.OPTIONS:
            message = f"{text!r} is a contract, not an underlying: give SPY or I:SPX"
            raise UsageError(message)
        if kind is AssetClass.INDICES:
            return cls(text.removeprefix("I:"), text)
        if text in INDEX_OF_ROOT:
            return cls.parse(INDEX_OF_ROOT[text])
        return cls(text, text)

    @property
    def asset_class(self) -> AssetClass:
        """Whether a share or an index underlies."""
        return asset_class_of(self.price_ticker)


@lru_cache(maxsize=65_536)
def underlying_of_option(symbol: str) -> str:
    """The underlying's symbol of an option symbol: ``SPX`` for SPXW contracts, ``SPY`` for the adjusted root SPY1."""
    root = OptionTicker.parse(symbol).root
    index = INDEX_OF_ROOT.get(root)
    # OCC marks an adjusted contract by a digit behind the root.
    return index.removeprefix("I:") if index else root.rstrip("0123456789")
