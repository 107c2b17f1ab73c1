"""A vendor that misbehaves on the wire ends in exact data or a typed error; and what is kept of it."""

import gzip
import json
import socket
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from scripted_vendor import DROPPED, SILENCE, Reply, ScriptedVendor, chunked, http, ok, packed, scripted_vendor
from seam import IMPATIENT, KEY, QUICK, Time, rows_of, seam

from marketlake import asks
from marketlake.capture import decode_page
from marketlake.errors import (
    BrokenAnswer,
    ConfigurationError,
    KeyRefused,
    LeaseHeld,
    NotEntitled,
    PaginationError,
    RateLimited,
    RequestRefused,
    VendorError,
    VendorUnavailable,
)
from marketlake.rest import Page, Vendor, open_vendor
from marketlake.settings import VendorSettings
from marketlake.store import open_store
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying

SESSION = date(2024, 12, 20)
OPEN_MS = 1734705000000
ASK = asks.bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, SESSION, SESSION, 2)
CLIENTS = pytest.mark.parametrize("client", ["polygon", "massive"])


def page(*minutes: int, then: int | None = None, **more: Any) -> dict[str, Any]:
    rows = [{"t": OPEN_MS + m * 60_000, "o": 1, "h": 1, "l": 1, "c": 1, "v": 10.5, "n": 3} for m in minutes]
    document: dict[str, Any] = {"ticker": "SPY", "status": "OK", "adjusted": False, "request_id": "r"}
    document |= {"queryCount": len(rows), "resultsCount": len(rows), "results": rows}
    if then is not None:
        start = OPEN_MS + then * 60_000
        document["next_url"] = (
            f"https://api.polygon.io/v2/aggs/ticker/SPY/range/1/minute/{start}/2024-12-20?cursor=bGlt"
        )
    return document | more


FIRST, SECOND, THIRD = ok(page(0, 1, then=2)), ok(page(2, 3, then=4)), ok(page(4))
ALL_MINUTES = [0, 1, 2, 3, 4]


def minutes(pages: list[Page]) -> list[int]:
    return [(row["start"].value // 1_000_000 - OPEN_MS) // 60_000 for row in rows_of(pages)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def attempts(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.setdefault(path.parent.name, []).append(path.name)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@CLIENTS
def test_pages_are_followed_through_the_same_client_to_the_end(client: Any, lake: Path) -> None:
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        pages = list(seam(vendor.url, lake, client=client).pages(ASK))

        assert ALL_MINUTES == minutes(pages)
        assert [1, 2, 3] == [item.number for item in pages]
        assert ASK.target == vendor.requests[0]
        assert f"/v2/aggs/ticker/SPY/range/1/minute/{OPEN_MS + 120_000}/2024-12-20?cursor=bGlt" == vendor.requests[1]


@CLIENTS
def test_the_key_travels_in_a_header_and_in_no_address(client: Any, lake: Path) -> None:
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        list(seam(vendor.url, lake, client=client).pages(ASK))

        assert all(f"Bearer {KEY}" in head for head in vendor.heads)
        assert not any(KEY in request for request in vendor.requests)


GOOD_FORMS = [
    pytest.param(ok(page(0)), id="plain"),
    pytest.param(packed(page(0)), id="gzip"),
    pytest.param(chunked(page(0)), id="chunked"),
    pytest.param(
        http(gzip.compress(b" ") + gzip.compress(json.dumps(page(0)).encode()), Content_Encoding="gzip"),
        id="gzip of two members",
    ),
    pytest.param(
        Reply(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(page(0)).encode(), "close"), id="ends with the connection"
    ),
]


@pytest.mark.parametrize("reply", GOOD_FORMS)
def test_a_body_arrives_whole_in_every_form_of_http(reply: Reply, lake: Path) -> None:
    with scripted_vendor([reply]) as vendor:
        assert [0] == minutes(list(seam(vendor.url, lake).pages(ASK)))


BODY = json.dumps(page(2, 3, then=4))
PASSING = [
    pytest.param(http("", 500), id="500"),
    pytest.param(http("<html>Bad gateway</html>", 502, Content_Type="text/html"), id="502 in HTML"),
    pytest.param(http("", 503, Retry_After="1"), id="503 with Retry-After"),
    pytest.param(http("", 504), id="504"),
    pytest.param(DROPPED, id="dropped before the answer"),
    pytest.param(Reply(b"HTTP/1.1 200 OK\r\nContent-", "close"), id="dropped in the headers"),
    pytest.param(Reply(b"SSH-2.0-OpenSSH\r\n\r\n", "close"), id="another protocol"),
    pytest.param(SILENCE, id="silence"),
    pytest.param(Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "hang"), id="silence in the body"),
    pytest.param(http(BODY[:-10], length=len(BODY), then="close"), id="cut"),
    pytest.param(http("", length=len(BODY), then="close"), id="cut before the first byte"),
    pytest.param(chunked(page(2, 3, then=4), ends=False), id="cut between chunks"),
    pytest.param(http(BODY[: len(BODY) // 2]), id="cut JSON in a whole answer"),
    pytest.param(packed(page(2, 3, then=4), cut=5), id="gzip that ends too early"),
    pytest.param(packed(page(2, 3, then=4), trailer=b"garbage"), id="gzip with something behind it"),
    pytest.param(http(b"\x1f\x8bnot gzip", Content_Encoding="gzip"), id="bad gzip"),
    pytest.param(http(BODY, Content_Encoding="br"), id="an encoding that was not asked for"),
    pytest.param(http("<html>Please wait</html>", Content_Type="text/html"), id="HTML with 200"),
    pytest.param(http(""), id="an empty 200"),
    pytest.param(http("", 204), id="204"),
    pytest.param(ok({"status": "ERROR", "error": "internal"}), id="status ERROR with 200"),
    pytest.param(ok(page(0, 1, then=2)), id="the page before again"),
    pytest.param(ok(page(1, 2, then=3)), id="an overlapping page"),
    pytest.param(ok(page(3, 2, then=4)), id="rows out of order"),
    pytest.param(ok(page(2, 3, then=4, results=None)), id="results null"),
    pytest.param(ok(page(2, 3, next_url="")), id="next_url empty"),
    pytest.param(ok(page(2, 3, then=0)), id="next_url to an older page"),
]


@CLIENTS
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_leaves_exact_data(fault: Reply, client: Any, lake: Path) -> None:
    retry = IMPATIENT if fault.then == "hang" else QUICK
    with scripted_vendor([FIRST, fault, SECOND, THIRD]) as vendor:
        pages = list(seam(vendor.url, lake, client=client, retry=retry).pages(ASK))

        assert ALL_MINUTES == minutes(pages)
        assert vendor.requests[1] == vendor.requests[2], "only the page that failed was asked again"
        assert 4 == len(vendor.requests)


LASTING = [
    pytest.param(http("", 500), VendorUnavailable, 3, id="500"),
    pytest.param(DROPPED, VendorUnavailable, 3, id="dropped"),
    pytest.param(SILENCE, VendorUnavailable, 3, id="silence"),
    pytest.param(http(BODY[:-10], length=len(BODY), then="close"), BrokenAnswer, 3, id="cut"),
    pytest.param(http("<html>", Content_Type="text/html"), BrokenAnswer, 3, id="HTML with 200"),
    pytest.param(ok(page(1, 2, then=3)), PaginationError, 2, id="an overlapping page"),
    pytest.param(ok(page(2, 3, next_url=None)), PaginationError, 2, id="next_url null"),
    pytest.param(http('{"error":"bad cursor"}', 400), PaginationError, 1, id="the cursor is refused"),
    pytest.param(http("", 401), KeyRefused, 1, id="401"),
    pytest.param(http("", 403), NotEntitled, 1, id="403"),
    pytest.param(http("", 302, Location="http://127.0.0.1:1/"), PaginationError, 1, id="redirect"),
]


@CLIENTS
@pytest.mark.parametrize(("fault", "kind", "tries"), LASTING)
def test_a_fault_that_lasts_is_a_typed_error_after_its_tries(
    fault: Reply, kind: type[VendorError], tries: int, client: Any, lake: Path
) -> None:
    retry = IMPATIENT if fault.then == "hang" else QUICK
    with scripted_vendor([FIRST, *[fault] * 9]) as vendor:
        with pytest.raises(kind) as caught:
            list(seam(vendor.url, lake, client=client, retry=retry).pages(ASK))

        assert kind is type(caught.value)
        assert 1 + tries == len(vendor.requests)


@pytest.mark.parametrize(("status", "kind"), [(400, RequestRefused), (404, RequestRefused), (403, NotEntitled)])
def test_a_question_that_is_refused_is_asked_once_and_nothing_is_kept(
    status: int, kind: type[VendorError], lake: Path
) -> None:
    with scripted_vendor([http('{"message":"no"}', status)]) as vendor:
        with pytest.raises(kind):
            list(seam(vendor.url, lake).pages(ASK))

        assert 1 == len(vendor.requests)
        assert [] == files(lake)


def test_nobody_listening_is_an_outage(lake: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(VendorUnavailable, match="refused"):
        list(seam(url, lake).pages(ASK))


def test_waits_double_and_stay_below_the_longest(lake: Path) -> None:
    time = Time()
    retry = QUICK.model_copy(update={"attempts": 6, "longest_wait_s": 3.0})
    with scripted_vendor([http("", 500)] * 6) as vendor, pytest.raises(VendorUnavailable):
        list(seam(vendor.url, lake, time=time, retry=retry).pages(ASK))

    assert [0.5, 1.0, 2.0, 3.0, 3.0] == time.slept


def test_a_503_that_names_its_time_is_waited_for(lake: Path) -> None:
    time = Time()
    with scripted_vendor([http("", 503, Retry_After="11"), ok(page(0))]) as vendor:
        list(seam(vendor.url, lake, time=time).pages(ASK))

    assert [11.0] == time.slept


def test_a_429_with_retry_after_waits_for_it_and_is_no_failed_try(lake: Path) -> None:
    time = Time()
    held = [http('{"status":"ERROR","error":"exceeded"}', 429, Retry_After="12")] * 4
    with scripted_vendor([*held, ok(page(0))]) as vendor:
        assert [0] == minutes(list(seam(vendor.url, lake, time=time).pages(ASK)))

    assert pytest.approx(48, abs=0.1) == sum(time.slept)


def test_a_429_without_retry_after_waits_longer_each_time(lake: Path) -> None:
    time = Time()
    with scripted_vendor([*[http("", 429)] * 4, ok(page(0))]) as vendor:
        assert [0] == minutes(list(seam(vendor.url, lake, time=time).pages(ASK)))

    assert pytest.approx([1, 2, 4, 8], abs=0.01) == time.slept


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "500"}, {"Retry_After": "0"}], ids=["none", "500", "0"])
def test_a_429_beyond_the_patience_is_a_typed_error(headers: dict[str, str], lake: Path) -> None:
    time = Time()
    with scripted_vendor([http("", 429, **headers)] * 500) as vendor, pytest.raises(RateLimited):
        list(seam(vendor.url, lake, time=time).pages(ASK))

    assert sum(time.slept) <= 121


def test_a_429_in_one_process_is_waited_for_by_another(lake: Path, tmp_path: Path) -> None:
    time = Time()
    with scripted_vendor([http("", 429, Retry_After="300"), ok(page(0))]) as vendor:
        with pytest.raises(RateLimited):
            list(seam(vendor.url, lake, time=time).pages(ASK))
        with pytest.raises(RateLimited, match="wants no call"):
            list(seam(vendor.url, lake, time=time).pages(ASK))
        time.now += timedelta(seconds=301)
        assert [0] == minutes(list(seam(vendor.url, lake, time=time).pages(ASK)))

        assert 2 == len(vendor.requests)


def test_a_server_that_drips_is_given_up(lake: Path) -> None:
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,))
        server.start()
        retry = QUICK.model_copy(update={"attempts": 1, "read_timeout_s": 0.1})
        with pytest.raises(VendorUnavailable, match="too slowly"):
            list(seam(f"http://127.0.0.1:{listener.getsockname()[1]}", lake, retry=retry).pages(ASK))
        stop.set()
        server.join(10)


def test_a_body_that_unpacks_without_end_is_refused(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlake.transport.LONGEST_BODY", 10_000)
    bomb = http(gzip.compress(b" " * 1_000_000), Content_Encoding="gzip")
    with scripted_vendor([bomb] * 3) as vendor, pytest.raises(BrokenAnswer, match="unpacks to more"):
        list(seam(vendor.url, lake).pages(ASK))


def test_a_page_that_cannot_be_used_is_kept_beside_the_good_ones(lake: Path) -> None:
    html = http("<html>Please wait</html>", Content_Type="text/html")
    with scripted_vendor([FIRST, html, html, SECOND, THIRD]) as vendor:
        list(seam(vendor.url, lake).pages(ASK))

    good = [f"page-0000{n}.zst" for n in (1, 2, 3)]
    assert {"attempt-001": [*good, "refused-00002-1.zst", "refused-00002-2.zst"]} == attempts(lake)
    kept = next(lake.rglob("refused-00002-1.zst"))
    assert b"<html>Please wait</html>" == decode_page(str(kept), kept.read_bytes()).body


def test_an_attempt_whose_page_stays_odd_is_closed_and_asked_afresh_by_the_next_run(lake: Path) -> None:
    odd = ok(page(2, 3, next_url=None))
    with scripted_vendor([FIRST, odd, odd, FIRST, SECOND, THIRD]) as vendor:
        with pytest.raises(PaginationError):
            list(seam(vendor.url, lake).pages(ASK))
        pages = list(seam(vendor.url, lake).pages(ASK))

    assert ALL_MINUTES == minutes(pages)
    assert {
        "attempt-001": ["page-00001.zst", "refused-00002-1.zst", "refused-00002-2.zst", "refused.json"],
        "attempt-002": ["page-00001.zst", "page-00002.zst", "page-00003.zst"],
    } == attempts(lake)
    assert "next_url" in json.loads(next(lake.rglob("refused.json")).read_bytes())["problem"]


def test_an_outage_leaves_the_attempt_open_for_the_next_run(lake: Path) -> None:
    with scripted_vendor([FIRST, *[http("", 503)] * 3, SECOND, THIRD]) as vendor:
        with pytest.raises(VendorUnavailable):
            list(seam(vendor.url, lake).pages(ASK))
        pages = list(seam(vendor.url, lake).pages(ASK))

        assert ALL_MINUTES == minutes(pages)
        assert [False, True, True] == [item.fetched for item in pages]
        assert 6 == len(vendor.requests)


@pytest.mark.parametrize("status", [400, 404])
def test_a_cursor_that_has_grown_old_since_the_last_run_starts_the_chain_afresh(status: int, lake: Path) -> None:
    outage = [http("", 503)] * 3
    with scripted_vendor([FIRST, *outage, http("", status), FIRST, SECOND, THIRD]) as vendor:
        with pytest.raises(VendorUnavailable):
            list(seam(vendor.url, lake).pages(ASK))
        pages = list(seam(vendor.url, lake).pages(ASK))

        assert ALL_MINUTES == minutes(pages)
        assert [True, True, True] == [item.fetched for item in pages]
    assert {"attempt-001", "attempt-002"} == set(attempts(lake))


def first_page_only(lake: Path, time: Time) -> None:
    with scripted_vendor([FIRST, *[http("", 503)] * 3]) as vendor, pytest.raises(VendorUnavailable):
        list(seam(vendor.url, lake, time=time).pages(ASK))


def test_an_attempt_that_is_too_old_is_not_continued(lake: Path) -> None:
    time = Time()
    first_page_only(lake, time)
    time.now += timedelta(hours=25)
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        assert ALL_MINUTES == minutes(list(seam(vendor.url, lake, time=time).pages(ASK)))
        assert ASK.target == vendor.requests[0]


def whole_answer(lake: Path, time: Time) -> list[Page]:
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        return list(seam(vendor.url, lake, time=time).pages(ASK))


def test_a_complete_answer_is_used_again_without_a_request(lake: Path) -> None:
    time = Time()
    before = whole_answer(lake, time)
    time.now += timedelta(hours=23)
    with scripted_vendor([]) as vendor:
        after = list(seam(vendor.url, lake, time=time).pages(ASK))
        assert [] == vendor.requests

    assert [False, False, False] == [item.fetched for item in after]
    assert [(item.path, item.sha256, item.body) for item in before] == [(x.path, x.sha256, x.body) for x in after]


def asked_again(lake: Path, time: Time, **how: Any) -> bool:
    newer_than = how.pop("newer_than", None)
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        assert ALL_MINUTES == minutes(list(seam(vendor.url, lake, time=time, **how).pages(ASK, newer_than=newer_than)))
        return bool(vendor.requests)


def test_an_answer_that_is_too_old_is_asked_again(lake: Path) -> None:
    time = Time()
    whole_answer(lake, time)
    time.now += timedelta(hours=25)

    assert asked_again(lake, time)


def test_reuse_can_be_switched_off(lake: Path) -> None:
    time = Time()
    whole_answer(lake, time)
    time.now += timedelta(seconds=1)

    assert asked_again(lake, time, reuse=timedelta(0))


def test_a_caller_who_wants_fresh_data_says_since_when(lake: Path) -> None:
    time = Time()
    whole_answer(lake, time)
    time.now += timedelta(minutes=1)
    now = time.now

    assert asked_again(lake, time, newer_than=now)
    assert not asked_again(lake, time, newer_than=now), "what was fetched since is fresh enough"


def test_an_answer_from_before_the_session_was_over_is_not_used_after_it(lake: Path) -> None:
    time = Time(datetime(2024, 12, 20, 18, tzinfo=UTC))
    whole_answer(lake, time)

    assert asked_again(lake, time), "the session goes on: there is more now"
    time.now = datetime(2024, 12, 21, 1, 5, tzinfo=UTC)
    assert asked_again(lake, time), "20:05 New York: now it is final"
    assert not asked_again(lake, time)


def test_a_cut_answer_of_a_running_session_is_not_finished_once_the_session_is_over(lake: Path) -> None:
    time = Time(datetime(2024, 12, 21, 0, 50, tzinfo=UTC))
    first_page_only(lake, time)
    time.now = datetime(2024, 12, 21, 1, 10, tzinfo=UTC)
    with scripted_vendor([FIRST, SECOND, THIRD]) as vendor:
        list(seam(vendor.url, lake, time=time).pages(ASK))
        assert ASK.target == vendor.requests[0]


@pytest.mark.parametrize(("kept_bytes", "more"), [(-7, b""), (0, b"no zstd"), (0, b"")], ids=["cut", "other", "empty"])
def test_a_captured_page_that_is_damaged_is_asked_again(kept_bytes: int, more: bytes, lake: Path) -> None:
    time = Time()
    whole_answer(lake, time)
    kept = next(lake.rglob("page-00002.zst"))
    kept.write_bytes(kept.read_bytes()[:kept_bytes] + more)

    assert asked_again(lake, time)


def test_a_hole_among_captured_pages_starts_the_chain_afresh(lake: Path) -> None:
    time = Time()
    whole_answer(lake, time)
    next(lake.rglob("page-00002.zst")).unlink()

    assert asked_again(lake, time)


def test_of_two_who_walk_through_the_same_chain_one_is_told_to_come_back(lake: Path) -> None:
    with scripted_vendor([FIRST, SECOND, SECOND]) as vendor:
        one, other = seam(vendor.url, lake).pages(ASK), seam(vendor.url, lake).pages(ASK)
        next(one)
        next(other)

        with pytest.raises(LeaseHeld, match="same question"):
            next(one)


@pytest.mark.parametrize("key", ["", "with blank", "line\nbreak", "häkchen", "tab\t"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_quoted(key: str, lake: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        seam("http://127.0.0.1:1", lake, key=key)

    assert "POLYGON_API_KEY" in str(caught.value)
    assert not key or key not in str(caught.value)


def test_the_server_time_is_utc(lake: Path) -> None:
    status = {"market": "open", "serverTime": "2024-12-20T10:00:05-05:00"}
    with scripted_vendor([ok(status)]) as vendor:
        assert datetime(2024, 12, 20, 15, 0, 5, tzinfo=UTC) == seam(vendor.url, lake).server_time()


@pytest.mark.parametrize("body", ["<html>", "{}", '{"serverTime":"2024-12-20T10:00:05"}', '{"serverTime":null}'])
def test_a_market_status_without_a_time_is_a_broken_answer(body: str, lake: Path) -> None:
    with scripted_vendor([http(body)] * 3) as vendor, pytest.raises(BrokenAnswer):
        seam(vendor.url, lake).server_time()


def test_each_thread_has_a_connection_of_its_own_and_keeps_it(lake: Path) -> None:
    status = ok({"serverTime": "2024-12-20T10:00:05-05:00"})
    with scripted_vendor([status] * 12) as vendor:
        shared = seam(vendor.url, lake)
        threads = [threading.Thread(target=ask_thrice, args=(shared,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert 12 == len(vendor.requests)
        assert 4 == connections(vendor)


def ask_thrice(vendor: Vendor) -> None:
    for _ in range(3):
        vendor.server_time()


def connections(vendor: ScriptedVendor) -> int:
    return len(vendor._open)


def opened(url: str, lake: Path, state: Path, **more: Any) -> Vendor:
    return open_vendor(
        key=KEY,
        settings=VendorSettings(rest_url=url, **more),
        retry=QUICK,
        store=open_store(str(lake)),
        clock=Time().utc,
        sleep=Time().sleep,
        state_folder=state,
    )


@pytest.mark.parametrize(
    ("setting", "is_massive_there", "agent"),
    [("auto", True, "Massive"), ("auto", False, "Polygon"), ("polygon", True, "Polygon"), ("massive", True, "Massive")],
)
def test_the_setting_chooses_the_vendors_client(
    setting: str, is_massive_there: bool, agent: str, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_massive_there:
        monkeypatch.setitem(sys.modules, "massive", None)  # how Python itself marks what cannot be imported
    with scripted_vendor([ok(page(0))]) as vendor:
        assert [0] == minutes(list(opened(vendor.url, lake, tmp_path / "state", client=setting).pages(ASK)))

        assert f"User-Agent: {agent}" in vendor.heads[0]


def test_a_client_that_is_not_installed_is_named(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "massive", None)

    with pytest.raises(ConfigurationError, match="massive is not installed"):
        opened("http://127.0.0.1:1", lake, tmp_path / "state", client="massive")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(http("cut", 403, length=100, then="close"), id="cut"),
        pytest.param(http("x" * 2**21, 403), id="endless"),
    ],
)
def test_the_status_of_an_error_is_known_whatever_becomes_of_its_body(reply: Reply, lake: Path) -> None:
    with scripted_vendor([reply]) as vendor, pytest.raises(NotEntitled, match="0 bytes"):
        list(seam(vendor.url, lake).pages(ASK))


def test_a_body_without_end_is_refused(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlake.transport.LONGEST_BODY", 10_000)
    with scripted_vendor([http(" " * 1_000_000)] * 3) as vendor, pytest.raises(BrokenAnswer, match="longer than"):
        list(seam(vendor.url, lake).pages(ASK))


CHAIN = asks.snapshots_ask(Underlying.parse("SPY"), SESSION, 1)


def chain_page(strike: int, *, more: bool) -> Reply:
    details = {"ticker": f"O:SPY241220C{strike:08}", "expiration_date": "2024-12-20", "strike_price": strike / 1_000}
    document: dict[str, Any] = {"status": "OK", "results": [{"details": details}]}
    if more:
        document["next_url"] = f"https://api.polygon.io/v3/snapshot/options/SPY?cursor=behind-{strike}"
    return ok(document)


CHAIN_PAGES = [chain_page(585_000, more=True), chain_page(586_000, more=True), chain_page(587_000, more=False)]


def tickers(pages: list[Page]) -> list[str]:
    return [row["ticker"] for row in rows_of(pages)]


def test_a_chain_about_the_present_that_was_cut_begins_again(lake: Path) -> None:
    with scripted_vendor([*CHAIN_PAGES[:2], *[http("", 503)] * QUICK.attempts, *CHAIN_PAGES]) as vendor:
        with pytest.raises(VendorUnavailable):
            list(seam(vendor.url, lake).pages(CHAIN))
        assert not seam(vendor.url, lake).has_whole(CHAIN)
        found = list(seam(vendor.url, lake).pages(CHAIN))

    assert [f"O:SPY241220C00{strike}000" for strike in (585, 586, 587)] == tickers(found)
    assert CHAIN.target == vendor.requests[-3]
    assert {"attempt-001": 3, "attempt-002": 3} == {name: len(kept) for name, kept in attempts(lake).items()}
    assert "refused.json" in attempts(lake)["attempt-001"]


def test_a_whole_chain_about_the_present_is_used_again_however_old_it_is(lake: Path) -> None:
    years_later = Time(datetime(2029, 1, 1, tzinfo=UTC))
    with scripted_vendor([*CHAIN_PAGES, *CHAIN_PAGES[:1], *[http("", 503)] * QUICK.attempts]) as vendor:
        first = list(seam(vendor.url, lake).pages(CHAIN))
        # Somebody asks for something newer and does not get it whole.
        with pytest.raises(VendorUnavailable):
            list(seam(vendor.url, lake).pages(CHAIN, newer_than=years_later.now))
        asked = len(vendor.requests)
        later = seam(vendor.url, lake, time=years_later)
        again = list(later.pages(CHAIN))

    assert later.has_whole(CHAIN)
    assert asked == len(vendor.requests)
    assert [page.path for page in first] == [page.path for page in again]


def test_a_chain_from_before_its_session_was_over_is_not_that_sessions(lake: Path) -> None:
    before = Time(datetime(2024, 12, 21, 1, 4, tzinfo=UTC))  # 20:04 in New York
    with scripted_vendor([*CHAIN_PAGES, *CHAIN_PAGES]) as vendor:
        list(seam(vendor.url, lake, time=before).pages(CHAIN))

        assert not seam(vendor.url, lake).has_whole(CHAIN)
        assert 3 == len(list(seam(vendor.url, lake).pages(CHAIN)))
        assert 6 == len(vendor.requests)


def test_a_page_that_comes_too_late_shows_another_moment_and_ends_its_chain(lake: Path) -> None:
    class Slow(Time):
        """A machine that sleeps for ten minutes after each page."""

        def utc(self) -> datetime:
            self.now += timedelta(minutes=10)
            return self.now

    with scripted_vendor([*CHAIN_PAGES, *CHAIN_PAGES]) as vendor:
        with pytest.raises(PaginationError, match="another moment"):
            list(seam(vendor.url, lake, time=Slow()).pages(CHAIN))
        assert not seam(vendor.url, lake).has_whole(CHAIN)
        found = list(seam(vendor.url, lake).pages(CHAIN))

    assert 3 == len(found)
    assert {Path(page.path).parent.name for page in found} == {"attempt-002"}


def test_a_chain_whose_kept_page_is_damaged_is_asked_for_again(lake: Path) -> None:
    with scripted_vendor([*CHAIN_PAGES, *CHAIN_PAGES]) as vendor:
        first = list(seam(vendor.url, lake).pages(CHAIN))
        (lake / first[1].path).write_bytes(b"torn")

        assert not seam(vendor.url, lake).has_whole(CHAIN)
        assert tickers(first) == tickers(list(seam(vendor.url, lake).pages(CHAIN)))
