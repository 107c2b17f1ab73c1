"""HTTP as the vendor speaks it: headers, methods, compression, paths, and the request log."""

import ctypes
import gzip
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

PIDFD_GETFD = 438  # the number of a system call that Python has no name for, on every architecture
BARS = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11"


def test_answers_carry_the_vendors_headers(sim) -> None:
    answer = sim.get(BARS)

    assert "nginx" == answer.headers["Server"]
    assert "application/json" == answer.headers["Content-Type"]
    assert "Accept-Encoding" == answer.headers["Vary"]
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert 32 == len(answer.headers["X-Request-Id"])


def test_gzip_comes_only_when_asked_for(sim) -> None:
    url = sim.ready["rest"] + BARS
    headers = {"Authorization": f"Bearer {sim.ready['key']}"}
    plain = sim.pool.request("GET", url, headers=headers, decode_content=False)
    packed = sim.pool.request("GET", url, headers=headers | {"Accept-Encoding": "gzip"}, decode_content=False)

    assert "Content-Encoding" not in plain.headers
    assert "gzip" == packed.headers["Content-Encoding"]
    assert json.loads(plain.data)["results"] == json.loads(gzip.decompress(packed.data))["results"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(sim, method) -> None:
    assert 405 == sim.get(BARS, method=method).status


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/aggs/ticker/SPY", "/v3/trades/", "/v3/trades/SPY/more", "/control"])
def test_an_unknown_route_is_a_plain_text_404(sim, path) -> None:
    answer = sim.get(path)

    assert (404, b"404 page not found") == (answer.status, answer.body)
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_colon_may_arrive_escaped(sim) -> None:
    path = "/v2/aggs/ticker/{}/range/1/minute/2024-03-11/2024-03-11"

    assert sim.rows(path.format("I:VIX")) == sim.rows(path.format("I%3AVIX"))
    assert len(sim.rows(path.format("I%3AVIX"))) > 100


def test_unknown_parameters_are_ignored(sim) -> None:
    path = "/v2/aggs/grouped/locale/us/market/stocks/2024-03-11"

    assert (
        2 == sim.get(f"{path}?locale=us&market_type=stocks&options=%3Cobject%3E&adjusted=False").json()["resultsCount"]
    )


def test_small_answers_do_not_wait_for_delayed_acknowledgements(sim) -> None:
    """Forty milliseconds a request are what a client sees when a server lets small packets wait."""
    with socket.create_connection(("127.0.0.1", sim.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: simulator\r\n\r\n")
        assert client.recv(1), "it is accepted"
        with socket_of(sim.process.pid, client.getsockname()) as served:
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def socket_of(pid: int, peer: tuple[str, int]) -> socket.socket:
    """A duplicate of a process's socket that is connected to an address."""
    process = os.pidfd_open(pid)
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            if str(path.readlink()).startswith("socket:"):
                descriptor = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, int(path.name), 0)
                assert descriptor >= 0, os.strerror(ctypes.get_errno())
                found = socket.socket(fileno=descriptor)
                with suppress(OSError):  # it listens, or has no other end
                    if found.getpeername() == peer:
                        return found
                found.close()
    finally:
        os.close(process)
    pytest.fail(f"process {pid} has no socket that is connected to {peer}")


def test_many_connections_at_once_are_answered_alike(sim) -> None:
    with ThreadPoolExecutor(8) as threads:
        counts = set(threads.map(lambda _: len(sim.rows(f"{BARS}?limit=40")), range(24)))

    assert {129} == counts


def test_the_log_tells_order_pages_plans_and_rows_and_no_key(sim) -> None:
    sim.pages("/v3/reference/options/contracts?underlying_ticker=SPY&limit=6", "starter")
    sim.get(f"{BARS}?apiKey={sim.ready['key']}", Authorization="")
    sim.get("/v3/trades/SPY", "starter")
    log = sim.control("GET", "/log")

    assert [1, 2, 3, 1, 1] == [entry["page"] for entry in log]
    assert [6, 6, 4, 129, None] == [entry["rows"] for entry in log]
    assert ["starter"] * 3 + ["advanced", "starter"] == [entry["plan"] for entry in log]
    assert [200, 200, 200, 200, 403] == [entry["status"] for entry in log]
    assert sorted(entry["number"] for entry in log) == [entry["number"] for entry in log]
    assert not [key for key in sim.ready["keys"].values() if key in json.dumps(log)]


def test_the_control_address_refuses_what_it_cannot_obey(sim) -> None:
    url = sim.ready["control"]
    for path, body in (("/clock", {"set": "noon"}), ("/clock", {"sett": 1}), ("/faults", {"do": "nothing"})):
        answer = sim.pool.request("POST", url + path, body=json.dumps(body))
        assert 400 == answer.status
        assert json.loads(answer.data)["error"]
