"""The message about a failed run: short, plain, and without secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import redaction
from marketlake.alerts import LONGEST_CAUSE, failure_message
from marketlake.redaction import Redactor

CANARY = "canary-8c1f0e55"


@pytest.fixture(autouse=True)
def _known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_current", Redactor([CANARY]))


def message(cause: str, *, session: str | None = "2025-08-29", link: str | None = None) -> str:
    return failure_message(flow="consolidate", run="brave-fox", session=session, cause=cause, link=link)


def test_it_says_which_flow_when_why_and_where() -> None:
    link = "http://127.0.0.1:4200/runs/flow-run/1"

    assert f"consolidate failed (2025-08-29): brave-fox\nno bars\n{link}" == message("no bars\n", link=link)


def test_it_does_without_session_and_link() -> None:
    assert "consolidate failed: brave-fox\nno bars" == message("no bars", session=None)


def test_what_slack_would_read_as_a_command_is_escaped() -> None:
    """<!channel> calls everybody, <url|words> hides an address (docs.slack.dev, formatting message text)."""
    text = message("<!channel> a & b <https://example.com|click>")

    assert "&lt;!channel&gt; a &amp; b &lt;https://example.com|click&gt;" in text


@given(before=st.integers(0, LONGEST_CAUSE + 20), after=st.integers(0, LONGEST_CAUSE + 20))
def test_no_piece_of_a_secret_is_left_where_a_long_cause_is_cut(before: int, after: int) -> None:
    text = message("x" * before + f" {CANARY} " + "y" * after)

    assert not any(CANARY[start : start + 6] in text for start in range(len(CANARY) - 5))


def test_a_long_cause_keeps_its_beginning_and_its_end() -> None:
    text = message("first words " + "x" * 100_000 + " last words")

    assert len(text) < LONGEST_CAUSE + 200
    assert "first words" in text
    assert "last words" in text
    assert "98523 characters left out" in text


def test_a_secret_in_a_parameter_is_not_told() -> None:
    text = failure_message(
        flow="backfill", run=CANARY, session=CANARY, cause="it failed", link=f"http://h/?apiKey={CANARY}"
    )

    assert CANARY not in text
