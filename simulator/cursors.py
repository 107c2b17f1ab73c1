"""Cursors in the vendor's shape: unpadded base64 of the rest of the query, sorted by name.

What a cursor resumes is the endpoint's matter; here it is only written and read.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from simulator.replies import BadParameter


def encode(query: Mapping[str, str]) -> str:
    """The cursor of a query, its parameters sorted by name."""
    return encode_text(urlencode(sorted(query.items())))


def encode_text(text: str) -> str:
    """The cursor of any text, for the families whose cursor is not a query."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_text(cursor: str) -> str:
    """The text of a cursor; a bad one is the client's error."""
    padded = cursor.replace("+", "-").replace("/", "_") + "=" * (-len(cursor) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise BadParameter("cursor", cursor, "a cursor given by next_url") from error


def decode(cursor: str) -> dict[str, str]:
    """The query of a cursor; one that holds no query is the client's error."""
    text = decode_text(cursor)
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
    except ValueError as error:
        raise BadParameter("cursor", cursor, "a cursor given by next_url") from error
