"""What a person is told when a run failed, as text; how it reaches them is :mod:`blocks.slack`'s."""

from typing import Final

from marketlake.redaction import redacted

# Slack folds a message that is much longer; the log and the run's page have the rest.
LONGEST_CAUSE: Final = 1_500
# A list of which each line counts; Slack cuts a message off behind 4,000 characters.
LONGEST_LIST: Final = 3_600


def failure_message(*, flow: str, run: str, session: str | None, cause: str, link: str | None) -> str:
    """One plain message about a failed run: flow, session, cause, link; no secret in it.

    Secrets are taken out before the cause is cut, so that no piece of one is left over. A cause that is too long keeps
    its beginning and its end, which say what was tried and what went wrong. Slack's three control characters are
    escaped: nothing in a cause can call a person or hide an address behind words.
    """
    of = f" ({session})" if session else ""
    lines = [redacted(f"{flow} failed{of}: {run}"), _shortened(redacted(cause.strip())), redacted(link or "")]
    return _escaped("\n".join(line for line in lines if line))


def alarm_message(*, what: str, cause: str, longest: int = LONGEST_CAUSE) -> str:
    """One plain message about something that needs a person and that no run told."""
    return _escaped("\n".join([redacted(what), _shortened(redacted(cause.strip()), longest)]))


def _shortened(text: str, longest: int = LONGEST_CAUSE) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half} characters left out; the log has them)\n{text[-half:]}"


def _escaped(text: str) -> str:
    """As Slack asks for: https://docs.slack.dev/messaging/formatting-message-text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
