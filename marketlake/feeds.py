"""What can be subscribed to on the vendor's stream: feeds, topics, and the table that each subscription fills.

Pure. A feed is one asset class, and the vendor allows one connection for each. How a connection is held is the business
of :mod:`marketlake.connection`; how messages become rows, of :mod:`marketlake.frames`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from marketlake.errors import UsageError
from marketlake.tickers import AssetClass, asset_class_of

if TYPE_CHECKING:
    from marketlake.tables import Span

# https://massive.com/docs/websocket/options/quotes: per connection.
MOST_OPTION_QUOTES: Final = 1_000


def feed_named(text: str) -> AssetClass:
    """The feed that a person means.

    Raises:
        UsageError: there is no such feed.
    """
    try:
        return AssetClass(text)
    except ValueError:
        message = f"there is no feed {text!r}: choose from {', '.join(AssetClass)}"
        raise UsageError(message) from None


class Topic(StrEnum):
    """What the vendor sends; the values are the vendor's own, in ``ev`` and in subscriptions."""

    TRADES = "T"
    QUOTES = "Q"
    SECONDS = "A"
    MINUTES = "AM"
    VALUES = "V"


TOPICS: Final = {
    AssetClass.STOCKS: frozenset({Topic.TRADES, Topic.QUOTES, Topic.SECONDS, Topic.MINUTES}),
    AssetClass.OPTIONS: frozenset({Topic.TRADES, Topic.QUOTES, Topic.SECONDS, Topic.MINUTES}),
    AssetClass.INDICES: frozenset({Topic.VALUES, Topic.SECONDS, Topic.MINUTES}),
}
"""The topics of each feed that marketlake records."""

_KINDS: Final = {AssetClass.STOCKS: "stock", AssetClass.OPTIONS: "option", AssetClass.INDICES: "index"}


@dataclass(frozen=True, slots=True, order=True)
class Subscription:
    """One topic of one ticker; printed and parsed as the vendor writes it, ``AM.SPY``.

    A wildcard is none: what is covered is known for each ticker, and so each is named.

    Raises:
        UsageError: the text names no ticker, or its feed has no such topic.
    """

    topic: Topic
    ticker: str

    def __post_init__(self) -> None:
        feed = asset_class_of(self.ticker)
        if self.topic not in TOPICS[feed]:
            message = f"{self} cannot be subscribed to: {feed} have {', '.join(sorted(TOPICS[feed]))}"
            raise UsageError(message)

    def __str__(self) -> str:
        return f"{self.topic}.{self.ticker}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``AM.SPY``, ``Q.O:SPY241220C00585000`` or ``V.I:VIX``."""
        topic, _, ticker = text.partition(".")
        try:
            return cls(Topic(topic), ticker)
        except ValueError:
            message = (
                f"{text!r} is no subscription: write a topic ({', '.join(Topic)}), a dot and a ticker, as in AM.SPY"
            )
            raise UsageError(message) from None

    @property
    def feed(self) -> AssetClass:
        """The feed that carries it."""
        return asset_class_of(self.ticker)


def table_of(subscription: Subscription) -> tuple[str, "Span | None"]:
    """The table that a subscription's rows go to, and the span of its rows where they are bars."""
    from marketlake.tables import Span  # noqa: PLC0415 - pyarrow: a recorder has no tables

    kind = _KINDS[subscription.feed]
    match subscription.topic:
        case Topic.TRADES:
            return f"{kind}_trades", None
        case Topic.QUOTES:
            return f"{kind}_quotes", None
        case Topic.SECONDS:
            return f"{kind}_bars", Span.SECOND
        case Topic.MINUTES:
            return f"{kind}_bars", Span.MINUTE
        case Topic.VALUES:
            return f"{kind}_values", None


def checked_wanted(feed: AssetClass, subscriptions: Collection[Subscription]) -> frozenset[Subscription]:
    """The set that one connection of a feed may carry.

    Raises:
        UsageError: there is nothing in it, something of another feed, or more than the vendor takes.
    """
    wanted = frozenset(subscriptions)
    if not wanted:
        message = f"nothing to subscribe to on {feed}: name at least one, as in AM.SPY"
        raise UsageError(message)
    foreign = sorted(str(item) for item in wanted if item.feed is not feed)
    if foreign:
        message = f"{foreign[0]} is not on the feed {feed}: each asset class has a feed of its own"
        raise UsageError(message)
    quotes = sum(item.topic is Topic.QUOTES for item in wanted)
    if feed is AssetClass.OPTIONS and quotes > MOST_OPTION_QUOTES:
        message = f"{quotes} contracts' quotes are wanted: one connection carries {MOST_OPTION_QUOTES}"
        raise UsageError(message)
    return wanted
