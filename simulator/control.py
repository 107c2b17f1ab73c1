"""The control address: state, log, clock, stream, faults and switches, for tests and people; the vendor has none.

Every answer is JSON. A body that cannot be obeyed is refused with 400 and one sentence.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.asks import OverLimit
from simulator.clock import FASTEST, parse_instant_ns
from simulator.faults.script import FaultScriptError, parse_rules
from simulator.newyork import NS_PER_S
from simulator.plans import History
from simulator.simulation import Simulation
from simulator.stream.gateway import Gateway
from simulator.stream.switches import Evicted, SlowReader
from simulator.stream.topics import Subscription

Handler = Callable[[Request], Awaitable[object]]
_CENTURY_S: Final = 100 * 365.25 * 86_400


class ClockChange(msgspec.Struct, forbid_unknown_fields=True):
    """Any of: a time to set, seconds to go on, the next message to go on to, a speed, a pause; done in this order.

    What lies between now and a time that is set is not streamed; what one goes on through is, before the answer comes.
    """

    set: str | None = None
    advance_s: Annotated[float, msgspec.Meta(ge=-_CENTURY_S, le=_CENTURY_S)] | None = None
    step: bool = False
    speed: Annotated[float, msgspec.Meta(ge=0, le=FASTEST)] | None = None
    pause: bool = False


class SwitchChange(msgspec.Struct, forbid_unknown_fields=True):
    """Any of: whether a 429 tells ``Retry-After``, what becomes of a ``limit`` too large or a day too old, limits.

    The stream's are in ``stream.switches``.
    """

    retry_after: bool | None = None
    over_limit: OverLimit | None = None
    history: History | None = None
    calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    window_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    strict: bool | None = None
    buffer_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    slow_reader: SlowReader | None = None
    evicted: Evicted | None = None
    connections_per_key: Annotated[int, msgspec.Meta(ge=1)] | None = None
    auth_timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


def control_routes(simulation: Simulation, gateway: Gateway) -> list[Route]:
    """The routes under the control prefix."""

    async def state(_: Request) -> object:
        return _state(simulation, gateway)

    async def log(_: Request) -> object:
        return simulation.journal.requests()

    async def reset(_: Request) -> object:
        simulation.journal.clear()
        simulation.limiter.forget()
        gateway.reset()
        return _state(simulation, gateway)

    async def change_clock(request: Request) -> object:
        await _change_clock(simulation, gateway, msgspec.json.decode(await request.body(), type=ClockChange))
        return _state(simulation, gateway)

    async def change_switches(request: Request) -> object:
        _change_switches(simulation, msgspec.json.decode(await request.body(), type=SwitchChange))
        gateway.wake()
        return _state(simulation, gateway)

    async def faults(_: Request) -> object:
        return simulation.faults.states()

    async def add_faults(request: Request) -> object:
        simulation.faults.add(parse_rules(msgspec.json.decode(await request.body()), "the request's body"))
        gateway.wake()
        return simulation.faults.states()

    async def clear_faults(_: Request) -> object:
        simulation.faults.replace([])
        return []

    return [
        Route("/state", _json(state), methods=["GET"]),
        Route("/log", _json(log), methods=["GET"]),
        Route("/reset", _json(reset), methods=["POST"]),
        Route("/clock", _json(change_clock), methods=["POST"]),
        Route("/switches", _json(change_switches), methods=["POST"]),
        Route("/faults", _json(faults), methods=["GET"]),
        Route("/faults", _json(add_faults), methods=["POST"]),
        Route("/faults", _json(clear_faults), methods=["DELETE"]),
        *_stream_routes(gateway),
    ]


def _stream_routes(gateway: Gateway) -> list[Route]:
    async def stream(_: Request) -> object:
        return gateway.report()

    async def published(request: Request) -> object:
        query = request.query_params
        subscription = Subscription.parse(query.get("subscription", ""))
        after_ns, until_ns = (parse_instant_ns(query.get(name, "")) for name in ("after", "until"))
        return await gateway.published(subscription, after_ns, until_ns)

    return [
        Route("/stream", _json(stream), methods=["GET"]),
        Route("/published", _json(published), methods=["GET"]),
    ]


def _state(simulation: Simulation, gateway: Gateway) -> dict[str, object]:
    limiter, stream = simulation.limiter, gateway.report()
    return {
        "world": simulation.world.name,
        "underlying": simulation.world.underlying,
        "clock": simulation.clock.iso(),
        "clock_ns": simulation.clock.now_ns(),
        "speed": simulation.clock.speed,
        "requests": simulation.answered,
        "logged": len(simulation.journal),
        "faults": len(simulation.faults.states()),
        "switches": simulation.switches,
        "free_plan": {"calls": limiter.calls, "window_s": limiter.window_s},
        "stream": {
            "switches": simulation.stream,
            "connections": len(stream.connections),
            "opened": stream.opened,
            "most_connections": stream.most_connections,
            "most_contracts": stream.most_contracts,
        },
    }


async def _change_clock(simulation: Simulation, gateway: Gateway, change: ClockChange) -> None:
    clock = simulation.clock
    if change.set is not None:
        gateway.seek(parse_instant_ns(change.set))
    if change.advance_s is not None:
        if change.advance_s < 0:
            gateway.seek(clock.now_ns() + int(change.advance_s * NS_PER_S))
        else:
            await gateway.step(change.advance_s)
    if change.step:
        await gateway.step(None)
    if change.speed is not None:
        clock.run_at(change.speed)
    if change.pause:
        clock.run_at(0.0)
    gateway.wake()


def _change_switches(simulation: Simulation, change: SwitchChange) -> None:
    """Each switch stands where it belongs under the name that the request has for it."""
    for name, value in msgspec.structs.asdict(change).items():
        owners = (simulation.switches, simulation.limiter, simulation.stream)
        owner = next(owner for owner in owners if hasattr(owner, name))
        if value is not None:
            setattr(owner, name, value)


def _json(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler's value as a JSON answer; what it cannot read is refused."""

    async def respond(request: Request) -> Response:
        try:
            content, status = await handler(request), 200
        except (msgspec.MsgspecError, FaultScriptError, ValueError) as error:
            content, status = {"error": str(error)}, 400
        return Response(msgspec.json.encode(content), status, media_type="application/json")

    return respond
