"""What a status code or a broken connection means: the one place where either becomes a typed error. Pure.

Together with :func:`marketlake.errors.is_transient` this decides what is asked again. Transient are: no connection, a
reset, a timeout, 408, 425, 429, 499 and every 5xx, and a body that is cut. Fatal are 401, 403, every other 4xx, and
redirects, which are not followed. The text of a body is quoted and decides nothing, except where the status is 200
(see :mod:`marketlake.answers`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from marketlake.errors import (
    BrokenAnswer,
    KeyRefused,
    NotEntitled,
    RateLimited,
    RequestRefused,
    VendorError,
    VendorUnavailable,
)

_LONGEST_QUOTE: Final = 300
_NAMED_TYPES: Final = frozenset({"text/html", "application/json", "application/xml", "text/xml"})
_MEANINGS: Final[Mapping[int, type[VendorError]]] = {
    401: KeyRefused,
    403: NotEntitled,
    408: VendorUnavailable,
    425: VendorUnavailable,
    429: RateLimited,
    499: VendorUnavailable,
}


def error_of_status(request: str, status: int, headers: Mapping[str, str], body: bytes) -> VendorError | None:
    """The error that a status code means, None for 200; ``body`` is quoted as far as it is short and legible."""
    if status == 200:
        return None
    if 300 <= status < 400:
        problem = f"status {status}: a redirect, which is not followed; check vendor.rest_url"
    else:
        problem = f"status {status}: {_quote(headers, body)}"
    return _meaning_of(status)(request, problem)


def _meaning_of(status: int) -> type[VendorError]:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if status >= 500:
        return VendorUnavailable
    return RequestRefused if status >= 300 else BrokenAnswer


def error_of_exception(request: str, error: HTTPError, *, in_body: bool) -> VendorError:
    """The error that a broken connection means; ``in_body`` once the headers of the answer were there."""
    match error:
        case ReadTimeoutError():
            problem = "the vendor fell silent in the middle of an answer" if in_body else "no answer in time"
        case NameResolutionError():
            problem = "the vendor's host name is not known"
        case NewConnectionError():
            problem = "the connection was refused"
        case ConnectTimeoutError():  # in urllib3 the two above are special cases of this one
            problem = "no connection in time"
        case SSLError():
            problem = f"no secure connection: {error}"
        case _ if in_body:
            return BrokenAnswer(request, "the connection broke before the whole body was there")
        case _:
            problem = "the connection broke before an answer came"
    return VendorUnavailable(request, problem)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by the ``Retry-After`` header, in either of its two forms; None where it says nothing usable."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date in the form of RFC 9110 is GMT; "-0000" would make it naive.
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())


def _quote(headers: Mapping[str, str], body: bytes) -> str:
    """What an error body says: the vendor's ``message`` or ``error``, else the beginning of a text."""
    try:
        document = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = headers.get("Content-Type", "").partition(";")[0]
        if kind != "text/plain":
            # A header is not quoted as it came: it may echo what was sent, and that held the key.
            return f"{len(body)} bytes of {kind if kind in _NAMED_TYPES else 'another type'}"
        return " ".join(body[:_LONGEST_QUOTE].decode(errors="replace").split())
    said = document.get("message") or document.get("error") or document.get("status")
    return str(said)[:_LONGEST_QUOTE] if said else "no reason given"
