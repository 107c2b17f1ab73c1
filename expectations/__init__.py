"""What may pass: one Great Expectations suite a table, as Python values.

A module for each table or family holds its rules: ``bars``, ``trades``, ``quotes``, ``index_values``, ``contracts``,
``snapshots``, ``news``, ``reference``, ``market_minutes``, ``option_minutes``. ``rules`` says how one is written down,
``relations`` how columns are compared, ``view`` how rows are shown, ``judging`` how a suite is run. Facts that are
counted and never refused are :mod:`marketlake.checks`'.

Great Expectations takes seconds to import and is imported by the first call.
"""

from typing import TYPE_CHECKING

import pyarrow as pa

from marketlake.checks import Verdict
from marketlake.tables import Table

if TYPE_CHECKING:
    import great_expectations as gx


def check(table: Table, rows: pa.Table) -> Verdict:
    """Which rows the table's rules refuse, and which rules about the whole do not hold.

    No rows is a legitimate answer, and the ledger says whether it was proven: an empty table of the declared schema
    passes the rules of every raw table. Rows are judged one by one: a table whose columns or types are not the declared
    ones fails as a whole, and no row of it is judged. Safe to call from several threads; they take turns.
    """
    from expectations.judging import judge  # noqa: PLC0415

    return judge(table, rows)


def suite_of(table_name: str) -> "gx.ExpectationSuite":
    """The rules of a table, in the order in which they are asked; the first that refuses a row gives the reason."""
    from expectations import judging  # noqa: PLC0415

    return judging.suite_of(table_name)


def describe() -> str:
    """The page docs/quality-rules.md, made from the suites."""
    from expectations.page import page  # noqa: PLC0415

    return page()
