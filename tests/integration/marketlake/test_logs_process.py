"""Whole processes: no secret in what they write to their streams, whoever writes and whenever Prefect comes in."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SECRET = "Zk3vQ81mLw0pX7bT"
CHECKOUT = Path(__file__).parents[3]

SETTING = """
import json, logging, sys, threading, warnings
from dataclasses import dataclass

@dataclass
class Given:
    level: str = "DEBUG"
    format: str = "people"

SECRET = sys.argv[1]
"""


def run(body: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; the secret comes as an argument, so that no source line holds it."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "marketlake",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "TZ": "Asia/Tokyo",
    }
    return subprocess.run(
        [sys.executable, "-c", SETTING + textwrap.dedent(body), SECRET],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
    )


def test_an_uncaught_exception_is_printed_without_secrets_and_ends_the_process(tmp_path: Path) -> None:
    done = run(
        """
        from marketlake.logs import configure
        configure(Given(), [SECRET])
        def ask(key):
            raise ConnectionError(f"refused for {key}")
        ask(SECRET)
        """,
        tmp_path,
    )

    assert done.returncode == 1
    assert SECRET not in done.stderr + done.stdout
    assert "ConnectionError: refused for ********" in done.stderr


def test_an_exception_in_a_thread_or_a_finalizer_is_printed_without_secrets(tmp_path: Path) -> None:
    done = run(
        """
        from marketlake.logs import configure
        configure(Given(), [SECRET])
        def ask():
            raise ConnectionError(f"refused for {SECRET}")
        thread = threading.Thread(target=ask, name="asking")
        thread.start()
        thread.join()
        class Connection:
            def __del__(self):
                raise OSError(f"closing {SECRET}")
        Connection()
        """,
        tmp_path,
    )

    assert done.returncode == 0
    assert SECRET not in done.stderr
    assert "Exception in thread asking" in done.stderr
    assert "ConnectionError: refused for ********" in done.stderr
    assert "OSError: closing ********" in done.stderr


def test_without_a_secret_an_uncaught_exception_looks_as_ever(tmp_path: Path) -> None:
    body = """
        if {configured}:
            from marketlake.logs import configure
            configure(Given(), [SECRET])
        {{}}["x"]
        """

    plain, ours = (run(body.format(configured=configured), tmp_path) for configured in (False, True))

    assert "KeyError: 'x'" in plain.stderr
    assert plain.stderr == ours.stderr


def test_what_libraries_write_at_debug_holds_no_secret(tmp_path: Path) -> None:
    done = run(
        """
        import http.server, urllib3
        from marketlake.logs import configure
        configure(Given(), [SECRET])

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
            def log_message(self, *args):
                logging.getLogger("server").debug(*args)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        urllib3.PoolManager().request("GET", f"{address}/v3/trades?apiKey={SECRET}&next={SECRET[::-1]}")
        urllib3.PoolManager().request("GET", f"{address}/v3/trades?apiKey=unknown-but-in-its-place")

        import asyncio
        from websockets.asyncio.client import connect
        from websockets.asyncio.server import serve
        async def talk():
            async def answer(socket):
                async for message in socket:
                    await socket.send(message)
            async with serve(answer, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                headers = {"Authorization": f"Bearer {SECRET}"}
                async with connect(f"ws://127.0.0.1:{port}/", additional_headers=headers) as socket:
                    await socket.send(json.dumps({"action": "auth", "params": SECRET}))
                    await socket.recv()
                    await socket.send('{"action":"auth","params":"another-unknown-key"}')
                    await socket.recv()
        asyncio.run(talk())

        import polygon
        client = polygon.RESTClient(api_key=SECRET, trace=True)
        logging.getLogger("RESTClient").warning("vendor client with %s", client.headers)
        warnings.warn(f"deprecated call with {SECRET}")
        server.shutdown()
        """,
        tmp_path,
    )

    shown = done.stderr + done.stdout
    assert done.returncode == 0, shown
    for present in ("urllib3.connectionpool", "websockets.client", "websockets.server", "py.warnings", "vendor client"):
        assert present in shown
    assert "/v3/trades?apiKey=********" in shown
    for absent in (SECRET, "unknown-but-in-its-place", "another-unknown-key"):
        assert absent not in shown


@pytest.mark.parametrize("first", ["prefect", "configure"])
def test_prefect_may_be_imported_before_or_after(first: str, tmp_path: Path) -> None:
    done = run(
        f"""
        from marketlake.logs import ConsoleHandler, configure
        def come(what):
            if what == "prefect":
                import prefect.main
            else:
                configure(Given(level="INFO", format="json"), [SECRET])
        order = ["prefect", "configure"] if "{first}" == "prefect" else ["configure", "prefect"]
        for what in order:
            come(what)

        class Collector(logging.Handler):
            def emit(self, record):
                held.append(self.format(record) + repr(vars(record)))
        held = []
        logging.getLogger("prefect").addHandler(Collector())
        from prefect.logging import get_logger
        get_logger("flow_runs").info("Beginning flow run with key %s", SECRET, extra={{"flow_run_name": SECRET}})
        get_logger("client").warning("retrying %s", {{"Authorization": f"Bearer {{SECRET}}"}})
        logging.getLogger("marketlake.lake").info("published", extra={{"rows": 5}})
        assert len(held) == 2, held
        assert SECRET not in "".join(held), held
        handlers = logging.getLogger().handlers
        assert [type(handler) for handler in handlers] == [ConsoleHandler], handlers
        """,
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["prefect.flow_runs", "prefect.client", "marketlake.lake"]
    assert lines[0]["message"] == "Beginning flow run with key ********"
    assert lines[2]["facts"] == {"rows": 5}
    assert SECRET not in done.stderr


def test_a_handler_that_cannot_format_a_record_prints_no_secret(tmp_path: Path) -> None:
    done = run(
        """
        from marketlake.logs import configure
        configure(Given(), [SECRET])
        logging.getLogger("other").warning("two %s %s", f"key {SECRET}")
        """,
        tmp_path,
    )

    assert "Logging error" in done.stderr
    assert SECRET not in done.stderr
