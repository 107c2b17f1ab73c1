"""A vendor seam for tests: a real client, a real store and a real lock file; time passes only when somebody sleeps."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from marketlake.capture import Captures
from marketlake.rate_limit import RateLimit
from marketlake.rest import Page, Vendor
from marketlake.settings import RestRetry
from marketlake.store import open_store
from marketlake.transport import Transport, client_opener
from marketlake.wire import parse

KEY = "a-canary-key-of-32-characters-00"
NS = 1_000_000_000
QUICK = RestRetry(
    connect_timeout_s=2,
    read_timeout_s=10,
    attempts=3,
    first_wait_s=0.5,
    longest_wait_s=8,
    rate_limit_patience_s=120,
)

# For answers that never come; elsewhere a busy machine must not look like a silent vendor.
IMPATIENT = QUICK.model_copy(update={"read_timeout_s": 0.3})


@dataclass
class Time:
    """A clock that sleeping moves."""

    now: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def utc(self) -> datetime:
        return self.now

    def since_boot_ns(self) -> int:
        return int(self.now.timestamp()) * NS + self.now.microsecond * 1000

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += timedelta(seconds=seconds, microseconds=1)


def seam(
    url: str,
    folder: Path | str,
    *,
    client: Literal["polygon", "massive"] = "polygon",
    key: str = KEY,
    retry: RestRetry = QUICK,
    time: Time | None = None,
    reuse: timedelta = timedelta(hours=24),
    state: Path | None = None,
) -> Vendor:
    """A vendor at ``url`` that captures into ``folder``."""
    time = time or Time()
    opener = client_opener(
        client, key, url, connect_timeout_s=retry.connect_timeout_s, read_timeout_s=retry.read_timeout_s
    )
    state = state or Path(folder).parent / "state"
    return Vendor(
        Transport(opener, url, retry.read_timeout_s),
        RateLimit(key, 6_000, folder=state, sleep=time.sleep, clock_ns=time.since_boot_ns, boot="tests"),
        Captures(open_store(str(folder))),
        key=key,
        retry=retry,
        clock=time.utc,
        sleep=time.sleep,
        reuse=reuse,
        delay=timedelta(0),
    )


def rows_of(pages: Iterable[Page]) -> list[dict[str, Any]]:
    """All rows of an answer, as the lake would get them."""
    return [row for page in pages for row in parse(page.ask, page.body).rows.to_pylist()]
