"""Whether a process is certainly dead: yes only when that is known."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from marketlake.processes import ProcessIdentity

SAY_WHO = "from marketlake.processes import ProcessIdentity as P; print(repr(P.of_this_process()), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """A process that waits, and who it says it is."""
    command = [sys.executable, "-c", SAY_WHO]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = eval(process.stdout.readline(), {"ProcessIdentity": ProcessIdentity})
        yield process, told
        process.kill()


def test_a_running_process_is_not_dead(other: tuple[subprocess.Popen[str], ProcessIdentity]) -> None:
    process, identity = other

    assert identity.pid == process.pid
    assert not identity.is_certainly_dead
    assert not ProcessIdentity.of_this_process().is_certainly_dead
    assert not ProcessIdentity.slug_is_certainly_dead(identity.slug)


def test_a_killed_process_is_dead_before_and_after_its_parent_looked(
    other: tuple[subprocess.Popen[str], ProcessIdentity],
) -> None:
    process, identity = other
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie

    assert identity.is_certainly_dead
    assert ProcessIdentity.slug_is_certainly_dead(identity.slug)
    process.wait()
    assert identity.is_certainly_dead
    assert ProcessIdentity.slug_is_certainly_dead(identity.slug)


def test_a_number_that_another_process_has_now_is_of_a_dead_one() -> None:
    earlier = replace(ProcessIdentity.of_this_process(), started=1)

    assert earlier.is_certainly_dead
    assert ProcessIdentity.slug_is_certainly_dead(earlier.slug)


@pytest.mark.parametrize("where", [{"boot": "00000000-0000"}, {"namespace": 1}, {"pid": 0}, {"pid": -1}], ids=str)
def test_nothing_is_known_of_a_process_that_cannot_be_seen_from_here(where: dict[str, object]) -> None:
    unseen = replace(ProcessIdentity.of_this_process(), **({"pid": 2**22 - 1, "started": 1} | where))

    assert not unseen.is_certainly_dead
    assert not ProcessIdentity.slug_is_certainly_dead(unseen.slug)


def test_a_host_of_another_name_is_the_same_machine_when_it_is_the_same_boot() -> None:
    me = ProcessIdentity.of_this_process()

    assert replace(me, host="renamed", started=1).is_certainly_dead


@pytest.mark.parametrize("slug", ["", "a", "a-b-c-d", "1-2-3", "1-2-3-4-5"])
def test_a_text_that_is_no_slug_is_of_nobody(slug: str) -> None:
    assert not ProcessIdentity.slug_is_certainly_dead(slug)


def test_a_forked_child_is_somebody_else() -> None:
    me = ProcessIdentity.of_this_process()
    command = "import os, sys; from marketlake.processes import ProcessIdentity as P; a = P.of_this_process().slug\n"
    command += "child = os.fork()\nif child == 0: os._exit(P.of_this_process().slug == a)\n"
    command += "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"

    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
    assert me == ProcessIdentity.of_this_process()
