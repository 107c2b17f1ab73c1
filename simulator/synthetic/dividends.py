"""Cash dividends of the synthetic shares: dates by the real rules, invented amounts.

There are no splits in this market. The drop of the price on the ex-date is made in path.py.
"""

from calendar import FRIDAY, monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from math import exp

from simulator.synthetic.calendar import FIRST_DAY, LAST_DAY, TradingCalendar
from simulator.synthetic.draws import digest, stream
from simulator.synthetic.reference import Share

# United States shares settle the day after the trade since this date, so the record date is the ex-date itself.
NEXT_DAY_SETTLEMENT = date(2024, 5, 28)
DECLARED_DAYS_BEFORE_EX = 14


@dataclass(frozen=True, slots=True)
class Dividend:
    """One cash dividend of a share, dollars a share."""

    id: str
    ticker: str
    cash_amount: float
    declaration_date: date
    ex_dividend_date: date
    record_date: date
    pay_date: date


def third_friday(year: int, month: int) -> date:
    """The third Friday of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(FRIDAY - first.weekday()) % 7 + 14)


@lru_cache(maxsize=64)
def dividends_of(seed: int, share: Share, calendar: TradingCalendar) -> tuple[Dividend, ...]:
    """All dividends of a share by ex-date: the third Friday of its months, the session before where that is a holiday.

    Amounts follow the share's trend and not its price, so that none depends on a price after its declaration.
    """
    noise = stream(seed, "dividends", share.ticker)
    rows = []
    for year in range(FIRST_DAY.year, LAST_DAY.year + 1):
        for month in share.dividend_months:
            ex = calendar.on_or_before(third_friday(year, month))
            declared = calendar.on_or_before(ex.day - timedelta(days=DECLARED_DAYS_BEFORE_EX)).day
            years = (declared - FIRST_DAY).days / 365.25
            trend = share.level * exp(share.growth * years)
            amount = trend * share.dividend_yield / len(share.dividend_months) * (1.0 + 0.08 * noise.uniform(-1.0, 1.0))
            record = ex if ex.day >= NEXT_DAY_SETTLEMENT else calendar.sessions[ex.index + 1]
            pay_year, pay_month = (year, month + 1) if month < 12 else (year + 1, 1)
            month_end = date(pay_year, pay_month, monthrange(pay_year, pay_month)[1])
            rows.append(
                Dividend(
                    id="E" + digest(seed, "dividend", share.ticker, ex.day.isoformat()),
                    ticker=share.ticker,
                    cash_amount=round(amount, 6 if share.is_fund else 2),
                    declaration_date=declared,
                    ex_dividend_date=ex.day,
                    record_date=record.day,
                    pay_date=calendar.on_or_before(month_end).day,
                )
            )
    return tuple(rows)
