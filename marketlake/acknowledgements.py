"""Which subscriptions the vendor has accepted, refused, or passed over in silence. Pure.

The vendor acknowledges each accepted pair by name. A refusal is one status that names no pair, and comes before the
acknowledgements of the others; a pair that got lost is answered by nothing at all.
"""

from collections.abc import Collection, Iterable
from typing import Final

from marketlake.feeds import Subscription
from marketlake.stream_statuses import Status

_ACCEPTED: Final = "subscribed to: "
_REFUSED: Final = "not authorized"


class Acknowledgements:
    """What one connection asked for, and what the server said to it."""

    def __init__(self, wanted: Collection[Subscription]) -> None:
        self.wanted = frozenset(wanted)
        self.accepted: set[Subscription] = set()
        self.refused: dict[Subscription, str] = {}
        self._told: set[Subscription] = set()
        self._dropped: set[Subscription] = set()
        self._refusals: list[str] = []

    def change(self, wanted: Collection[Subscription]) -> tuple[frozenset[Subscription], frozenset[Subscription]]:
        """Want something else from now on: what is new in it, and what is not in it any more."""
        former, self.wanted = self.wanted, frozenset(wanted)
        self._dropped |= self.accepted - self.wanted
        dropped = former - self.wanted
        self.accepted -= dropped
        self._told -= dropped
        return self.wanted - former, dropped

    def keep(self, subscribed: Iterable[Subscription]) -> None:
        """What was dropped and is wanted again before the server was told is accepted as before."""
        self.accepted |= self._dropped & self.wanted & set(subscribed)
        self._dropped -= self.accepted

    @property
    def lost(self) -> frozenset[Subscription]:
        """What was asked for and not answered."""
        return self.wanted - self.accepted - self.refused.keys()

    @property
    def is_answered(self) -> bool:
        """Whether nothing more is to come: each pair without an acknowledgement has a refusal."""
        return len(self.lost) <= len(self._refusals)

    def take(self, status: Status) -> bool:
        """Heed a status; False where it is about something else."""
        if status.status == "success" and status.message.startswith(_ACCEPTED):
            name = status.message.removeprefix(_ACCEPTED)
            self.accepted.update(item for item in self.wanted if str(item) == name)
            return True
        if status.status == "error" and _REFUSED in status.message:
            self._refusals.append(status.message)
            return True
        return False

    def conclude(self) -> tuple[frozenset[Subscription], dict[Subscription, str]]:
        """What was newly accepted and refused; what is in neither is lost.

        As many refusals as unanswered pairs refuse these. Fewer refuse a topic: a plan has it or not, so that a pair of
        which another was accepted is lost. Where that leaves several topics nobody can say which was meant, and all of
        them are lost: the next connection is told anew.
        """
        accepted = frozenset(self.accepted - self._told)
        self._told |= accepted
        missing = self.lost
        if len(self._refusals) < len(missing):
            topics = {item.topic for item in missing} - {item.topic for item in self.accepted}
            missing = frozenset(item for item in missing if {item.topic} == topics)
        refused = dict.fromkeys(missing, self._refusals[-1]) if self._refusals else {}
        self.refused |= refused
        self._refusals.clear()
        return accepted, refused
