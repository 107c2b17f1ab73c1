"""One GET through the vendor's own client library: bytes out, status, headers and the whole body in.

The library gives address, certificates, headers and connections; its pagination, retries and parsing are not used, and
neither is its ``_get``, which throws away the status of every answer but 200. What an answer means is
:mod:`marketlake.refusals`' question; when to ask again, :mod:`marketlake.rest`'s.
"""

import importlib
import logging
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Literal, Protocol

import urllib3
from urllib3.exceptions import HTTPError

from marketlake.errors import BrokenAnswer, ConfigurationError, VendorUnavailable
from marketlake.refusals import error_of_exception

# Between two bytes the read timeout watches; a server that drips is watched by a multiple of it for the whole answer.
READ_TIMEOUTS_AN_ANSWER: Final = 6
# Fifty thousand quotes are some 15 MB; what unpacks to more than this is no page.
LONGEST_BODY: Final = 256 * 2**20
_CHUNK: Final = 2**18
_KEY: Final = re.compile(r"[!-~]+")
# The loggers that the clients give a handler to stdout of their own when they are imported.
_CLIENT_LOGGERS: Final = ("RESTClient", "WebSocketClient")


class VendorClient(Protocol):
    """What is used of the vendor's REST client."""

    client: urllib3.PoolManager
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of any status, whole; the body is unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Asks one address with one key; each thread gets a client, and so a connection, of its own."""

    def __init__(self, open_client: Callable[[], VendorClient], base: str, read_timeout_s: float) -> None:
        self._open_client = open_client
        self._base = base.rstrip("/")
        self._deadline_s = read_timeout_s * READ_TIMEOUTS_AN_ANSWER
        self._threads = threading.local()

    @property
    def base(self) -> str:
        """The address that every path is appended to."""
        return self._base

    def get(self, target: str) -> Response:
        """The answer to a path with its query; redirects are not followed.

        Raises:
            VendorUnavailable: no answer, or one that stopped coming.
            BrokenAnswer: the connection broke within the body of a 200, or the body does not unpack.
        """
        request = f"GET {target}"
        client = self._client()
        deadline = time.monotonic() + self._deadline_s
        try:
            answer = client.client.request(
                "GET",
                self._base + target,
                headers=client.headers,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            raise error_of_exception(request, error, in_body=False) from error
        try:
            packed = _read_all(request, answer, deadline)
        except HTTPError as error:
            if answer.status == 200:
                raise error_of_exception(request, error, in_body=True) from error
            packed = b""  # the status says what has to be known
        if answer.status != 200 and len(packed) > LONGEST_BODY // 256:
            packed = b""
        return Response(answer.status, answer.headers, _unpack(request, answer, packed))

    def _client(self) -> VendorClient:
        # A forked child must not speak on its parent's connection.
        if getattr(self._threads, "process", None) != os.getpid():
            self._threads.client, self._threads.process = self._open_client(), os.getpid()
        client: VendorClient = self._threads.client
        return client


def client_opener(
    name: Literal["auto", "polygon", "massive"], key: str, base: str, *, connect_timeout_s: float, read_timeout_s: float
) -> Callable[[], VendorClient]:
    """How a client of the vendor's library is made; ``auto`` takes massive where it is installed, else polygon.

    Raises:
        ConfigurationError: the key cannot be sent, or the library is not installed.
    """
    checked_key(key)
    library = import_client(name)
    timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)

    def open_client() -> VendorClient:
        client: VendorClient = library.RESTClient(
            api_key=key,
            base=base.rstrip("/"),
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            retries=0,
            pagination=False,
        )
        # polygon-api-client 1.16.3 takes the timeouts and does not use them.
        client.client.connection_pool_kw["timeout"] = timeout
        return client

    return open_client


def checked_key(key: str) -> str:
    """The same key.

    Raises:
        ConfigurationError: it cannot be sent.
    """
    if not _KEY.fullmatch(key):
        # An HTTP library would quote such a key in its error.
        problem = "is not set" if not key else "has a blank, a line break or a letter that no key has"
        raise ConfigurationError("POLYGON_API_KEY", "", problem)
    return key


def import_client(name: Literal["auto", "polygon", "massive"]) -> ModuleType:
    """The vendor's client library; ``auto`` takes massive where it is installed, else polygon.

    Raises:
        ConfigurationError: it is not installed.
    """
    names = ("massive", "polygon") if name == "auto" else (name,)
    for candidate in names:
        try:
            library = importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name != candidate:
                raise
            continue
        _silence_client()
        return library
    package = {"polygon": "polygon-api-client", "massive": "massive"}[names[-1]]
    raise ConfigurationError("config/sources.yaml", "vendor.client", f"{names[-1]} is not installed: add {package}")


def _silence_client() -> None:
    """Take back the handlers that the import added: what is logged, and where, is the application's decision."""
    for name in _CLIENT_LOGGERS:
        client_logger = logging.getLogger(name)
        for handler in client_logger.handlers[:]:
            if type(handler) is logging.StreamHandler and handler.stream in {sys.stdout, sys.__stdout__}:
                client_logger.removeHandler(handler)


def _read_all(request: str, answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The body as it was sent. ``read1`` returns with what there is, so that the deadline is looked at on the way."""
    chunks: list[bytes] = []
    length = 0
    while chunk := answer.read1(_CHUNK, decode_content=False):
        chunks.append(chunk)
        length += len(chunk)
        if length > LONGEST_BODY:
            answer.close()
            raise BrokenAnswer(request, f"the body is longer than {LONGEST_BODY} bytes")
        if time.monotonic() > deadline:
            answer.close()
            raise VendorUnavailable(request, "the answer came too slowly to be waited for")
    return b"".join(chunks)


def _unpack(request: str, answer: urllib3.BaseHTTPResponse, packed: bytes) -> bytes:
    """The body without its content encoding; urllib3's own decoder would take a gzip stream that ends too early."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"} or not packed:
        return packed
    if encoding not in {"gzip", "x-gzip"}:
        raise BrokenAnswer(request, "the body came in an encoding that was not asked for")
    body = b""
    rest = packed
    while rest:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            body += unpacker.decompress(rest, LONGEST_BODY - len(body) + 1)
        except zlib.error as error:
            raise BrokenAnswer(request, f"the body does not unpack: {error}") from None
        if len(body) > LONGEST_BODY:
            raise BrokenAnswer(request, f"the body unpacks to more than {LONGEST_BODY} bytes")
        if not unpacker.eof:
            raise BrokenAnswer(request, "the packed body ends too early")
        rest = unpacker.unused_data
    return body
