"""What a fault does to an answer. Each action is one small value with one function, and they compose in order.

Actions that edit rows or the envelope leave an answer alone that has none (an error, a bare array). Which answers are
hit is decided in ``script``; the bytes are sent in ``wire``.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from simulator.faults.answers import Answer, Delivery, Exchange

Row = dict[str, object]

_HTML: Final = "<html>\r\n<head><title>{0}</title></head>\r\n<body><center><h1>{0}</h1></center></body>\r\n</html>\r\n"
_GARBAGE_CURSOR: Final = "bm90IGEgY3Vyc29y%%%"


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    """A field ``action`` names it in a script."""


class _RowAction(_Action, frozen=True, kw_only=True):
    """Changes which rows a page has; the counts beside them stay, and so betray it, or are made to agree."""

    counts: Literal["keep", "agree"] = "keep"

    def counted(self, answer: Answer) -> Answer:
        """The answer with the counts that it shall have."""
        return answer.with_agreeing_counts() if self.counts == "agree" else answer


class Status(_Action, frozen=True, tag="status"):
    """Another status code; the vendor's error body unless ``body`` (which may be empty) or ``html`` is given."""

    code: int
    body: str | None = None
    html: bool = False
    retry_after: str | int | None = None

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer replaced, its request id kept."""
        phrase = f"{self.code} {_phrase(self.code)}"
        headers = {name: value for name, value in answer.headers.items() if name == "X-Request-Id"}
        if self.html:
            headers["Content-Type"], body = "text/html", _HTML.format(phrase).encode()
        elif self.body is not None:
            headers["Content-Type"], body = "application/json", self.body.encode()
        else:
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(_error_document(answer, phrase))
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Answer(self.code, headers, body, delivery=answer.delivery)


class Html(_Action, frozen=True, tag="html"):
    """An HTML page with the status unchanged, as a gateway or a captive portal sends it."""

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The body replaced by HTML."""
        told = {name: value for name, value in answer.headers.items() if name not in {"Link", "X-Item-Count"}}
        headers = told | {"Content-Type": "text/html"}
        return replace(answer, headers=headers, body=_HTML.format("Please wait").encode(), rows=None)


class ErrorStatus(_Action, frozen=True, tag="error_status"):
    """``status: ERROR`` in a JSON body that came with 200."""

    error: str = "An internal error occurred."

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The body replaced by an error document."""
        return answer.with_document(_error_document(answer, self.error))


class Hang(_Action, frozen=True, tag="hang"):
    """Silence before the headers; for ever unless ``seconds`` is given."""

    seconds: float | None = None

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer delayed."""
        return _delivered(answer, wait_before_s=math.inf if self.seconds is None else self.seconds)


class HangMidBody(_Action, frozen=True, tag="hang_mid_body"):
    """Silence after a share of the body; for ever unless ``seconds`` is given."""

    seconds: float | None = None
    after: float = 0.5

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer stalled."""
        return _delivered(answer, stall_at=self.after, stall_s=math.inf if self.seconds is None else self.seconds)


class Cut(_Action, frozen=True, tag="cut"):
    """The connection is dropped after a share of the body."""

    after: float = 0.5

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer cut short."""
        return _delivered(answer, cut_at=self.after)


class Truncate(_Action, frozen=True, tag="truncate"):
    """A complete HTTP answer whose JSON ends after a share of its text."""

    after: float = 0.5

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The body shortened."""
        return replace(answer, body=answer.body[: int(len(answer.body) * self.after)], rows=None)


class BadGzip(_Action, frozen=True, tag="bad_gzip"):
    """A body that says it is gzip and does not unpack."""

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The compressed bytes damaged."""
        return _delivered(answer, breaks_gzip=True)


class Drip(_Action, frozen=True, tag="drip"):
    """The body in small pieces with a pause after each."""

    bytes_each: int = 1024
    seconds: float = 0.01

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer slowed down."""
        return _delivered(answer, drip_bytes=max(self.bytes_each, 1), drip_s=self.seconds)


class Chunked(_Action, frozen=True, tag="chunked"):
    """Chunked transfer encoding in place of a content length."""

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The answer in chunks."""
        return _delivered(answer, is_chunked=True)


class DropResults(_RowAction, frozen=True, tag="drop_results"):
    """A page without ``results``."""

    keep_next_url: bool = True

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The key taken out."""
        dropped = {"results"} if self.keep_next_url else {"results", "next_url"}
        left = _edit(answer, lambda d: {name: value for name, value in d.items() if name not in dropped})
        return self.counted(left)


class NullResults(_RowAction, frozen=True, tag="null_results"):
    """``results: null``."""

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The key nulled."""
        return self.counted(_edit(answer, lambda d: d | {"results": None}))


class NextUrl(_Action, frozen=True, tag="next_url"):
    """Another ``next_url``: null, empty, a cursor that is none, this page, the page before, or the first one.

    ``previous`` on page n makes pages n-1 and n a loop.
    """

    to: Literal["null", "empty", "garbage", "self", "previous", "first"]

    def apply(self, answer: Answer, exchange: Exchange) -> Answer:
        """The key rewritten, also where the page was the last one."""
        path = exchange.address.partition("?")[0]
        target: str | None = {
            "null": None,
            "empty": "",
            "garbage": f"{exchange.origin}{path}?cursor={_GARBAGE_CURSOR}",
            "self": exchange.origin + exchange.address,
            "previous": exchange.origin + (exchange.link.previous or exchange.address),
            "first": exchange.origin + exchange.link.first,
        }[self.to]
        return _edit(answer, lambda d: d | {"next_url": target})


class SkipPage(_Action, frozen=True, tag="skip_page"):
    """``next_url`` leads past the next page, whose rows are then missing."""

    def apply(self, answer: Answer, exchange: Exchange) -> Answer:
        """The key rewritten to the page after the next; left alone on a last page."""
        if answer.next_url is None:
            return answer
        beyond = exchange.answer_to(answer.next_url.removeprefix(exchange.origin)).next_url
        return _edit(
            answer,
            lambda d: (
                {name: value for name, value in d.items() if name != "next_url"}
                | ({} if beyond is None else {"next_url": beyond})
            ),
        )


class RepeatPage(_RowAction, frozen=True, tag="repeat_page"):
    """The rows of the page before in place of this one's; ``next_url`` then leads on, so this page's rows are lost."""

    def apply(self, answer: Answer, exchange: Exchange) -> Answer:
        """The rows replaced; a first page has none before it and stays."""
        earlier = _rows_before(exchange)
        return answer if earlier is None else self.counted(_edit_rows(answer, lambda _: earlier))


class OverlapPage(_RowAction, frozen=True, tag="overlap_page"):
    """The last rows of the page before stand once more in front of this page's."""

    rows: int = 1

    def apply(self, answer: Answer, exchange: Exchange) -> Answer:
        """The rows put in front; a first page has none before it and stays."""
        earlier = _rows_before(exchange)
        if earlier is None:
            return answer
        return self.counted(_edit_rows(answer, lambda rows: earlier[-self.rows :] + rows))


class DuplicateRows(_RowAction, frozen=True, tag="duplicate_rows"):
    """Rows that come twice in a row: the first ``count`` of the page."""

    count: int = 1

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The rows doubled."""
        doubled = _edit_rows(answer, lambda r: [row for row in r[: self.count] for _ in (1, 2)] + r[self.count :])
        return self.counted(doubled)


class ShuffleRows(_Action, frozen=True, tag="shuffle_rows"):
    """Rows out of order, the same way for the same seed; two or more rows never keep theirs."""

    seed: int = 0

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The rows permuted."""
        return _edit_rows(answer, self._shuffled)

    def _shuffled(self, rows: list[Row]) -> list[Row]:
        places = list(range(len(rows)))
        random.Random(self.seed).shuffle(places)  # noqa: S311 - a repeatable disorder, not a secret
        if places == sorted(places):
            places.reverse()
        return [rows[place] for place in places]


class RemoveRows(_RowAction, frozen=True, tag="remove_rows"):
    """Rows that are missing, by position on the page; silently where the counts agree."""

    places: list[int]

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The rows taken out."""
        left = _edit_rows(answer, lambda rows: [row for i, row in enumerate(rows) if i not in self.places])
        return self.counted(left)


class SetField(_Action, frozen=True, tag="set_field"):
    """A field with another value: null, another type, a wrong number; on rows by position, or on every row."""

    field: str
    value: object = None
    places: list[int] | None = None

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The field set, on rows that lack it too."""
        return _edit_rows(
            answer,
            lambda rows: [
                row | {self.field: self.value} if _is_hit(i, self.places) else row for i, row in enumerate(rows)
            ],
        )


class DropField(_Action, frozen=True, tag="drop_field"):
    """A field that is missing, on rows by position, or on every row."""

    field: str
    places: list[int] | None = None

    def apply(self, answer: Answer, _: Exchange) -> Answer:
        """The field taken out."""
        return _edit_rows(
            answer,
            lambda rows: [
                {n: v for n, v in row.items() if n != self.field} if _is_hit(i, self.places) else row
                for i, row in enumerate(rows)
            ],
        )


Action = (
    Status
    | Html
    | ErrorStatus
    | Hang
    | HangMidBody
    | Cut
    | Truncate
    | BadGzip
    | Drip
    | Chunked
    | DropResults
    | NullResults
    | NextUrl
    | SkipPage
    | RepeatPage
    | OverlapPage
    | DuplicateRows
    | ShuffleRows
    | RemoveRows
    | SetField
    | DropField
)


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Error"


def _error_document(answer: Answer, error: str) -> dict[str, object]:
    return {"status": "ERROR", "request_id": answer.headers.get("X-Request-Id", ""), "error": error}


def _delivered(answer: Answer, **changes: float | bool) -> Answer:
    delivery: Delivery = msgspec.structs.replace(answer.delivery, **changes)
    return replace(answer, delivery=delivery)


def _edit(answer: Answer, edit: Callable[[dict[str, object]], dict[str, object]]) -> Answer:
    document = answer.document()
    return answer.with_document(edit(document)) if isinstance(document, dict) else answer


def _edit_rows(answer: Answer, edit: Callable[[list[Row]], list[Row]]) -> Answer:
    def edited(document: dict[str, object]) -> dict[str, object]:
        rows = document.get("results")
        return document | {"results": edit(rows)} if isinstance(rows, list) else document

    return _edit(answer, edited)


def _rows_before(exchange: Exchange) -> list[Row] | None:
    if exchange.link.previous is None:
        return None
    document = exchange.answer_to(exchange.link.previous).document()
    rows = document.get("results") if isinstance(document, dict) else None
    return rows if isinstance(rows, list) else None


def _is_hit(place: int, places: list[int] | None) -> bool:
    return places is None or place in places
