"""A vendor that repeats the key in everything that it says, and a search for that key in everything that is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import small_world
from scripted_vendor import DROPPED, Reply, chunked, http, ok

from marketlake.capture import decode_page

FRIDAY, MONDAY = small_world.SESSIONS
_OPEN_MS = small_world.instant_ms(FRIDAY, 9, 30)


def echoes(key: str) -> list[Reply]:
    """Replies to somebody who asks for SPY's minutes of Friday to Monday until all of them were met."""

    def page(*minutes: int, then: int, **more: Any) -> dict[str, Any]:
        rows = [{"t": _OPEN_MS + m * 60_000, "o": 1, "h": 1, "l": 1, "c": 1, "v": 10.5} for m in minutes]
        document = {"ticker": "SPY", "status": "OK", "adjusted": False, "resultsCount": len(rows), "results": rows}
        path = f"/v2/aggs/ticker/SPY/range/1/minute/{_OPEN_MS + then * 60_000}/{MONDAY}"
        return {**document, "next_url": f"http://other.example:81{path}?cursor=abc&apiKey={key}", **more}

    return [
        ok(page(0, 1, then=2), X_Request_Id=key),
        ok(page(2, 3, then=4, echo=key, headers={"Authorization": f"Bearer {key}"})),
        http(f"<html>{key}</html>", Content_Type="text/html"),
        ok({"status": "ERROR", "error": f"key {key} is bad"}),
        http(f'{{"message":"{key} is not entitled"}}', 403),
        http(f"404 page not found {key}", 404, Content_Type="text/plain"),
        ok(page(0, 1, then=2)),
        chunked(page(2, 3, then=4, ticker=key), ends=True),
        ok(page(2, 3, then=4, ticker=key)),
        http("", 302, Location=f"http://127.0.0.1:1/?apiKey={key}"),
        ok({"status": "NOT_AUTHORIZED", "message": key}),
        http(f'{{"error":"Unknown API Key {key}"}}', 401),
        http("", 500, X_Request_Id=key),
        DROPPED,
        Reply(f"HTTP/1.1 200 {key}\r\nX: {key}\r\nContent-Length: 1000\r\n\r\n{key}".encode(), "hang"),
        Reply(f"{key} is no protocol\r\n\r\n".encode(), "close"),
    ]


def leaks(root: Path, key: str) -> list[str]:
    """Where below a folder a key stands: in names, and in files as they are and unpacked."""
    return [
        str(path)
        for path in root.rglob("*")
        if key in str(path.relative_to(root)) or (path.is_file() and any(key.encode() in data for data in _texts(path)))
    ]


def _texts(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".zst":
        kept = decode_page(str(path), path.read_bytes())
        yield kept.body
        yield repr(kept.slip).encode()
    elif path.suffix == ".parquet":
        yield repr(pq.ParquetFile(path).read().to_pylist()).encode()
