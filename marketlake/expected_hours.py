"""When news of a feed is expected in a session, told to a process that has no calendar.

The calendar needs pandas, which takes a recorder's whole memory once more: ``python -m marketlake.expected_hours
2025-08-29 options SPY SPXW`` is a process that answers and ends. What is expected of what stands in
:mod:`marketlake.sessions`.
"""

import asyncio
import sys
from collections.abc import Collection
from datetime import date
from subprocess import DEVNULL, PIPE

import msgspec

from marketlake.errors import MarketlakeError, UsageError
from marketlake.feeds import Subscription
from marketlake.tickers import AssetClass, OptionTicker


async def expected_hours_ns(
    feed: AssetClass, session: date, subscriptions: Collection[Subscription]
) -> tuple[int, int]:
    """From when to before when news of any of the subscriptions is expected, nanoseconds since the epoch.

    Raises:
        UsageError: the date is no session.
    """
    is_option = feed is AssetClass.OPTIONS
    roots = sorted({OptionTicker.parse(item.ticker).root for item in subscriptions}) if is_option else []
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        session.isoformat(),
        feed,
        *roots,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # who interrupts the recorder does not mean the calendar
    )
    try:
        out, problem = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UsageError(problem.decode(errors="replace").strip().rpartition("\n")[2])
    return msgspec.json.decode(out, type=tuple[int, int])


def main(day: str, feed: str, *roots: str) -> None:
    """Print the hours as JSON."""
    from marketlake.sessions import regular_hours  # noqa: PLC0415 - what all this is about

    session = date.fromisoformat(day)
    hours = [regular_hours(AssetClass(feed), root, session) for root in roots or ("",)]
    span = min(item.start_ns for item in hours), max(item.end_ns for item in hours)
    sys.stdout.write(msgspec.json.encode(span).decode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except MarketlakeError as error:
        sys.exit(str(error))
