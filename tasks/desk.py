"""Where a step gets what it works with: settings, credentials, lake, vendor, clock.

The outermost edge: the environment, the machine's clock and chance come in here and nowhere deeper.
"""

import os
import time
import uuid
from datetime import UTC, datetime

from prefect.context import FlowRunContext

from blocks.lake import open_lake
from blocks.polygon import polygon_credentials
from expectations import check
from marketlake.desk import Desk
from marketlake.lake import Lake
from marketlake.logs import configure, protect
from marketlake.rest import Vendor, open_vendor
from marketlake.settings import Settings, load_settings
from marketlake.settings_text import SECRETS


def now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def run_id() -> str:
    """The flow run's id, or a new one on the command line."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else str(uuid.uuid4())


def settings() -> Settings:
    """The settings of this process."""
    return load_settings(None, os.environ)


def configure_logging() -> None:
    """Log as the settings say, and let no secret of the environment into any line."""
    configure(settings().logging, [os.environ[name] for name in SECRETS if os.environ.get(name)])


def lake() -> Lake:
    """The lake that the block or the environment names."""
    return open_lake(settings())


def vendor(given: Settings, at: Lake) -> Vendor:
    """The vendor, asked with the block's or the environment's key."""
    credentials = polygon_credentials(os.environ)
    key = credentials.api_key.get_secret_value()
    protect([key])
    return open_vendor(
        key=key,
        settings=credentials.vendor_settings(given.vendor),
        retry=given.retry.rest,
        store=at.store,
        clock=now,
        sleep=time.sleep,
        reuse_hours=given.lake.capture_reuse_hours,
    )


def desk() -> Desk:
    """Everything that a batch of a backfill works with."""
    given = settings()
    at = open_lake(given)
    return Desk(vendor=vendor(given, at), lake=at, check=check, settings=given, now=now, run_id=run_id())
