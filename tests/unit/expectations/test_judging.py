"""How a suite is run: whole tables, no rows, odd numbers, several threads."""

import math
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import expectations
from marketlake.tables import TABLES, Table

BARS = TABLES["stock_bars"]


def bars(count: int, **columns: object) -> pa.Table:
    """Flat minute bars of SPY from 2020-01-02 on, with some columns given."""
    given: dict[str, object] = {
        "ticker": ["SPY"] * count,
        "span": ["minute"] * count,
        "start": 1_577_923_200_000_000_000 + np.arange(count) * 60_000_000_000,
        "volume": np.ones(count),
        "vwap": np.ones(count),
        "trades": np.ones(count, dtype=np.int64),
    }
    given |= {name: np.ones(count) for name in ("open", "high", "low", "close")}
    given |= columns
    return pa.table([pa.array(given[field.name]).cast(field.type) for field in BARS.schema], schema=BARS.schema)


@pytest.mark.parametrize("table", [table for table in TABLES.values() if table.name != "market_minutes"])
def test_no_rows_pass(table: Table) -> None:
    """Emptiness is an answer: whether it was proven is the ledger's business."""
    verdict = expectations.check(table, table.schema.empty_table())

    assert ([], (), ()) == (verdict.rows.tolist(), verdict.rules, verdict.failed)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(bars(2).drop_columns("vwap"), id="a-column-missing"),
        pytest.param(bars(2).append_column("note", pa.nulls(2)), id="a-column-more"),
        pytest.param(bars(2).select(list(reversed(BARS.schema.names))), id="another-order"),
        pytest.param(bars(2).set_column(9, "trades", pa.array([1.0, 2.0])), id="another-type"),
        pytest.param(
            bars(2).set_column(2, "start", bars(2)["start"].cast(pa.timestamp("us", tz="UTC"))), id="another-unit"
        ),
    ],
)
def test_other_columns_or_types_fail_as_a_whole(rows: pa.Table) -> None:
    verdict = expectations.check(BARS, rows)

    assert ((), ("schema_as_declared",)) == (verdict.rules, verdict.failed)


def test_positions_count_over_all_chunks() -> None:
    parts = [bars(3), bars(2, span=["minute", "week"]), bars(4, ticker=["SPY", "I:VIX", "SPY", "SPY"])]
    verdict = expectations.check(BARS, pa.concat_tables(parts))

    assert [4, 6] == verdict.rows.tolist()
    assert ("span_known", "ticker_of_class") == verdict.rules


def test_a_number_that_is_none_is_refused_and_null_is_not() -> None:
    """Pandas has one mark for both; the check tells them apart."""
    verdict = expectations.check(BARS, bars(3, vwap=pa.array([math.nan, None, math.inf])))

    assert ([0, 2], ("vwap_is_price", "vwap_is_price")) == (verdict.rows.tolist(), verdict.rules)


def test_threads_get_the_verdicts_on_their_own_rows() -> None:
    """A batch of a backfill is checked on a thread of its own."""
    wrong = list(range(8))
    tables = [bars(40, close=np.where(np.arange(40) == number, 0.0, 1.0)) for number in wrong]
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda rows: expectations.check(BARS, rows), tables))

    assert [[number] for number in wrong] == [verdict.rows.tolist() for verdict in verdicts]


def test_a_rule_that_cannot_be_evaluated_is_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from expectations.relations import Relation  # noqa: PLC0415 - see conftest.py
    from expectations.rules import holds  # noqa: PLC0415

    suite = expectations.suite_of("stock_bars")
    broken = holds(Relation("not_registered", lambda frame: frame), ["open", "close"], "It was forgotten.")
    monkeypatch.setattr(suite, "expectations", [*suite.expectations, broken])

    with pytest.raises(RuntimeError, match="not_registered"):
        expectations.check(BARS, bars(1))


def test_two_relations_cannot_share_a_name() -> None:
    from expectations.relations import relation  # noqa: PLC0415 - see conftest.py

    def no_nulls(frame: pd.DataFrame) -> np.ndarray:
        return frame.notna().to_numpy().all(axis=1)

    with pytest.raises(ValueError, match="no_nulls"):
        relation(no_nulls)


def test_a_million_bars_are_judged_at_once() -> None:
    assert () == expectations.check(BARS, bars(1_000_000)).rules


def test_the_page_of_rules_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "quality-rules.md"

    assert expectations.describe() == page.read_text(encoding="utf-8")


def test_the_page_names_every_rule_once_in_its_table() -> None:
    sections = re.split(r"^## ", expectations.describe(), flags=re.MULTILINE)[1:]
    found = {text.splitlines()[0]: re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE) for text in sections}
    for name in TABLES:
        rules = [expectation.meta["rule"] for expectation in expectations.suite_of(name).expectations]

        assert rules == found[name][: len(rules)]


def test_importing_the_package_does_not_import_great_expectations() -> None:
    """It takes seconds, which a command that checks nothing must not pay."""
    code = "import sys, expectations; sys.exit('great_expectations' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode
