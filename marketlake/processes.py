"""Which process wrote something, and whether it is certainly gone.

A process id alone proves nothing: it is used again after an exit, it means another process in another container, and
another one after a restart of the machine. Here it is joined with the boot, the PID namespace and the start time.
Linux only, like the rest of the project. Who may write what is decided in :mod:`marketlake.lease`.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_PROC: Final = Path("/proc")
_GONE: Final = frozenset("ZX")  # a zombie writes no more, and may wait for ever to be reaped


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of one machine; ``started`` counts clock ticks from the boot."""

    host: str
    boot: str
    namespace: int
    pid: int
    started: int

    @classmethod
    def of_this_process(cls) -> Self:
        """The identity of the running process; after a fork the child has its own."""
        pid = os.getpid()
        state = _state_and_start(pid)
        if state is None:
            message = "/proc does not describe this process: marketlake needs a mounted /proc"
            raise OSError(message)
        return cls(socket.gethostname(), _boot(), _namespace(), pid, state[1])

    @property
    def slug(self) -> str:
        """The same facts without the host's name, short enough for a file name."""
        return f"{self.boot[:8]}-{self.namespace}-{self.pid}-{self.started}"

    @property
    def is_certainly_dead(self) -> bool:
        """Whether it is known to have ended; False also when nothing can be known from here.

        Nothing can be known of a process of another machine, of another container, or of before a restart.
        """
        return self.pid > 0 and (self.boot, self.namespace) == (_boot(), _namespace()) and _has_ended(self)

    @staticmethod
    def slug_is_certainly_dead(slug: str) -> bool:
        """The same question for a :attr:`slug`; False for a text that is none."""
        found = _of_slug(slug)
        return found is not None and _has_ended(found)

    @staticmethod
    def slug_lives_here(slug: str) -> bool:
        """Whether the process of a :attr:`slug` runs on this machine and is seen from here."""
        found = _of_slug(slug)
        return found is not None and not _has_ended(found)


def _of_slug(slug: str) -> ProcessIdentity | None:
    """A process of this boot and namespace; None for any other, and for a text that is no slug."""
    try:
        boot, namespace, pid, started = slug.split("-")
        found = ProcessIdentity("", boot, int(namespace), int(pid), int(started))
    except ValueError:
        return None
    here = (_boot()[:8], _namespace())
    return found if found.pid > 0 and (found.boot, found.namespace) == here else None


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> int:
    return (_PROC / "self/ns/pid").stat().st_ino


def _has_ended(process: ProcessIdentity) -> bool:
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process has the number now, or the same one runs as another user: see its start time
    except OverflowError:
        return True
    state = _state_and_start(process.pid)
    return state is not None and (state[0] in _GONE or state[1] != process.started)


def _state_and_start(pid: int) -> tuple[str, int] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # proc_pid_stat(5): the second field is the command in parentheses and may hold anything, also spaces and ")".
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
