"""The recorder as a process of its own: ``python recorder_process.py stocks 2025-08-29 T.SPY,AM.SPY`` ("" goes on)."""

import os
import sys
from datetime import date

from marketlake.errors import MarketlakeError
from marketlake.feeds import Subscription
from marketlake.logs import configure
from marketlake.recording import record
from marketlake.settings import load_settings
from marketlake.store import open_store
from marketlake.tickers import AssetClass

HEAVY = ("pyarrow", "pandas", "numpy", "prefect", "great_expectations", "botocore")


def main() -> None:
    """Record, and say at the end what was imported that should not be."""
    feed, day, texts = sys.argv[1:]
    settings, key = load_settings(None, os.environ), os.environ["POLYGON_API_KEY"]
    configure(settings.logging, [])  # that no key is logged is the recorder's own care
    wanted = [Subscription.parse(text) for text in texts.split(",")] if texts else None
    try:
        record(
            AssetClass(feed),
            date.fromisoformat(day),
            wanted,
            settings=settings,
            key=key,
            store=open_store(settings.lake.root),
        )
    except MarketlakeError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print("heavy imports:", sorted(set(HEAVY) & sys.modules.keys()))  # noqa: T201


if __name__ == "__main__":
    main()
