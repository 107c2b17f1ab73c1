"""Subscriptions: what is acknowledged, refused, or passed over in silence."""

import pytest

from simulator.plans import AssetClass, standard_accounts
from simulator.stream.topics import CONTRACT_CAP, Subscription, Topic, judge, pairs_of

ACCOUNTS = standard_accounts()


def verdict_on(market: AssetClass, plan: str, *pairs: str):
    return judge(pairs, market, ACCOUNTS[f"simulated-{plan}"], [])


@pytest.mark.parametrize("text", ["T.SPY", "AM.O:SPY250829C00605000", "V.I:VIX", "Q.BRK.B", "A.*"])
def test_a_subscription_is_printed_as_it_was_written(text) -> None:
    assert text == str(Subscription.parse(text))


def test_a_topic_nobody_has_is_no_subscription() -> None:
    with pytest.raises(ValueError, match="ZZ"):
        Subscription.parse("ZZ.SPY")


def test_a_comma_list_may_have_spaces_and_empty_places() -> None:
    assert ["T.SPY", "A.*"] == pairs_of(" T.SPY ,, A.*,")


@pytest.mark.parametrize(
    ("plan", "allowed"),
    [("starter", {"A", "AM"}), ("developer", {"T", "A", "AM"}), ("advanced", {"T", "Q", "A", "AM"})],
)
def test_a_plan_has_the_topics_that_the_vendor_sells_it(plan, allowed) -> None:
    verdict = verdict_on(AssetClass.STOCKS, plan, "T.SPY", "Q.SPY", "A.SPY", "AM.SPY")

    assert allowed == {subscription.topic for subscription in verdict.subscribed}
    assert ["not authorized"] * (4 - len(allowed)) == verdict.refused


def test_topics_without_data_here_are_acknowledged_and_those_of_business_plans_refused() -> None:
    verdict = verdict_on(AssetClass.STOCKS, "advanced", "LULD.SPY", "NOI.*", "FMV.SPY")

    assert ["LULD.SPY", "NOI.*"] == verdict.acknowledged
    assert [] == verdict.subscribed
    assert ["not authorized"] == verdict.refused


def test_the_cap_counts_contracts_held_already_and_not_one_of_them_twice() -> None:
    held = [Subscription(Topic.QUOTES, f"O:A{place}") for place in range(CONTRACT_CAP - 1)]
    account = ACCOUNTS["simulated-advanced"]
    verdict = judge(["Q.O:A0", "Q.O:B", "Q.O:B", "Q.O:C", "T.O:C"], AssetClass.OPTIONS, account, held)

    assert ["Q.O:A0", "Q.O:B", "Q.O:B", "T.O:C"] == verdict.acknowledged
    assert 1 == len(verdict.refused)


@pytest.mark.parametrize("market", list(AssetClass))
def test_the_free_plan_has_no_stream_in_any_market(market) -> None:
    assert not ACCOUNTS["simulated-free"].terms(market).has_stream
