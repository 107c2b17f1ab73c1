"""What every operation on raw partitions works with, handed in from the edge."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from marketlake.checks import Check
from marketlake.lake import Lake
from marketlake.rest import Vendor
from marketlake.settings import Settings


@dataclass(frozen=True, slots=True)
class Desk:
    """Where to ask, where to write, what may pass, and who is asking when."""

    vendor: Vendor
    lake: Lake
    check: Check
    settings: Settings
    now: Callable[[], datetime]
    run_id: str
