"""What the stream says of a session's opening price, where history does not say it in time."""

import json
from decimal import Decimal
from typing import Any

import pytest

from marketlake.opening import told_by_stream
from marketlake.selection import Opening, OpeningSource

OPEN_MS = 1_756_474_200_000  # 2025-08-29 09:30 in New York


def told(*frames: list[dict[str, Any]] | bytes) -> Opening | None:
    written = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
    return told_by_stream(written, "SPY", OPEN_MS * 1_000_000)


def trade(after_ms: int, price: float, *conditions: int, sym: str = "SPY") -> dict[str, Any]:
    return {"ev": "T", "sym": sym, "t": OPEN_MS + after_ms, "p": price, "s": 100, "c": list(conditions)}


def bar(after_ms: int, kind: str = "A", **facts: float) -> dict[str, Any]:
    return {"ev": kind, "sym": "SPY", "s": OPEN_MS + after_ms, "o": 1.0, **facts}


@pytest.mark.parametrize("kind", ["A", "AM"])
def test_the_streams_own_word_for_the_opening_goes_before_any_trade(kind: str) -> None:
    frames = [[trade(1, 645.2)], [trade(5, 645.3), bar(0, kind, op=645.05)]]

    assert Opening(Decimal("645.05"), OpeningSource.STREAM_OPEN) == told(*frames)


@pytest.mark.parametrize("facts", [{}, {"op": 0}, {"op": None}])
def test_a_bar_that_does_not_say_it_tells_nothing(facts: dict[str, float]) -> None:
    assert told([bar(0, **facts)]) is None


def test_what_was_before_the_open_tells_nothing() -> None:
    assert told([trade(-1, 644.0), bar(-1_000, op=640.0)]) is None


def test_the_first_trade_that_may_set_it_does() -> None:
    """37 is an odd lot, 16 the official open, 2 an average price: none of them sets an opening price; 14 does."""
    frames = [
        [trade(0, 640.0, 37)],
        [trade(1, 641.0, 14, 16), trade(2, 642.0, 2)],
        [trade(3, 645.1, 14), trade(4, 646.0)],
    ]

    assert Opening(Decimal("645.1"), OpeningSource.FIRST_TRADE) == told(*frames)


def test_other_shares_and_what_nobody_can_read_are_passed_over() -> None:
    frames = [b'[{"ev":"T","sym":', b"[1, 2]", [{"ev": "status"}], [trade(1, 9.5, sym="QQQ")], [trade(2, 645.0)]]

    assert Opening(Decimal("645.0"), OpeningSource.FIRST_TRADE) == told(*frames)
