"""The data dictionary speaks of every column and closed word and of nothing else, and the page is the current one."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from marketlake.dictionary import describe, kind_of
from marketlake.lake import QUARANTINE
from marketlake.ledger import How
from marketlake.meanings import ANY, CLOSED_WORDS, COLUMN_MEANINGS, QUARANTINE_MEANINGS, TABLE_MEANINGS, meaning_of
from marketlake.selection import OpeningSource
from marketlake.tables import TABLES, PriceSource, Reason, Refusal, Span

PAGE = Path(__file__).parents[3] / "docs" / "data-dictionary.md"
COLUMNS = {(table.name, field.name): field for table in TABLES.values() for field in table.schema}


def test_every_column_has_a_meaning() -> None:
    meanings = {place: meaning_of(*place) for place in COLUMNS}

    assert all(meaning.what and meaning.null for meaning in meanings.values())


def test_no_meaning_is_without_a_column() -> None:
    """An entry for all tables is an orphan too where each table with such a column has one of its own."""
    used = {(table, column) if (table, column) in COLUMN_MEANINGS else (ANY, column) for table, column in COLUMNS}

    assert set() == set(COLUMN_MEANINGS) - used


def test_columns_that_may_not_be_null_are_said_never_to_be() -> None:
    liars = {place for place, field in COLUMNS.items() if not field.nullable and meaning_of(*place).null != "never"}

    assert set() == liars


def test_columns_that_may_be_null_say_when() -> None:
    """But for one that the schema allows to be null and that is computed for every row."""
    silent = {place for place, field in COLUMNS.items() if field.nullable and meaning_of(*place).null == "never"}

    assert {("option_minutes", "years_to_expiry")} == silent


def test_every_table_is_introduced() -> None:
    assert list(TABLES) == list(TABLE_MEANINGS)


@pytest.mark.parametrize("words", [Reason, Refusal, PriceSource, OpeningSource, Span, How])
def test_every_value_of_a_closed_list_has_a_sentence(words: type[Reason]) -> None:
    _, meanings = CLOSED_WORDS[words]

    assert list(words) == list(meanings)
    assert all(sentence.endswith(".") for sentence in meanings.values())


def test_the_columns_of_the_quarantine_are_those_that_its_files_have() -> None:
    beside_the_key = QUARANTINE["stock_bars"].names[len(TABLES["stock_bars"].key) :]

    assert beside_the_key == list(QUARANTINE_MEANINGS)


def test_a_type_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="month_day_nano_interval"):
        kind_of(pa.month_day_nano_interval())


def test_the_page_is_current() -> None:
    """If not: python -m marketlake.dictionary > docs/data-dictionary.md."""
    assert describe() == PAGE.read_text(encoding="utf-8")


def test_the_module_prints_the_page() -> None:
    printed = subprocess.run([sys.executable, "-m", "marketlake.dictionary"], capture_output=True, check=True)

    assert describe() == printed.stdout.decode()
