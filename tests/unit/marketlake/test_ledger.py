"""Records are values with one JSON each, and know what they cover."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlake.ledger import (
    FORMAT_VERSION,
    Coverage,
    Entry,
    How,
    Lack,
    NewerEntry,
    Operational,
    Proof,
    Record,
    UnreadableEntry,
    decode,
    decode_entry,
    encode,
    encode_entry,
)
from marketlake.tables import Partition

COUNTS = st.integers(0, 2**40)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
INSTANTS = st.integers(-(2**62), 2**62)
PIECES = st.builds(
    Coverage,
    ticker=st.sampled_from(["SPY", "I:VIX", "O:SPY250829C00650000"]),
    span=st.sampled_from([None, "second", "minute", "day"]),
    start_ns=INSTANTS,
    end_ns=INSTANTS,
    how=st.sampled_from(How),
    rows=COUNTS,
    refused=COUNTS,
    duplicates=COUNTS,
    superseded=COUNTS,
    proof=st.lists(st.builds(Proof, TEXTS, TEXTS), max_size=2).map(tuple),
    reason=st.none() | st.sampled_from(Lack),
)
RECORDS = st.builds(
    Record,
    partition=st.builds(Partition, st.sampled_from(["stock_bars", "news"]), TEXTS, TEXTS),
    coverage=st.lists(PIECES, max_size=5).map(tuple),
    rows=COUNTS,
    quarantined=COUNTS,
    flags=st.dictionaries(TEXTS, COUNTS, max_size=4),
    content_hash=TEXTS,
    file_hash=TEXTS,
    file_bytes=COUNTS,
    inputs=st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
    operational=st.builds(Operational, TEXTS, TEXTS),
)
RECORD = Record(
    partition=Partition("stock_bars", "SPY", "2025-08-29"),
    coverage=(Coverage("SPY", "minute", 10, 20, How.BACKFILLED, 3, 1, 0, 0, (Proof("capture/x", "ab"),)),),
    rows=3,
    quarantined=1,
    flags={"zero_volume": 2, "out_of_hours": 1},
    content_hash="c0",
    file_hash="f0",
    file_bytes=99,
    inputs=(),
    operational=Operational("run-1", "2025-08-29T21:00:00+00:00"),
)


@settings(deadline=None)
@given(RECORDS, st.none() | RECORDS)
def test_what_is_written_is_read_back(record: Record, old: Record | None) -> None:
    data = encode_entry(Entry(record, old))

    assert decode_entry(data) == Entry(record, old)
    assert decode(data) == record
    assert encode_entry(decode_entry(data)) == data


@settings(deadline=None)
@given(st.permutations(range(6)), st.permutations(range(3)))
def test_the_order_in_which_facts_came_shows_nowhere(places: list[int], few: list[int]) -> None:
    pieces = [replace(RECORD.coverage[0], start_ns=10 * number, end_ns=10 * number + 10) for number in range(6)]
    inputs = [(f"raw/{number}", "hash") for number in range(3)]
    flags = {f"flag_{number}": number for number in range(3)}
    shuffled = replace(
        RECORD,
        coverage=tuple(pieces[place] for place in places),
        inputs=tuple(inputs[place] for place in few),
        flags={f"flag_{number}": number for number in few},
    )

    assert encode(shuffled) == encode(replace(RECORD, coverage=tuple(pieces), inputs=tuple(inputs), flags=flags))


def test_the_json_is_what_a_person_and_another_program_expect() -> None:
    found = json.loads(encode(RECORD))

    assert found["partition"] == {"table": "stock_bars", "owner": "SPY", "period": "2025-08-29"}
    assert found["coverage"][0]["how"] == "backfilled"
    assert found["coverage"][0]["proof"] == [{"path": "capture/x", "sha256": "ab"}]
    assert found["operational"] == {"run_id": "run-1", "written_at": "2025-08-29T21:00:00+00:00"}
    assert found["format_version"] == FORMAT_VERSION
    assert list(found) == sorted(found)


def test_a_reason_is_told_where_there_is_one_and_nowhere_else() -> None:
    lacking = replace(RECORD.coverage[0], how=How.UNAVAILABLE, reason=Lack.SESSION_PAST)

    assert "session_past" == json.loads(encode(replace(RECORD, coverage=(lacking,))))["coverage"][0]["reason"]
    assert "reason" not in json.loads(encode(RECORD))["coverage"][0]


def test_a_cut_publication_differs_from_a_settled_one_in_the_operational_part_alone() -> None:
    settled = json.loads(encode(RECORD))
    cut = json.loads(encode_entry(Entry(RECORD, replaces=replace(RECORD, rows=1))))
    del settled["operational"], cut["operational"]

    assert settled == cut


@settings(deadline=None)
@given(RECORDS, RECORDS)
def test_two_records_say_the_same_when_all_but_the_operational_part_is_equal(one: Record, two: Record) -> None:
    later = replace(one, operational=Operational("another", "later"))

    assert one.says_the_same_as(later)
    assert one.says_the_same_as(two) == (replace(two, operational=one.operational) == one)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"{}", b'{"format_version": "1"}', b'{"format_version": 1}', b"\xff\xfe", b"1"]
)
def test_bytes_that_are_no_record_are_told(data: bytes) -> None:
    with pytest.raises(UnreadableEntry):
        decode(data)


def test_a_record_with_a_word_that_is_not_in_the_list_is_no_record() -> None:
    with pytest.raises(UnreadableEntry):
        decode(encode(RECORD).replace(b"backfilled", b"guessed"))


def test_a_newer_format_is_told_apart_from_damage() -> None:
    with pytest.raises(NewerEntry, match="upgrade marketlake"):
        decode(b'{"format_version": %d, "of": "which nothing is known"}' % (FORMAT_VERSION + 1))


HOURS = st.integers(0, 12)
PIECE_HOURS = st.tuples(st.sampled_from(["SPY", "QQQ"]), st.sampled_from(["minute", "day"]), HOURS, HOURS)


@settings(deadline=None)
@given(st.lists(PIECE_HOURS, max_size=8), HOURS, HOURS)
def test_a_range_is_covered_when_each_of_its_instants_is(
    pieces: list[tuple[str, str, int, int]], start: int, end: int
) -> None:
    coverage = tuple(
        Coverage(ticker, span, first, last, How.HEALED, 0, 0, 0, 0, ()) for ticker, span, first, last in pieces
    )
    record = replace(RECORD, coverage=coverage)
    known = {
        hour
        for ticker, span, first, last in pieces
        if (ticker, span) == ("SPY", "minute")
        for hour in range(first, last)
    }

    assert record.covers("SPY", "minute", start, end) == (set(range(start, end)) <= known)


def test_coverage_of_no_span_is_not_coverage_of_a_span() -> None:
    record = replace(RECORD, coverage=(Coverage("SPY", None, 0, 10, How.VERIFIED_EMPTY, 0, 0, 0, 0, ()),))

    assert record.covers("SPY", None, 0, 10)
    assert not record.covers("SPY", "minute", 0, 10)


@pytest.mark.parametrize("how", How)
def test_every_label_covers(how: How) -> None:
    record = replace(RECORD, coverage=(Coverage("SPY", "minute", 0, 10, how, 0, 0, 0, 0, ()),))

    assert record.covers("SPY", "minute", 0, 10)
