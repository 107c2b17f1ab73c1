"""Every kind of answer with a second page that is not what it should be: exact rows when it passes, else a typed error.

The pages are the simulator's, changed here so that what they count agrees with what they hold, and served again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_world
from scripted_vendor import Reply, http, ok, scripted_vendor
from seam import rows_of, seam
from simulation import Simulation, simulated

from marketlake import asks
from marketlake.asks import Ask, AskKind
from marketlake.errors import BrokenAnswer, PaginationError
from marketlake.rest import Page
from marketlake.tables import TABLES, Span
from marketlake.tickers import Underlying

FRIDAY, MONDAY = small_world.SESSIONS
Document = dict[str, Any]


def in_pages_of(size: int, ask: Ask) -> Ask:
    return replace(ask, params=tuple((name, str(size) if name == "limit" else text) for name, text in ask.params))


ASKS = {
    "bars": asks.bars_ask(TABLES["index_bars"], "I:VIX", "I:VIX", Span.MINUTE, FRIDAY, MONDAY, 20),
    "trades": asks.trades_ask(TABLES["stock_trades"], "SPY", "SPY", MONDAY, 7),
    "quotes": asks.quotes_ask(TABLES["option_quotes"], "SPY", small_world.CALL, MONDAY, 7),
    "contracts": in_pages_of(4, asks.contracts_ask(Underlying.parse("SPY"), FRIDAY, expired=False)),
    "snapshots": in_pages_of(4, asks.snapshots_ask(Underlying.parse("SPY"), MONDAY, 4)),
    "news": in_pages_of(4, asks.news_ask(Underlying.parse("SPY"), MONDAY, MONDAY)),
    "dividends": in_pages_of(2, asks.dividends_ask("SPY", MONDAY)),
    "splits": in_pages_of(1, asks.splits_ask("SPY", MONDAY)),
    "yields": in_pages_of(5, asks.treasury_yields_ask(2024)),
}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("hostile")
    with simulated(small_world.write_small_world(folder / "small"), folder) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def undisturbed(vendor: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Page]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return {name: list(seam(vendor.rest, folder / name, key=vendor.key).pages(ask)) for name, ask in ASKS.items()}


def with_rows(page: Document, rows: list[Any]) -> Document:
    counts = {name: len(rows) for name in ("count", "resultsCount", "queryCount") if name in page}
    return {**page, **counts, "results": rows}


# Each takes the page before, the page, and what was asked for to get it.


def cut(_: Document, page: Document, __: str) -> Reply:
    body = json.dumps(page)
    return http(body[: len(body) // 2], length=len(body), then="close")


def cut_but_whole_http(_: Document, page: Document, __: str) -> Reply:
    body = json.dumps(page)
    return http(body[: len(body) // 2])


def without_results(_: Document, page: Document, __: str) -> Reply:
    return ok({name: value for name, value in with_rows(page, []).items() if name != "results"})


def empty(_: Document, page: Document, __: str) -> Reply:
    return ok(with_rows(page, []))


def empty_and_last(_: Document, page: Document, __: str) -> Reply:
    return ok({name: value for name, value in with_rows(page, []).items() if name != "next_url"})


def leading_to_itself(_: Document, page: Document, target: str) -> Reply:
    return ok({**page, "next_url": f"https://api.polygon.io{target}"})


def repeated(before: Document, page: Document, _: str) -> Reply:
    return ok(with_rows(page, before["results"]))


def overlapping(before: Document, page: Document, _: str) -> Reply:
    return ok(with_rows(page, before["results"][-1:] + page["results"]))


def beginning_again(before: Document, page: Document, _: str) -> Reply:
    return ok(with_rows(page, before["results"] + page["results"]))


TAMPERINGS = [
    cut, cut_but_whole_http, without_results, empty, empty_and_last, leading_to_itself, repeated, overlapping,
    beginning_again,
]  # fmt: skip


def test_every_kind_of_ask_is_tried_on_three_pages(undisturbed: dict[str, list[Page]]) -> None:
    assert {ask.kind for ask in ASKS.values()} == set(AskKind)
    assert not [name for name, pages in undisturbed.items() if len(pages) < 3]


@pytest.mark.parametrize("tamper", TAMPERINGS)
@pytest.mark.parametrize("name", ASKS)
def test_a_second_page_that_is_not_what_it_should_be(
    name: str,
    tamper: Callable[[Document, Document, str], Reply],
    vendor: Simulation,
    undisturbed: dict[str, list[Page]],
    tmp_path: Path,
) -> None:
    documents = [json.loads(page.body) for page in undisturbed[name]]
    good = [ok(document) for document in documents]
    target = documents[0]["next_url"].removeprefix(vendor.rest)
    bad = tamper(documents[0], documents[1], target)

    with scripted_vendor([good[0], bad, *good[1:]]) as once:
        pages = list(seam(once.url, tmp_path / "passes").pages(ASKS[name]))
        assert once.requests[1] == once.requests[2] == target, "only the second page is asked again"
    assert rows_of(undisturbed[name]) == rows_of(pages)
    with scripted_vendor([good[0], *[bad] * 3]) as always, pytest.raises((PaginationError, BrokenAnswer)):
        list(seam(always.url, tmp_path / "lasts").pages(ASKS[name]))
    assert not list(tmp_path.glob("lasts/**/page-00002*"))
