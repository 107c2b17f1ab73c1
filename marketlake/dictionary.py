"""docs/data-dictionary.md, made from the declared tables and what their columns mean.

Names, types, keys and folders come from :mod:`marketlake.tables`, the sentences from :mod:`marketlake.meanings`; here
is only how they look on the page. A test holds the page to this module; after a change write it again:
``python -m marketlake.dictionary > docs/data-dictionary.md``.
"""

import sys
from collections.abc import Iterator
from textwrap import fill
from typing import Final

import pyarrow as pa
import pyarrow.types as pt

from marketlake.meanings import CLOSED_WORDS, QUARANTINE_MEANINGS, TABLE_MEANINGS, meaning_of
from marketlake.tables import TABLES, Carrier, Layer, Owner, Period, Table

WIDTH: Final = 120


def describe() -> str:
    """The data dictionary, in Markdown, ending in a newline."""
    return "\n".join([_HEAD, *(line for table in TABLES.values() for line in _section(table)), *_tail()])


def kind_of(kind: pa.DataType) -> str:
    """An Arrow type in plain words.

    Raises:
        TypeError: no column has had such a type yet.
    """
    if pt.is_fixed_size_list(kind):
        return f"list of {kind.list_size} of: {kind_of(kind.value_type)}"
    if pt.is_list(kind):
        return f"list of: {kind_of(kind.value_type)}"
    if pt.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    for is_one, words in _KINDS:
        if is_one(kind):
            return words
    message = f"there are no words for {kind}"
    raise TypeError(message)


_KINDS: Final = (
    (pt.is_string, "text"),
    (pt.is_timestamp, "instant, UTC, ns"),
    (pt.is_float64, "number"),
    (pt.is_int64, "whole number"),
    (pt.is_int32, "whole number, 32 bits"),
    (pt.is_date32, "date"),
    (pt.is_boolean, "true or false"),
)


def _section(table: Table) -> Iterator[str]:
    keys = "/".join(f"{name}=…" for name in (table.owner, table.period) if name)
    yield f"## {table.name}\n"
    yield f"{fill(TABLE_MEANINGS[table.name], WIDTH)}\n"
    yield f"- file: `{table.path}/{keys}/data.parquet`"
    yield f"- partition: {_partition(table)}"
    yield f"- key: {', '.join(f'`{name}`' for name in table.key)}"
    yield f"- sorted by: {', '.join(f'`{name}`' for name in table.order)}\n"
    is_raw = table.layer is Layer.RAW
    yield f"| column | type | {'carried by | ' if is_raw else ''}meaning | null when |"
    yield f"|---|---|{'---|' if is_raw else ''}---|---|"
    for field in table.schema:
        meaning = meaning_of(table.name, field.name)
        carried = f"{_carried(table, field.name)} | " if is_raw else ""
        yield f"| `{field.name}` | {kind_of(field.type)} | {carried}{_cell(meaning.what)} | {_cell(meaning.null)} |"
    yield ""


def _carried(table: Table, column: str) -> str:
    words = {Carrier.REST: "REST", Carrier.STREAM: "stream", Carrier.BOTH: "REST, stream", Carrier.NEITHER: "-"}
    precision = " (ms)" if table.stream_step_ns(column) > 1 else ""
    return f"{words[table.carrier(column)]}{precision}"


def _partition(table: Table) -> str:
    owner = {Owner.SYMBOL: "one ticker", Owner.UNDERLYING: "one underlying", Owner.NONE: ""}[table.owner]
    period = {Period.SESSION: "one session", Period.YEAR: "one year", Period.ALL: "all that there is"}[table.period]
    return ", ".join(part for part in (owner, period) if part)


def _tail() -> Iterator[str]:
    yield "## Quarantine\n"
    yield _QUARANTINE_TEXT
    yield "| column | meaning | null when |"
    yield "|---|---|---|"
    for name, meaning in QUARANTINE_MEANINGS.items():
        yield f"| `{name}` | {_cell(meaning.what)} | {_cell(meaning.null)} |"
    yield f"\n{_RULES_TEXT}"
    yield "## Closed words\n"
    yield "Exit codes are in the [reference](API_REFERENCE.md#exit-codes).\n"
    for words, (about, meanings) in CLOSED_WORDS.items():
        yield f"### {words.__name__}\n\n{about}\n"
        yield "| value | meaning |"
        yield "|---|---|"
        yield from (f"| `{value}` | {_cell(meaning)} |" for value, meaning in meanings.items())
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_HEAD: Final = """\
# Data dictionary

Made by `python -m marketlake.dictionary > docs/data-dictionary.md`. Which values may pass is in the
[quality rules](quality-rules.md), where files lie and what proves them in the [reference](API_REFERENCE.md#the-lake).

- Instants are UTC with nanoseconds; dates are New York's. A session is one trading date, and its partition holds the
  whole New York day from midnight to midnight.
- A column of the path (`symbol`, `underlying`, `session`, `year`) does not stand in the file; readers of Hive folders
  add it. In a path a colon is written `%3A`: `symbol=I%3AVIX`.
- Nothing is adjusted for splits or dividends. A column that ends in `_s` is seconds.
- Null means unknown or not there, and the last column says which. No number is NaN.
- A key tells rows of one file apart. Of several rows with one key the last received stays; a row with a null in its key
  is kept unless a whole row repeats it. Rows that tie in the sort order are sorted by their other columns.
- "Carried by" says who brings a raw column, by the vendor's documentation; (ms) that the stream gives only milliseconds
  of it. Published columns of a table that REST has come from REST alone, unless the key has no history of the table
  (then from the stream alone, with the gaps labelled `unavailable`); those of `live/` come from the stream alone.
- Values in `raw` are the vendor's, but for the last five columns of `option_contracts`. `consolidated` is computed from
  `raw`.
"""
_QUARANTINE_TEXT: Final = """\
Rows that a rule refused stand under `quarantine/` in the same folders as under `raw/`, with the key columns of their
table (null where the row could not be read) and
"""
_RULES_TEXT: Final = """\
Rules that stand in no suite: `outside_sessions`, the row's New York day is no session of the batch (a print on a
holiday); `not_an_object`, `missing_field`, `unreadable_value`, `no_ticker`, the row has not the shape that the vendor
documents. Of the stream also: `too_late`, the row came later than its table allows; `not_an_array`, the frame is no
JSON array; `no_event`, `unknown_event`, nobody can tell what the row is; `not_in_history`, history does not have the
row, and a person has taken history for the truth.
"""

if __name__ == "__main__":
    sys.stdout.write(describe())
