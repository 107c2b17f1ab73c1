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
        """The same answer with another JSON body; its ``Link`` header tells the body's ``next_url`` or is gone."""
        rows = document.get("results") if isinstance(document, dict) else document
        next_url = document.get("next_url") if isinstance(document, dict) else None
        headers = {name: value for name, value in self.headers.items() if name != "Link"}
        if isinstance(next_url, str) and next_url:
            headers |= link_header(next_url)
        body = msgspec.json.encode(document)
        return replace(self, headers=headers, body=body, rows=len(rows) if isinstance(rows, list) else None)

    def with_agreeing_counts(self) -> "Answer":
        """The same answer with all its counts, in body and header, as the vendor would tell them for these rows."""
        document = self.document()
        if not isinstance(document, dict):
            return self
        rows = document.get("results")
        count = len(rows) if isinstance(rows, list) else 0
        told = {"count", "resultsCount"}
        # Longer windows count the shorter bars they are made of; how many those are of the rows left is not known.
        if count == 0 or document.get("queryCount") == document.get("resultsCount"):
            told.add("queryCount")
        document |= dict.fromkeys(told & document.keys(), count)
        if count == 0 and "resultsCount" in document:
            document.pop("count", None)  # bars leave it out where there are none
        headers = {**self.headers, "X-Item-Count": str(count)} if "X-Item-Count" in self.headers else self.headers
        return replace(self, headers=headers, body=msgspec.json.encode(document))


def link_header(next_url: str) -> dict[str, str]:
    """The header that tells ``next_url`` once more."""
    return {"Link": f'<{next_url}>; rel="next"'}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The request that an answer belongs to, as far as an action may need it."""

    origin: str
    address: str  # path and query, without the key
    link: Link
    answer_to: Callable[[str], Answer]
    """The undisturbed answer to another address, asked with the same key."""
