"""What the stream says before any data: greeting, keys, acknowledgements, refusals, and who has to go."""

import json
import time

import pytest
from raw_feed import feed, subscribed, words
from websockets.exceptions import ConnectionClosed, InvalidStatus

TOO_MANY = "Maximum number of websocket connections exceeded. You have reached the connection limit for your account."
NO_STREAM = "Your plan doesn't include websocket access. Visit https://polygon.io/pricing to upgrade."


def test_the_handshake_is_the_vendors_word_for_word(sim) -> None:
    with feed(sim.ready["ws"]) as raw:
        greeting = raw.read()
        raw.send("auth", sim.ready["key"])
        answer = raw.read()
        acks = raw.subscribe("T.SPY", "AM.SPY")
        raw.send("unsubscribe", "T.SPY")
        farewell = raw.read()

    assert [{"ev": "status", "status": "connected", "message": "Connected Successfully"}] == greeting
    assert [{"ev": "status", "status": "auth_success", "message": "authenticated"}] == answer
    assert [("success", "subscribed to: T.SPY"), ("success", "subscribed to: AM.SPY")] == words(acks)
    assert [("success", "unsubscribed to: T.SPY")] == words(farewell)


def test_a_client_may_send_everything_before_it_reads_a_word(sim) -> None:
    with feed(sim.ready["ws"]) as raw:
        raw.send("subscribe", "A.SPY")
        raw.send("auth", sim.ready["key"])
        raw.send("subscribe", "T.SPY")
        said = [words(raw.read()) for _ in range(4)]

    assert ["connected", "auth_success", "success", "success"] == [status for ((status, _),) in said]
    assert [[("success", "subscribed to: A.SPY")], [("success", "subscribed to: T.SPY")]] == said[2:]


@pytest.mark.parametrize(
    ("market", "key", "sentence"),
    [
        ("stocks", "nonsense", "authentication failed"),
        ("stocks", "simulated-free", NO_STREAM),
        ("options", "simulated-stocks-only", NO_STREAM),
        ("indices", "simulated-developer", NO_STREAM),
    ],
)
def test_a_refused_key_is_told_so_and_dropped_without_a_close_frame(sim, market, key, sentence) -> None:
    with feed(sim.ready["ws"], market) as raw:
        answer = raw.log_in(key)
        closed = raw.end()

    assert [("auth_failed", sentence)] == words(answer)
    assert closed.rcvd is None


def test_a_topic_outside_the_plan_is_refused_before_the_acknowledgements(sim) -> None:
    with feed(sim.ready["ws"]) as raw:
        raw.log_in(sim.ready["keys"]["developer"])
        refusal = raw.subscribe("T.SPY", "Q.SPY", "AM.SPY")
        acks = raw.read()

    assert [("error", "not authorized")] == words(refusal)
    assert [("success", "subscribed to: T.SPY"), ("success", "subscribed to: AM.SPY")] == words(acks)


@pytest.mark.parametrize("market", ["stocks", "options", "indices"])
def test_an_unknown_topic_gets_no_answer_and_an_unknown_ticker_is_acknowledged(sim, market) -> None:
    with feed(sim.ready["ws"], market) as raw:
        raw.log_in(sim.ready["key"])
        acks = raw.subscribe("ZZ.SPY", "nonsense", "", "AM.NOSUCH", "T")

    assert [("success", "subscribed to: AM.NOSUCH")] == words(acks)


def test_indices_have_values_and_bars_and_no_trades(sim) -> None:
    with feed(sim.ready["ws"], "indices") as raw:
        raw.log_in(sim.ready["key"])
        acks = raw.subscribe("T.I:VIX", "V.I:VIX", "A.I:VIX", "AM.I:VIX")

    assert ["V.I:VIX", "A.I:VIX", "AM.I:VIX"] == [text.removeprefix("subscribed to: ") for _, text in words(acks)]


def test_option_quotes_have_no_wildcard_and_a_thousand_contracts_at_most(sim) -> None:
    contracts = [f"Q.O:SPY240311C{strike:08d}" for strike in range(1_001)]
    with feed(sim.ready["ws"], "options") as raw:
        raw.log_in(sim.ready["key"])
        ((wildcard_status, _),) = words(raw.subscribe("Q.*"))
        refusals = words(raw.subscribe(*contracts))
        acks = words(raw.read())
        again = words(raw.subscribe(contracts[0]))
        at_once = sim.control("GET", "/state")["stream"]["most_contracts"]

    assert "error" == wildcard_status
    assert [("error", "Option quotes are limited to 1000 contracts per connection.")] == refusals
    assert 1000 == len(acks) == at_once
    assert [("success", f"subscribed to: {contracts[0]}")] == again


def test_the_older_connection_of_a_key_goes_when_there_is_one_too_many(sim) -> None:
    with subscribed(sim.ready, "stocks", "T.SPY") as older, subscribed(sim.ready, "stocks", "T.SPY") as newer:
        word = words(older.read())
        closed = older.end()
        newer.socket.ping().wait(5)
        standing = sim.control("GET", "/stream")["connections"]

    assert [("max_connections", TOO_MANY)] == word
    assert 1008 == closed.rcvd.code
    assert [2] == [connection["number"] for connection in standing]


def test_the_newer_goes_after_its_acknowledgement_when_the_switch_says_so(sim) -> None:
    sim.control("POST", "/switches", {"evicted": "newer"})
    with subscribed(sim.ready, "stocks", "T.SPY") as older:
        with subscribed(sim.ready, "stocks", "T.SPY") as newer:
            word = words(newer.read())
            closed = newer.end()
        assert [("success", "subscribed to: AM.SPY")] == words(older.subscribe("AM.SPY"))

    assert [("max_connections", TOO_MANY)] == word
    assert 1008 == closed.rcvd.code


def test_the_newer_goes_too_where_none_of_its_pairs_is_given(sim) -> None:
    sim.control("POST", "/switches", {"evicted": "newer"})
    with subscribed(sim.ready, "stocks", "T.SPY", plan="developer"), feed(sim.ready["ws"]) as newer:
        newer.log_in(sim.ready["keys"]["developer"])
        newer.send("subscribe", "Q.SPY")
        said = [newer.read()[0]["status"] for _ in range(2)]

    assert ["error", "max_connections"] == said


def test_giving_up_a_topic_that_no_market_has_is_answered_by_nothing(sim) -> None:
    with subscribed(sim.ready, "stocks", "T.SPY") as raw:
        raw.send("unsubscribe", "ZZ.SPY,T.SPY,nonsense")
        said = words(raw.read())
        rest = raw.frames_so_far()

    assert [("success", "unsubscribed to: T.SPY")] == said
    assert [] == rest


def test_other_markets_and_other_keys_have_connections_of_their_own(sim) -> None:
    with (
        subscribed(sim.ready, "stocks", "T.SPY") as one,
        subscribed(sim.ready, "options", "T.*"),
        subscribed(sim.ready, "indices", "V.I:VIX"),
        subscribed(sim.ready, "stocks", "T.SPY", plan="developer"),
    ):
        assert [("success", "subscribed to: Q.SPY")] == words(one.subscribe("Q.SPY"))
        state = sim.control("GET", "/state")["stream"]

    assert 4 == state["connections"]
    assert {"stocks": 2, "options": 1, "indices": 1} == state["opened"] == state["most_connections"]


def test_who_sends_no_key_is_told_so_and_dropped(sim) -> None:
    sim.control("POST", "/switches", {"auth_timeout_s": 0.05})
    with feed(sim.ready["ws"]) as raw:
        raw.read()
        word = words(raw.read())
        closed = raw.end()

    assert [("auth_timeout", "No authentication request received.")] == word
    assert closed.rcvd is None


def test_an_unknown_path_is_404(sim) -> None:
    with pytest.raises(InvalidStatus) as refused, feed(sim.ready["ws"], "crypto"):
        pass

    assert 404 == refused.value.response.status_code


def test_pings_are_answered_before_and_after_the_key(sim) -> None:
    with feed(sim.ready["ws"]) as raw:
        assert raw.socket.ping().wait(5)
        raw.log_in(sim.ready["key"])
        assert raw.socket.ping().wait(5)


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"action": 1}', '{"action": "dance"}'])
def test_what_nobody_understands_is_an_error_and_does_not_end_the_connection(sim, text) -> None:
    with subscribed(sim.ready, "stocks", "T.SPY") as raw:
        raw.socket.send(text)
        ((status, _),) = words(raw.read())

        assert "error" == status
        assert [("success", "subscribed to: A.SPY")] == words(raw.subscribe("A.SPY"))


def test_compression_is_used_where_it_is_offered(sim) -> None:
    with feed(sim.ready["ws"], compression="deflate") as raw:
        extensions = raw.socket.response.headers["Sec-WebSocket-Extensions"]
        answer = raw.log_in(sim.ready["key"])

    assert extensions.startswith("permessage-deflate")
    assert [("auth_success", "authenticated")] == words(answer)


def test_keys_are_in_no_report(sim) -> None:
    with subscribed(sim.ready, "stocks", "T.SPY") as raw:
        assert sim.ready["key"] not in json.dumps(sim.control("GET", "/stream"))
        raw.socket.close()
    with pytest.raises(ConnectionClosed):
        raw.read()
    while not (report := sim.control("GET", "/stream"))["ended"]:
        time.sleep(0.01)

    assert sim.ready["key"] not in json.dumps(report)
    assert {"client"} == {connection["ended_by"] for connection in report["ended"]}
