"""What is kept of the vendor's pages, as files."""

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import asks
from marketlake.capture import Attempt, Captures, Slip, body_of, decode_page, encode_page, sha256_of
from marketlake.errors import LeaseHeld, RecordMismatch
from marketlake.store import open_store
from marketlake.tables import TABLES, Span

ASK = asks.bars_ask(TABLES["index_bars"], "I:VIX", "I:VIX", Span.DAY, date(2024, 12, 19), date(2024, 12, 20), 50_000)
BODY = b'{"status":"OK","results":[]}'


def slip(number: int = 1, body: bytes = BODY) -> Slip:
    return Slip("/v2/aggs?limit=1", number, 1734705000000000000, 200, "f0e1", sha256_of(body))


@given(st.binary(max_size=500), st.text(max_size=20), st.integers(0, 2**62))
def test_a_page_comes_back_as_it_was(body: bytes, request_id: str, received_ns: int) -> None:
    kept = Slip("/v3/trades/SPY?cursor=a", 7, received_ns, 200, request_id, sha256_of(body), 2)
    data = encode_page(kept, body)

    found = decode_page("page", data)
    assert (kept, body) == (found.slip, found.body)
    assert body == body_of(data)


def test_a_page_is_a_zstd_frame_of_a_line_of_json_and_the_body() -> None:
    assert b"\x28\xb5\x2f\xfd" == encode_page(slip(), BODY)[:4], "the magic number of RFC 8878"


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_page_that_was_changed_by_a_single_bit_is_noticed(body: bytes, data: st.DataObject) -> None:
    written = bytearray(encode_page(slip(body=body), body))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= 1 << data.draw(st.integers(0, 7))

    try:
        found = decode_page("page", bytes(written))
    except RecordMismatch:
        return
    assert body == found.body, "what is read in spite of it is the body that was kept"


@pytest.mark.parametrize("length", [0, 1, 10, -1])
def test_a_page_that_was_cut_is_noticed(length: int) -> None:
    with pytest.raises(RecordMismatch):
        decode_page("page", encode_page(slip(), BODY)[:length])


def test_a_page_with_another_body_is_noticed() -> None:
    with pytest.raises(RecordMismatch, match="not the one that was kept"):
        decode_page("page", encode_page(slip(body=b"what was kept"), BODY))


def test_a_chain_stands_under_its_table_owner_and_dates(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    attempt = Attempt.named(ASK, 1)
    captures.keep(attempt.page_path(1), slip(), BODY)

    folder = tmp_path / "capture/rest/index_bars/I%3AVIX/2024-12-19_2024-12-20"
    assert [folder / ASK.key / "attempt-001/page-00001.zst"] == [path for path in tmp_path.rglob("*") if path.is_file()]
    assert ASK.key.startswith("I%3AVIX-day-")


def test_pages_are_found_again_in_order(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    assert None is captures.newest_attempt(ASK)
    attempt = Attempt.named(ASK, 1)
    for number in range(1, 13):
        captures.keep(attempt.page_path(number), slip(number), BODY)

    found = captures.newest_attempt(ASK)
    assert found is not None
    assert list(range(1, 13)) == [captures.read(path).slip.number for path in found.pages]
    assert not found.is_closed


def test_only_the_newest_attempt_counts(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    for number in (1, 2, 10):
        captures.keep(Attempt.named(ASK, number).page_path(1), slip(), BODY)

    found = captures.newest_attempt(ASK)
    assert found is not None
    assert (10, 1) == (found.number, len(found.pages))


def test_a_page_is_never_overwritten(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    path = Attempt.named(ASK, 1).page_path(1)
    captures.keep(path, slip(), BODY)

    with pytest.raises(LeaseHeld):
        captures.keep(path, slip(body=b"other"), b"other")
    assert BODY == captures.read(path).body


def test_refused_pages_stand_beside_the_good_ones_however_many_there_are(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    attempt = Attempt.named(ASK, 1)
    for text in (b"<html>1", b"<html>2", b"<html>2"):
        page = captures.keep(attempt.page_path(1), slip(body=text), text)
        captures.set_aside(attempt, page)

    found = captures.newest_attempt(ASK)
    assert found is not None
    assert () == found.pages
    names = sorted(path.name for path in tmp_path.rglob("*.zst"))
    assert ["refused-00001-1.zst", "refused-00001-2.zst", "refused-00001-3.zst"] == names


def test_a_closed_attempt_says_why(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    attempt = Attempt.named(ASK, 3)
    captures.keep(attempt.page_path(1), slip(), BODY)
    captures.close(attempt, "the page's next_url has no cursor", 1734705000000000001)

    found = captures.newest_attempt(ASK)
    assert found is not None
    assert found.is_closed
    mark = json.loads(next(tmp_path.rglob("refused.json")).read_bytes())
    assert {"problem": "the page's next_url has no cursor", "at_ns": 1734705000000000001} == mark


def test_pages_behind_a_hole_continue_nothing(tmp_path: Path) -> None:
    captures = Captures(open_store(str(tmp_path)))
    attempt = Attempt.named(ASK, 1)
    for number in (1, 3):
        captures.keep(attempt.page_path(number), slip(number), BODY)

    found = captures.newest_attempt(ASK)
    assert found is not None
    assert found.is_closed
