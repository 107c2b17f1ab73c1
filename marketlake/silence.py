"""Whether a feed is silent for longer than its session explains: a stall is told from a halt and from a quiet market.

Pure: instants of the session come in, nanoseconds since the epoch. Where they come from, and what is done about a
stall, is the business of :mod:`marketlake.recorder`. Outside of the expected hours nothing is ever silent.

* Nothing of any topic for longer than the limits: the feed is stalled, whatever the socket says.
* No trades, nor bars of later trades, while quotes still come: the market is halted, and connecting again would bring
  nothing. Where trades are not wanted, the shortest bars stand for them. A few contracts have long pauses on any day:
  of options no halt is told.
* Any other topic that stays away while others come: that subscription is stalled.

A subscription to trades that stalls alone looks like a halt. What lasts for longer than halts do is connected to again,
once; what is true of it, healing finds out. A market-wide halt on a feed without quotes looks like a stall, which is
connected to again, ever more rarely.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from marketlake.feeds import Topic
from marketlake.settings import StreamSettings
from marketlake.tickers import AssetClass

_NS: Final = 1_000_000_000
# What tells that there is trading, finest first, and how long after a trade it still comes because of it: a bar's span,
# and the vendor's 2 s with some to spare (https://polygon.io/blog/aggregate-bar-delays).
_OF_TRADES: Final = {Topic.TRADES: 0, Topic.SECONDS: 6 * _NS, Topic.MINUTES: 65 * _NS}
# Each reconnection that brings nothing of a topic doubles its limit, up to this many times.
_MOST_DOUBLINGS: Final = 5
# A market-wide circuit breaker stops trading for 15 minutes (NYSE rule 7.12), a volatility pause for 5 to 10.
_LONGEST_HALT_NS: Final = 20 * 60 * _NS


class Verdict(StrEnum):
    """What a look at a feed gives."""

    WELL = "well"
    HALTED = "halted"
    RESUMED = "resumed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict; ``since_ns`` is when the last of the topics that are missing was heard."""

    verdict: Verdict
    topics: frozenset[Topic] = frozenset()
    since_ns: int = 0
    silent_s: float = 0.0
    limit_s: float = 0.0


_WELL: Final = Finding(Verdict.WELL)


def silence_limits_ns(feed: AssetClass, settings: StreamSettings) -> dict[Topic, int]:
    """How long each topic of a feed may be silent."""
    of_feed = {
        AssetClass.STOCKS: settings.stocks_silence_s,
        AssetClass.INDICES: settings.indices_silence_s,
        AssetClass.OPTIONS: settings.options_silence_s,
    }[feed]
    of_topic = {Topic.MINUTES: max(of_feed, settings.minute_bars_silence_s)}
    return {topic: of_topic.get(topic, of_feed) * _NS for topic in Topic}


class SilenceWatch:
    """Remembers when each topic was last heard; ``tells_halts``: whether trades pause in nothing but a halt."""

    def __init__(self, limits_ns: Mapping[Topic, int], *, tells_halts: bool = True) -> None:
        self._limits_ns = limits_ns
        self._tells_halts = tells_halts
        self._heard_ns: dict[Topic, int] = {}
        self._listening_since_ns = 0
        self._doublings: dict[Topic, int] = {}
        self._halted_since_ns: int | None = None
        self._is_doubted = False  # whether what looks like a halt was connected to again

    def listen(self, now_ns: int) -> None:
        """A connection is subscribed from now on: silence before it does not count."""
        self._listening_since_ns = now_ns

    def hear(self, topics: Collection[Topic], at_ns: int) -> None:
        """News of these topics; a bar that is sent again tells an earlier time, and does not set the topic back."""
        for topic in topics:
            self._heard_ns[topic] = max(at_ns, self._heard_ns.get(topic, 0))
            self._doublings.pop(topic, None)
            self._is_doubted &= topic not in _OF_TRADES

    def look(self, wanted: Collection[Topic], hours_ns: tuple[int, int], now_ns: int) -> Finding:
        """What is to be thought of a feed now; ``hours_ns`` is when news is expected, ``wanted`` of which topics."""
        opens_ns, closes_ns = hours_ns
        if not opens_ns <= now_ns < closes_ns:
            return _WELL
        begun_ns = max(self._listening_since_ns, opens_ns)
        heard_ns = {topic: max(self._heard_ns.get(topic, 0), begun_ns) for topic in wanted}
        limits_ns = {topic: self._limits_ns[topic] << self._doublings.get(topic, 0) for topic in wanted}
        missing = {topic for topic in heard_ns if now_ns - heard_ns[topic] > limits_ns[topic]}
        trades = next((topic for topic in _OF_TRADES if topic in heard_ns), None)
        halted_ns = self._halted_since_ns
        if trades is not None and halted_ns is not None and self._heard_ns.get(trades, 0) > halted_ns:
            self._halted_since_ns = None
            return Finding(Verdict.RESUMED, frozenset({trades}), halted_ns, (now_ns - halted_ns) / _NS)
        if not missing:
            return _WELL
        since_ns = max(heard_ns[topic] for topic in missing)
        are_quoted = Topic.QUOTES in heard_ns.keys() - missing
        if trades in missing <= _OF_TRADES.keys() and are_quoted and not _went_on(heard_ns, heard_ns[trades]):
            if self._is_doubted or now_ns - heard_ns[trades] <= _LONGEST_HALT_NS:
                return self._halted(trades, heard_ns[trades])
            self._is_doubted = True
        for topic in missing:
            self._doublings[topic] = min(self._doublings.get(topic, 0) + 1, _MOST_DOUBLINGS)
        limit_s = min(limits_ns[topic] for topic in missing) / _NS
        return Finding(Verdict.SILENT, frozenset(missing), since_ns, (now_ns - since_ns) / _NS, limit_s)

    def _halted(self, topic: Topic, since_ns: int) -> Finding:
        if self._halted_since_ns is not None or not self._tells_halts:
            return _WELL
        self._halted_since_ns = since_ns
        return Finding(Verdict.HALTED, frozenset({topic}), since_ns)


def _went_on(heard_ns: Mapping[Topic, int], since_ns: int) -> bool:
    """Whether a bar came so late that it holds trades from after an instant: then it is the trades that are missing."""
    return any(heard_ns.get(topic, 0) > since_ns + late_ns for topic, late_ns in _OF_TRADES.items())
