"""A writer may be killed at any instant of a publication: what was proven stays proven, and doing it again is exact."""

import hashlib
from dataclasses import replace

import pytest
from lake_places import Place
from lake_workers import context, die_one_after_another, ended, publish_version
from table_rows import refused_rows_of, rows_of

from marketlake.lake import Lake
from marketlake.ledger import Entry, Record, encode, encode_entry
from marketlake.store import Store
from marketlake.tables import Partition

SPY = Partition("stock_bars", "SPY", "2025-08-29")
# Of one publication, at most: the record to come (or the removal of one that proves nothing), the quarantine of before
# and after together, the file, the quarantine, the settled record. A writer is killed before each of them, and at least
# once not at all: before one change is after the one before it.
CHANGES = 5
KILLED = -9

# From version to version: rows and quarantine change; an even version has none refused; 0 is "nothing published yet".
STEPS = [
    pytest.param("local", 0, 1, id="folder, first"),
    pytest.param("local", 1, 2, id="folder, quarantine empties"),
    pytest.param("local", 2, 3, id="folder, quarantine fills"),
    pytest.param("s3", 2, 3, id="S3, quarantine fills"),
]


def _files(store: Store) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("")}


def _undisturbed(place: Place, old: int, new: int) -> tuple[dict[str, bytes], Record | None, Record]:
    lake = Lake(replace(place, root=f"{place.root}-undisturbed").open())
    before = publish_version(lake, SPY, old) if old else None
    after = publish_version(lake, SPY, new)
    return _files(lake.store), before, after


def _refused(lake: Lake) -> list[str]:
    rows = lake.quarantined(SPY)
    return [] if rows is None else rows["raw"].to_pylist()


def _refused_of(version: int) -> list[str]:
    texts: list[str] = refused_rows_of(SPY.spec, 0 if version % 2 == 0 else version, version)["raw"].to_pylist()
    return texts


def _tickers(version: int) -> list[str]:
    return sorted(rows_of(SPY.spec, 50, version)["ticker"].to_pylist())


@pytest.mark.parametrize(("place", "old", "new"), STEPS, indirect=["place"])
def test_after_a_kill_the_record_and_the_rows_belong_together_and_a_rerun_is_exact(
    place: Place, old: int, new: int
) -> None:
    expected, before, after = _undisturbed(place, old, new)
    instants = range(1, CHANGES + 2)
    places = {instant: replace(place, root=f"{place.root}-{instant}") for instant in instants}
    for here in places.values():
        if old:
            publish_version(Lake(here.open()), SPY, old)
    victims = [(here.root, here.endpoint, SPY, new, instant) for instant, here in places.items()]
    spawn = context()
    told = spawn.SimpleQueue()
    parent = spawn.Process(target=die_one_after_another, args=(victims, told))
    parent.start()
    assert ended(parent) == 0
    codes = {instant: told.get() for instant in places}

    outcomes = set()
    for instant, here in places.items():
        lake = Lake(here.open())
        record, rows = lake.record(SPY), lake.read(SPY)
        assert record in [None, before, after], instant
        if record is not None:
            assert lake.read(SPY, verify=True).equals(rows)
            assert len(_refused(lake)) == record.quarantined
        if record is not None or before is not None:
            stored = sorted(rows["ticker"].to_pylist())
            versions = [version for version in (old, new) if stored == _tickers(version)]
            assert versions, instant
            assert all(refused in _refused(lake) for refused in _refused_of(versions[0])), f"{instant}: lost"
        outcomes.add("none" if record is None else "old" if record == before else "new")
        publish_version(lake, SPY, new)
        assert _files(lake.store) == expected, instant
    killed = list(codes.values()).count(KILLED)
    assert list(codes.values()) == [KILLED] * killed + [0] * (CHANGES + 1 - killed)
    assert CHANGES - 1 <= killed <= CHANGES
    assert outcomes >= ({"old", "new"} if old else {"none", "new"})


def test_a_cut_publication_is_told_by_the_file_and_not_by_its_size(store: Store) -> None:
    """Two files of one size: only their bytes tell whether the kill came before or after the file was replaced."""
    lake = Lake(store)
    old = publish_version(lake, SPY, 2)
    old_file = store.read(SPY.path)
    new_file = old_file[:-1] + b"?"
    new = replace(old, content_hash="of other rows", file_hash=hashlib.sha256(new_file).hexdigest())
    store.write(SPY.ledger_path, encode_entry(Entry(new, replaces=old)))

    assert lake.record(SPY) == old
    store.write(SPY.path, new_file)
    assert lake.record(SPY) == new
    store.write(SPY.path, old_file[:-1] + b"!")
    assert lake.record(SPY) is None


def test_a_record_that_proves_nothing_never_comes_to_prove_the_next_file(place: Place) -> None:
    """A stale record that gives, by chance, the size of the file that is published next; the writer is then killed."""
    lake = Lake(place.open())
    fresh = publish_version(lake, SPY, 2)
    stale = replace(fresh, content_hash="of other rows", file_hash="of another file")
    lake.store.write(SPY.ledger_path, encode(stale))
    lake.store.delete(SPY.path)
    told = context().SimpleQueue()
    victims = [(place.root, place.endpoint, SPY, 2, CHANGES)]
    parent = context().Process(target=die_one_after_another, args=(victims, told))
    parent.start()

    assert ended(parent) == 0
    assert told.get() == KILLED
    assert lake.store.size(SPY.path) == stale.file_bytes
    assert lake.record(SPY) is None
