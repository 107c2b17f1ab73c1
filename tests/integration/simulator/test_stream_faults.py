"""Every fault of the stream does what it says, seen by a raw client."""

import json
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from raw_feed import PATIENCE_S, feed, subscribed, words
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

DAY = "2025-08-29"
OPEN_MS = 1756474200000


def _arm(market, do, when=None, /, **match) -> None:
    market.control("POST", "/faults", {"stream": match, "do": do, "when": when or {}})


def _states(market) -> list[tuple[int, int]]:
    return [(rule["matched"], rule["struck"]) for rule in market.control("GET", "/faults")]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012])
def test_close_sends_a_close_frame_with_the_code(market, code) -> None:
    _arm(market, {"action": "close", "code": code, "reason": "because"}, {"after_messages": 3})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 60})
        frames = [raw.read() for _ in range(3)]
        closed = raw.end()

    assert {"T"} == {event["ev"] for frame in frames for event in frame}
    assert (code, "because") == (closed.rcvd.code, closed.rcvd.reason)


def test_abort_ends_the_connection_without_a_close_frame(market) -> None:
    _arm(market, {"action": "abort"}, {"at": f"{DAY}T09:30:05"})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 60})
        closed = raw.end()
        (ended,) = market.control("GET", "/stream")["ended"]

    assert closed.rcvd is None
    assert ("rule 1", ["rule 1"]) == (ended["ended_by"], ended["faults"])


def test_a_fault_at_a_time_strikes_between_what_came_before_and_what_comes_after(market) -> None:
    _arm(market, {"action": "close"}, {"at": f"{DAY}T09:30:05"})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 60})
        times = []
        with suppress(ConnectionClosed):
            while True:
                times += [event["t"] for event in raw.read()]
    rows = market.rows(f"/v3/trades/SPY?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")

    assert [t for row in rows if (t := row["sip_timestamp"] // 10**6) <= OPEN_MS + 5_000] == times


def test_abort_in_frame_leaves_the_head_of_a_frame_and_less_than_it_promises(market) -> None:
    _arm(market, {"action": "abort_in_frame", "after": 0.5}, {"after_messages": 2})
    address = urlsplit(market.ready["ws"])
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as raw:
        received = _upgraded(raw, market.ready["key"], "T.SPY")
        market.control("POST", "/clock", {"advance_s": 60})
        try:
            while chunk := raw.recv(1 << 16):
                received += chunk
        except ConnectionResetError:
            pass
        else:
            pytest.fail("no reset")
    frames = _frames(received)

    assert all(len(payload) == length for length, payload in frames[:-1])
    length, payload = frames[-1]
    assert length // 2 == len(payload) > 10
    assert payload.startswith(b'[{"ev":"T"')


def _upgraded(raw: socket.socket, key: str, pairs: str) -> bytes:
    """Speaks the handshake by hand; gives what came after the HTTP answer up to the acknowledgement."""
    raw.sendall(
        b"GET /stocks HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for action, params in (("auth", key), ("subscribe", pairs)):
        text = json.dumps({"action": action, "params": params}).encode()
        raw.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # a mask of zeros changes nothing
    received = b""
    while b"subscribed to" not in received:
        received += raw.recv(1 << 16)
    return received.partition(b"\r\n\r\n")[2]


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    """Each frame's promised length and its payload; the last may be short."""
    frames = []
    while len(data) >= 2:
        length, head = data[1], 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, head = int.from_bytes(data[2 : 2 + size]), 2 + size
        frames.append((length, data[head : head + length]))
        data = data[head + length :]
    return frames


def test_refuse_tcp_turns_callers_away_for_a_while_and_leaves_those_who_are_there(market) -> None:
    address = urlsplit(market.ready["ws"])
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        _arm(market, {"action": "refuse_tcp", "wall_s": 0.3}, {"at": f"{DAY}T09:30:01"})
        market.control("POST", "/clock", {"advance_s": 5})
        begun, refused, deadline = time.monotonic(), 0, time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection((address.hostname, address.port), timeout=1).close()
                break
            except ConnectionRefusedError:
                refused += 1
        waited = time.monotonic() - begun
        assert raw.events_so_far()

    assert refused > 0
    assert waited < 5
    with subscribed(market.ready, "stocks", "T.SPY"):
        pass


@pytest.mark.parametrize("status", [401, 503])
def test_http_status_answers_the_upgrade(market, status) -> None:
    _arm(market, {"action": "http_status", "code": status}, connection=1)
    with pytest.raises(InvalidStatus) as refused, feed(market.ready["ws"]):
        pass
    with subscribed(market.ready, "stocks", "T.SPY"):
        report = market.control("GET", "/stream")

    assert status == refused.value.response.status_code
    assert [2] == [connection["number"] for connection in report["connections"]]
    assert [(1, "rule 1")] == [(connection["number"], connection["ended_by"]) for connection in report["ended"]]


def test_silence_after_tcp_accept(market) -> None:
    _arm(market, {"action": "silence"}, {"stage": "accepted", "first": 1})
    with pytest.raises(TimeoutError), feed(market.ready["ws"], open_timeout=0.3):
        pass
    with subscribed(market.ready, "stocks", "T.SPY"):
        pass


def test_abort_of_what_asks_for_the_upgrade(market) -> None:
    _arm(market, {"action": "abort"}, {"stage": "accepted", "first": 1})
    with pytest.raises((ConnectionError, InvalidMessage)), feed(market.ready["ws"]):
        pass
    with subscribed(market.ready, "stocks", "T.SPY"):
        assert ["rule 1"] == [connection["ended_by"] for connection in market.control("GET", "/stream")["ended"]]


@pytest.mark.parametrize(("stage", "heard"), [("connected", 1), ("authenticated", 2), ("subscribed", 3)])
def test_silence_after_a_stage_says_nothing_more_and_answers_pings(market, stage, heard) -> None:
    _arm(market, {"action": "silence"}, {"stage": stage})
    with feed(market.ready["ws"]) as raw:
        raw.send("auth", market.ready["key"])
        raw.send("subscribe", "T.SPY")
        said = [words(raw.read()) for _ in range(heard)]
        market.control("POST", "/clock", {"advance_s": 60})

        assert ["connected", "auth_success", "success"][:heard] == [status for ((status, _),) in said]
        assert raw.socket.ping().wait(5)
        assert [] == raw.frames_so_far()


@pytest.mark.parametrize(
    ("do", "change"),
    [
        ({"action": "stall", "wall_s": 0.3}, {}),
        ({"action": "stall", "session_s": 30}, {"advance_s": 40}),
    ],
)
def test_a_stall_holds_everything_back_answers_pings_and_then_sends_it(market, do, change) -> None:
    _arm(market, do, {"at": f"{DAY}T09:30:05"})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 20})
        before = raw.events_so_far()
        assert max(event["t"] for event in before) <= OPEN_MS + 5_000
        if change:
            market.control("POST", "/clock", change)
            after = raw.events_so_far()
        else:
            after = raw.read() + raw.events_so_far()
    rows = market.rows(f"/v3/trades/SPY?limit=50000&order=asc&timestamp.gt={OPEN_MS}000000")

    assert [row["sequence_number"] for row in rows] == [event["q"] for event in before + after]


def test_messages_that_a_stall_held_back_count_like_any_other(market) -> None:
    _arm(market, {"action": "stall", "session_s": 5}, {"at": f"{DAY}T09:30:01"})
    _arm(market, {"action": "close"}, {"after_messages": 20})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 60})
        raw.end()

    assert [(1, 1), (1, 1)] == _states(market)


def test_a_stall_for_ever_never_ends(market) -> None:
    _arm(market, {"action": "stall"}, {"after_messages": 1})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 600})

        assert 1 == len(raw.frames_so_far())
        assert raw.socket.ping().wait(5)


@pytest.mark.parametrize("stage", ["authenticated", "subscribed"])
def test_a_drop_before_subscribing_or_after_the_acknowledgement(market, stage) -> None:
    _arm(market, {"action": "abort"}, {"stage": stage, "first": 2})
    for _ in range(2):
        with feed(market.ready["ws"]) as raw:
            raw.send("auth", market.ready["key"])
            with suppress(ConnectionClosed):  # it may be gone already
                raw.send("subscribe", "T.SPY")
            assert raw.end().rcvd is None
    with subscribed(market.ready, "stocks", "T.SPY"):
        assert [(3, 2)] == _states(market)


def test_an_auth_flap_refuses_a_good_key_until_it_is_over(market) -> None:
    _arm(market, {"action": "auth_failed"}, connection=[1, 2])
    answers = []
    for _ in range(3):
        with feed(market.ready["ws"]) as raw:
            answers += words(raw.log_in(market.ready["key"]))

    assert ["auth_failed", "auth_failed", "auth_success"] == [status for status, _ in answers]


def test_auth_timeout_comes_at_once(market) -> None:
    _arm(market, {"action": "auth_timeout"})
    with feed(market.ready["ws"]) as raw:
        raw.read()
        word = words(raw.read())
        closed = raw.end()

    assert [("auth_timeout", "No authentication request received.")] == word
    assert closed.rcvd is None


@pytest.mark.parametrize(("action", "code"), [("max_connections", 1008), ("slow_consumer", 1008)])
def test_a_kick_is_told_and_closed(market, action, code) -> None:
    _arm(market, {"action": action})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        ((status, _),) = words(raw.read())
        closed = raw.end()

    assert (action, code) == (status, closed.rcvd.code)


def test_a_kick_may_come_without_a_word(market) -> None:
    _arm(market, {"action": "slow_consumer", "tells": False}, {"after_messages": 1})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 10})
        assert raw.end().rcvd is None


@pytest.mark.parametrize(("of", "kept"), [(["T.SPY"], {"AM"}), (None, set())])
def test_pairs_without_an_acknowledgement_are_not_subscribed(market, of, kept) -> None:
    _arm(market, {"action": "drop_acks", "of": of})
    with feed(market.ready["ws"]) as raw:
        raw.log_in(market.ready["key"])
        raw.send("subscribe", "T.SPY,AM.SPY")
        acks = raw.events_so_far()
        market.control("POST", "/clock", {"advance_s": 120})
        events = raw.events_so_far()

    assert kept == {event["message"].removeprefix("subscribed to: ").partition(".")[0] for event in acks}
    assert kept == {event["ev"] for event in events}


def test_not_authorized_refuses_a_topic_or_a_pair(market) -> None:
    _arm(market, {"action": "not_authorized", "of": ["Q", "T.AAPL"]})
    with feed(market.ready["ws"]) as raw:
        raw.log_in(market.ready["key"])
        refusals = raw.subscribe("Q.SPY", "T.AAPL", "T.SPY")
        acks = raw.read()

    assert [("error", "not authorized")] * 2 == words(refusals)
    assert [("success", "subscribed to: T.SPY")] == words(acks)


def test_market_plan_and_number_choose_the_connection(market) -> None:
    _arm(market, {"action": "close", "code": 1011}, {"at": f"{DAY}T09:30:05"}, market="stocks", plan="developer")
    with (
        subscribed(market.ready, "stocks", "T.SPY") as other,
        subscribed(market.ready, "stocks", "T.SPY", plan="developer") as meant,
        subscribed(market.ready, "indices", "V.I:VIX") as elsewhere,
    ):
        market.control("POST", "/clock", {"advance_s": 10})

        assert 1011 == meant.end().rcvd.code
        assert max(event["t"] for event in other.events_so_far()) > OPEN_MS + 9_000
        assert elsewhere.events_so_far()
    assert [(1, 1)] == _states(market)


def _second_frame(market, do, *pairs) -> tuple[list[bytes], list[bytes]]:
    """The first frames of half a minute with a fault on the second, and without one."""
    with subscribed(market.ready, "stocks", *pairs) as raw:
        market.control("POST", "/clock", {"advance_s": 30})
        undisturbed = raw.frames_so_far()
    market.set_clock(f"{DAY}T09:30")
    _arm(market, do, {"after_messages": 1})
    with subscribed(market.ready, "stocks", *pairs) as raw:
        market.control("POST", "/clock", {"advance_s": 30})
        frames = raw.frames_so_far()
    assert frames[0] == undisturbed[0]
    return undisturbed, frames


def test_a_malformed_frame_is_no_json_and_the_next_one_is(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "malformed"}, "T.SPY")

    with pytest.raises(json.JSONDecodeError):
        json.loads(frames[1])
    assert undisturbed[1].startswith(frames[1])
    assert undisturbed[2:] == frames[2:]


@pytest.mark.parametrize("action", ["without_ev", "unknown_ev"])
def test_one_more_element_stands_in_front_of_the_frames_own(market, action) -> None:
    undisturbed, frames = _second_frame(market, {"action": action, "frames": 2}, "T.SPY")

    for plain, spoilt in zip(undisturbed[1:3], frames[1:3], strict=True):
        added, *others = json.loads(spoilt)
        assert json.loads(plain) == others
        assert {"without_ev": None, "unknown_ev": "XX"}[action] == added.get("ev")
    assert undisturbed[3:] == frames[3:]


def test_unknown_keys_stand_beside_the_known_ones(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "unknown_keys"}, "T.SPY")

    for plain, spoilt in zip(json.loads(undisturbed[1]), json.loads(frames[1]), strict=True):
        assert plain == {name: value for name, value in spoilt.items() if name != "zz"} != spoilt


def test_null_fields_are_there_and_null(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "null_fields", "fields": ["p", "nothing"]}, "T.SPY")

    assert [event | {"p": None} for event in json.loads(undisturbed[1])] == json.loads(frames[1])


def test_a_large_frame_holds_what_it_held_in_more_than_a_mebibyte(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "large_frame"}, "T.SPY")

    assert len(frames[1]) == 1_200_000 > 1 << 20
    assert json.loads(undisturbed[1]) == json.loads(frames[1])


def test_duplicate_frames_come_twice(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "duplicate"}, "T.SPY")

    assert [undisturbed[1], *undisturbed[1:]] == frames[1:]


def test_disorder_turns_a_frame_round(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "disorder", "frames": 5}, "T.SPY", "T.QQQ")

    for plain, spoilt in zip(undisturbed[1:6], frames[1:6], strict=True):
        assert json.loads(plain)[::-1] == json.loads(spoilt)
    assert max(len(json.loads(frame)) for frame in frames[1:6]) > 1


def test_postponed_frames_come_after_those_that_follow_them(market) -> None:
    undisturbed, frames = _second_frame(market, {"action": "postpone", "frames": 2, "by": 3}, "T.SPY")

    assert undisturbed[:1] + undisturbed[3:6] + undisturbed[1:3] + undisturbed[6:] == frames


def test_a_bar_of_a_while_ago_comes_again_with_other_values(market) -> None:
    market.set_clock(f"{DAY}T10:00")
    _arm(market, {"action": "resend_bar", "ticker": "SPY", "minutes_ago": 15}, {"at": f"{DAY}T10:00:30"})
    start = OPEN_MS + 15 * 60_000
    with subscribed(market.ready, "stocks", "AM.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 40})
        bars: list[dict[str, object]] = []
        deadline = time.monotonic() + PATIENCE_S
        while not bars and time.monotonic() < deadline:
            bars = [event for event in raw.events_so_far() if event["ev"] == "AM" and event["s"] == start]
    (row,) = market.rows(f"/v2/aggs/ticker/SPY/range/1/minute/{start}/{start}")

    (bar,) = bars
    assert (start, row["o"], row["v"] + 100) == (bar["s"], bar["o"], bar["v"])
    assert bar["h"] == pytest.approx(row["h"] + 0.01)


def test_a_bar_comes_again_for_nobody_who_did_not_ask_for_bars(market) -> None:
    market.set_clock(f"{DAY}T10:00")
    _arm(market, {"action": "resend_bar", "ticker": "SPY", "minutes_ago": 15}, {"at": f"{DAY}T10:00:30"})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"advance_s": 40})
        market.control("POST", "/clock", {"advance_s": 60})
        kinds = {event["ev"] for event in raw.events_so_far()}

    assert {"T"} == kinds
    assert [1] == [rule["struck"] for rule in market.control("GET", "/faults")]


def test_a_clock_jump_leaves_out_what_lies_between(market) -> None:
    _arm(market, {"action": "clock_jump", "session_s": 600}, {"at": f"{DAY}T09:30:10"})
    with subscribed(market.ready, "stocks", "T.SPY") as raw:
        market.control("POST", "/clock", {"speed": 100})
        deadline = time.monotonic() + PATIENCE_S
        times: list[int] = []
        while (not times or times[-1] < OPEN_MS + 615_000) and time.monotonic() < deadline:
            times += [event["t"] for event in raw.read()]
        market.control("POST", "/clock", {"pause": True})

    assert OPEN_MS < times[0] < OPEN_MS + 10_000
    assert not [t for t in times if OPEN_MS + 10_000 < t <= OPEN_MS + 610_000]


def test_a_fault_strikes_at_its_time_though_nobody_listens(market) -> None:
    _arm(market, {"action": "refuse_tcp", "wall_s": 0.01}, {"at": f"{DAY}T09:30:05"})
    market.control("POST", "/clock", {"advance_s": 4})
    before = _states(market)
    market.control("POST", "/clock", {"advance_s": 4})

    assert [(0, 0)] == before
    assert [(1, 1)] == _states(market)


def test_one_script_holds_rules_for_rest_and_for_the_stream(start_simulator, tiny_world, tmp_path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text(
        "- name: busy\n  match: {path: /v3/*}\n  do: {action: status, code: 503}\n"
        "- name: gone\n  stream: {market: indices}\n  when: {stage: subscribed}\n  do: {action: close, code: 1001}\n"
    )
    simulator = start_simulator(tiny_world, "--faults", str(script))
    status = simulator.get("/v3/reference/exchanges").status
    with subscribed(simulator.ready, "indices", "V.I:VIX") as raw:
        closed = raw.end()

    assert (503, 1001) == (status, closed.rcvd.code)
    assert ["busy", "gone"] == [rule["name"] for rule in simulator.control("GET", "/faults")]
