"""From a request to an answer: route, key, rate limit, plan, endpoint, in the vendor's order; then the faults.

No socket here: the server hands over a decoded request and puts the answer on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from simulator import cursors
from simulator.asks import Ask
from simulator.faults.answers import Answer, link_header
from simulator.plans import Account
from simulator.replies import NotEntitled, Refusal, TooManyCalls, UnknownKey
from simulator.routes import Route, find_route
from simulator.simulation import Simulation

_KEY_PARAMETER: Final = "apikey"
_CURSOR_OF_OWN_SHAPE: Final = "/v2/reference/news"
_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, its path decoded."""

    method: str
    path: str
    query: str
    origin: str
    authorization: str
    carried_keys: tuple[str, ...] = ()

    def parameters(self) -> dict[str, str]:
        """The query without the key."""
        return {n: v for n, v in parse_qsl(self.query, keep_blank_values=True) if n.lower() != _KEY_PARAMETER}

    def sent_keys(self) -> list[str]:
        """The keys that came with it, in either form."""
        in_query = [v for n, v in parse_qsl(self.query) if n.lower() == _KEY_PARAMETER]
        in_query += self.carried_keys
        scheme, _, token = self.authorization.partition(" ")
        return [token.strip(), *in_query] if scheme.lower() == "bearer" else in_query

    def address(self) -> str:
        """Path and query without the key: what names a page."""
        query = urlencode(self.parameters())
        return f"{self.path}?{query}" if query else self.path


def answer(
    simulation: Simulation, request: Request, request_id: str, *, is_counted: bool = True
) -> tuple[Answer, Account | None]:
    """The vendor's answer to a request, and whose key it came with; uncounted, it passes by the rate limit."""
    account = _account(simulation, request)
    found = find_route(request.path)
    if found is None:
        return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found"), account
    if request.method != "GET":
        headers = {"Content-Type": "text/plain", "Allow": "GET"}
        return Answer(405, headers, b"405 method not allowed"), account
    try:
        if account is None:
            raise UnknownKey
        wait_s = simulation.limiter.admit(account) if is_counted else None
        if wait_s is not None:
            raise TooManyCalls(wait_s if simulation.switches.retry_after else None)
        route, values = found
        if not _is_entitled(route, values, account):
            raise NotEntitled(as_error=route.denies_as_error)
        ask = _ask(simulation, request, request_id, values)
        reply = route.endpoint(ask, simulation.view(account))
    except Refusal as refusal:
        body = msgspec.json.encode(refusal.document(request_id))
        return Answer(refusal.status, _JSON | {"X-Request-Id": request_id} | refusal.headers(), body), account
    headers = _JSON | {"X-Request-Id": request_id}
    if reply.rows is not None and isinstance(reply.document, dict):
        headers["X-Item-Count"] = str(reply.rows)
    if reply.next_url is not None:
        headers |= link_header(reply.next_url)
    return Answer(200, headers, reply.body(), reply.rows, reply.next_url), account


def _account(simulation: Simulation, request: Request) -> Account | None:
    return next((simulation.accounts[key] for key in request.sent_keys() if key in simulation.accounts), None)


def _is_entitled(route: Route, values: Mapping[str, str], account: Account) -> bool:
    if route.asset is not None:
        return route.kind in account.terms(route.asset).kinds
    return "ticker" not in values or account.may_see(values["ticker"], route.kind)


def _ask(simulation: Simulation, request: Request, request_id: str, values: Mapping[str, str]) -> Ask:
    query = request.parameters()
    if query.get("cursor") and request.path != _CURSOR_OF_OWN_SHAPE:
        query = cursors.decode(query["cursor"])
    return Ask(request.path, values, query, request.origin, request_id, simulation.switches.over_limit)
