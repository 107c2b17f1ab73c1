"""A store keeps whole files: atomically, durably, only below its root. On a folder and on S3 alike."""

import errno
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lake_places import Place
from lake_workers import context, create_all, ended, write_over

from marketlake.errors import LakeError, UsageError
from marketlake.processes import ProcessIdentity
from marketlake.store import Store, open_store


def test_what_was_written_is_read_back_and_replaced(store: Store) -> None:
    store.write("raw/symbol=I%3AVIX/data.parquet", b"one")
    store.write("raw/symbol=I%3AVIX/data.parquet", b"two!")

    assert store.read("raw/symbol=I%3AVIX/data.parquet") == b"two!"
    assert store.size("raw/symbol=I%3AVIX/data.parquet") == 4
    assert store.exists("raw/symbol=I%3AVIX/data.parquet")


def test_what_is_not_there_is_told_apart_from_what_is_empty(store: Store) -> None:
    store.write("here/empty", b"")

    assert store.read("here/empty") == b""
    assert store.size("here/empty") == 0
    assert store.size("here/nothing") is None
    assert store.size("here/empty/below") is None
    assert store.size("here") is None
    assert not store.exists("here/nothing")
    for path in ("here/nothing", "here/empty/below"):
        with pytest.raises(FileNotFoundError):
            store.read(path)


def test_only_the_first_creator_wins_whatever_the_bytes(store: Store) -> None:
    assert store.create("ledger/lease", b"mine")
    assert not store.create("ledger/lease", b"yours")
    assert not store.create("ledger/lease", b"mine")
    assert store.read("ledger/lease") == b"mine"


def test_a_deleted_file_may_be_created_again_and_deleting_nothing_is_fine(store: Store) -> None:
    store.create("ledger/lease", b"mine")
    store.delete("ledger/lease")
    store.delete("ledger/lease")
    store.delete("never/was")

    assert store.create("ledger/lease", b"yours")


def test_a_listing_is_sorted_whole_and_bounded_by_the_folder(store: Store) -> None:
    for path in ("b/2", "a/x=1/f", "a/x=1/e", "a/x=10/f", "ab/1", "top"):
        store.write(path, b".")

    assert store.list("") == ["a/x=1/e", "a/x=1/f", "a/x=10/f", "ab/1", "b/2", "top"]
    assert store.list("a") == ["a/x=1/e", "a/x=1/f", "a/x=10/f"]
    assert store.list("a/x=1") == ["a/x=1/e", "a/x=1/f"]
    assert store.list("top") == []
    assert store.list("nowhere") == []


def test_an_unwritten_root_is_empty(place: Place) -> None:
    assert place.open().list("") == []


@pytest.mark.parametrize(
    "path",
    "|/etc/passwd|../out|a/../../out|a//b|a/|./a|a/..|a/.|.hidden|a/.hidden/b|a\\b|a\0b|a b|a\n|I:VIX|~/x|é".split("|"),
)
def test_no_path_leaves_the_lake_or_hides_in_it(store: Store, path: str) -> None:
    actions: list[Callable[[], object]] = [
        lambda: store.read(path),
        lambda: store.exists(path),
        lambda: store.size(path),
        lambda: store.write(path, b"x"),
        lambda: store.create(path, b"x"),
        lambda: store.delete(path),
    ]
    for action in actions:
        with pytest.raises(UsageError):
            action()
    if path:
        with pytest.raises(UsageError):
            store.list(path)


@pytest.mark.parametrize("root", ["", "gs://bucket/lake", "s3://", "s3://Bad_Bucket/x", "s3://ok-bucket/../x", "a\0b"])
def test_a_root_that_is_no_place_is_refused(root: str) -> None:
    with pytest.raises(UsageError):
        open_store(root)


def test_a_relative_root_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("lake")
    monkeypatch.chdir("/")
    store.write("a", b"x")

    assert (tmp_path / "lake" / "a").read_bytes() == b"x"
    assert store.root == str(tmp_path / "lake")


def test_a_store_goes_to_another_process(place: Place) -> None:
    store = place.open()
    store.write("a", b"x")

    again: Store = pickle.loads(pickle.dumps(store))

    assert again.root == store.root == place.root
    assert again.read("a") == b"x"


def test_a_reader_sees_the_old_bytes_or_the_new_ones_and_never_a_mixture(place: Place) -> None:
    store = place.open()
    size = 200_000
    store.write("data", b"x" * size)
    writer = context().Process(target=write_over, args=(place.root, place.endpoint, "data", size, 25))
    writer.start()
    seen = set()
    while writer.is_alive():
        data = store.read("data")
        seen.add((len(data), len(set(data)), data[:1]))

    assert ended(writer) == 0
    assert {(length, kinds) for length, kinds, _ in seen} == {(size, 1)}
    assert len(seen) > 1


def test_of_many_processes_exactly_one_creates(place: Place) -> None:
    names = [f"race/{number}" for number in range(10)]
    spawn = context()
    gate, won = spawn.Barrier(3), spawn.SimpleQueue()
    racers = [spawn.Process(target=create_all, args=(place.root, place.endpoint, names, gate, won)) for _ in range(3)]
    for racer in racers:
        racer.start()

    assert [ended(racer) for racer in racers] == [0, 0, 0]
    assert sum(won.get() for _ in racers) == len(names)
    assert place.open().list("race") == names


def test_a_process_that_used_a_store_ends_without_a_word(place: Place) -> None:
    ended = _started(place, "store.write('a', b'x'); store.create('b', b'x'); store.read('a'); store.list('')")
    out, err = ended.communicate(timeout=60)

    assert (ended.returncode, out, err) == (0, "", "")


def test_a_forked_child_has_a_connection_of_its_own(place: Place) -> None:
    # From a process of one thread: pytest's own has several, and forking such a one is asking for trouble.
    script = """
        import os
        store.write('parent', b'x')
        child = os.fork()
        if child == 0:
            store.write('child', store.read('parent'))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(store.read('child').decode())
    """
    ended = _started(place, script, "-W", "ignore::DeprecationWarning")

    assert ended.communicate(timeout=60)[0] == "x\n"


class TestLocalFolder:
    """What only a disk can do to a writer."""

    def test_a_writer_killed_before_the_move_leaves_nothing_to_be_seen(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")
        _killed_while_writing(tmp_path, "folder/file")
        left = [path.name for path in (tmp_path / "folder").iterdir() if path.name != "file"]

        assert len(left) == 1
        assert left[0].startswith(".")
        assert store.read("folder/file") == b"old"
        assert store.list("") == ["folder/file"]

        store.write("folder/file", b"new")

        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]

    def test_the_temporary_file_of_a_living_writer_is_left_alone(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")
        living = tmp_path / "folder" / f".writing-{ProcessIdentity.of_this_process().slug}-123"
        living.write_bytes(b"half")
        store.write("folder/file", b"new")

        assert living.exists()

    def test_a_temporary_file_of_an_unknown_machine_goes_after_a_day(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")
        strangers = {name: tmp_path / "folder" / f".writing-{name}-1-2-3-4" for name in ("0000000a", "0000000b")}
        for stranger in strangers.values():
            stranger.write_bytes(b"half")
        old = strangers["0000000a"].stat().st_mtime - 86_401
        os.utime(strangers["0000000a"], (old, old))
        store.write("folder/file", b"new")

        assert not strangers["0000000a"].exists()
        assert strangers["0000000b"].exists()

    def test_somebody_elses_hidden_file_is_not_ours_to_remove(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")
        theirs = tmp_path / "folder" / ".DS_Store"
        theirs.write_bytes(b"x")
        os.utime(theirs, (0, 0))
        store.write("folder/file", b"new")

        assert theirs.exists()
        assert store.list("") == ["folder/file"]

    @pytest.mark.parametrize("action", ["write", "create"])
    def test_a_full_disk_ends_in_an_error_and_leaves_what_was_there(self, tmp_path: Path, action: str) -> None:
        """A file size limit breaks a write off in the middle, as a full disk does."""
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")
        script = f"""
            import resource
            from marketlake.errors import LakeError
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                store.{action}('folder/{"file" if action == "write" else "other"}', bytes(300_000))
            except LakeError as error:
                print(error)
        """
        out, err = _started(Place(str(tmp_path)), script).communicate(timeout=60)

        assert "File too large" in out, err
        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]
        assert store.read("folder/file") == b"old"

    @pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "make room"), (errno.EIO, "damage")])
    def test_a_failing_sync_ends_in_an_error_that_says_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
    ) -> None:
        store = open_store(str(tmp_path))
        store.write("folder/file", b"old")

        def failing(_: int) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", failing)
            with pytest.raises(LakeError, match=advice):
                store.write("folder/file", b"new")

        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]
        assert store.read("folder/file") == b"old"

    def test_a_file_in_the_way_of_a_folder_is_an_error_with_the_path(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        store.write("a", b"x")
        with pytest.raises(LakeError, match=str(tmp_path / "a" / "b")):
            store.write("a/b", b"x")

    def test_writes_of_threads_do_not_meet(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.write(f"f/{number % 4}", str(number % 4).encode()), range(80)))

        assert {path: store.read(path) for path in store.list("")} == {f"f/{n}": str(n).encode() for n in range(4)}


def _started(place: Place, script: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that has ``store`` and runs the script; warnings are errors there too."""
    head = f"from lake_places import Place\nstore = Place({place.root!r}, {place.endpoint!r}).open()\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "doubles")}
    command = [sys.executable, "-W", "error", *arguments, "-c", head + textwrap.dedent(script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _killed_while_writing(root: Path, path: str) -> None:
    script = f"""
        import os, signal
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        from pathlib import Path
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        store.write({path!r}, b"half")
    """
    killed = _started(Place(str(root)), script)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
