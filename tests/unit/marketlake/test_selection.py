"""The choice of contracts, against a plain second implementation in fractions and the counts that arithmetic gives."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.selection import OpeningSource, choose, later_centres, opening_price, roots_of
from marketlake.tables import TABLES, Refusal, Span

SESSION = date(2024, 12, 16)  # a Monday; SPY options expire on each of the following days
PERCENT = Decimal(1)


@dataclass(frozen=True)
class Listed:
    """One contract as the vendor lists it."""

    expiry: date
    strike: Decimal
    right: str | None
    root: str = "SPY"
    shares: float | None = 100.0
    additional: str | None = None

    @property
    def ticker(self) -> str:
        letter = "C" if self.right == "call" else "P"
        return f"O:{self.root}{self.expiry:%y%m%d}{letter}{int(self.strike * 1000):08d}"


def contract_table(contracts: Sequence[Listed]) -> pa.Table:
    rows = [
        {
            "ticker": one.ticker,
            "expiry": one.expiry,
            "strike": one.strike.quantize(Decimal("0.001")),
            "right": one.right,
            "shares_per_contract": one.shares,
            "additional_underlyings": one.additional,
            "chosen": False,
        }
        for one in contracts
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["option_contracts"].schema)


def dollar_strikes(expiry: date, first: int = 400, last: int = 900) -> list[Listed]:
    return [Listed(expiry, Decimal(strike), right) for strike in range(first, last) for right in ("call", "put")]


def refusals(table: pa.Table) -> dict[str, str | None]:
    return dict(zip(table["ticker"].to_pylist(), table["refusal"].to_pylist(), strict=True))


def ranked(table: pa.Table) -> list[str]:
    rows = [row for row in table.to_pylist() if row["rank"] is not None]
    return [row["ticker"] for row in sorted(rows, key=lambda row: row["rank"])]


@pytest.mark.parametrize(
    ("opens", "first", "last", "candidates"),
    [
        ("500", 495, 505, 22),
        ("585", 580, 590, 22),
        ("600", 594, 606, 26),
        ("700", 693, 707, 30),
        ("750", 743, 757, 30),
        ("750.50", 743, 758, 32),
        ("800", 792, 808, 34),
    ],
)
def test_takes_the_strikes_within_one_percent_up_to_thirty(opens: str, first: int, last: int, candidates: int) -> None:
    table = choose(contract_table(dollar_strikes(SESSION)), Decimal(opens), SESSION, "SPY", PERCENT, 30, 1)

    in_range = table.filter(pa.compute.is_valid(table["rank"]))
    assert {Decimal(strike) for strike in range(first, last + 1)} == set(in_range["strike"].to_pylist())
    assert candidates == in_range.num_rows
    assert min(candidates, 30) == pa.compute.sum(table["chosen"]).as_py()
    assert max(candidates - 30, 0) == refusals_of(table, Refusal.BEYOND_LIMIT)


def refusals_of(table: pa.Table, refusal: Refusal) -> int:
    return sum(value == refusal for value in table["refusal"].to_pylist())


def test_nearest_strikes_come_first_then_the_lower_then_calls() -> None:
    table = choose(contract_table(dollar_strikes(SESSION)), Decimal(600), SESSION, "SPY", PERCENT, 6, 1)

    assert [
        "O:SPY241216C00600000",
        "O:SPY241216P00600000",
        "O:SPY241216C00599000",
        "O:SPY241216P00599000",
        "O:SPY241216C00601000",
        "O:SPY241216P00601000",
    ] == [ticker for ticker in ranked(table) if refusals(table)[ticker] is None]


def test_bounds_are_exact_decimals_and_included() -> None:
    """600 + 0.5 % is 603; in binary, 600 * (1 + 0.005) is 602.9999999999999, and the strike of 603 would be lost."""
    contracts = [Listed(SESSION, Decimal(text), "put") for text in ("596.5", "597", "603", "603.5")]

    table = choose(contract_table(contracts), Decimal(600), SESSION, "SPY", Decimal("0.5"), 30, 1)

    assert [False, True, True, False] == table["chosen"].to_pylist()


def test_without_a_contract_for_the_day_the_next_listed_expiry_is_taken() -> None:
    wednesday, friday = date(2024, 12, 18), date(2024, 12, 20)
    contracts = [Listed(day, Decimal(600), "call") for day in (friday, wednesday, date(2024, 12, 13))]

    table = choose(contract_table(contracts), Decimal(600), SESSION, "SPY", PERCENT, 30, 1)

    assert {
        "O:SPY241213C00600000": Refusal.OTHER_EXPIRY,
        "O:SPY241218C00600000": None,
        "O:SPY241220C00600000": Refusal.OTHER_EXPIRY,
    } == refusals(table)


def test_every_contract_that_is_not_standard_is_refused_by_its_own_reason() -> None:
    contracts = [
        Listed(SESSION, Decimal(600), "call"),
        Listed(SESSION, Decimal(600), "call", root="SPY1"),
        Listed(SESSION, Decimal(600), "put", shares=150.0),
        Listed(SESSION, Decimal(601), "put", shares=None),
        Listed(SESSION, Decimal(602), "put", additional='[{"type":"currency","amount":1.2}]'),
        Listed(SESSION, Decimal(603), None),
        Listed(SESSION, Decimal(700), "call"),
    ]

    table = choose(contract_table(contracts), Decimal(600), SESSION, "SPY", PERCENT, 30, 1)

    assert {
        "O:SPY241216C00600000": None,
        "O:SPY1241216C00600000": Refusal.ADJUSTED,
        "O:SPY241216P00600000": Refusal.ADJUSTED,
        "O:SPY241216P00601000": Refusal.ADJUSTED,
        "O:SPY241216P00602000": Refusal.ADJUSTED,
        "O:SPY241216P00603000": Refusal.NOT_CALL_OR_PUT,
        "O:SPY241216C00700000": Refusal.STRIKE_OUT_OF_RANGE,
    } == refusals(table)


def test_an_adjusted_contract_does_not_make_its_expiry_the_nearest() -> None:
    contracts = [
        Listed(SESSION, Decimal(600), "call", root="SPY1"),
        Listed(date(2024, 12, 18), Decimal(600), "call"),
    ]

    table = choose(contract_table(contracts), Decimal(600), SESSION, "SPY", PERCENT, 30, 1)

    assert ["O:SPY241218C00600000"] == ranked(table)


def test_without_an_opening_price_nothing_is_chosen() -> None:
    table = choose(contract_table(dollar_strikes(SESSION, 595, 605)), None, SESSION, "SPY", PERCENT, 30, 1, "x")

    assert {Refusal.NO_OPENING_PRICE} == set(table["refusal"].to_pylist())
    assert not any(table["chosen"].to_pylist())
    assert {None} == set(table["opening_price"].to_pylist()) | set(table["opening_price_source"].to_pylist())


def test_index_options_of_both_roots_count_but_not_those_that_settled_at_this_open() -> None:
    """On the third Friday SPX settles against the opening prints; SPXW of the same date lives to the close."""
    third_friday = date(2021, 1, 15)
    both = [Listed(third_friday, Decimal(3800), "call", root=root) for root in ("SPX", "SPXW")]

    on_the_day = choose(contract_table(both), Decimal(3800), third_friday, "SPX", PERCENT, 30, 1)
    day_before = choose(contract_table(both), Decimal(3800), date(2021, 1, 14), "SPX", PERCENT, 30, 1)

    assert ["O:SPXW210115C03800000"] == ranked(on_the_day)
    assert refusals(on_the_day)["O:SPX210115C03800000"] == Refusal.OTHER_EXPIRY
    assert ["O:SPX210115C03800000", "O:SPXW210115C03800000"] == ranked(day_before)


def test_a_contract_dated_on_a_saturday_trades_on_the_friday() -> None:
    """Until 2015 monthly options expired on the Saturday after the third Friday."""
    contracts = [Listed(date(2014, 1, 18), Decimal(184), "call")]

    table = choose(contract_table(contracts), Decimal(184), date(2014, 1, 17), "SPY", PERCENT, 30, 1)

    assert ["O:SPY140118C00184000"] == ranked(table)


def test_roots_of_an_index_are_all_that_its_level_prices() -> None:
    assert {"SPX", "SPXW"} == roots_of("SPX")
    assert {"SPY"} == roots_of("SPY")


def test_the_opening_price_and_its_source_stand_in_every_row() -> None:
    table = choose(contract_table(dollar_strikes(SESSION)), Decimal("605.3"), SESSION, "SPY", PERCENT, 30, 1, "bar")

    assert {605.3} == set(table["opening_price"].to_pylist())
    assert {"bar"} == set(table["opening_price_source"].to_pylist())


def chosen_by_hand(
    contracts: Sequence[Listed], opens: Decimal, session: date, percent: Decimal, limit: int, expiries: int
) -> list[str]:
    """The rule again, in fractions, for SPY: its tickers in order."""
    standard = [
        one
        for one in contracts
        if one.root == "SPY" and one.shares == 100 and one.right is not None and one.additional is None
    ]
    days = sorted({one.expiry for one in standard if one.expiry >= session})[:expiries]
    ratio = Fraction(percent) / 100
    near = [
        one
        for one in standard
        if one.expiry in days and abs(Fraction(one.strike) - Fraction(opens)) <= ratio * Fraction(opens)
    ]
    for key in (
        lambda one: one.right,  # "call" sorts before "put"
        lambda one: one.strike,
        lambda one: abs(Fraction(one.strike) - Fraction(opens)),
        lambda one: one.expiry,
    ):
        near.sort(key=key)
    return [one.ticker for one in near[:limit]]


@st.composite
def chains(draw: st.DrawFn) -> list[Listed]:
    """Whole and half-dollar strikes around 600 on a few weekdays, some contracts adjusted, some without a right."""
    days = draw(st.lists(st.integers(-2, 4), min_size=1, max_size=4, unique=True))
    return draw(
        st.lists(
            st.builds(
                Listed,
                expiry=st.sampled_from([SESSION + timedelta(days=day) for day in days]),
                strike=st.integers(1180, 1220).map(lambda half: Decimal(half) / 2),
                right=st.sampled_from(["call", "put", "call", "put", None]),
                root=st.sampled_from(["SPY", "SPY", "SPY", "SPY1"]),
                shares=st.sampled_from([100.0, 100.0, 100.0, 150.0, None]),
                additional=st.sampled_from([None, None, None, "[]"]),
            ),
            max_size=120,
            unique_by=lambda one: one.ticker,
        )
    )


@given(
    chain=chains(),
    opens=st.integers(59_000, 61_000).map(lambda cents: Decimal(cents) / 100),
    percent=st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("2.5")]),
    limit=st.sampled_from([1, 7, 30]),
    expiries=st.integers(1, 3),
    seed=st.integers(),
)
def test_any_chain_gives_what_the_rule_says_whatever_its_order(
    chain: list[Listed], opens: Decimal, percent: Decimal, limit: int, expiries: int, seed: int
) -> None:
    check_choice(chain, opens, percent, limit, expiries, random.Random(seed))


def test_two_thousand_random_chains_give_what_the_rule_says() -> None:
    for seed in range(2_000):
        chance = random.Random(seed)
        days = chance.sample(range(-2, 5), chance.randint(1, 4))
        listed = [
            Listed(
                SESSION + timedelta(days=chance.choice(days)),
                Decimal(chance.randint(1180, 1220)) / 2,
                chance.choice(["call", "put", "call", "put", None]),
                chance.choice(["SPY", "SPY", "SPY", "SPY1"]),
                chance.choice([100.0, 100.0, 100.0, 150.0, None]),
                chance.choice([None, None, None, "[]"]),
            )
            for _ in range(chance.randint(0, 120))
        ]
        chain = list({one.ticker: one for one in listed}.values())
        opens = Decimal(chance.randint(59_000, 61_000)) / 100
        check_choice(chain, opens, Decimal(1), chance.choice([1, 7, 30]), chance.randint(1, 3), chance)


def check_choice(
    chain: list[Listed], opens: Decimal, percent: Decimal, limit: int, expiries: int, chance: random.Random
) -> None:
    shuffled = list(chain)
    chance.shuffle(shuffled)

    table = choose(contract_table(chain), opens, SESSION, "SPY", percent, limit, expiries)
    again = choose(contract_table(shuffled), opens, SESSION, "SPY", percent, limit, expiries)

    chosen = {ticker for ticker, refusal in refusals(table).items() if refusal is None}
    expected = chosen_by_hand(chain, opens, SESSION, percent, limit, expiries)
    assert expected == [ticker for ticker in ranked(table) if ticker in chosen]
    assert table.equals(again)
    assert table.num_rows == len(chain)


def minute_bars(*bars: tuple[datetime, str, float]) -> pa.Table:
    rows = [
        {"ticker": "SPY", "span": span, "start": start, "open": opens, "high": opens, "low": opens, "close": opens}
        for start, span, opens in bars
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["stock_bars"].schema)


def at(hour: int, minute: int) -> datetime:
    return datetime(2024, 12, 16, hour, minute, tzinfo=UTC)


def test_the_opening_price_is_the_first_price_of_the_bar_of_half_past_nine() -> None:
    bars = minute_bars(
        (at(14, 31), Span.MINUTE, 606.1),
        (at(14, 30), Span.SECOND, 604.0),
        (at(14, 30), Span.MINUTE, 605.35),
        (at(14, 29), Span.MINUTE, 605.0),
        (at(5, 0), Span.DAY, 604.5),
    )

    assert opening_price(bars, SESSION) == (Decimal("605.35"), OpeningSource.OPENING_BAR)


def test_where_the_first_minute_has_no_bar_the_next_one_opens_the_session() -> None:
    bars = minute_bars((at(14, 33), Span.MINUTE, 606.1), (at(14, 29), Span.MINUTE, 605.0))

    assert opening_price(bars, SESSION) == (Decimal("606.1"), OpeningSource.FIRST_BAR)


def test_before_the_open_and_after_the_close_there_is_no_opening_price() -> None:
    bars = minute_bars((at(14, 29), Span.MINUTE, 605.0), (at(21, 0), Span.MINUTE, 607.0))

    assert opening_price(bars, SESSION) is None
    assert opening_price(minute_bars(), SESSION) is None


def minutes(*closes: float) -> pa.Table:
    bars = minute_bars(*((at(14, 30) + timedelta(minutes=number), Span.MINUTE, 600.0) for number in range(len(closes))))
    return bars.set_column(bars.schema.get_field_index("close"), bars.schema.field("close"), pa.array(closes))


@pytest.mark.parametrize(
    ("closes", "percent", "expected"),
    [
        ([600.0, 602.9, 597.1, 600.0], "0.5", []),
        ([603.0, 600.0, 606.02, 605.0, 602.0], "0.5", ["603.0", "606.02", "602.0"]),
        ([603.0, 599.99, 603.0], "0.5", ["603.0"]),
        ([700.0, 500.0], "0", []),
    ],
)
def test_a_centre_is_a_close_that_lies_far_enough_from_the_one_before(
    closes: list[float], percent: str, expected: list[str]
) -> None:
    bars = pa.concat_tables(
        [minutes(*closes), minute_bars((at(12, 0), Span.MINUTE, 900.0), (at(14, 30), "second", 9.0))]
    )

    assert [Decimal(text) for text in expected] == later_centres(bars, Decimal(600), SESSION, Decimal(percent))


def test_what_is_chosen_around_a_later_price_joins_what_was_chosen_at_the_open() -> None:
    contracts = contract_table(dollar_strikes(SESSION, 580, 640))

    table = choose(contracts, Decimal(600), SESSION, "SPY", PERCENT, 6, 1, later=[Decimal(607), Decimal(620)])

    strikes = {599, 600, 601, 606, 607, 608, 619, 620, 621}
    assert strikes == {int(ticker[-8:]) // 1000 for ticker, refusal in refusals(table).items() if refusal is None}
    ranks = dict(zip(table["ticker"].to_pylist(), table["rank"].to_pylist(), strict=True))
    assert {strike for strike in strikes if ranks[f"O:SPY241216C{strike * 1000:08d}"] is None} == {
        607,
        608,
        619,
        620,
        621,
    }
