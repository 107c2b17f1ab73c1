"""What to record of a feed, from what the settings switch on; how it is subscribed to is the recorder's business."""

from collections.abc import Mapping, Sequence
from typing import Final

from marketlake.errors import UsageError
from marketlake.feeds import Subscription, Topic
from marketlake.settings import SourceSettings
from marketlake.tickers import AssetClass, Underlying

_TOPIC_OF: Final[Mapping[str, Topic]] = {
    "minute_bars": Topic.MINUTES,
    "second_bars": Topic.SECONDS,
    "trades": Topic.TRADES,
    "quotes": Topic.QUOTES,
    "values": Topic.VALUES,
}


def configured_subscriptions(
    feed: AssetClass, sources: SourceSettings, contracts: Sequence[str]
) -> frozenset[Subscription]:
    """The topics that are switched on, of the configured shares or indices, or of ``contracts`` on the options' feed.

    Raises:
        UsageError: nothing is switched on, or there is nothing to record of.
    """
    topics = [_TOPIC_OF[name] for name in sources.streams[feed]]
    if not topics:
        message = f"the feed {feed} is switched off: name something under sources.streams.{feed}"
        raise UsageError(message)
    tickers = contracts if feed is AssetClass.OPTIONS else _tickers(feed, sources)
    if not tickers:
        message = f"no ticker of the feed {feed} is configured: name one under sources, or give subscriptions"
        raise UsageError(message)
    return frozenset(Subscription(topic, ticker) for topic in topics for ticker in tickers)


def _tickers(feed: AssetClass, sources: SourceSettings) -> list[str]:
    underlyings = [Underlying.parse(text) for text in sources.underlyings]
    prices = [item.price_ticker for item in underlyings if item.asset_class is feed]
    indices = sources.indices if feed is AssetClass.INDICES else ()
    return list(dict.fromkeys([*prices, *indices]))
