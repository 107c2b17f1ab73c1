"""The control address: state, request log, clock, faults and switches, for tests and people; the vendor has none.

Every answer is JSON. A body that cannot be obeyed is refused with 400 and one sentence.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.asks import OverLimit
from simulator.clock import parse_instant_ns
from simulator.faults.script import FaultScriptError, parse_rules
from simulator.plans import History
from simulator.simulation import Simulation

Handler = Callable[[Request], Awaitable[object]]
_CENTURY_S: Final = 100 * 365.25 * 86_400


class ClockChange(msgspec.Struct, forbid_unknown_fields=True):
    """Any of: a time to set, seconds to go on, a speed to run at, a pause; done in this order."""

    set: str | None = None
    advance_s: Annotated[float, msgspec.Meta(ge=-_CENTURY_S, le=_CENTURY_S)] | None = None
    speed: Annotated[float, msgspec.Meta(ge=0)] | None = None
    pause: bool = False


class SwitchChange(msgspec.Struct, forbid_unknown_fields=True):
    """Any of: whether a 429 tells ``Retry-After``, what becomes of a ``limit`` too large or a day too old, limits."""

    retry_after: bool | None = None
    over_limit: OverLimit | None = None
    history: History | None = None
    calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    window_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


def control_routes(simulation: Simulation) -> list[Route]:
    """The routes under the control prefix."""

    async def state(_: Request) -> object:
        return _state(simulation)

    async def log(_: Request) -> object:
        return simulation.journal.requests()

    async def reset(_: Request) -> object:
        simulation.journal.clear()
        simulation.limiter.forget()
        return _state(simulation)

    async def change_clock(request: Request) -> object:
        _change_clock(simulation, msgspec.json.decode(await request.body(), type=ClockChange))
        return _state(simulation)

    async def change_switches(request: Request) -> object:
        _change_switches(simulation, msgspec.json.decode(await request.body(), type=SwitchChange))
        return _state(simulation)

    async def faults(_: Request) -> object:
        return simulation.faults.states()

    async def add_faults(request: Request) -> object:
        simulation.faults.add(parse_rules(msgspec.json.decode(await request.body()), "the request's body"))
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
    ]


def _state(simulation: Simulation) -> dict[str, object]:
    limiter = simulation.limiter
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
    }


def _change_clock(simulation: Simulation, change: ClockChange) -> None:
    clock = simulation.clock
    if change.set is not None:
        clock.move_to(parse_instant_ns(change.set))
    if change.advance_s is not None:
        clock.advance(change.advance_s)
    if change.speed is not None:
        clock.run_at(change.speed)
    if change.pause:
        clock.run_at(0.0)


def _change_switches(simulation: Simulation, change: SwitchChange) -> None:
    switches, limiter = simulation.switches, simulation.limiter
    if change.retry_after is not None:
        switches.retry_after = change.retry_after
    if change.over_limit is not None:
        switches.over_limit = change.over_limit
    if change.history is not None:
        switches.history = change.history
    if change.calls is not None:
        limiter.calls = change.calls
    if change.window_s is not None:
        limiter.window_s = change.window_s


def _json(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler's value as a JSON answer; what it cannot read is refused."""

    async def respond(request: Request) -> Response:
        try:
            content, status = await handler(request), 200
        except (msgspec.MsgspecError, FaultScriptError, ValueError) as error:
            content, status = {"error": str(error)}, 400
        return Response(msgspec.json.encode(content), status, media_type="application/json")

    return respond
