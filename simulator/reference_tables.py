"""The vendor's constants: condition codes with their rules for bars, and exchanges.

The rules are those of the consolidated tapes: which trades may move a bar's high and low, its open and close, and its
volume. How a synthetic market obeys them is its own matter.
"""

from typing import Final

import msgspec


class UpdateRules(msgspec.Struct, frozen=True):
    """What a trade with a condition may change."""

    updates_high_low: bool
    updates_open_close: bool
    updates_volume: bool


class Rules(msgspec.Struct, frozen=True):
    """Rules for consolidated bars; the market centres' own are the same here."""

    consolidated: UpdateRules
    market_center: UpdateRules


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition code; its id is unique only within a data type."""

    id: int
    type: str
    name: str
    asset_class: str
    data_types: tuple[str, ...]
    sip_mapping: dict[str, str] = {}
    update_rules: Rules | None = None


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A venue; the reporting facilities of FINRA share id 4."""

    id: int
    type: str
    asset_class: str
    locale: str
    name: str
    mic: str = ""
    operating_mic: str = ""
    participant_id: str = ""


_ALL: Final = "hov"  # high/low, open/close, volume
_TRADE_CONDITIONS: Final = (
    (1, "Acquisition", _ALL, "", "A"),
    (2, "Average Price Trade", "v", "B", "W"),
    (3, "Automatic Execution", _ALL, "E", ""),
    (4, "Bunched Trade", _ALL, "", "B"),
    (5, "Bunched Sold Trade", "hv", "", "G"),
    (6, "CAP Election", _ALL, "I", ""),
    (7, "Cash Sale", "v", "C", "C"),
    (8, "Closing Prints", _ALL, "", "6"),
    (9, "Cross Trade", _ALL, "X", "X"),
    (10, "Derivatively Priced", "hv", "4", "4"),
    (11, "Distribution", _ALL, "", "D"),
    (12, "Form T", "v", "T", "T"),
    (13, "Extended Trading Hours (Sold Out of Sequence)", "v", "U", "U"),
    (14, "Intermarket Sweep", _ALL, "F", "F"),
    (15, "Market Center Official Close", "", "M", "M"),
    (16, "Market Center Official Open", "", "Q", "Q"),
    (17, "Market Center Opening Trade", "hv", "O", ""),
    (18, "Market Center Reopening Trade", _ALL, "5", ""),
    (19, "Market Center Closing Trade", _ALL, "6", ""),
    (20, "Next Day", "v", "N", "N"),
    (21, "Price Variation Trade", "v", "H", "H"),
    (22, "Prior Reference Price", "hv", "P", "P"),
    (23, "Rule 155 Trade (AMEX)", _ALL, "K", "K"),
    (24, "Rule 127 NYSE", _ALL, "", ""),
    (25, "Opening Prints", _ALL, "", "O"),
    (27, "Stopped Stock (Regular Trade)", _ALL, "", "1"),
    (28, "Re-Opening Prints", _ALL, "", "5"),
    (29, "Seller", "v", "R", "R"),
    (30, "Sold Last", _ALL, "L", "L"),
    (32, "Sold (Out of Sequence)", "hv", "Z", "Z"),
    (33, "Sold (Out of Sequence) and Stopped Stock", "hv", "", "2"),
    (34, "Split Trade", _ALL, "", "S"),
    (35, "Stock Option", _ALL, "", "V"),
    (36, "Yellow Flag Regular Trade", _ALL, "", "Y"),
    (37, "Odd Lot Trade", "v", "I", "I"),
    (38, "Corrected Consolidated Close", "ho", "9", "9"),
    (41, "Trade Thru Exempt", None, "X", "X"),
    (52, "Contingent Trade", "v", "V", "V"),
    (53, "Qualified Contingent Trade", "v", "7", "7"),
    (55, "Opening Reopening Trade Detail", _ALL, "", ""),
)
_OPTION_CONDITIONS: Final = (
    (201, "Canceled", "A"),
    (202, "Late and Out Of Sequence", "B"),
    (203, "Last and Canceled", "C"),
    (204, "Late", "D"),
    (206, "Opening Trade, Late, and Out Of Sequence", "F"),
    (209, "Automatic Execution", "I"),
    (210, "Reopening Trade", "J"),
    (219, "Intermarket Sweep Order", "S"),
    (227, "Single Leg Auction Non ISO", "a"),
    (228, "Single Leg Auction ISO", "b"),
    (229, "Single Leg Cross Non ISO", "c"),
    (232, "Multi Leg auto-electronic trade", "f"),
    (233, "Multi Leg Auction", "g"),
)
_STOCK_VENUES: Final = (
    (1, "NYSE American, LLC", "XASE", "XNYS", "A"),
    (2, "Nasdaq OMX BX, Inc.", "XBOS", "XNAS", "B"),
    (3, "NYSE National, Inc.", "XCIS", "XNYS", "C"),
    (7, "Cboe EDGA", "EDGA", "XCBO", "J"),
    (8, "Cboe EDGX", "EDGX", "XCBO", "K"),
    (9, "NYSE Chicago, Inc.", "XCHI", "XNYS", "M"),
    (10, "New York Stock Exchange", "XNYS", "XNYS", "N"),
    (11, "NYSE Arca, Inc.", "ARCX", "XNYS", "P"),
    (12, "Nasdaq", "XNAS", "XNAS", "T"),
    (14, "Long-Term Stock Exchange", "LTSE", "LTSE", "L"),
    (15, "Investors Exchange", "IEXG", "IEXG", "V"),
    (16, "Cboe Stock Exchange", "CBSX", "XCBO", "W"),
    (17, "Nasdaq Philadelphia Exchange LLC", "XPHL", "XNAS", "X"),
    (18, "Cboe BYX", "BATY", "XCBO", "Y"),
    (19, "Cboe BZX", "BATS", "XCBO", "Z"),
    (20, "MIAX Pearl", "EPRL", "MIHI", "H"),
    (21, "Members Exchange", "MEMX", "MEMX", "U"),
)
_REPORTING_FACILITIES: Final = (
    ("FINRA NYSE TRF", "FINY"),
    ("FINRA Nasdaq TRF Carteret", "FINN"),
    ("FINRA Nasdaq TRF Chicago", "FINC"),
    ("FINRA Alternative Display Facility", "XADF"),
)
_PROCESSORS: Final = ((5, "Unlisted Trading Privileges", "U"), (13, "Consolidated Tape Association", "C"))
_OPTION_VENUES: Final = (
    (302, "Cboe Options Exchange", "XCBO"),
    (304, "Cboe BZX Options", "BATO"),
    (308, "Nasdaq ISE", "XISX"),
    (309, "MIAX Options", "XMIO"),
    (316, "NYSE Arca Options", "ARCO"),
    (323, "Nasdaq PHLX", "XPHO"),
)


def _rules(letters: str | None) -> Rules | None:
    if letters is None:
        return None
    update = UpdateRules("h" in letters, "o" in letters, "v" in letters)
    return Rules(update, update)


def _stock_condition(code: int, name: str, letters: str | None, cta: str, utp: str) -> Condition:
    mapping = {tape: letter for tape, letter in (("CTA", cta), ("UTP", utp)) if letter}
    return Condition(code, "sale_condition", name, "stocks", ("trade",), mapping, _rules(letters))


CONDITIONS: Final = (
    *(_stock_condition(*row) for row in _TRADE_CONDITIONS),
    *(
        Condition(code, "sale_condition", name, "options", ("trade",), {"OPRA": letter})
        for code, name, letter in _OPTION_CONDITIONS
    ),
)
FORM_T: Final = 12
"""Made outside regular hours, where it makes prices like any other; inside them it is a late report and makes none."""


_RULES_OF_SHARES: Final = {
    row.id: row.update_rules.consolidated
    for row in CONDITIONS
    if row.asset_class == "stocks" and row.update_rules is not None
}
HIGH_LOW_NO: Final = frozenset(code for code, rule in _RULES_OF_SHARES.items() if not rule.updates_high_low) - {FORM_T}
OPEN_CLOSE_NO: Final = frozenset(code for code, rule in _RULES_OF_SHARES.items() if not rule.updates_open_close) - {
    FORM_T
}
VOLUME_NO: Final = frozenset(code for code, rule in _RULES_OF_SHARES.items() if not rule.updates_volume)
EXCHANGES: Final = (
    *(
        Exchange(i, "exchange", "stocks", "us", name, mic, owner, letter)
        for i, name, mic, owner, letter in _STOCK_VENUES
    ),
    *(Exchange(4, "TRF", "stocks", "us", name, mic, "FINR") for name, mic in _REPORTING_FACILITIES),
    *(Exchange(i, "SIP", "stocks", "us", name, "", "", letter) for i, name, letter in _PROCESSORS),
    *(Exchange(i, "exchange", "options", "us", name, mic, mic) for i, name, mic in _OPTION_VENUES),
)
