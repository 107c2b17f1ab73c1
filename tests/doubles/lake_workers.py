"""Writers of a lake as processes of their own: to race, and to be killed at a chosen instant."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import pyarrow as pa
from lake_places import Place
from table_rows import refused_rows_of, rows_of

from marketlake.errors import LeaseHeld
from marketlake.lake import Lake
from marketlake.ledger import Coverage, How, Operational, Proof, Record
from marketlake.store import Store
from marketlake.tables import Partition

PATIENCE_S = 60


def context() -> ForkServerContext:
    """Where workers come from: forked from a process that has imported the lake and started no thread."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["marketlake.lake", "marketlake.s3_store", "pandas"])
    return found


def ended(process: BaseProcess) -> int | None:
    """The exit code of a worker; it is killed when it does not end in time."""
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def store_at(root: str, endpoint: str) -> Store:
    """The store that a test works on, seen from a worker."""
    return Place(root, endpoint).open()


def create_all(root: str, endpoint: str, names: list[str], gate: Barrier, won: "SimpleQueue[int]") -> None:
    """Create files at the same time as others do, and report how many were won."""
    store = store_at(root, endpoint)
    store.list("")
    gate.wait(PATIENCE_S)
    won.put(sum(store.create(name, b"the same bytes from everybody") for name in names))


def write_over(root: str, endpoint: str, path: str, size: int, times: int) -> None:
    """Replace a file again and again by another digit's repetition."""
    store = store_at(root, endpoint)
    for number in range(times):
        store.write(path, str(number % 10).encode() * size)


def race_for_lease(
    root: str, endpoint: str, partition: Partition, me: str, gate: Barrier, told: "SimpleQueue[tuple[str, str]]"
) -> None:
    """Try to take the lease when the others do; who gets it holds it until all have tried."""
    lake = Lake(store_at(root, endpoint))
    lake.record(partition)
    gate.wait(PATIENCE_S)
    try:
        with lake.lease(partition, owner=me, now=lambda: datetime.now(UTC), ttl=timedelta(minutes=5)):
            told.put((me, "held"))
            gate.wait(PATIENCE_S)
    except LeaseHeld as error:
        told.put((me, str(error)))
        gate.wait(PATIENCE_S)


def die_with_lease(root: str, endpoint: str, partition: Partition, expires: datetime) -> None:
    """Take the lease and be killed."""
    with Lake(store_at(root, endpoint)).lease(
        partition, owner="the dead", now=lambda: expires - timedelta(minutes=1), ttl=timedelta(minutes=1)
    ):
        os.kill(os.getpid(), signal.SIGKILL)


class KillsItself:
    """A store whose process is killed before its n-th change."""

    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._left = at

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def root(self) -> str:
        return self._store.root

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def exists(self, path: str) -> bool:
        return self._store.exists(path)

    def size(self, path: str) -> int | None:
        return self._store.size(path)

    def list(self, prefix: str) -> list[str]:
        return self._store.list(prefix)

    def create(self, path: str, data: bytes) -> bool:
        return self._store.create(path, data)

    def write(self, path: str, data: bytes) -> None:
        self._count()
        self._store.write(path, data)

    def delete(self, path: str) -> None:
        self._count()
        self._store.delete(path)


def publish_and_die(root: str, endpoint: str, partition: Partition, version: int, at: int) -> None:
    """Publish a version of a partition through a store that kills this process before its n-th change."""
    publish_version(Lake(KillsItself(store_at(root, endpoint), at)), partition, version)


def die_one_after_another(
    victims: "list[tuple[str, str, Partition, int, int, bool]]", told: "SimpleQueue[int]"
) -> None:
    """Run :func:`publish_and_die` with each of the arguments in a child, and report how each child ended."""
    for arguments in victims:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                publish_and_die(*arguments)
                code = 0
            finally:
                os._exit(code)
        told.put(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def publish_version(lake: Lake, partition: Partition, version: int, run: str = "a run") -> Record:
    """Publish rows that depend on the version alone; an even version has no refused row."""
    table = partition.spec
    refused = refused_rows_of(table, 0 if version % 2 == 0 else version, seed=version)
    rows = rows_of(table, 50, seed=version)
    return lake.publish(
        partition,
        rows,
        coverage=coverage_of(rows, refused, version),
        quarantined=refused,
        flags={"out_of_hours": version},
        operational=Operational(run, "2025-08-29T21:00:00+00:00"),
    )


def coverage_of(rows: pa.Table, refused: pa.Table, version: int) -> list[Coverage]:
    """One piece that says that all of it was backfilled."""
    proof = (Proof(f"capture/rest/version-{version}/page-00001.zst", f"{version:064x}"),)
    return [Coverage("SPY", "minute", 0, 10, How.BACKFILLED, rows.num_rows, refused.num_rows, 0, 0, proof)]
