"""The official client as a process: ``python -m bench.baselines.stream PLACE WAY COUNT FOLDER [nogc]``.

WAY is what its user does with the parsed objects: ``keep`` appends them to a list; ``product`` writes them as JSON
lines too, synced every 100 ms by a thread, and makes a DataFrame of each kind in the end. "done" is printed when that
is finished; what was made is left in FOLDER after that, outside of what is measured.
"""

import gc
import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import IO, Any

import pandas as pd
from polygon import WebSocketClient

from bench.feed import SUBSCRIPTIONS


def main() -> None:
    place, way, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    if "nogc" in sys.argv[5:]:
        gc.disable()
    kept: list[Any] = []
    came_ns: list[int] = []
    spool: IO[str] | None = (folder / "spool.jsonl").open("w") if way == "product" else None
    if spool is not None:
        threading.Thread(target=sync, args=(spool,), daemon=True).start()

    def take(messages: list[Any]) -> None:
        kept.extend(messages)
        came_ns.append(time.time_ns())
        if spool is not None:
            spool.writelines(json.dumps(message.__dict__) + "\n" for message in messages)
        if len(kept) >= count:
            finish(kept, came_ns, spool, folder)

    client = WebSocketClient(
        "a-key", feed=place, market="stocks", subscriptions=list(SUBSCRIPTIONS), secure=False, max_reconnects=0
    )
    client.run(take, proxy=None, max_size=None)


def sync(spool: IO[str]) -> None:
    while not spool.closed:
        time.sleep(0.1)
        os.fsync(spool.fileno())


def finish(kept: list[Any], came_ns: list[int], spool: IO[str] | None, folder: Path) -> None:
    frames = {}
    if spool is not None:
        spool.flush()
        os.fsync(spool.fileno())
        by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in kept:
            by_kind[message.event_type].append(message.__dict__)
        frames = {kind: pd.DataFrame(rows) for kind, rows in by_kind.items()}
    print("done", flush=True)
    (folder / "came.json").write_text(json.dumps(came_ns))
    for kind, frame in frames.items():
        frame.to_pickle(folder / f"{kind}.pickle")
    print("left", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
