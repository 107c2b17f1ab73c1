"""Whether the market is open now, and its coming holidays."""

from datetime import UTC, datetime, timedelta
from typing import Final

from simulator import exchange_hours
from simulator.asks import Ask
from simulator.newyork import NS_PER_S, moment
from simulator.replies import Reply
from simulator.view import View

_INDEX_GROUPS: Final = (
    "s_and_p",
    "dow_jones",
    "nasdaq",
    "ftse_russell",
    "msci",
    "mstar",
    "mstarc",
    "cccy",
    "cgi",
    "societe_generale",
)
_EXCHANGES: Final = ("NYSE", "NASDAQ", "OTC")
_LOOK_AHEAD: Final = timedelta(days=365)
_SUNDAY_OPEN_HOUR: Final = 17


def status_now(_: Ask, view: View) -> Reply:
    """``/v1/marketstatus/now``: a flat object; ``serverTime`` is the simulated now."""
    phase, is_early, is_after = exchange_hours.market_phase(view.now_ns)
    now = moment(view.now_ns)
    # Currencies trade from Sunday 17:00 to Friday 17:00 New York; crypto never stops.
    is_weekend = now.weekday() == 5 or (now.weekday() == 4 and now.hour >= _SUNDAY_OPEN_HOUR)
    is_weekend = is_weekend or (now.weekday() == 6 and now.hour < _SUNDAY_OPEN_HOUR)
    return Reply(
        {
            "market": phase,
            "earlyHours": is_early,
            "afterHours": is_after,
            "serverTime": now.replace(microsecond=0).isoformat(),
            "exchanges": {name.lower(): phase for name in _EXCHANGES},
            "currencies": {"fx": "closed" if is_weekend else "open", "crypto": "open"},
            "indicesGroups": dict.fromkeys(_INDEX_GROUPS, "open" if phase == "open" else "closed"),
        }
    )


def upcoming(_: Ask, view: View) -> Reply:
    """``/v1/marketstatus/upcoming``: a bare array, one row an exchange and day."""
    rows: list[dict[str, object]] = []
    for special in exchange_hours.special_days(view.today, view.today + _LOOK_AHEAD):
        for exchange in _EXCHANGES:
            row: dict[str, object] = {"date": special.day.isoformat(), "exchange": exchange, "name": special.name}
            if special.session_ns is None:
                row["status"] = "closed"
            else:
                opens, closes = (_utc_text(at) for at in special.session_ns)
                row |= {"status": "early-close", "open": opens, "close": closes}
            rows.append(row)
    return Reply(rows, len(rows))


def _utc_text(t_ns: int) -> str:
    return f"{datetime.fromtimestamp(t_ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
