"""The ASGI application: requests off the wire, answers onto it.

Answers are made on the world's own thread, so that a large page never holds up the event loop that the stream shares.
How an answer goes out is in ``wire``.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from simulator import cursors, gate
from simulator.control import control_routes
from simulator.faults.answers import Answer, Exchange
from simulator.faults.script import Occasion
from simulator.gate import Request
from simulator.journal import Link, LoggedRequest
from simulator.replies import BadParameter
from simulator.simulation import Simulation
from simulator.stream.gateway import Gateway
from simulator.wire import Wire, encode_body
from simulator.world_thread import WorldThread

CONTROL_PREFIX: Final = "/_control"

Made = tuple[Answer, bytes, bool]
"""An answer, its bytes as they go out, and whether those are gzip."""


def build_app(simulation: Simulation, gateway: Gateway, worker: WorldThread, stopping: asyncio.Event) -> Starlette:
    """The vendor's REST side and the control address of both sides; ``stopping`` ends answers that hang."""
    return Starlette(
        routes=[
            Mount(CONTROL_PREFIX, routes=control_routes(simulation, gateway)),
            Mount("/", app=VendorSide(simulation, worker, stopping)),
        ]
    )


class VendorSide:
    """Everything that the vendor answers."""

    def __init__(self, simulation: Simulation, worker: WorldThread, stopping: asyncio.Event) -> None:
        self._simulation = simulation
        self._worker = worker
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = _request(scope, headers)
        accepts_gzip = "gzip" in headers.get("accept-encoding", "").lower()
        answer, body, is_gzip = await self._worker.run(lambda: self._make(request, accepts_gzip=accepts_gzip))
        await Wire(receive, send, self._stopping).deliver(answer, body, is_gzip=is_gzip)

    def _make(self, request: Request, *, accepts_gzip: bool) -> Made:
        simulation = self._simulation
        address = request.address()
        link = simulation.chains.link(address)
        request_id, number = simulation.next_request_id(), simulation.answered
        answer, account = gate.answer(simulation, request, request_id)
        if answer.next_url is not None:
            simulation.chains.extend(address, answer.next_url.removeprefix(request.origin))
        exchange = Exchange(
            request.origin, address, link, lambda other: _undisturbed(simulation, request, request_id, other)
        )
        answer, struck = simulation.faults.apply(answer, exchange, _occasion(simulation, request, link))
        simulation.journal.note(
            LoggedRequest(
                number=number,
                simulated=simulation.clock.iso(),
                method=request.method,
                path=request.path,
                query=address.partition("?")[2],
                status=answer.status,
                page=link.number,
                plan=None if account is None else account.name,
                rows=answer.rows,
                faults=struck,
            )
        )
        return answer, *encode_body(answer, accepts_gzip=accepts_gzip)


def _request(scope: Scope, headers: Mapping[str, str]) -> Request:
    host = headers.get("host") or "{}:{}".format(*scope["server"])
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        origin=f"{scope['scheme']}://{host}",
        authorization=headers.get("authorization", ""),
    )


def _undisturbed(simulation: Simulation, request: Request, request_id: str, address: str) -> Answer:
    """The answer to another page of the same client, outside its rate limit, the count and the log."""
    path, _, query = address.partition("?")
    other = Request("GET", path, query, request.origin, request.authorization, tuple(request.sent_keys()))
    answer, _ = gate.answer(simulation, other, request_id, is_counted=False)
    if answer.next_url is not None:
        simulation.chains.extend(other.address(), answer.next_url.removeprefix(request.origin))
    return answer


def _occasion(simulation: Simulation, request: Request, link: Link) -> Occasion:
    query = request.parameters()
    try:
        query = cursors.decode(query["cursor"]) if query.get("cursor") else query
    except BadParameter:
        query = {}
    named = {query[name] for name in ("ticker", "underlying_ticker") if query.get(name)}
    return Occasion(
        path=request.path,
        query=urlencode(query, safe=":"),
        tickers=frozenset(request.path.split("/")) | named,
        page=link.number,
        now_ns=simulation.clock.now_ns(),
    )
