"""Which option contracts exist: expiries by calendar, strikes by the prices before the listing day.

A strike is listed on a session when it lies inside a band around the close before it, and stays until it expires. So
the contracts of a day depend on earlier closes alone. What the contracts cost is in pricing.py.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.synthetic.calendar import FIRST_DAY, TradingCalendar
from simulator.synthetic.dividends import third_friday
from simulator.synthetic.draws import stream
from simulator.synthetic.minutes import IntArray
from simulator.synthetic.path import FloatArray
from simulator.synthetic.reference import HALF_DOLLAR_BAND, Share, StrikeBand

SHARES_PER_CONTRACT = 100
EXPIRED_LOOK_BACK = timedelta(days=731)  # how far back expired contracts go when no expiry is asked for

# Listing lead in days, by kind of expiry.
DAILY_LEAD = 14
FRIDAY_LEAD = 56
MONTHLY_LEAD = 365
QUARTERLY_LEAD = 735

# Since when broad funds have an expiry on each weekday, Monday to Friday.
_WEEKDAY_SINCE = (date(2018, 2, 12), date(2022, 11, 14), date(2016, 8, 31), date(2022, 11, 14), date(2010, 1, 1))
_MONDAY, _FRIDAY = 0, 4
_QUARTER_MONTHS = (3, 6, 9, 12)

HALF_DOLLAR_PART = 0.2  # of the expiries
ADJUSTED_STRIKES = 4  # an adjusted series, where it exists, has this many strikes on each side of the money
ADJUSTED_SHARES = 104
ADJUSTED_CASH = 12.5

CONTRACT_SCHEMA = pa.schema(
    {
        "ticker": pa.string(),
        "underlying_ticker": pa.string(),
        "contract_type": pa.string(),
        "expiration_date": pa.string(),
        "strike_price": pa.float64(),
        "shares_per_contract": pa.int64(),
        "exercise_style": pa.string(),
        "cfi": pa.string(),
        "primary_exchange": pa.string(),
        "additional_underlyings": pa.list_(
            pa.struct({"amount": pa.float64(), "type": pa.string(), "underlying": pa.string()})
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Expiry:
    """One expiry of a chain."""

    day: date
    listed: date  # first session on which its contracts trade
    is_quarterly: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """One option contract, read from its symbol."""

    root: str
    expiry: date
    is_call: bool
    strike_mills: int

    @property
    def ticker(self) -> str:
        """The vendor's symbol."""
        return option_ticker(self.root, self.expiry, self.is_call, self.strike_mills)

    @property
    def underlying(self) -> str:
        """The share's ticker: the root without the digit of an adjusted series."""
        return self.root.rstrip("0123456789")

    @property
    def is_adjusted(self) -> bool:
        """Whether it delivers something else than 100 shares."""
        return self.root != self.underlying


def option_ticker(root: str, expiry: date, is_call: bool, strike_mills: int) -> str:
    """``O:SPY241220C00585000`` for its parts; the strike in thousandths of a dollar."""
    return f"O:{root}{expiry:%y%m%d}{'C' if is_call else 'P'}{strike_mills:08d}"


def parse_option(ticker: str) -> Contract | None:
    """The contract that a symbol names, or None when it is not an option symbol."""
    body = ticker.removeprefix("O:")
    if body == ticker or not 16 <= len(body) <= 21:
        return None
    root, day, right, strike = body[:-15], body[-15:-9], body[-9], body[-8:]
    if not (root.isascii() and root.isalnum() and (day + strike).isascii() and (day + strike).isdigit()):
        return None
    if right not in "CP":
        return None
    try:
        expiry = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        return None
    return Contract(root, expiry, right == "C", int(strike))


@lru_cache(maxsize=16)
def expiries(is_fund: bool, calendar: TradingCalendar) -> tuple[Expiry, ...]:
    """All expiries by day. An expiry that falls on a holiday moves: Monday's to the next session, others back."""
    leads: dict[date, int] = {}
    quarterly: set[date] = set()

    def add(nominal: date, lead_days: int) -> date:
        move = calendar.on_or_after if nominal.weekday() == _MONDAY else calendar.on_or_before
        day = move(nominal).day
        leads[day] = max(leads.get(day, 0), lead_days)
        return day

    first, last = calendar.sessions[0].day, calendar.sessions[-1].day - timedelta(days=7)
    for nominal in (first + timedelta(days=i) for i in range((last - first).days + 1)):
        weekday = nominal.weekday()
        if weekday == _FRIDAY:
            add(nominal, FRIDAY_LEAD)
        elif is_fund and weekday < _FRIDAY and nominal >= _WEEKDAY_SINCE[weekday]:
            add(nominal, DAILY_LEAD)
    for year in range(first.year, last.year + 1):
        for month in range(1, 13):
            nominal = third_friday(year, month)
            if nominal > last:
                continue
            if month in _QUARTER_MONTHS:
                quarterly.add(add(nominal, QUARTERLY_LEAD))
            else:
                add(nominal, MONTHLY_LEAD)
    return tuple(
        Expiry(day, calendar.on_or_after(max(day - timedelta(days=lead), FIRST_DAY)).day, day in quarterly)
        for day, lead in sorted(leads.items())
    )


def listing_sessions(
    band: StrikeBand, strikes_mills: IntArray, previous_close: FloatArray, tenor_days: IntArray
) -> IntArray:
    """For each strike, on which of the sessions it is first listed by a band; the number of sessions where on none.

    ``previous_close`` and ``tenor_days`` have an entry a session: the close before it and the days to expiry.
    """
    active = (tenor_days >= band.tenor_days_min) & (tenor_days <= band.tenor_days_max)
    low = np.where(active, previous_close * (1.0 - band.width), np.inf)
    high = np.where(active, previous_close * (1.0 + band.width), -np.inf)
    dollars = strikes_mills / 1000.0
    # Running bounds make it a search: bands of neighbouring sessions overlap, so what was covered is one interval.
    below = np.searchsorted(-np.minimum.accumulate(low), -dollars, side="left")
    above = np.searchsorted(np.maximum.accumulate(high), dollars, side="left")
    first = np.maximum(below, above)
    return np.where(strikes_mills % band.step_mills == 0, first, len(previous_close)).astype(np.int64)


def candidate_strikes(band: StrikeBand, previous_close: FloatArray, tenor_days: IntArray) -> IntArray:
    """All strikes of a band's step that any of the sessions may list."""
    active = (tenor_days >= band.tenor_days_min) & (tenor_days <= band.tenor_days_max)
    if not active.any():
        return np.empty(0, np.int64)
    low = previous_close[active].min() * (1.0 - band.width) * 1000.0
    high = previous_close[active].max() * (1.0 + band.width) * 1000.0
    return np.arange(np.ceil(low / band.step_mills), np.floor(high / band.step_mills) + 1).astype(np.int64) * (
        band.step_mills
    )


@dataclass(frozen=True, slots=True)
class Series:
    """The standard strikes of one expiry and the session on which each was listed, and the adjusted ones if any."""

    expiry: Expiry
    strikes_mills: IntArray
    listed_on: NDArray[np.object_]  # dates
    adjusted_mills: IntArray  # listed with the expiry itself


class Chain:
    """The contracts of one share, over the closes of its sessions.

    ``closes`` has an entry a session from the calendar's first; a shorter one knows only the listings up to the session
    after its last, which is how a test shows that no later price matters.
    """

    def __init__(self, seed: int, share: Share, calendar: TradingCalendar, closes: FloatArray) -> None:
        self._seed = seed
        self._share = share
        self._calendar = calendar
        self._closes = closes
        self.expiries = expiries(share.is_fund, calendar)
        self._by_day = {expiry.day: expiry for expiry in self.expiries}
        self._series = lru_cache(maxsize=1024)(self._make_series)
        # A client pages through one answer, so the last few are kept; all expired contracts of two years are 180,000.
        self._answers = lru_cache(maxsize=8)(self._make_answer)

    def series(self, expiry: date) -> Series | None:
        """Strikes of an expiry, or None when nothing expires that day."""
        return self._series(self._by_day[expiry]) if expiry in self._by_day else None

    def _make_series(self, expiry: Expiry) -> Series:
        sessions = self._calendar.sessions
        begin = max(self._calendar.count_before(expiry.listed), 1)
        end = min(self._calendar.count_through(expiry.day), len(self._closes) + 1)
        days = [session.day for session in sessions[begin:end]]
        tenor = np.array([(expiry.day - day).days for day in days], np.int64)
        closes = self._closes[begin - 1 : end - 1]
        if not days:
            return Series(expiry, np.empty(0, np.int64), np.empty(0, object), np.empty(0, np.int64))
        draws = stream(self._seed, "series", self._share.ticker, expiry.day.isoformat())
        bands = self._share.strike_bands
        if draws.random() < HALF_DOLLAR_PART:
            bands = (*bands, HALF_DOLLAR_BAND)
        strikes = np.unique(np.concatenate([candidate_strikes(band, closes, tenor) for band in bands]))
        first = np.min([listing_sessions(band, strikes, closes, tenor) for band in bands], axis=0)
        listed = first < len(days)
        adjusted = np.empty(0, np.int64)
        if expiry.is_quarterly and draws.random() < 0.5:
            middle = round(closes[0] / 10.0) * 10_000
            adjusted = middle + 10_000 * np.arange(-ADJUSTED_STRIKES, ADJUSTED_STRIKES + 1)
        return Series(expiry, strikes[listed], np.array(days, object)[first[listed]], adjusted)

    def listed_on(self, contract: Contract) -> date | None:
        """The first session of a contract, or None when it never existed."""
        series = self.series(contract.expiry)
        if series is None or contract.underlying != self._share.ticker:
            return None
        if contract.is_adjusted:
            known = contract.root == f"{self._share.ticker}1" and contract.strike_mills in series.adjusted_mills
            return series.expiry.listed if known else None
        at = int(np.searchsorted(series.strikes_mills, contract.strike_mills))
        if at == len(series.strikes_mills) or series.strikes_mills[at] != contract.strike_mills:
            return None
        day: date = series.listed_on[at]
        return day

    def contracts(self, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None) -> pa.Table:
        """Contracts listed by the day and alive on it, or those that had expired before it, by ticker.

        Without bounds, expired contracts go back two years.
        """
        return self._answers(as_of, expired, expiry_from, expiry_to)

    def _make_answer(self, as_of: date, expired: bool, expiry_from: date | None, expiry_to: date | None) -> pa.Table:
        lowest = expiry_from or (as_of - EXPIRED_LOOK_BACK if expired else as_of)
        tables = [
            self._contract_rows(expiry, as_of)
            for expiry in self.expiries
            if lowest <= expiry.day
            and (expiry_to is None or expiry.day <= expiry_to)
            and (expiry.day < as_of) == expired
            and expiry.listed <= as_of
        ]
        return pa.concat_tables([CONTRACT_SCHEMA.empty_table(), *tables]).sort_by("ticker")

    def _contract_rows(self, expiry: Expiry, as_of: date) -> pa.Table:
        series = self._series(expiry)
        ticker = self._share.ticker
        standard = series.strikes_mills[np.array([day <= as_of for day in series.listed_on], np.bool_)]
        strikes = np.concatenate((standard, series.adjusted_mills))
        roots = [ticker] * len(standard) + [f"{ticker}1"] * len(series.adjusted_mills)
        extra = [None] * len(standard) + [[{"amount": ADJUSTED_CASH, "type": "currency", "underlying": "USD"}]] * len(
            series.adjusted_mills
        )
        shares = [SHARES_PER_CONTRACT] * len(standard) + [ADJUSTED_SHARES] * len(series.adjusted_mills)
        count = len(strikes)
        rights = [True] * count + [False] * count
        return pa.table(
            [
                [
                    option_ticker(root, expiry.day, is_call, int(mills))
                    for is_call, root, mills in zip(rights, roots * 2, [*strikes, *strikes], strict=True)
                ],
                [ticker] * (2 * count),
                ["call" if is_call else "put" for is_call in rights],
                [expiry.day.isoformat()] * (2 * count),
                np.concatenate((strikes, strikes)) / 1000.0,
                shares * 2,
                ["american"] * (2 * count),
                ["OCASPS" if is_call else "OPASPS" for is_call in rights],
                ["BATO"] * (2 * count),
                pa.array(extra * 2, CONTRACT_SCHEMA.field("additional_underlyings").type),
            ],
            schema=CONTRACT_SCHEMA,
        )
