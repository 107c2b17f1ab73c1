"""The simulated vendor as a process. Imports no Prefect: a demo starts it before Prefect may read its settings."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from marketlake.errors import UsageError

# A cold start on a busy two-core machine takes seconds; a minute without a word means that something is wrong.
_PATIENCE_S: Final = 60


@contextmanager
def simulator(world: Path | None, folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """A simulated vendor, with its log in the folder, until the end of the block; what its ready file says.

    Raises:
        UsageError: the world cannot be served.
    """
    ready = folder / "simulator.json"
    command = [sys.executable, "-m", "simulator", "--world", str(world or "synthetic"), "--ready", str(ready), *options]
    log = (folder / "simulator.log").open("w+")
    process = subprocess.Popen(command, stderr=log)  # noqa: S603 - our own interpreter
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                message = f"the simulator did not start: {log.read().strip()}"
                raise UsageError(message)
            time.sleep(0.05)
        address: dict[str, Any] = json.loads(ready.read_text())
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()
