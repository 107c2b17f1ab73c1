"""One session from end to end: history in, contracts chosen, the consolidated session out, and its picture."""

from prefect import flow

from flows.backfill import backfill
from flows.consolidate import consolidate
from flows.discover_options import discover_options
from marketlake.sessions import previous_session
from marketlake.tickers import AssetClass, Underlying
from tasks.pictures import Demonstration, draw_session
from tasks.step import take

SHARES = ("stock_bars", "dividends", "splits")
OPTIONS = ("option_bars", "option_quotes", "option_trades")
TICKS = ("stock_trades", "stock_quotes")


@flow(name="demo", flow_run_name="demo {underlying}")
def demo(underlying: str, contracts: list[str], folder: str) -> Demonstration:
    """Fill a lake with one session of every table and consolidate it.

    Args:
        underlying: SPY, or an index such as I:SPX.
        contracts: Contracts to take besides the chosen ones.
        folder: Where the picture goes.
    """
    share = Underlying.parse(underlying).asset_class is AssetClass.STOCKS
    bars = ["index_bars", "treasury_yields", "news"] + ([*SHARES, *TICKS] if share else [])
    history = backfill(bars, [underlying, "I:VIX"])
    selection = discover_options(underlying, history.newest_session)
    # Until the VIX moves, and where it is recorded by day only, the close before the session is what is known of it.
    before = backfill(["index_bars"], ["I:VIX"], previous_session(selection.session))
    options = backfill(list(OPTIONS), [underlying, "@chosen", *contracts], selection.session)
    (result,) = consolidate(underlying, selection.session)
    return take(draw_session, result, [history, before, options], folder)
