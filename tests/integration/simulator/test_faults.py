"""Each fault on the wire: what a client of plain HTTP sees when a rule strikes."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import urllib3

TRADES = "/v3/trades/SPY?timestamp=2024-03-11&order=asc&limit=20"
BARS = "/v2/aggs/ticker/SPY/range/1/minute/2024-03-11/2024-03-11?limit=50"


@pytest.fixture
def clean(sim):
    """The three undisturbed pages of the trades."""
    pages = sim.pages(TRADES)
    assert 3 == len(pages)
    return pages


def ids(page) -> list[str]:
    return [row["id"] for row in page["results"]]


@pytest.mark.parametrize(
    ("action", "content_type", "body"),
    [
        ({"action": "status", "code": 503, "body": ""}, "application/json", b""),
        ({"action": "status", "code": 400, "body": '{"a":1}'}, "application/json", b'{"a":1}'),
        ({"action": "status", "code": 502, "html": True}, "text/html", b"502 Bad Gateway"),
        ({"action": "status", "code": 500}, "application/json", b'"status":"ERROR"'),
        ({"action": "status", "code": 499}, "application/json", b"499"),
    ],
)
def test_status_codes_with_their_bodies(sim, action, content_type, body) -> None:
    sim.add_fault(action)
    answer = sim.get(BARS)

    assert action["code"] == answer.status
    assert content_type == answer.headers["Content-Type"]
    assert body in answer.body
    assert bool(body) == bool(answer.body)


@pytest.mark.parametrize(("retry_after", "header"), [(None, None), (3, "3"), ("soon", "soon")])
def test_429_with_and_without_retry_after(sim, retry_after, header) -> None:
    sim.add_fault({"action": "status", "code": 429, "retry_after": retry_after})
    answer = sim.get(BARS)

    assert (429, header) == (answer.status, answer.headers.get("Retry-After"))


def test_a_hang_before_the_headers_sends_nothing_until_it_ends(sim) -> None:
    sim.add_fault({"action": "hang"}, when={"nth": 1})
    sim.add_fault({"action": "hang", "seconds": 0.3}, when={"nth": 2})

    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        sim.pool.request("GET", sim.ready["rest"] + BARS, timeout=0.2, retries=False)
    begun = time.perf_counter()
    assert 200 == sim.get(BARS).status
    assert time.perf_counter() - begun >= 0.3


def test_a_hang_in_the_body_sends_a_part_of_it_first(sim) -> None:
    sim.add_fault({"action": "hang_mid_body", "after": 0.5})
    head, body = _raw_answer(sim, promised=0.5)

    assert int(head["content-length"]) // 2 == len(body)


def test_a_cut_drops_the_connection_in_the_body(sim) -> None:
    sim.add_fault({"action": "cut", "after": 0.25})
    head, body = _raw_answer(sim)

    assert int(head["content-length"]) // 4 == len(body)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        sim.get(BARS)


def test_a_truncated_answer_is_complete_http_and_broken_json(sim) -> None:
    sim.add_fault({"action": "truncate", "after": 0.5})
    answer = sim.get(BARS)

    assert (200, int(answer.headers["Content-Length"])) == (answer.status, len(answer.body))
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_html_and_an_error_document_with_200(sim) -> None:
    sim.add_fault({"action": "html"}, when={"nth": 1})
    sim.add_fault({"action": "error_status"}, when={"nth": 2})
    html, error = sim.get(BARS), sim.get(BARS)

    assert (200, "text/html") == (html.status, html.headers["Content-Type"])
    assert html.body.startswith(b"<html>")
    assert (200, "ERROR") == (error.status, error.json()["status"])
    assert "results" not in error.json()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_page_without_results_with_and_without_next_url(sim, keeps) -> None:
    sim.add_fault({"action": "drop_results", "keep_next_url": keeps})
    answer = sim.get(TRADES).json()

    assert "results" not in answer
    assert keeps == ("next_url" in answer)


def test_null_results(sim) -> None:
    sim.add_fault({"action": "null_results"})

    assert sim.get(TRADES).json()["results"] is None


def test_next_url_null_empty_and_garbage(sim) -> None:
    for place, to in enumerate(("null", "empty", "garbage"), start=1):
        sim.add_fault({"action": "next_url", "to": to}, when={"nth": place})
    null, empty, garbage = (sim.get(TRADES).json()["next_url"] for _ in range(3))

    assert null is None
    assert "" == empty
    assert 400 == sim.get(garbage).status


def test_next_url_to_itself_and_a_loop_between_two_pages(sim, clean) -> None:
    sim.add_fault({"action": "next_url", "to": "self"}, {"page": 3})
    sim.add_fault({"action": "next_url", "to": "previous"}, {"page": 2})
    second = sim.get(clean[0]["next_url"]).json()
    first_again = sim.get(second["next_url"]).json()
    third = sim.get(clean[1]["next_url"]).json()

    assert ids(clean[0]) == ids(first_again)
    assert clean[0]["next_url"] == first_again["next_url"]
    assert clean[1]["next_url"] == third["next_url"]


def test_next_url_to_an_older_page(sim, clean) -> None:
    sim.add_fault({"action": "next_url", "to": "first"}, {"page": 3})
    third = sim.get(clean[1]["next_url"]).json()

    assert ids(clean[0]) == ids(sim.get(third["next_url"]).json())


def test_a_missing_page(sim, clean) -> None:
    sim.add_fault({"action": "skip_page"}, {"page": 1})
    pages = sim.pages(TRADES)

    assert [ids(clean[0]), ids(clean[2])] == [ids(page) for page in pages]
    assert [1, 3] == [entry["page"] for entry in sim.control("GET", "/log")[-2:]]


@pytest.mark.parametrize("action", [{"action": "skip_page"}, {"action": "repeat_page"}, {"action": "overlap_page"}])
def test_a_fault_that_looks_at_other_pages_counts_one_request(sim, clean, action) -> None:
    sim.add_fault(action, {"page": 2})
    before = sim.control("GET", "/state")["requests"]
    sim.get(clean[0]["next_url"])

    assert before + 1 == sim.control("GET", "/state")["requests"] == sim.control("GET", "/log")[-1]["number"]


def test_a_repeated_page(sim, clean) -> None:
    sim.add_fault({"action": "repeat_page"}, {"page": 2})

    assert [ids(clean[0]), ids(clean[0]), ids(clean[2])] == [ids(page) for page in sim.pages(TRADES)]


def test_an_overlapping_page(sim, clean) -> None:
    sim.add_fault({"action": "overlap_page", "rows": 3}, {"page": 2})
    pages = sim.pages(TRADES)

    assert [ids(clean[0]), ids(clean[0])[-3:] + ids(clean[1]), ids(clean[2])] == [ids(page) for page in pages]


def test_rows_doubled_removed_and_out_of_order(sim, clean) -> None:
    sim.add_fault({"action": "duplicate_rows", "count": 2}, when={"nth": 1})
    sim.add_fault({"action": "remove_rows", "places": [0, 19]}, when={"nth": 2})
    sim.add_fault({"action": "shuffle_rows", "seed": 3}, when={"nth": 3})
    doubled, removed, shuffled = (ids(sim.get(TRADES).json()) for _ in range(3))
    rows = ids(clean[0])

    assert [rows[0], rows[0], rows[1], rows[1], *rows[2:]] == doubled
    assert rows[1:19] == removed
    assert rows != shuffled
    assert sorted(rows) == sorted(shuffled)


def counts(answer) -> list[object]:
    document = answer.json()
    told = [document.get(name) for name in ("count", "resultsCount", "queryCount")]
    return [*told, answer.headers["X-Item-Count"], len(document.get("results") or [])]


@pytest.mark.parametrize(
    ("action", "rows"),
    [
        ({"action": "remove_rows", "places": [0, 7]}, 48),
        ({"action": "duplicate_rows", "count": 2}, 52),
        ({"action": "overlap_page", "rows": 3}, 53),
        ({"action": "drop_results"}, 0),
        ({"action": "null_results"}, 0),
    ],
)
def test_counts_agree_with_the_rows_or_tell_the_undisturbed_ones(sim, action, rows) -> None:
    second = sim.get(BARS).json()["next_url"]
    for nth, mode in enumerate(("keep", "agree"), start=1):
        sim.add_fault(action | {"counts": mode}, {"page": 2}, {"nth": nth})
    kept, agreeing = sim.get(second), sim.get(second)

    assert [50, 50, 50, "50", rows] == counts(kept)
    assert [rows or None, rows, rows, str(rows), rows] == counts(agreeing)


def test_agreeing_counts_of_a_list_that_tells_one_count(sim) -> None:
    sim.add_fault({"action": "remove_rows", "places": [0, 1, 2], "counts": "agree"})
    answer = sim.get("/v2/reference/news?limit=5")

    assert (2, "2") == (answer.json()["count"], answer.headers["X-Item-Count"])


@pytest.mark.parametrize("to", ["null", "empty", "garbage", "self"])
def test_the_link_header_tells_the_next_url_of_the_body(sim, to) -> None:
    assert sim.get(TRADES).headers["Link"] == f'<{sim.get(TRADES).json()["next_url"]}>; rel="next"'
    sim.add_fault({"action": "next_url", "to": to})
    answer = sim.get(TRADES)

    next_url = answer.json()["next_url"]
    assert answer.headers.get("Link") == (f'<{next_url}>; rel="next"' if next_url else None)


@pytest.mark.parametrize(
    "action",
    [{"action": "drop_results", "keep_next_url": False}, {"action": "error_status"}, {"action": "html"}],
)
def test_an_answer_without_next_url_has_no_link_header(sim, action) -> None:
    sim.add_fault(action)

    assert "Link" not in sim.get(TRADES).headers


@pytest.mark.parametrize("value", [None, "12,5", -1, [1]])
def test_a_field_null_or_of_the_wrong_type(sim, value) -> None:
    sim.add_fault({"action": "set_field", "field": "price", "value": value, "places": [1]})
    rows = sim.get(TRADES).json()["results"]

    assert [500.25, value, 500.25] == [row["price"] for row in rows[:3]]


def test_a_field_missing_on_every_row(sim) -> None:
    sim.add_fault({"action": "drop_field", "field": "vw"})
    rows = sim.get(BARS).json()["results"]

    assert not [row for row in rows if "vw" in row]
    assert not [row for row in rows if "o" not in row]


def test_a_gzip_that_does_not_unpack(sim) -> None:
    sim.add_fault({"action": "bad_gzip"})

    with pytest.raises(urllib3.exceptions.DecodeError):
        sim.get(BARS, **{"Accept-Encoding": "gzip"})
    with pytest.raises(urllib3.exceptions.DecodeError):
        sim.get("/v3/reference/exchanges")


def test_a_drip_is_slow_and_complete(sim) -> None:
    sim.add_fault({"action": "drip", "bytes_each": 1000, "seconds": 0.02})
    begun = time.perf_counter()
    answer = sim.get(BARS)

    assert 50 == len(answer.json()["results"])
    assert time.perf_counter() - begun >= len(answer.body) // 1000 * 0.02


def test_chunked_has_no_content_length(sim) -> None:
    sim.add_fault({"action": "chunked"})
    answer = sim.get(BARS)

    assert "chunked" == answer.headers["Transfer-Encoding"]
    assert "Content-Length" not in answer.headers
    assert 50 == len(answer.json()["results"])


def test_actions_compose_in_order(sim) -> None:
    sim.add_fault([{"action": "duplicate_rows"}, {"action": "remove_rows", "places": [0]}, {"action": "chunked"}])
    answer = sim.get(BARS)

    assert 50 == len(answer.json()["results"])
    assert "chunked" == answer.headers["Transfer-Encoding"]


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"path": "/v3/trades/*"}, [TRADES], [BARS]),
        ({"regex": r"/range/\d+/minute/"}, [BARS], [TRADES]),
        ({"query": "limit=20"}, [TRADES], [BARS]),
        ({"ticker": "I:VIX"}, ["/v2/aggs/ticker/I:VIX/prev"], [BARS]),
        ({"ticker": "SPY"}, [BARS, "/v3/reference/dividends?ticker=SPY"], ["/v3/reference/dividends"]),
    ],
)
def test_rules_hit_what_they_match_and_nothing_else(sim, match, hits, misses) -> None:
    sim.add_fault({"action": "status", "code": 503}, match)

    assert [503] * len(hits) == [sim.get(path).status for path in hits]
    assert [200] * len(misses) == [sim.get(path).status for path in misses]


@pytest.mark.parametrize(
    ("when", "statuses"),
    [
        ({"nth": 2}, [200, 503, 200, 200]),
        ({"first": 2}, [503, 503, 200, 200]),
        ({"every": 2}, [200, 503, 200, 503]),
        ({"probability": 0.0}, [200] * 4),
        ({"probability": 1.0, "first": 1}, [503, 200, 200, 200]),
        ({"after": "2024-03-11T21:00"}, [200] * 4),
        ({"before": "2024-03-11T21:00", "nth": 1}, [503, 200, 200, 200]),
    ],
)
def test_rules_strike_when_they_say(sim, when, statuses) -> None:
    sim.add_fault({"action": "status", "code": 503}, when=when)

    assert statuses == [sim.get(BARS).status for _ in statuses]


@pytest.mark.parametrize("when", [{"every": 0}, {"nth": 0}, {"first": -1}, {"probability": 1.5}])
def test_a_count_below_one_and_a_probability_above_it_are_refused(sim, when) -> None:
    body = json.dumps({"do": {"action": "status", "code": 503}, "match": {}, "when": when}).encode()
    answer = sim.pool.request("POST", sim.ready["control"] + "/faults", body=body, retries=False, timeout=10)

    assert 400 == answer.status
    assert next(iter(when)) in answer.json()["error"]


def test_a_probability_strikes_the_same_requests_with_the_same_seed(sim) -> None:
    runs = []
    for _ in range(2):
        sim.control("DELETE", "/faults")
        sim.add_fault({"action": "status", "code": 503}, when={"probability": 0.5, "seed": 11})
        runs.append([sim.get(BARS).status for _ in range(20)])

    assert runs[0] == runs[1]
    assert {200, 503} == set(runs[0])


def test_rules_are_listed_with_their_counts_and_cleared(sim) -> None:
    sim.add_fault({"action": "status", "code": 503}, when={"every": 2})
    for _ in range(3):
        sim.get(BARS)
    (state,) = sim.control("GET", "/faults")
    log = sim.control("GET", "/log")

    assert (3, 1, "rule 1") == (state["matched"], state["struck"], state["name"])
    assert [[], ["rule 1"], []] == [entry["faults"] for entry in log[-3:]]
    assert [] == sim.control("DELETE", "/faults")
    assert 200 == sim.get(BARS).status


def _raw_answer(sim, promised: float = 1.0) -> tuple[dict[str, str], bytes]:
    """Headers, and as much of the body as is promised, or as comes until the server closes."""
    host = urlsplit(sim.ready["rest"]).netloc
    request = f"GET {BARS}&apiKey={sim.ready['key']} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    received = body = b""
    headers: dict[str, str] = {}
    with socket.create_connection(("127.0.0.1", sim.port), timeout=10) as connection:
        connection.sendall(request.encode())
        while not headers or len(body) < int(int(headers["content-length"]) * promised):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
            head, separator, body = received.partition(b"\r\n\r\n")
            if separator:
                lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
                headers = {name.lower(): value for name, _, value in lines}
    return headers, body
