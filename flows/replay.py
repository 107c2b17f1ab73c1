"""Replay a stored session as if it were live."""

from datetime import date

from prefect import flow

from tasks.alerts import tell_slack
from tasks.naming import named
from tasks.replaying import Replayed, compare, exchange, keep_replayed, play, set_stage, tell_addresses
from tasks.step import take


@flow(name="replay", flow_run_name=named("replay", "session"), on_failure=[tell_slack], on_crashed=[tell_slack])
def replay(session: date | None = None, speed: float = 60, into: str = "replay") -> Replayed:
    """Serve a session of the lake from a simulated vendor, record it anew, and hold the two against each other.

    Args:
        session: Which session of the lake; the newest complete one in it when left out.
        speed: Session seconds a second, from 0.1 to 10,000.
        into: A folder for it, which must not exist or be empty.
    """
    stage = take(set_stage, session, speed, into)
    with exchange(stage) as address:
        tell_addresses(address)
        take(play, stage, address)
    replayed = take(compare, stage)
    keep_replayed(replayed)
    return replayed
