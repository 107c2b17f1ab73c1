"""As-of joins, against a search by hand, row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.align import NOTHING, Edge, as_of, as_of_by_group, window

SECOND = 1_000_000_000
instants = st.integers(0, 40).map(lambda second: second * SECOND)
edges = st.sampled_from(list(Edge))


def last_by_hand(known: list[int], at: int, edge: Edge) -> int:
    found = NOTHING
    for position, instant in enumerate(known):
        if instant < at or (edge is Edge.INCLUDED and instant == at):
            found = position
    return found


@given(known=st.lists(instants), ask=st.lists(instants), edge=edges)
def test_finds_the_last_thing_known(known: list[int], ask: list[int], edge: Edge) -> None:
    known.sort()

    answer = as_of(np.array(known, dtype=np.int64), np.array(ask, dtype=np.int64), edge)

    expected = [last_by_hand(known, at, edge) for at in ask]
    ages = [
        float("nan") if row == NOTHING else (at - known[row]) / SECOND for row, at in zip(expected, ask, strict=True)
    ]
    np.testing.assert_array_equal(expected, answer.position)
    np.testing.assert_array_equal(ages, answer.age_s)
    np.testing.assert_array_equal([row != NOTHING for row in expected], answer.found)


@given(rows=st.lists(st.tuples(st.integers(0, 5), instants)), ask=st.lists(instants, min_size=1), edge=edges)
def test_within_a_group_only_its_own_rows_are_known(rows: list[tuple[int, int]], ask: list[int], edge: Edge) -> None:
    rows.sort()
    group = np.array([number for number, _ in rows], dtype=np.int64)
    known = np.array([instant for _, instant in rows], dtype=np.int64)
    wanted = np.array([5, 0, 3], dtype=np.int64)

    answer = as_of_by_group(group, known, wanted, np.array(ask, dtype=np.int64), edge)

    for line, number in enumerate(wanted):
        own = [position for position, (of, _) in enumerate(rows) if of == number]
        for column, at in enumerate(ask):
            found = last_by_hand([rows[position][1] for position in own], at, edge)
            expected = NOTHING if found == NOTHING else own[found]
            assert expected == answer.position[line, column]


@given(known=st.lists(instants), ask=st.lists(instants), length=st.integers(1, 20), edge=edges)
def test_a_window_holds_what_became_known_in_it(known: list[int], ask: list[int], length: int, edge: Edge) -> None:
    known.sort()

    first, last = window(np.array(known, dtype=np.int64), np.array(ask, dtype=np.int64), length * SECOND, edge)

    for at, start, end in zip(ask, first, last, strict=True):
        now = [instant for instant in known if instant < at or (edge is Edge.INCLUDED and instant == at)]
        before = [
            instant
            for instant in now
            if instant < at - length * SECOND or (edge is Edge.INCLUDED and instant == at - length * SECOND)
        ]
        assert len(now) - len(before) == end - start
        assert now[len(before) :] == known[start:end]


@pytest.mark.parametrize(("limit", "kept"), [(9.999, False), (10.0, True), (11.0, True)])
def test_what_is_exactly_as_old_as_the_limit_is_kept(limit: float, kept: bool) -> None:
    known, at = np.array([5 * SECOND], dtype=np.int64), np.array([15 * SECOND], dtype=np.int64)

    answer = as_of(known, at, Edge.INCLUDED).not_older_than(limit)

    assert [kept] == answer.found.tolist()
    np.testing.assert_array_equal([7.5 if kept else np.nan], answer.take(np.array([7.5])))
    np.testing.assert_array_equal([10.0 if kept else np.nan], answer.age_s)


def test_nothing_known_gives_nothing_whatever_is_asked() -> None:
    nothing = np.empty(0, dtype=np.int64)
    answer = as_of(nothing, np.array([1, 2], dtype=np.int64), Edge.INCLUDED)

    assert [False, False] == answer.found.tolist()
    assert np.isnan(answer.take(np.empty(0))).all()
    assert not answer.take_bools(np.empty(0, dtype=np.bool_)).any()
