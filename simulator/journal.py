"""What was asked: the request log, and which page of which chain an address is."""

from collections import OrderedDict, deque
from typing import Final

import msgspec

_KEPT_REQUESTS: Final = 200_000
_KEPT_ADDRESSES: Final = 200_000


class LoggedRequest(msgspec.Struct, frozen=True):
    """One vendor request as the log shows it; its query never holds the key."""

    number: int
    simulated: str  # ISO 8601, New York
    method: str
    path: str
    query: str
    status: int
    page: int
    plan: str | None
    rows: int | None
    faults: tuple[str, ...]


class Journal:
    """The requests in the order they were answered, newest last; the oldest fall out of a very long log."""

    def __init__(self) -> None:
        self._requests: deque[LoggedRequest] = deque(maxlen=_KEPT_REQUESTS)

    def note(self, request: LoggedRequest) -> None:
        """Adds a request."""
        self._requests.append(request)

    def requests(self) -> list[LoggedRequest]:
        """The log, oldest first."""
        return list(self._requests)

    def clear(self) -> None:
        """Empties the log; the request counter goes on."""
        self._requests.clear()

    def __len__(self) -> int:
        return len(self._requests)


class Link(msgspec.Struct, frozen=True):
    """A page's place in its chain: its number from 1, and the addresses of the first page and the one before."""

    number: int
    first: str
    previous: str | None


class PageChains:
    """Which page each handed-out ``next_url`` is; an address never handed out is a first page."""

    def __init__(self) -> None:
        self._links: OrderedDict[str, Link] = OrderedDict()

    def link(self, address: str) -> Link:
        """The place of an address (path and query, without the key)."""
        return self._links.get(address) or Link(1, address, None)

    def extend(self, address: str, next_address: str) -> None:
        """Notes that the page at one address led to another."""
        here = self.link(address)
        if next_address != address and next_address not in self._links:
            self._links[next_address] = Link(here.number + 1, here.first, address)
            if len(self._links) > _KEPT_ADDRESSES:
                self._links.popitem(last=False)
