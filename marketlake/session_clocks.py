"""Whose clock tells a recorder how long its feed was silent: the machine's, or that of a vendor who replays a session.

Both count as the data does: the plan's delay is taken off.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from marketlake.errors import VendorError
from marketlake.transport import Transport

logger = logging.getLogger(__name__)

_MARKET_STATUS: Final = "/v1/marketstatus/now"
_BETWEEN_ASKS_S: Final = 1.0


class MachineClock:
    """The session is now."""

    def __init__(self, now_ns: Callable[[], int], delay_ns: int) -> None:
        self._now_ns = now_ns
        self._delay_ns = delay_ns

    async def now_ns(self, last_event_ns: int | None) -> int | None:  # noqa: ARG002 - news tells nothing about it
        """The machine's clock."""
        return self._now_ns() - self._delay_ns


class VendorClock:
    """The session is when the vendor says: news tells by its event time, and while none comes the vendor is asked.

    It is asked once a second at most; an answer that does not come is no time, and so no silence.
    """

    def __init__(self, transport: Transport, delay_ns: int) -> None:
        self._transport = transport
        self._delay_ns = delay_ns
        self._next_ask_s = 0.0

    async def now_ns(self, last_event_ns: int | None) -> int | None:
        """The vendor's clock."""
        if last_event_ns is not None:
            return last_event_ns
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_ask_s:
            return None
        self._next_ask_s = now_s + _BETWEEN_ASKS_S
        asked_ns = await asyncio.to_thread(self._ask)
        return asked_ns - self._delay_ns if asked_ns is not None else None

    def _ask(self) -> int | None:
        try:
            answer = self._transport.get(_MARKET_STATUS)
            return _to_ns(msgspec.json.decode(answer.body, type=_MarketStatus).server_time)
        except (VendorError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.info("the vendor does not tell its time: %s", error)
            return None


class _MarketStatus(msgspec.Struct, rename={"server_time": "serverTime"}):
    server_time: Annotated[datetime, Meta(tz=True)]


def _to_ns(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000_000 + instant.microsecond * 1_000
