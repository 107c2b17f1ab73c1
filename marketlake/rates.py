"""What money costs and what shares will pay out, as far as it was known before a session opened.

Rates are the US Treasury's par yields (H.15 constant maturities) of the last business day before the session, each
turned from its bond-equivalent quotation into a continuously compounded rate and interpolated linearly in maturity. A
par yield stands for the zero rate of its maturity: within a year the two are the same thing, beyond it they differ by
some hundredths of a percent, which is less than what the choice of curve does.

Dividends are discrete cash amounts. Prices are made of both in :mod:`marketlake.pricing`.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.align import Floats, Ints
from marketlake.tables import YIELD_MONTHS

CURVE_AGE_LIMIT: Final = timedelta(days=7)
"""How old the last curve may be: a holiday beside a weekend makes four days, a table left unfilled makes more."""
DAYS_A_YEAR: Final = 365


@dataclass(frozen=True, slots=True)
class Curve:
    """One day's par yields: ``years`` to maturity, ascending, and ``percent`` a year, bond-equivalent."""

    published: date
    years: tuple[float, ...]
    percent: tuple[float, ...]

    @classmethod
    def flat(cls, published: date, percent: float) -> Self:
        """The same par yield for every maturity."""
        return cls(published, (1.0,), (percent,))

    def continuous(self, years: Floats) -> Floats:
        """Continuously compounded rates, a year, for times in years; flat before the first and after the last tenor.

        A bond-equivalent yield y compounds twice a year, so the continuous rate is 2 ln(1 + y/2).
        """
        rates = 2 * np.log1p(np.asarray(self.percent) / 100 / 2)
        interpolated: Floats = np.interp(years, np.asarray(self.years), rates)
        return interpolated


def curve_before(yields: pa.Table, session: date) -> Curve | None:
    """The last curve dated before a session, None if there is none of the CURVE_AGE_LIMIT before it.

    A curve of the session's own date is published after the close, and is not known in it. Maturities without a yield
    are left out; a day without any is passed over.
    """
    dated = pc.and_(pc.less(yields["date"], session), pc.greater_equal(yields["date"], session - CURVE_AGE_LIMIT))
    for row in yields.filter(dated).sort_by([("date", "descending")]).to_pylist():
        tenors = [(months / 12, row[name]) for name, months in YIELD_MONTHS.items() if row[name] is not None]
        if tenors:
            years, percent = zip(*tenors, strict=True)
            return Curve(row["date"], years, percent)
    return None


def dividends_before(dividends: pa.Table, session: date) -> pa.Table:
    """The cash dividends in US dollars that were known before a session.

    Known is what was declared on an earlier date. Where the declaration date is missing, a dividend counts as known
    only from its ex-dividend date on; a coming one of which nobody can say when it was announced is left out, because
    using it could look ahead. A missing currency is US dollars.
    """
    declared = pc.less(dividends["declaration_date"], session)
    gone_ex = pc.less_equal(dividends["ex_dividend_date"], session)
    dollars = pc.equal(pc.fill_null(dividends["currency"], "USD"), "USD")
    return dividends.filter(pc.and_(pc.coalesce(declared, gone_ex), dollars)).sort_by("ex_dividend_date")


def present_value(dividends: pa.Table, session: date, expiries: Ints, curve: Curve) -> Floats:
    """What the coming dividends are worth in a session, for options that expire on each date of ``expiries``.

    Counted are dividends with session < ex-dividend date <= expiry: the share has already dropped at the open of its
    ex-dividend date, and the holder of an option that expires on that date bears the drop. Each amount is discounted
    from its ex-dividend date (Hull, Options, Futures, and Other Derivatives, "European options on dividend-paying
    stocks"), in whole days, so that it is one number for a session.

    ``expiries`` are days since the epoch; dollars a share.
    """
    today = (session - date(1970, 1, 1)).days
    ex_day = dividends["ex_dividend_date"].cast(pa.int32()).to_numpy().astype(np.int64)
    amount: Floats = dividends["cash_amount"].to_numpy()
    coming = ex_day > today
    ex_day, amount = ex_day[coming], amount[coming]
    years = (ex_day - today) / DAYS_A_YEAR
    amount = amount * np.exp(-curve.continuous(years) * years)
    order = np.argsort(ex_day, kind="stable")
    paid_until: Floats = np.concatenate([[0.0], np.cumsum(amount[order])])
    return paid_until[np.searchsorted(ex_day[order], expiries, side="right")]
