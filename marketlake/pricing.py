"""Implied volatility and Greeks of option prices, by vollib, total: every row is priced or says why it is not.

The model is Black-Scholes on the share price less the present value of the dividends that go ex before expiry (the
escrowed model, Hull, Options, Futures, and Other Derivatives), without a dividend yield. It is European: the early
exercise of American options is not in it, which shows as a price below intrinsic value where exercise is near.
Where rates and dividends come from is in :mod:`marketlake.rates`, which price a minute has in
:mod:`marketlake.consolidate`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketlake.align import Bools, Floats
from marketlake.tables import Reason

type ReasonCodes = NDArray[np.int8]

REASONS: Final = tuple(Reason)
"""What a reason code means; PRICED stands for no reason."""
PRICED: Final = -1

SHORTEST_YEARS: Final = 1e-9
"""30 milliseconds: with less than this left there is no time value to speak of, and divisions by it overflow."""
SMALLEST_TIME_VALUE: Final = 1e-8
"""Dollars above intrinsic value below which rounding, not the market, would decide the implied volatility."""


@dataclass(frozen=True, slots=True)
class Greeks:
    """The answer for some rows, in their order: each number is NaN exactly where ``reason`` is not PRICED.

    ``vega_per_point`` is per 0.01 of volatility, ``theta_per_day`` per calendar day, ``rho_per_point`` per 0.01 of
    rate; theta and rho hold the present value of the dividends fixed.
    """

    implied_volatility: Floats
    delta: Floats
    gamma: Floats
    vega_per_point: Floats
    theta_per_day: Floats
    rho_per_point: Floats
    reason: ReasonCodes

    def reason_column(self) -> pa.Array:
        """The reasons by name, null where the row is priced."""
        codes = pa.array(self.reason, mask=self.reason == PRICED)
        return pa.DictionaryArray.from_arrays(codes, pa.array([reason.value for reason in REASONS])).cast(pa.string())


def price_rows(
    *,
    option_price: Floats,
    underlying_price: Floats,
    strike: Floats,
    years: Floats,
    rate: Floats,
    dividends_present_value: Floats,
    is_call: Bools,
    is_stale: Bools,
    is_collected: Bools,
) -> Greeks:
    """Implied volatility and Greeks of each row; arrays of one length in, arrays of that length out. Never raises.

    ``years`` of 365 days to expiry, ``rate`` continuously compounded a year, prices in dollars, NaN where unknown.
    Where there is no option price, ``is_stale`` tells that there was one and it is too old, and ``is_collected`` that
    it is known that there was none.

    The reason of a row is the first that applies, in the order of :class:`~marketlake.tables.Reason`. A price that is
    not positive and finite is no price; nor is an underlying that is worth no more than its dividends. A rate that
    discounts to nothing or to infinity is no rate. A price within SMALLEST_TIME_VALUE of intrinsic value is below it;
    one that not even an infinite volatility reaches is above the maximum. What the solver cannot resolve between the
    two (ratios of price and strike beyond any market) counts to the nearer bound.
    """
    with np.errstate(all="ignore"):
        spot = underlying_price - dividends_present_value
        discount = np.exp(-rate * years)
        discounted_strike = strike * discount
        intrinsic = np.maximum(np.where(is_call, spot - discounted_strike, discounted_strike - spot), 0.0)
        maximum = np.where(is_call, spot, discounted_strike)

        reason = np.full(option_price.shape, PRICED, dtype=np.int8)
        no_price = ~(np.isfinite(option_price) & (option_price > 0))
        for code, applies in (
            (Reason.EXPIRED, ~(years >= SHORTEST_YEARS)),
            (Reason.NOT_COLLECTED, no_price & ~is_stale & ~is_collected),
            (Reason.NO_PRICE, no_price & ~is_stale),
            (Reason.STALE_PRICE, no_price),
            (Reason.NO_UNDERLYING_PRICE, ~(np.isfinite(spot) & (spot > 0))),
            (Reason.NO_RATE, ~(np.isfinite(discount) & (discount > 0) & np.isfinite(spot / discount))),
            (Reason.BELOW_INTRINSIC, option_price - intrinsic < SMALLEST_TIME_VALUE),
            (Reason.ABOVE_MAXIMUM, ~(option_price < maximum)),
        ):
            reason[(reason == PRICED) & applies] = REASONS.index(code)

        rows = np.flatnonzero(reason == PRICED)
        inputs = np.column_stack([option_price, spot, strike, years, rate])[rows]
        priced = _price_with_vollib(inputs, is_call[rows])
        unresolved = rows[~np.isfinite(priced).all(axis=1)]
        nearer_bound = np.where(
            option_price - intrinsic <= maximum - option_price,
            REASONS.index(Reason.BELOW_INTRINSIC),
            REASONS.index(Reason.ABOVE_MAXIMUM),
        )
        reason[unresolved] = nearer_bound[unresolved]

    columns = np.full((option_price.size, len(_GREEKS)), np.nan)
    columns[rows] = priced
    columns[reason != PRICED] = np.nan
    sigma, delta, gamma, vega, theta, rho = columns.T
    return Greeks(sigma, delta, gamma, vega, theta, rho, reason)


_GREEKS: Final = ("implied_volatility", "delta", "gamma", "vega_per_point", "theta_per_day", "rho_per_point")


def _price_with_vollib(inputs: NDArray[np.float64], is_call: Bools) -> NDArray[np.float64]:
    """One row of _GREEKS for each row of (price, spot, strike, years, rate), NaN where the solver gives up.

    About 20,000 rows a second on one core.
    """
    from vollib.black_scholes.greeks.analytical import delta, gamma, rho, theta, vega  # noqa: PLC0415 - 1 s to import
    from vollib.black_scholes.implied_volatility import implied_volatility  # noqa: PLC0415
    from vollib.lets_be_rational import AboveMaximumException, BelowIntrinsicException  # noqa: PLC0415

    greeks = np.full((is_call.size, len(_GREEKS)), np.nan)
    for row, ((price, spot, strike, time, rate), call) in enumerate(
        zip(inputs.tolist(), is_call.tolist(), strict=True)
    ):
        flag = "c" if call else "p"
        try:
            sigma = float(implied_volatility(price, spot, strike, time, rate, flag))
            if sigma > 0:
                option = (flag, spot, strike, time, rate, sigma)
                greeks[row] = (sigma, delta(*option), gamma(*option), vega(*option), theta(*option), rho(*option))
        except (BelowIntrinsicException, AboveMaximumException, ArithmeticError, ValueError):
            # The library's own bounds and its logarithms of ratios that leave the doubles: the caller names the bound.
            continue
    return greeks
