"""What is recorded of a feed: the topics that are switched on, of the tickers that are configured."""

import pytest

from marketlake.errors import UsageError
from marketlake.settings import Settings, SourceSettings
from marketlake.tickers import AssetClass
from marketlake.wanted import configured_subscriptions

CALL, PUT = "O:SPY250919C00640000", "O:SPY250919P00640000"
STREAMS = {
    AssetClass.STOCKS: ("minute_bars", "second_bars"),
    AssetClass.OPTIONS: ("trades", "quotes"),
    AssetClass.INDICES: ("minute_bars", "values"),
}


def sources(**changed: object) -> SourceSettings:
    given = {"underlyings": ("SPY",), "indices": ("I:VIX",), "streams": STREAMS, **changed}
    return Settings().sources.model_copy(update=given)


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        pytest.param(AssetClass.STOCKS, {"AM.SPY", "A.SPY"}, id="shares"),
        pytest.param(AssetClass.OPTIONS, {f"{t}.{c}" for t in "TQ" for c in (CALL, PUT)}, id="the chosen contracts"),
        pytest.param(AssetClass.INDICES, {"AM.I:VIX", "V.I:VIX"}, id="indices"),
    ],
)
def test_each_topic_that_is_on_is_wanted_of_each_ticker(feed: AssetClass, expected: set[str]) -> None:
    assert expected == {str(item) for item in configured_subscriptions(feed, sources(), [CALL, PUT])}


def test_an_index_that_is_an_underlying_is_on_the_feed_of_indices() -> None:
    given = sources(underlyings=("SPY", "I:SPX"))

    shares, indices = (configured_subscriptions(feed, given, []) for feed in (AssetClass.STOCKS, AssetClass.INDICES))

    assert {"SPY"} == {item.ticker for item in shares}
    assert {"I:SPX", "I:VIX"} == {item.ticker for item in indices}


@pytest.mark.parametrize(
    ("feed", "changed", "says"),
    [
        pytest.param(AssetClass.STOCKS, {"streams": {**STREAMS, AssetClass.STOCKS: ()}}, "switched off", id="off"),
        pytest.param(AssetClass.STOCKS, {"underlyings": ("I:SPX",)}, "no ticker", id="no share"),
        pytest.param(AssetClass.OPTIONS, {}, "no ticker", id="no contract"),
    ],
)
def test_nothing_to_record_is_told(feed: AssetClass, changed: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        configured_subscriptions(feed, sources(**changed), [])
