"""An answer on its way to the wire, as fault actions change it: status, headers, body, and how it is delivered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from simulator.journal import Link
from simulator.replies import Document


class Delivery(msgspec.Struct, frozen=True):
    """How the bytes go out. Seconds may be infinite; shares are of the body's bytes as sent."""

    wait_before_s: float = 0.0
    stall_at: float | None = None  # the share of the body after which it stalls
    stall_s: float = 0.0
    cut_at: float | None = None  # the share of the body after which the connection is dropped
    drip_bytes: int | None = None
    drip_s: float = 0.0
    is_chunked: bool = False
    breaks_gzip: bool = False


AT_ONCE: Final = Delivery()


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers, body before compression, and its rows for the log."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    rows: int | None = None
    next_url: str | None = None
    delivery: Delivery = AT_ONCE

    def document(self) -> Document | None:
        """The body as JSON, or None where it is none."""
        try:
            document: Document = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None
        return document

    def with_document(self, document: Document) -> "Answer":
        """The same answer with another JSON body."""
        rows = document.get("results") if isinstance(document, dict) else document
        return replace(self, body=msgspec.json.encode(document), rows=len(rows) if isinstance(rows, list) else None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The request that an answer belongs to, as far as an action may need it."""

    origin: str
    address: str  # path and query, without the key
    link: Link
    answer_to: Callable[[str], Answer]
    """The undisturbed answer to another address, asked with the same key."""
