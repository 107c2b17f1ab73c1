"""One request as an endpoint sees it: path values, query, cursor, and how to write the next page's address.

Keys are taken out before a request gets here (``gate``); filters over tables are in ``filters``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from simulator import cursors
from simulator.replies import BadParameter

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST_YEAR, _LAST_YEAR = 2, 9998  # the calendar's first and last days have no neighbours to reckon with


class OverLimit(StrEnum):
    """What the vendor does with a ``limit`` above the maximum is not known, so both are offered."""

    CLAMP = "clamp"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: decoded path, the path's values by name, query without the key, and the address it came to."""

    path: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    origin: str  # scheme://host:port of the request's own Host header
    request_id: str
    over_limit: OverLimit = OverLimit.CLAMP

    def text(self, name: str) -> str | None:
        """A parameter's text; an empty one counts as not given."""
        return self.query.get(name) or None

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean in any case, as clients in other languages send ``True``."""
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in {"true", "false"}:
            raise BadParameter(name, text, "true or false")
        return text.lower() == "true"

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of a few words."""
        text = self.text(name)
        if text is None:
            return default
        if text not in allowed:
            raise BadParameter(name, text, f"one of {', '.join(allowed)}")
        return text

    def day(self, name: str) -> date | None:
        """A date written ``YYYY-MM-DD``."""
        text = self.text(name)
        return None if text is None else parse_day(name, text)

    def limit(self, default: int, maximum: int) -> int:
        """The page size; above the maximum it is clamped or refused, as the simulator is set."""
        text = self.text("limit")
        if text is None:
            return default
        limit = parse_integer("limit", text)
        if limit < 1:
            raise BadParameter("limit", text, "at least 1")
        if limit > maximum and self.over_limit is OverLimit.REFUSE:
            raise BadParameter("limit", text, f"at most {maximum}")
        return min(limit, maximum)

    def served(self) -> int:
        """How many rows of the list, or of the instant where the page before ended, were served; by cursor only."""
        served = parse_integer("cursor", self.text("ap") or "0")
        if served < 0:
            raise BadParameter("cursor", str(served), "a cursor given by next_url")
        return served

    def next_url(self, cursor: str, path: str | None = None) -> str:
        """The absolute address of the next page; it carries no key."""
        return f"{self.origin}{quote(path or self.path, safe='/:')}?cursor={cursor}"

    def next_page(self, changes: Mapping[str, str]) -> str:
        """The next page of a list whose cursor repeats the query with some changes."""
        return self.next_page_of({name: value for name, value in self.query.items() if value} | dict(changes))

    def next_page_of(self, query: Mapping[str, str]) -> str:
        """The next page of a list, its whole query given."""
        return self.next_url(cursors.encode(query))


def parse_day(name: str, text: str) -> date:
    """A date written ``YYYY-MM-DD``; anything else is the client's error."""
    try:
        # The library reads weeks and dates without dashes as well.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise BadParameter(name, text, "a date as YYYY-MM-DD")
    return day


def parse_integer(name: str, text: str) -> int:
    """A whole number within 64 bits; anything else is the client's error."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(2**63)) and int(digits) < 2**63):
        raise BadParameter(name, text, "a whole number")
    return int(text)
