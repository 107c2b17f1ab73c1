"""Slack's Web API as far as it is used, over real HTTP: chat.postMessage with authentication, 429 and faults."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs


class SlackApiDouble:
    """A server on a free port; ``faults`` are HTTP answers (status, headers, body) given before it works."""

    token = "xoxb-0000-double"

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.calls = 0
        self.faults: list[tuple[int, dict[str, str], str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                double.calls += 1
                if double.faults:
                    self._send(*double.faults.pop(0))
                    return
                if self.headers.get("Authorization") != f"Bearer {double.token}":
                    self._send(200, {}, json.dumps({"ok": False, "error": "invalid_auth"}))
                    return
                is_json = "json" in self.headers.get("Content-Type", "")
                form = json.loads(body) if is_json else {name: values[0] for name, values in parse_qs(body).items()}
                if self.path != "/api/chat.postMessage" or not form.get("channel") or not form.get("text"):
                    self._send(200, {}, json.dumps({"ok": False, "error": "invalid_arguments"}))
                    return
                double.messages.append(form)
                stamp = f"{1_700_000_000 + len(double.messages)}.000100"
                self._send(200, {}, json.dumps({"ok": True, "channel": form["channel"], "ts": stamp}))

            def _send(self, status: int, headers: dict[str, str], body: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        return Handler
