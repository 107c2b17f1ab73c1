"""What the vendor says: an answer before it is put on the wire, and each refusal with its body.

Which request gets which is decided by the endpoints and the gate; status codes asked for by a fault script are made
in ``faults``.

Refusal
├── BadParameter      400
├── UnknownKey        401
├── NotEntitled       403
├── NotFound          404
└── TooManyCalls      429
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

Document = dict[str, object] | list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 200: the JSON document, how many rows it holds, and where the next page is."""

    document: Document
    rows: int | None = None
    next_url: str | None = None

    def body(self) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(self.document)


def page(
    rows: Sequence[object], request_id: str, status: str, next_url: str | None, *, with_count: bool = False
) -> Reply:
    """The envelope of a list endpoint; an empty list is ``results: []``."""
    document: dict[str, object] = {"results": rows, "status": status, "request_id": request_id}
    if with_count:
        document["count"] = len(rows)
    if next_url is not None:
        document["next_url"] = next_url
    return Reply(document, len(rows), next_url)


def single(result: object, request_id: str, status: str) -> Reply:
    """The envelope of an endpoint whose ``results`` is one object."""
    return Reply({"results": result, "status": status, "request_id": request_id}, 1)


class Refusal(Exception):
    """An answer other than 200, as the vendor words it."""

    status: int

    def document(self, request_id: str) -> dict[str, object]:
        """The vendor's error body."""
        return {"status": "ERROR", "request_id": request_id, "error": str(self)}

    def headers(self) -> dict[str, str]:
        """Headers that come with this refusal alone."""
        return {}


class BadParameter(Refusal):
    """A parameter that the vendor cannot read."""

    status = 400

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(name, value, expected)
        self.name = name
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"Could not parse the parameter '{self.name}': '{self.value}' is not {self.expected}"


class UnknownKey(Refusal):
    """No key, or one that opens nothing."""

    status = 401

    def __str__(self) -> str:
        return "Unknown API Key"


class NotEntitled(Refusal):
    """A valid key whose plan lacks this data; the vendor has two shapes of this body."""

    status = 403

    def __init__(self, *, as_error: bool = False) -> None:
        super().__init__(as_error)
        self.as_error = as_error

    def __str__(self) -> str:
        return "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"

    def document(self, request_id: str) -> dict[str, object]:
        """The body with ``message``, or with ``error`` on the routes that have it so."""
        if self.as_error:
            return super().document(request_id)
        return {"status": "NOT_AUTHORIZED", "request_id": request_id, "message": str(self)}


class NotFound(Refusal):
    """A single object that does not exist, as far as the simulated now knows."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} not found."

    def document(self, request_id: str) -> dict[str, object]:
        """The body with ``NOT_FOUND`` and ``message``."""
        return {"status": "NOT_FOUND", "request_id": request_id, "message": str(self)}


class TooManyCalls(Refusal):
    """More calls than the plan allows; ``wait_s`` is told only where the simulator is set to tell it."""

    status = 429

    def __init__(self, wait_s: float | None) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s

    def __str__(self) -> str:
        return (
            "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
            "https://massive.com/pricing"
        )

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds, rounded up so that a client that obeys is let in."""
        return {} if self.wait_s is None else {"Retry-After": str(math.ceil(self.wait_s))}
