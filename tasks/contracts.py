"""Steps about choosing a session's contracts."""

import time
from dataclasses import replace
from datetime import date, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.discover import Selection, choose_again
from marketlake.errors import UsageError
from marketlake.opening import wait_for_opening
from marketlake.selection import Opening
from marketlake.sessions import NEW_YORK, settled_at
from marketlake.tickers import Underlying
from tasks.desk import desk, session_now
from tasks.orders import Order, read_order


@task(name="order contracts", cache_policy=NO_CACHE)
def order_contracts(underlying: str, session: date | None) -> Order:
    """The order for the contracts of one session, which may be running: what is listed does not change in it.

    Raises:
        UsageError: the session lies in the future.
    """
    order = read_order.fn(["option_contracts"], [underlying], session, session, refresh=False)
    if not order.postponed:
        return order
    today = session_now(desk()).astimezone(NEW_YORK).date()
    if order.postponed[0] > today:
        message = f"{order.postponed[0]} has not come yet: what is listed on it is known from its morning on"
        raise UsageError(message)
    return replace(order, request=replace(order.request, sessions=order.postponed), postponed=())


def is_running(session: date) -> bool:
    """Whether the vendor's history of a session is not whole yet."""
    at = desk()
    return session_now(at) < settled_at(session, timedelta(minutes=at.settings.vendor.delay_minutes))


@task(name="wait for opening price", task_run_name="wait for the opening of {underlying}", cache_policy=NO_CACHE)
def wait_for_opening_price(underlying: str, session: date) -> Opening:
    """The opening price of a session that is running, as soon as it is known."""
    at = desk()
    return wait_for_opening(
        Underlying.parse(underlying), session, at, session_now=lambda: session_now(at), sleep=time.sleep
    )


@task(name="choose contracts", task_run_name="choose {underlying} {session}", cache_policy=NO_CACHE)
def choose_contracts(underlying: str, session: date, opening: Opening | None = None) -> Selection:
    """Apply the rule of choice to the contracts in the lake, and publish them where it changed anything."""
    return choose_again(Underlying.parse(underlying), session, desk(), opening)
