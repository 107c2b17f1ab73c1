"""One writer of a partition at a time: on a folder and on S3, with real processes that race and die."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from lake_places import Place
from lake_workers import context, die_with_lease, ended, race_for_lease

from marketlake.errors import LakeError, LeaseHeld, StoreUnavailable, UsageError, is_transient
from marketlake.lake import Lake
from marketlake.lease import Lease, held_lease, renewable_lease
from marketlake.processes import ProcessIdentity
from marketlake.store import LocalStore, Store
from marketlake.tables import Partition

SPY = Partition("stock_bars", "SPY", "2025-08-29")
VIX = Partition("index_bars", "I:VIX", "2025-08-29")
NOON = datetime(2025, 8, 29, 12, tzinfo=UTC)
TTL = timedelta(minutes=30)
FOLDER = SPY.lease_path.rpartition("/")[0]


def _lease(store: Store, owner: str, at: datetime = NOON, partition: Partition = SPY) -> AbstractContextManager[None]:
    return Lake(store).lease(partition, owner=owner, now=lambda: at, ttl=TTL)


def test_a_lease_keeps_others_out_until_it_is_released(store: Store) -> None:
    with _lease(store, "run one"):
        with pytest.raises(LeaseHeld) as held, _lease(store, "run two"):
            pass
        with _lease(store, "run two", partition=VIX):
            pass
    with _lease(store, "run two"):
        pass

    assert is_transient(held.value)
    assert store.list("") == []


def test_who_holds_it_and_until_when_is_said(store: Store) -> None:
    me = ProcessIdentity.of_this_process()
    with _lease(store, "run one"), pytest.raises(LeaseHeld) as held, _lease(store, "run two"):
        pass

    assert f"run one (process {me.pid} on {me.host})" in str(held.value)
    assert "2025-08-29 12:30:00 UTC" in str(held.value)


def test_a_lease_is_released_when_its_work_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), _lease(store, "run one"):
        raise ZeroDivisionError
    with _lease(store, "run two"):
        pass


def test_an_expired_lease_is_taken_over_and_not_given_back_by_its_late_holder(store: Store) -> None:
    clock = [NOON]
    late = Lake(store).lease(SPY, owner="late", now=lambda: clock[0], ttl=TTL)
    late.__enter__()
    clock[0] = NOON + TTL
    with _lease(store, "second", at=clock[0]):
        pass
    with _lease(store, "third", at=clock[0]):
        late.__exit__(None, None, None)
        with pytest.raises(LeaseHeld, match="third"), _lease(store, "fourth", at=clock[0]):
            pass

    assert store.list("") == []


def test_a_lease_lasts_until_its_very_end(store: Store) -> None:
    last = NOON + TTL - timedelta(microseconds=1)
    with _lease(store, "one"), pytest.raises(LeaseHeld), _lease(store, "two", at=last):
        pass


def test_a_lease_of_a_killed_process_is_taken_over_at_once(place: Place) -> None:
    expires = NOON + timedelta(days=1)
    dead = context().Process(target=die_with_lease, args=(place.root, place.endpoint, SPY, expires))
    dead.start()

    assert ended(dead) == -9
    store = place.open()
    assert len(store.list(FOLDER)) == 1
    with _lease(store, "the living"):
        left = [msgspec.json.decode(store.read(path), type=Lease).owner for path in store.list(FOLDER)]
        assert left == ["the living"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param(lambda me: replace(me, boot="0" * 36, pid=me.pid + 1), id="another machine"),
        pytest.param(lambda me: replace(me, namespace=me.namespace + 1, pid=2**22 - 1), id="another container"),
    ],
)
def test_a_lease_of_a_process_that_cannot_be_seen_from_here_holds_until_it_expires(
    store: Store, elsewhere: Callable[[ProcessIdentity], ProcessIdentity]
) -> None:
    process = elsewhere(ProcessIdentity.of_this_process())
    lease = Lease("far away", process, NOON + TTL)
    store.create(f"{FOLDER}/lease-7.json", msgspec.json.encode(lease))

    with pytest.raises(LeaseHeld, match="far away"), _lease(store, "here"):
        pass
    with _lease(store, "here", at=NOON + TTL):
        assert store.list(FOLDER) == [f"{FOLDER}/lease-8.json"]


def test_of_racing_processes_exactly_one_gets_it(place: Place) -> None:
    dead = Lease("dead", ProcessIdentity.of_this_process(), NOON)
    for partition in (SPY, VIX):  # a free one, and one whose lease has to be taken over
        if partition is VIX:
            place.open().create(VIX.lease_path.replace(".json", "-1.json"), msgspec.json.encode(dead))
        spawn = context()
        gate, told = spawn.Barrier(4), spawn.SimpleQueue()
        racers = [
            spawn.Process(target=race_for_lease, args=(place.root, place.endpoint, partition, me, gate, told))
            for me in ("a", "b", "c", "d")
        ]
        for racer in racers:
            racer.start()

        assert [ended(racer) for racer in racers] == [0] * 4
        answers = dict(told.get() for _ in racers)
        holders = [me for me, answer in answers.items() if answer == "held"]
        assert len(holders) == 1, answers
        assert place.open().list("") == []


class _Interrupted:
    """A store during whose n-th call of a kind something else happens first."""

    def __init__(self, store: Store, kind: str, happens: Callable[[], None], at: int = 1) -> None:
        self._store = store
        self._kind = kind
        self._happens = happens
        self._left = at

    def __getattr__(self, name: str) -> object:
        if name == self._kind:
            self._left -= 1
            if self._left == 0:
                self._happens()
        return getattr(self._store, name)


def test_a_taker_that_was_asleep_finds_the_new_holder(store: Store) -> None:
    """Between a look at an expired lease and the taking of it, others take it, release it, and take it again."""
    later = NOON + TTL
    store.create(f"{FOLDER}/lease-1.json", msgspec.json.encode(Lease("gone", ProcessIdentity.of_this_process(), NOON)))
    held: list[AbstractContextManager[None]] = []

    def meanwhile() -> None:
        with _lease(store, "quick", at=later):
            pass
        held.append(_lease(store, "holder", at=later))
        held[0].__enter__()

    sleepy = _Interrupted(store, "create", meanwhile)
    with (
        pytest.raises(LeaseHeld, match="holder"),
        held_lease(sleepy, SPY.lease_path, owner="sleepy", now=lambda: later, ttl=TTL),
    ):
        pass

    assert [msgspec.json.decode(store.read(path), type=Lease).owner for path in store.list(FOLDER)] == ["holder"]
    held[0].__exit__(None, None, None)


def test_a_lease_released_while_it_is_looked_at_is_free(store: Store) -> None:
    first = _lease(store, "first")
    first.__enter__()
    looking = _Interrupted(store, "read", lambda: first.__exit__(None, None, None) and None)
    with held_lease(looking, SPY.lease_path, owner="second", now=lambda: NOON, ttl=TTL):
        pass

    assert store.list("") == []


def test_a_lease_file_that_is_none_is_an_error_that_says_so(store: Store) -> None:
    store.write(f"{FOLDER}/lease-1.json", b"{")
    with pytest.raises(LakeError, match="no lease"), _lease(store, "one"):
        pass


def test_a_lease_that_is_renewed_outlasts_its_first_length(store: Store) -> None:
    now = [NOON]
    with renewable_lease(store, SPY.lease_path, owner="long", now=lambda: now[0], ttl=TTL) as holding:
        for _ in range(4):
            now[0] += TTL * 0.9
            holding.renew(TTL)
        with pytest.raises(LeaseHeld, match="14:18:00 UTC"), _lease(store, "other", at=now[0]):
            pass

    assert store.list("") == []


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_lease_that_expired_is_not_renewed(store: Store, is_taken: bool) -> None:
    now = [NOON]
    late = NOON + TTL
    with renewable_lease(store, SPY.lease_path, owner="late", now=lambda: now[0], ttl=TTL) as holding:
        now[0] = late
        if is_taken:
            with _lease(store, "other", at=late), pytest.raises(LeaseHeld, match="late has lost the lease"):
                holding.renew(TTL)
        else:
            with pytest.raises(LeaseHeld, match="late has lost the lease"):
                holding.renew(TTL)


class _Deaf(LocalStore):
    """Takes what is written, and the answer gets lost."""

    is_deaf = False

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        if self.is_deaf:
            raise StoreUnavailable(path, "no answer")


def test_a_renewal_whose_answer_was_lost_is_one(tmp_path: Path) -> None:
    store, now = _Deaf(tmp_path), [NOON]
    with renewable_lease(store, SPY.lease_path, owner="ours", now=lambda: now[0], ttl=TTL) as holding:
        now[0] = NOON + TTL / 2
        store.is_deaf = True
        with pytest.raises(StoreUnavailable):
            holding.renew(TTL)
        store.is_deaf = False
        now[0] = NOON + TTL * 1.2
        holding.renew(TTL)

        with pytest.raises(LeaseHeld, match="ours"), _lease(store, "another", at=NOON + TTL * 2):
            pass


class _Slow(LocalStore):
    """Something happens before what is written is there."""

    before: Callable[[], object] | None = None

    def write(self, path: str, data: bytes) -> None:
        if self.before is not None:
            before, self.before = self.before, None
            before()
        super().write(path, data)


def test_a_renewal_that_comes_behind_another_holders_lease_is_none(tmp_path: Path) -> None:
    store, now = _Slow(tmp_path), [NOON]
    later = NOON + TTL * 1.2
    other = _lease(store, "another", at=later)

    def take() -> None:
        now[0] = later
        other.__enter__()

    with renewable_lease(store, SPY.lease_path, owner="slow", now=lambda: now[0], ttl=TTL) as holding:
        now[0] = NOON + TTL / 2
        store.before = take
        with pytest.raises(LeaseHeld, match="took too long"):
            holding.renew(TTL)

    with pytest.raises(LeaseHeld, match="another"), _lease(store, "a third", at=later):
        pass
    assert 1 == len(store.list(FOLDER))


def test_a_lease_that_was_removed_is_not_renewed(store: Store) -> None:
    with renewable_lease(store, SPY.lease_path, owner="robbed", now=lambda: NOON, ttl=TTL) as holding:
        for path in store.list(FOLDER):
            store.delete(path)
        with pytest.raises(LeaseHeld, match="robbed has lost the lease"):
            holding.renew(TTL)

    assert store.list("") == []


@pytest.mark.parametrize(
    "partition",
    [
        Partition("stock_bars", "../../etc", "2025-08-29"),
        Partition("stock_bars", "SPY", "../../../etc"),
        Partition("stock_bars", "SPY", "2025-08-29/x"),
        Partition("stock_bars", "SPY", "20250829"),
        Partition("stock_bars", "", "2025-08-29"),
        Partition("treasury_yields", "SPY", "2025"),
        Partition("treasury_yields", "", "25"),
        Partition("dividends", "SPY", "2025"),
        Partition("no_table", "SPY", "2025-08-29"),
    ],
    ids=str,
)
def test_a_name_from_outside_opens_nothing(tmp_path: object, partition: Partition) -> None:
    lake = Lake(Place(f"{tmp_path}/lake").open())
    actions: list[Callable[[], object]] = [
        lambda: lake.record(partition),
        lambda: lake.read(partition),
        lambda: lake.quarantined(partition),
        lambda: lake.lease(partition, owner="x", now=lambda: NOON, ttl=TTL),
    ]
    for action in actions:
        with pytest.raises(UsageError):
            action()
