"""docs/quality-rules.md, made from the suites: every rule with its reason, every flag with its meaning."""

from collections.abc import Iterator
from typing import Final

from great_expectations.expectations.expectation import Expectation

from expectations.judging import SCHEMA_AS_DECLARED, is_about_whole, rule_of, suite_of
from marketlake.checks import FLAGS
from marketlake.tables import TABLES

_HEAD: Final = """\
# Quality rules

Made from the suites in `expectations/`; after changing one, write the page again and commit both:

```
python -c "import expectations; print(expectations.describe(), end='')" > docs/quality-rules.md
```

A row is judged by the rules of its table in the order given. The first one that refuses it is its reason in the
quarantine, where it stands with its raw text; all other rows are published. A rule about the *whole* refuses no single
row: while it does not hold, nothing of that answer is published. A consolidated table is computed here, so a row that
breaks a rule there also keeps the whole from being published.

Null passes every rule but `required_present`, `volume_present` and those that say which columns are known together. No
rows at all pass the rules of every raw table; whether emptiness was proven is the ledger's business.

First of all, for every table: `{schema}` (whole): the columns and their types are those of the data dictionary.
"""


def page() -> str:
    """The whole page, ending in a newline."""
    return "\n".join([_HEAD.format(schema=SCHEMA_AS_DECLARED), *_sections()])


def _sections() -> Iterator[str]:
    for name in TABLES:
        yield f"## {name}\n"
        yield "| rule | columns | why |"
        yield "|---|---|---|"
        for expectation in suite_of(name).expectations:
            whole = " (whole)" if is_about_whole(expectation.meta) else ""
            columns = ", ".join(_columns(expectation))
            yield f"| `{rule_of(expectation.meta)}`{whole} | {columns} | {expectation.notes} |"
        yield ""
        if name in FLAGS:
            yield "Facts that are counted and never refused:\n"
            yield "| flag | meaning |"
            yield "|---|---|"
            for flag, meaning in FLAGS[name].items():
                yield f"| `{flag}` | {meaning} |"
            yield ""


def _columns(expectation: Expectation) -> list[str]:
    given = expectation.configuration.kwargs
    if "column" in given:
        return [given["column"]]
    return list(given.get("column_list", []))
