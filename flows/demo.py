"""One session from end to end: ten minutes live, history in, contracts chosen, consolidated, and its picture."""

from datetime import date, datetime

from prefect import flow

from flows.backfill import backfill
from flows.consolidate import consolidate
from flows.discover_options import discover_options
from flows.heal import heal
from flows.stream import stream
from marketlake.sessions import previous_session
from marketlake.tickers import AssetClass, Underlying
from tasks.pictures import Demonstration, draw_session
from tasks.rehearsal import Exchange
from tasks.step import take
from tasks.stream import StreamReport

SHARES = ("stock_bars", "dividends", "splits")
OPTIONS = ("option_bars", "option_quotes", "option_trades")
TICKS = ("stock_trades", "stock_quotes")


@flow(name="demo", flow_run_name="demo {underlying}")
def demo(underlying: str, contracts: list[str], folder: str, control: str) -> Demonstration:
    """Fill a lake with one session of every table and consolidate it.

    Args:
        underlying: SPY, or an index such as I:SPX.
        contracts: Contracts to take besides the chosen ones.
        folder: Where the picture goes.
        control: The simulated exchange's control address.
    """
    share = Underlying.parse(underlying).asset_class is AssetClass.STOCKS
    bars = ["index_bars", "treasury_yields", "news"] + ([*SHARES, *TICKS] if share else [])
    live = Exchange(control).rehearse(_record)
    history = heal(bars, [underlying, "I:VIX"], live[0].order.session)
    selection = discover_options(underlying, history.newest_session)
    # Until the VIX moves, and where it is recorded by day only, the close before the session is what is known of it.
    before = backfill(["index_bars"], ["I:VIX"], previous_session(selection.session))
    options = backfill(list(OPTIONS), [underlying, "@chosen", *contracts], selection.session)
    (result,) = consolidate(underlying, selection.session)
    return take(draw_session, result, live, [history, before, options], folder)


def _record(feed: AssetClass, session: date, until: datetime) -> StreamReport:
    return stream(feed, session, until=until)
