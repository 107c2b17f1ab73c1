"""Decide in the morning whether there is a session, and start what records it."""

from datetime import date

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.alerts import tell_slack
from tasks.morning import (
    feeds_before_the_open,
    is_over,
    keep_morning,
    look_at_calendar,
    news_are_wanted,
    options_are_wanted,
    start_feed,
    start_healing,
    start_options,
    start_polling,
    underlyings,
)
from tasks.naming import named
from tasks.step import take


@flow(
    name="market-open",
    flow_run_name=named("market open", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def market_open(session: date | None = None) -> State[str]:
    """Start a run for each feed of today's session and its news, each its own: one that dies takes no other with it.

    What runs already is left alone: to start this flow again through the day is a net under all other ways of seeing
    that a run is gone.

    Args:
        session: Which day; today where left out. Late is not too late: what was missed is filled from history.
    """
    morning = take(look_at_calendar, session)
    runs: list[str] = []
    if morning.hours is not None:
        if not is_over(morning):
            runs += [take(start_feed, feed, morning.day) for feed in feeds_before_the_open()]
            if options_are_wanted():
                runs += [take(start_options, underlying, morning.day) for underlying in underlyings()]
            if news_are_wanted():
                runs.append(take(start_polling, morning.day))
        runs.append(take(start_healing, morning.day))
    keep_morning(morning, runs)
    return Completed(message=morning.reason)
