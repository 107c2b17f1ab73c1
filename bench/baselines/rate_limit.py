"""One limit for all processes of a machine: the instants of the last minute's calls as JSON in a locked file."""

import fcntl
import json
import time
from pathlib import Path


def acquire(path: Path, calls: int, window_s: float) -> None:
    while True:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            stamps = [stamp for stamp in json.loads(file.read() or "[]") if stamp > now - window_s]
            if len(stamps) < calls:
                file.truncate(0)
                json.dump([*stamps, now], file)
                return
        time.sleep(stamps[0] + window_s - now)
