"""Puts an answer on the wire: at once, late, in drips, cut short, or never to its end."""

import asyncio
import gzip
import math
from typing import Final

from starlette.types import Receive, Send

from simulator.faults.answers import Answer, Delivery

_FASTEST_GZIP: Final = 1  # a page of 5 MB must not wait for the compressor


def encode_body(answer: Answer, *, accepts_gzip: bool) -> tuple[bytes, bool]:
    """The body's bytes as they go out, and whether they are gzip; a broken gzip is sent even where none was asked."""
    if answer.delivery.breaks_gzip:
        packed = bytearray(gzip.compress(answer.body, _FASTEST_GZIP, mtime=0))
        for place in (len(packed) // 2, -8):  # in the middle, and in the checksum that ends it
            packed[place] ^= 0xFF
        return bytes(packed), True
    if accepts_gzip:
        return gzip.compress(answer.body, _FASTEST_GZIP, mtime=0), True
    return answer.body, False


class Wire:
    """One client's connection for one answer; a pause on it ends when the client leaves or the process stops."""

    def __init__(self, receive: Receive, send: Send, stopping: asyncio.Event) -> None:
        self._receive = receive
        self._send = send
        self._stopping = stopping

    async def deliver(self, answer: Answer, body: bytes, *, is_gzip: bool) -> None:
        """Sends the answer as its delivery asks; the server drops the connection of one that does not end."""
        delivery = answer.delivery
        if delivery.wait_before_s and not await self._pause(delivery.wait_before_s):
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        headers += [(b"server", b"nginx"), (b"vary", b"Accept-Encoding")]
        if is_gzip:
            headers.append((b"content-encoding", b"gzip"))
        if not delivery.is_chunked:
            headers.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send_body(delivery, body)

    async def _send_body(self, delivery: Delivery, body: bytes) -> None:
        end = len(body) if delivery.cut_at is None else int(len(body) * delivery.cut_at)
        stall = None if delivery.stall_at is None else int(len(body) * delivery.stall_at)
        for piece, pause_s in _pieces(body[:end], stall, delivery):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            if pause_s and not await self._pause(pause_s):
                return
        if delivery.cut_at is None:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pause(self, seconds: float) -> bool:
        """Whether the pause went by undisturbed."""
        ends = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._client_left())]
        done, pending = await asyncio.wait(
            ends, timeout=None if math.isinf(seconds) else seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        return not done

    async def _client_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _pieces(body: bytes, stall: int | None, delivery: Delivery) -> list[tuple[bytes, float]]:
    """The body in the pieces it is sent in, each with the pause after it."""
    if delivery.drip_bytes is not None:
        step = delivery.drip_bytes
        return [(body[at : at + step], delivery.drip_s) for at in range(0, len(body), step)]
    if stall is not None:
        return [(body[:stall], delivery.stall_s), (body[stall:], 0.0)]
    return [(body, 0.0)]
