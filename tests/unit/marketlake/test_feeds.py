"""Subscriptions: what each names, where its rows go, and what one connection may carry."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.errors import UsageError
from marketlake.feeds import TOPICS, Subscription, Topic, checked_wanted, table_of
from marketlake.tables import TABLES, Owner, Span
from marketlake.tickers import AssetClass

TICKERS = {AssetClass.STOCKS: "SPY", AssetClass.OPTIONS: "O:SPY241220C00585000", AssetClass.INDICES: "I:VIX"}
EVERY = [Subscription(topic, TICKERS[feed]) for feed, topics in TOPICS.items() for topic in sorted(topics)]


@pytest.mark.parametrize(
    ("text", "table", "span"),
    [
        ("T.SPY", "stock_trades", None),
        ("Q.SPY", "stock_quotes", None),
        ("A.SPY", "stock_bars", Span.SECOND),
        ("AM.BRK.B", "stock_bars", Span.MINUTE),
        ("T.O:SPY241220C00585000", "option_trades", None),
        ("Q.O:SPXW241220P05850000", "option_quotes", None),
        ("A.O:SPY241220C00585000", "option_bars", Span.SECOND),
        ("AM.O:SPY241220C00585000", "option_bars", Span.MINUTE),
        ("V.I:VIX", "index_values", None),
        ("A.I:VIX", "index_bars", Span.SECOND),
        ("AM.I:VIX", "index_bars", Span.MINUTE),
    ],
)
def test_each_subscription_fills_one_table(text: str, table: str, span: Span | None) -> None:
    assert (table, span) == table_of(Subscription.parse(text))


def test_every_table_that_a_subscription_fills_but_for_index_values_is_declared_for_its_asset_class() -> None:
    declared = {item: TABLES[table_of(item)[0]] for item in EVERY if item.topic is not Topic.VALUES}

    assert {item: item.feed for item in declared} == {item: table.asset_class for item, table in declared.items()}
    assert Owner.NONE not in {table.owner for table in declared.values()}


@given(st.sampled_from(EVERY))
def test_a_subscription_is_read_back_as_it_is_printed(subscription: Subscription) -> None:
    assert subscription == Subscription.parse(str(subscription))
    assert subscription == pickle.loads(pickle.dumps(subscription))


@pytest.mark.parametrize(
    "text", ["", ".", "SPY", "AM.", "AM.*", "T.spy", "ZZ.SPY", "V.SPY", "T.I:VIX", "Q.I:VIX", "V.O:SPY241220C00585000"]
)
def test_what_the_vendor_would_pass_over_in_silence_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Subscription.parse(text)


@pytest.mark.parametrize("wanted", [[], ["AM.SPY", "V.I:VIX"]], ids=["nothing", "two feeds"])
def test_a_connection_carries_something_of_one_feed(wanted: list[str]) -> None:
    with pytest.raises(UsageError):
        checked_wanted(AssetClass.STOCKS, [Subscription.parse(text) for text in wanted])


def test_a_connection_carries_the_quotes_of_a_thousand_contracts() -> None:
    quotes = [Subscription.parse(f"Q.O:SPY241220C{strike:08}") for strike in range(1_001)]

    assert 1_000 == len(checked_wanted(AssetClass.OPTIONS, quotes[:1_000]))
    with pytest.raises(UsageError, match="1001 contracts"):
        checked_wanted(AssetClass.OPTIONS, quotes)
