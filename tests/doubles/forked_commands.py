"""What the process from which commands are forked has ready: imports and the calendar, which take each one seconds."""

from datetime import date
from importlib import import_module

from marketlake.sessions import is_session

for name in (
    "expectations.judging",
    "flows.backfill",
    "flows.consolidate",
    "flows.discover_options",
    "flows.heal",
    "flows.printing",
    "flows.stage",
    "flows.stream",
    "massive",
    "pandas_ta",
    "s3fs",
    "vollib.black_scholes.implied_volatility",
):
    import_module(name)
is_session(date(2025, 8, 29))
