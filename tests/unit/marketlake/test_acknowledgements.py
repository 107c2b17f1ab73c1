"""Acknowledgements: what was accepted, refused by the plan, or lost on the way."""

import pytest

from marketlake.acknowledgements import Acknowledgements
from marketlake.feeds import Subscription
from marketlake.stream_statuses import Status, statuses_in

REFUSED = Status("status", "error", "not authorized")


def subscriptions(text: str) -> set[Subscription]:
    """The pairs of a text with blanks between them."""
    return {Subscription.parse(item) for item in text.split()}


def accepted(text: str) -> Status:
    return Status("status", "success", f"subscribed to: {text}")


@pytest.mark.parametrize(
    ("wanted", "said", "taken", "refused", "lost"),
    [
        pytest.param(
            "T.SPY AM.SPY", [accepted("T.SPY"), accepted("AM.SPY")], "T.SPY AM.SPY", "", "", id="all accepted"
        ),
        pytest.param("T.SPY AM.SPY", [], "", "", "T.SPY AM.SPY", id="nothing said"),
        pytest.param("T.SPY AM.SPY", [accepted("T.SPY")], "T.SPY", "", "AM.SPY", id="one lost"),
        pytest.param("T.SPY Q.SPY", [REFUSED, accepted("T.SPY")], "T.SPY", "Q.SPY", "", id="one refused"),
        pytest.param("T.SPY Q.SPY", [REFUSED, REFUSED], "", "T.SPY Q.SPY", "", id="all refused"),
        pytest.param("Q.SPY Q.QQQ", [REFUSED], "", "Q.SPY Q.QQQ", "", id="one refusal for a topic"),
        pytest.param(
            "Q.SPY Q.QQQ T.SPY T.QQQ", [REFUSED, accepted("T.SPY")], "T.SPY", "Q.SPY Q.QQQ", "T.QQQ", id="both at once"
        ),
        pytest.param("AM.SPY Q.SPY", [REFUSED], "", "", "AM.SPY Q.SPY", id="one refusal for two topics"),
        pytest.param(
            "T.SPY A.SPY Q.SPY", [REFUSED, accepted("T.SPY")], "T.SPY", "", "A.SPY Q.SPY", id="one lost, one refused"
        ),
        pytest.param(
            "A.SPY T.SPY Q.SPY", [REFUSED, REFUSED], "", "", "A.SPY T.SPY Q.SPY", id="two refusals for three topics"
        ),
        pytest.param(
            "V.I:VIX V.I:SPX", [REFUSED, accepted("V.I:VIX")], "V.I:VIX", "V.I:SPX", "", id="one ticker of a topic"
        ),
    ],
)
def test_what_was_said_is_told_apart(wanted: str, said: list[Status], taken: str, refused: str, lost: str) -> None:
    asked = Acknowledgements(subscriptions(wanted))
    for status in said:
        assert asked.take(status)
    found, refusals = asked.conclude()

    assert subscriptions(taken) == found
    assert subscriptions(refused) == set(refusals)
    assert subscriptions(lost) == asked.lost


def test_nothing_more_is_waited_for_once_each_pair_has_an_answer() -> None:
    asked = Acknowledgements(subscriptions("T.SPY Q.SPY AM.SPY"))
    answered = []
    for status in (REFUSED, accepted("T.SPY"), accepted("AM.SPY")):
        asked.take(status)
        answered.append(asked.is_answered)

    assert [False, False, True] == answered


def test_what_is_wanted_again_before_the_server_was_told_stays_accepted() -> None:
    asked = Acknowledgements(subscriptions("T.SPY Q.SPY"))
    for name in ("T.SPY", "Q.SPY"):
        asked.take(accepted(name))
    asked.conclude()
    asked.change(subscriptions("T.SPY"))
    asked.change(subscriptions("T.SPY Q.SPY AM.SPY"))

    asked.keep(subscriptions("T.SPY Q.SPY"))

    assert subscriptions("AM.SPY") == asked.lost
    assert subscriptions("Q.SPY") == asked.conclude()[0], "it is covered again from now on"


def test_other_statuses_are_left_to_others() -> None:
    asked = Acknowledgements(subscriptions("T.SPY"))
    others = [Status("status", "success", "unsubscribed to: T.SPY"), Status("status", "max_connections", "full")]

    assert [False, False] == [asked.take(status) for status in others]


def test_what_is_new_is_told_once_and_what_was_dropped_may_come_again() -> None:
    asked = Acknowledgements(subscriptions("T.SPY Q.SPY"))
    asked.take(accepted("T.SPY"))
    asked.take(accepted("Q.SPY"))
    told = [asked.conclude()[0]]
    changes = [asked.change(subscriptions("T.SPY AM.SPY"))]
    asked.take(accepted("AM.SPY"))
    told.append(asked.conclude()[0])
    changes.append(asked.change(subscriptions("T.SPY AM.SPY Q.SPY")))
    lost = asked.lost
    asked.take(accepted("Q.SPY"))
    told.append(asked.conclude()[0])

    assert [subscriptions("T.SPY Q.SPY"), subscriptions("AM.SPY"), subscriptions("Q.SPY")] == told
    assert [(subscriptions("AM.SPY"), subscriptions("Q.SPY")), (subscriptions("Q.SPY"), set())] == changes
    assert subscriptions("Q.SPY") == lost


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b'[{"ev":"status","status":"connected","message":"Connected Successfully"}]', ["connected"]),
        (
            b'[{"ev":"T","sym":"SPY","t":1},{"ev":"status","status":"success","message":"x"},{"ev":"Q","c":null}]',
            ["success"],
        ),
        (b'[{"ev":"T","sym":"status"}]', []),
        (b'{"ev":"status","status":"connected"}', []),
        (b'[{"ev":"status","status":"conn', []),
        (b'\xff[{"ev":"status"}]', []),
        (b"[" * 100_000, []),
        (b"", []),
    ],
)
def test_statuses_are_found_among_data_and_not_in_what_cannot_be_read(message: bytes, words: list[str]) -> None:
    assert words == [status.status for status in statuses_in(message)]
