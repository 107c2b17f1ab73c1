"""The demo's stage: a folder of its own, a simulated vendor, and an embedded Prefect; the play is :mod:`flows.demo`."""

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

from marketlake.errors import UsageError
from tasks.simulated import simulator

# As many as are chosen by default.
MOST_CONTRACTS = 30
MARKER = ".marketlake-demo"


def show_demo(world: Path | None, folder: Path) -> None:
    """Simulate a vendor, run the flows under an embedded Prefect, and show what came out.

    Raises:
        UsageError: the folder holds something that no demo put there, or the world cannot be served.
    """
    started = time.monotonic()
    underlying = _underlying_of(world)
    _fresh(folder)
    with simulator(world, folder) as address:
        os.environ.update(
            {
                "POLYGON_API_KEY": address["key"],
                "MARKETLAKE_REST_URL": address["rest"],
                "MARKETLAKE_WS_URL": address["ws"],
                "MARKETLAKE_LAKE": str(folder / "lake"),
                "MARKETLAKE__STREAM__SPOOL": str(folder / "spool"),
                "MARKETLAKE__STREAM__CLOCK": "vendor",
                "MARKETLAKE__STREAM__WINDOW_MINUTES": "5",
                "XDG_STATE_HOME": str(folder / "state"),
                "PREFECT_HOME": str(folder / "prefect"),
                "MARKETLAKE__LOGGING__LEVEL": "WARNING",
                "PREFECT_LOGGING_LEVEL": "WARNING",
                "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
            }
        )
        os.environ.pop("PREFECT_API_URL", None)
        # Prefect reads its settings when it is imported, so nothing that imports it may come before this line.
        from flows.demo import demo  # noqa: PLC0415
        from flows.printing import print_demo  # noqa: PLC0415
        from tasks.desk import configure_logging  # noqa: PLC0415

        configure_logging()
        print_demo(demo(underlying, _contracts_of(world), str(folder), address["control"]), time.monotonic() - started)


def _underlying_of(world: Path | None) -> str:
    if world is None:
        return "SPY"
    try:
        name: str = json.loads((world / "world.json").read_text())["underlying"]
    except (OSError, ValueError, KeyError) as error:
        message = f"{world} is no recorded world: {error}"
        raise UsageError(message) from error
    return name


def _contracts_of(world: Path | None) -> list[str]:
    """The contracts of which a recorded world has most rows: those near the opening price may have none."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    counts: Counter[str] = Counter()
    for name in ("bars.parquet", "quotes.parquet"):
        if world is not None and (world / name).exists():
            column = pq.read_table(world / name, columns=["ticker"])["ticker"].cast(pa.string())
            counts.update({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})
    options = [ticker for ticker, _ in counts.most_common() if ticker.startswith("O:")]
    return options[:MOST_CONTRACTS]


def _fresh(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        message = f"{folder} is not empty and was not made by the demo: give another --folder"
        raise UsageError(message)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
