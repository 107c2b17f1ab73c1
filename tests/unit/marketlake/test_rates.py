"""Rates and dividends as they were known before a session, against textbook values."""

from datetime import date
from math import exp, log

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from marketlake.rates import Curve, curve_before, dividends_before, present_value
from marketlake.tables import TABLES

SESSION = date(2024, 12, 16)


def yield_table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TABLES["treasury_yields"].schema)


def dividend_table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist([{"ticker": "SPY", **row} for row in rows], schema=TABLES["dividends"].schema)


def days(*dates: date) -> NDArray[np.int64]:
    return np.array([(day - date(1970, 1, 1)).days for day in dates], dtype=np.int64)


def test_ten_percent_twice_a_year_is_9_758_percent_continuously() -> None:
    """Hull, Options, Futures, and Other Derivatives, 7th edition, example 4.1."""
    assert Curve.flat(SESSION, 10.0).continuous(np.array([1.0])) == pytest.approx([0.09758], abs=5e-6)


def test_rates_are_linear_between_maturities_and_flat_outside() -> None:
    curve = Curve(SESSION, (1 / 12, 3 / 12), (4.0, 5.0))
    short, long = (2 * log(1 + percent / 200) for percent in (4.0, 5.0))

    rates = curve.continuous(np.array([0.0, 1 / 12, 2 / 12, 3 / 12, 30.0]))

    assert rates == pytest.approx([short, short, (short + long) / 2, long, long], rel=1e-14)


def test_the_curve_is_the_last_one_dated_before_the_session() -> None:
    table = yield_table(
        {"date": date(2024, 12, 16), "yield_1_month": 9.0},
        {"date": date(2024, 12, 12), "yield_1_month": 4.1},
        {"date": date(2024, 12, 13), "yield_1_month": 4.2, "yield_6_month": 4.4, "yield_30_year": 4.6},
        {"date": date(2024, 12, 17), "yield_1_month": 9.0},
    )

    assert curve_before(table, SESSION) == Curve(date(2024, 12, 13), (1 / 12, 0.5, 30.0), (4.2, 4.4, 4.6))


def test_a_day_without_any_yield_is_passed_over() -> None:
    table = yield_table({"date": date(2024, 12, 12), "yield_1_year": 4.1}, {"date": date(2024, 12, 13)})

    assert curve_before(table, SESSION) == Curve(date(2024, 12, 12), (1.0,), (4.1,))


@pytest.mark.parametrize(("published", "known"), [(date(2024, 12, 9), True), (date(2024, 12, 8), False)])
def test_a_curve_older_than_a_week_is_no_curve(published: date, known: bool) -> None:
    table = yield_table({"date": published, "yield_1_month": 4.0})

    assert known == (curve_before(table, SESSION) is not None)


def test_there_is_no_curve_where_there_are_no_yields() -> None:
    assert curve_before(yield_table(), SESSION) is None


def test_dividends_count_from_the_day_after_their_declaration() -> None:
    coming = date(2024, 12, 20)
    table = dividend_table(
        {"id": "declared before", "ex_dividend_date": coming, "declaration_date": date(2024, 12, 13), "cash_amount": 1},
        {"id": "declared today", "ex_dividend_date": coming, "declaration_date": SESSION, "cash_amount": 1},
        {"id": "nobody knows", "ex_dividend_date": coming, "cash_amount": 1},
        {"id": "gone ex", "ex_dividend_date": SESSION, "cash_amount": 1},
        {
            "id": "in francs",
            "ex_dividend_date": coming,
            "declaration_date": date(2024, 1, 2),
            "cash_amount": 1,
            "currency": "CHF",
        },
        {
            "id": "in dollars",
            "ex_dividend_date": coming,
            "declaration_date": date(2024, 1, 2),
            "cash_amount": 1,
            "currency": "USD",
        },
    )

    assert {"declared before", "gone ex", "in dollars"} == set(dividends_before(table, SESSION)["id"].to_pylist())


def test_two_dividends_of_half_a_dollar_are_worth_97_cents() -> None:
    """Hull, 7th edition, example 13.8: $0.50 in two and in five months, 9 % continuously: 0.9741."""
    table = dividend_table(
        {"ex_dividend_date": date(2025, 2, 15), "cash_amount": 0.5},  # 61 days on
        {"ex_dividend_date": date(2025, 5, 17), "cash_amount": 0.5},  # 152 days on
    )
    nine_percent = Curve.flat(SESSION, 200 * (exp(0.045) - 1))

    value = present_value(table, SESSION, days(date(2025, 6, 16)), nine_percent)

    assert value == pytest.approx([0.9741], abs=1e-4)


def test_a_dividend_counts_for_options_that_live_to_its_ex_date_and_not_on_that_day_itself() -> None:
    table = dividend_table(
        {"ex_dividend_date": SESSION, "cash_amount": 7.0},
        {"ex_dividend_date": date(2024, 12, 20), "cash_amount": 2.0},
        {"ex_dividend_date": date(2024, 12, 19), "cash_amount": 1.0},
    )
    expiries = days(date(2024, 12, 18), date(2024, 12, 19), date(2024, 12, 20), date(2025, 3, 21))

    value = present_value(table, SESSION, expiries, Curve.flat(SESSION, 0.0))

    assert [0.0, 1.0, 3.0, 3.0] == value.tolist()


def test_without_dividends_nothing_is_taken_off() -> None:
    assert [0.0] == present_value(dividend_table(), SESSION, days(SESSION), Curve.flat(SESSION, 4.0)).tolist()
