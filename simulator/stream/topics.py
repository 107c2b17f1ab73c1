"""Subscription strings: which topics a market has, which of them a plan includes, and what the vendor says to each.

What a topic's messages look like is in ``messages``; when they are published, in ``sources``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from simulator.plans import Account, AssetClass, DataKind

CONTRACT_CAP: Final = 1000
"""Contracts whose quotes one connection may have."""
_ALL: Final = "*"


class Topic(StrEnum):
    """What the simulator publishes."""

    TRADES = "T"
    QUOTES = "Q"
    SECONDS = "A"
    MINUTES = "AM"
    VALUES = "V"


_TOPICS: Final = {
    AssetClass.STOCKS: frozenset({Topic.TRADES, Topic.QUOTES, Topic.SECONDS, Topic.MINUTES}),
    AssetClass.OPTIONS: frozenset({Topic.TRADES, Topic.QUOTES, Topic.SECONDS, Topic.MINUTES}),
    AssetClass.INDICES: frozenset({Topic.VALUES, Topic.SECONDS, Topic.MINUTES}),
}
_KINDS: Final = {
    Topic.TRADES: DataKind.TRADES,
    Topic.QUOTES: DataKind.QUOTES,
    Topic.SECONDS: DataKind.BARS,
    Topic.MINUTES: DataKind.BARS,
    Topic.VALUES: DataKind.SNAPSHOT,
}
_SILENT: Final = {AssetClass.STOCKS: frozenset({"LULD", "NOI"})}
"""Topics that exist at the vendor and have nothing to say here: acknowledged, as those are of a quiet ticker."""
_BUSINESS: Final = {AssetClass.STOCKS: frozenset({"FMV"}), AssetClass.OPTIONS: frozenset({"FMV"})}
"""Topics of plans that no key here has."""


@dataclass(frozen=True, slots=True, order=True)
class Subscription:
    """One topic of one ticker, or of all with ``*``; printed as clients write it: ``AM.SPY``."""

    topic: Topic
    ticker: str

    @property
    def is_for_all(self) -> bool:
        """Whether it is a wildcard."""
        return self.ticker == _ALL

    def __str__(self) -> str:
        return f"{self.topic}.{self.ticker}"

    @classmethod
    def parse(cls, text: str) -> "Subscription":
        """The subscription of ``V.I:VIX``; ValueError where there is no such topic."""
        topic, _, ticker = text.partition(".")
        return cls(Topic(topic), ticker)


@dataclass(slots=True)
class Verdict:
    """What becomes of one subscribe request, in the order of its pairs."""

    acknowledged: list[str] = field(default_factory=list)
    subscribed: list[Subscription] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What the vendor says of each pair that it refuses; of an unknown topic it says nothing at all."""


def pairs_of(params: str) -> list[str]:
    """The pairs of a comma list."""
    return [pair.strip() for pair in params.split(",") if pair.strip()]


def is_known(pair: str, market: AssetClass) -> bool:
    """Whether a pair is of a topic that a market has; of any other the vendor says nothing at all."""
    topic, dot, ticker = pair.partition(".")
    has = {*_TOPICS[market], *_SILENT.get(market, ()), *_BUSINESS.get(market, ())}
    return bool(dot and ticker) and topic in has


def judge(pairs: Iterable[str], market: AssetClass, account: Account, held: Sequence[Subscription]) -> Verdict:
    """Which pairs a connection that already holds some may have.

    An unknown ticker is acknowledged, as at the vendor, where it is silent for ever.
    """
    verdict = Verdict()
    contracts = {one.ticker for one in held if one.topic is Topic.QUOTES}
    for pair in pairs:
        topic, dot, ticker = pair.partition(".")
        if not dot or not ticker:
            continue
        if topic in _SILENT.get(market, ()):
            verdict.acknowledged.append(pair)
        elif topic in _BUSINESS.get(market, ()):
            verdict.refused.append("not authorized")
        elif topic in _TOPICS[market]:
            subscription = Subscription(Topic(topic), ticker)
            refusal = _refusal(subscription, market, account, contracts)
            if refusal is not None:
                verdict.refused.append(refusal)
                continue
            if subscription.topic is Topic.QUOTES:
                contracts.add(ticker)
            verdict.acknowledged.append(pair)
            verdict.subscribed.append(subscription)
    return verdict


def contracts_in(held: Iterable[Subscription]) -> int:
    """How many contracts' quotes are held, which is what the cap counts."""
    return sum(one.topic is Topic.QUOTES and one.ticker.startswith("O:") for one in held)


def _refusal(subscription: Subscription, market: AssetClass, account: Account, contracts: set[str]) -> str | None:
    if _KINDS[subscription.topic] not in account.terms(market).kinds:
        return "not authorized"
    if market is not AssetClass.OPTIONS or subscription.topic is not Topic.QUOTES:
        return None
    if subscription.is_for_all:
        return "Option quotes have no wildcard. Subscribe to contracts."
    if subscription.ticker not in contracts and len(contracts) >= CONTRACT_CAP:
        return f"Option quotes are limited to {CONTRACT_CAP} contracts per connection."
    return None
