"""Where a step gets what it works with: settings, credentials, lake, vendor, clock.

The outermost edge: the environment, the machine's clock and chance come in here and nowhere deeper.
"""

import os
import time
import uuid
from datetime import UTC, datetime
from functools import cache

from prefect.context import FlowRunContext

from blocks.lake import lake_block, open_lake
from blocks.polygon import polygon_credentials
from expectations import check
from marketlake.desk import Desk
from marketlake.lake import Lake
from marketlake.logs import configure
from marketlake.rest import open_vendor
from marketlake.settings import Settings, load_settings
from marketlake.settings_text import SECRETS


def now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def run_id() -> str:
    """The flow run's id; on the command line, one for the process."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else _process_run_id()


@cache
def _process_run_id() -> str:
    return str(uuid.uuid4())


def settings() -> Settings:
    """The settings of this process."""
    return load_settings(None, os.environ)


def configure_logging() -> None:
    """Log as the settings say, and let no secret of the environment into any line."""
    configure(settings().logging, [os.environ[name] for name in SECRETS if os.environ.get(name)])


def lake() -> Lake:
    """The lake that the block or the environment names."""
    return open_lake(settings())


def recorder_environment() -> dict[str, str]:
    """The environment of a recorder's process: what blocks say reaches it as variables."""
    configured = settings()
    credentials = polygon_credentials(os.environ)
    ours = {name: value for name, value in os.environ.items() if name != "SLACK_BOT_TOKEN"}
    return {**ours, **credentials.environment(configured.vendor), **lake_block(configured).environment()}


def session_now(at: Desk) -> datetime:
    """The session's clock: this machine's, or the vendor's where a past session is replayed."""
    return at.now() if at.settings.stream.clock == "machine" else at.vendor.server_time()


def desk() -> Desk:
    """Everything that a batch of a backfill works with."""
    configured = settings()
    credentials = polygon_credentials(os.environ)
    # The plan of a saved block decides as much as its key: which tables, how many calls, and from when on a
    # session is over.
    given = configured.with_vendor(credentials.vendor_settings(configured.vendor))
    at = open_lake(given)
    client = open_vendor(
        key=credentials.api_key.get_secret_value(),
        settings=given.vendor,
        retry=given.retry.rest,
        store=at.store,
        clock=now,
        sleep=time.sleep,
        reuse_hours=given.lake.capture_reuse_hours,
    )
    return Desk(vendor=client, lake=at, check=check, settings=given, now=now, run_id=run_id())
