"""Status codes and broken connections as typed errors, with the bodies that the vendor documents."""

from datetime import UTC, datetime

import pytest
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
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
    is_transient,
)
from marketlake.refusals import error_of_exception, error_of_status, retry_after_s

REQUEST = "GET /v2/aggs/ticker/SPY/range/1/day/2024-12-20/2024-12-20"
JSON = HTTPHeaderDict({"Content-Type": "application/json"})
HTML = HTTPHeaderDict({"Content-Type": "text/html; charset=utf-8"})
TEXT = HTTPHeaderDict({"Content-Type": "text/plain"})

STATUSES = [
    pytest.param(400, RequestRefused, False, id="malformed"),
    pytest.param(401, KeyRefused, False, id="unknown key"),
    pytest.param(403, NotEntitled, False, id="not in the plan"),
    pytest.param(404, RequestRefused, False, id="unknown"),
    pytest.param(405, RequestRefused, False, id="method"),
    pytest.param(408, VendorUnavailable, True, id="the server grew tired"),
    pytest.param(418, RequestRefused, False, id="any other 4xx"),
    pytest.param(425, VendorUnavailable, True, id="too early"),
    pytest.param(429, RateLimited, True, id="too many calls"),
    pytest.param(499, VendorUnavailable, True, id="the gateway gave up"),
    *(pytest.param(code, VendorUnavailable, True, id=str(code)) for code in (500, 502, 503, 504, 520, 599)),
    pytest.param(301, RequestRefused, False, id="redirect"),
    pytest.param(307, RequestRefused, False, id="another redirect"),
    pytest.param(204, BrokenAnswer, True, id="success without a body"),
]


@pytest.mark.parametrize(("status", "kind", "transient"), STATUSES)
@pytest.mark.parametrize(
    ("headers", "body"),
    [(JSON, b'{"status":"OK","error":"x"}'), (HTML, b"<html>"), (TEXT, b""), (JSON, b"\xff{[")],
    ids=["json", "html", "empty", "garbage"],
)
def test_the_status_alone_decides(
    status: int, kind: type[VendorError], transient: bool, headers: HTTPHeaderDict, body: bytes
) -> None:
    error = error_of_status(REQUEST, status, headers, body)

    assert kind is type(error)
    assert error is not None
    assert transient == is_transient(error)
    assert REQUEST in str(error)


def test_a_200_is_no_error() -> None:
    assert None is error_of_status(REQUEST, 200, HTML, b"<html>")


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        pytest.param(
            JSON,
            b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}',
            "status 403: You are not entitled to this data.",
            id="message",
        ),
        pytest.param(JSON, b'{"status":"ERROR","error":"Unknown API Key"}', "status 403: Unknown API Key", id="error"),
        pytest.param(JSON, b"{}", "status 403: no reason given", id="nothing said"),
        pytest.param(JSON, b'{"message":"' + b"x" * 5000 + b'"}', "status 403: " + "x" * 300, id="a long message"),
        pytest.param(TEXT, b"404 page  not\r\nfound", "status 403: 404 page not found", id="plain text"),
        pytest.param(HTML, b"<html>secret</html>", "status 403: 19 bytes of text/html", id="HTML is not quoted"),
        pytest.param(HTTPHeaderDict(), b"???", "status 403: 3 bytes of another type", id="no type"),
    ],
)
def test_what_the_vendor_says_is_quoted(headers: HTTPHeaderDict, body: bytes, said: str) -> None:
    error = error_of_status(REQUEST, 403, headers, body)

    assert error is not None
    assert said == error.problem


EXCEPTIONS = [
    pytest.param(ConnectTimeoutError("x"), "no connection in time", id="connect timeout"),
    pytest.param(ReadTimeoutError(None, "/", "x"), "no answer in time", id="read timeout"),  # type: ignore[arg-type]
    pytest.param(NewConnectionError(None, "x"), "connection was refused", id="refused"),  # type: ignore[arg-type]
    pytest.param(NameResolutionError("h", None, OSError()), "host name", id="DNS"),  # type: ignore[arg-type]
    pytest.param(SSLError("bad certificate"), "bad certificate", id="TLS"),
    pytest.param(ProtocolError("x"), "broke before an answer", id="reset"),
    pytest.param(HTTPError("x"), "broke before an answer", id="anything else"),
]


@pytest.mark.parametrize(("exception", "problem"), EXCEPTIONS)
def test_no_answer_at_all_is_transient(exception: HTTPError, problem: str) -> None:
    error = error_of_exception(REQUEST, exception, in_body=False)

    assert isinstance(error, VendorUnavailable)
    assert problem in error.problem
    assert is_transient(error)


@pytest.mark.parametrize(
    "exception",
    [
        ProtocolError("x", IncompleteRead(1, 2)),
        IncompleteRead(10, 5),
    ],
    ids=["cut", "too short"],
)
def test_a_body_that_is_cut_is_a_broken_answer(exception: HTTPError) -> None:
    assert BrokenAnswer is type(error_of_exception(REQUEST, exception, in_body=True))


def test_silence_in_the_middle_of_a_body_is_an_outage() -> None:
    error = error_of_exception(REQUEST, ReadTimeoutError(None, "/", "x"), in_body=True)  # type: ignore[arg-type]

    assert VendorUnavailable is type(error)
    assert "fell silent" in error.problem


NOW = datetime(2024, 12, 20, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("-3", None),
        ("soon", None),
        ("1.5", None),
        ("Fri, 20 Dec 2024 14:31:30 GMT", 90.0),
        ("Fri, 20 Dec 2024 14:31:30 -0000", 90.0),
        ("Fri, 20 Dec 2024 14:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str | None, expected: float | None) -> None:
    headers = HTTPHeaderDict({} if text is None else {"retry-after": text})

    assert expected == retry_after_s(headers, NOW)
