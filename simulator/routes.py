"""The vendor's addresses: which endpoint answers which path, and which kind of data it needs a plan for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from simulator.asks import Ask
from simulator.endpoints import aggregates, contracts, markets, news, reference, snapshots, ticks
from simulator.plans import AssetClass, DataKind
from simulator.replies import Reply
from simulator.view import View

Endpoint = Callable[[Ask, View], Reply]

_ERROR_SHAPE: Final = True


@dataclass(frozen=True, slots=True)
class Route:
    """A path template and what stands behind it.

    A plan is asked about the ticker in the path, or about ``asset`` as a whole; reference data without an asset are
    in every plan. ``denies_as_error`` tells the two shapes of a 403 apart.
    """

    template: str
    endpoint: Endpoint
    kind: DataKind
    asset: AssetClass | None = None
    denies_as_error: bool = False

    def match(self, path: str) -> Mapping[str, str] | None:
        """The path's values by name, or None."""
        found = _pattern(self.template).fullmatch(path)
        return None if found is None else found.groupdict()


_REFERENCE: Final = DataKind.REFERENCE

ROUTES: Final = (
    Route("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}", aggregates.custom_bars, DataKind.BARS),
    Route("/v2/aggs/ticker/{ticker}/prev", aggregates.previous_close, DataKind.BARS),
    Route(
        "/v2/aggs/grouped/locale/us/market/stocks/{date}", aggregates.grouped_daily, DataKind.BARS, AssetClass.STOCKS
    ),
    Route("/v1/open-close/{ticker}/{date}", aggregates.open_close, DataKind.BARS),
    Route("/v3/trades/{ticker}", ticks.trades, DataKind.TRADES),
    Route("/v3/quotes/{ticker}", ticks.quotes, DataKind.QUOTES),
    Route("/v2/last/trade/{ticker}", ticks.last_trade, DataKind.TRADES),
    Route("/v2/last/nbbo/{ticker}", ticks.last_quote, DataKind.QUOTES),
    Route("/v3/reference/options/contracts", contracts.contracts, _REFERENCE),
    Route("/v3/reference/options/contracts/{ticker}", contracts.contract, _REFERENCE),
    Route("/v3/snapshot/options/{ticker}", snapshots.option_chain, DataKind.SNAPSHOT, AssetClass.OPTIONS, _ERROR_SHAPE),
    Route(
        "/v3/snapshot/options/{ticker}/{contract}",
        snapshots.option_contract,
        DataKind.SNAPSHOT,
        AssetClass.OPTIONS,
        _ERROR_SHAPE,
    ),
    Route("/v3/snapshot/indices", snapshots.indices, DataKind.SNAPSHOT, AssetClass.INDICES, _ERROR_SHAPE),
    Route("/v3/snapshot", snapshots.universal, _REFERENCE),
    Route("/v2/reference/news", news.news, _REFERENCE),
    Route("/v3/reference/tickers/{ticker}", reference.ticker_details, _REFERENCE),
    Route("/v1/marketstatus/now", markets.status_now, _REFERENCE),
    Route("/v1/marketstatus/upcoming", markets.upcoming, _REFERENCE),
    Route("/v3/reference/dividends", reference.dividends, _REFERENCE),
    Route("/stocks/v1/dividends", reference.stocks_dividends, _REFERENCE),
    Route("/v3/reference/splits", reference.splits, _REFERENCE),
    Route("/stocks/v1/splits", reference.stocks_splits, _REFERENCE),
    Route("/v3/reference/conditions", reference.conditions, _REFERENCE),
    Route("/v3/reference/exchanges", reference.exchanges, _REFERENCE),
    Route("/fed/v1/treasury-yields", reference.treasury_yields, _REFERENCE),
)


def find_route(path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The route of a decoded path and the values in it; None where the vendor has no such path."""
    for route in ROUTES:
        values = route.match(path)
        if values is not None:
            return route, values
    return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)))
