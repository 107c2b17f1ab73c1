"""The types of the settings' values: what each may be, in code for the reader and in words for the person.

Which setting has which type stands in :mod:`marketlake.settings`. No message repeats the value that was given: it may
be a secret in the wrong place.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from marketlake.errors import UsageError
from marketlake.tickers import AssetClass, Underlying, asset_class_of

SECRETS_ELSEWHERE: Final = "secrets belong in a block or the environment"
_HTTP_WORDS: Final = "an address with https or http and a host, without a query"
_STREAM_WORDS: Final = "an address with wss or ws and a host, without a query"
_ROOT_WORDS: Final = "a folder or s3://bucket/prefix"
_FOLDER_WORDS: Final = "a folder of this machine"
_CHANNEL_WORDS: Final = 'a channel\'s id or its name in quotes: "#alerts"'
_UNDERLYING_WORDS: Final = "a share or an index: SPY, SPX or I:SPX"
_INDEX_WORDS: Final = "an index: I:VIX"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._=%+,\-]+(?:/[A-Za-z0-9._=%+,\-]+)*")
_CHANNEL = re.compile(r"#?[^\s#@,]{1,80}")
_SLACK_TOKEN = re.compile(r"(?i)xox[a-z]-|xapp-")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a value may be, in words that follow "must be"."""

    words: str


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        kind = "boolean_for_number"
        raise PydanticCustomError(kind, kind)
    return value


def _upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _url(schemes: tuple[str, ...], words: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        message = f"must be {words}"
        raise ValueError(message) from None
    if "@" in parts.netloc:
        message = f"{SECRETS_ELSEWHERE}, not in an address"
        raise ValueError(message)
    is_bare = not parts.query and not parts.fragment and re.search(r"\s", text) is None
    if parts.scheme not in schemes or not parts.hostname or not has_port or not is_bare:
        message = f"must be {words}"
        raise ValueError(message)
    return text.rstrip("/")


def _address(text: str) -> str:
    return _url(("https", "http"), _HTTP_WORDS, text)


def _address_with_slash(text: str) -> str:
    return _url(("https", "http"), _HTTP_WORDS, text) + "/"  # slack-sdk appends the method's name as it is


def _stream_address(text: str) -> str:
    return _url(("wss", "ws"), _STREAM_WORDS, text)


def _lake_root(text: str) -> str:
    if text.startswith("s3://"):
        bucket, slash, prefix = text.removeprefix("s3://").rstrip("/").partition("/")
        has_prefix = _PREFIX.fullmatch(prefix) is not None and ".." not in prefix.split("/")
        is_good = _BUCKET.fullmatch(bucket) is not None and (not slash or has_prefix)
    else:
        is_good = bool(text.strip()) and "://" not in text and "\0" not in text
    if not is_good:
        message = f"must be {_ROOT_WORDS}"
        raise ValueError(message)
    return text.rstrip("/") if text.startswith("s3://") else str(Path(text).expanduser())


def _folder(text: str) -> str:
    if not text.strip() or "://" in text or "\0" in text:
        message = f"must be {_FOLDER_WORDS}"
        raise ValueError(message)
    return str(Path(text).expanduser())


def _channel(text: str) -> str:
    if _SLACK_TOKEN.match(text):
        message = f"{SECRETS_ELSEWHERE}: this is a token, not a channel"
        raise ValueError(message)
    if text and not _CHANNEL.fullmatch(text):
        message = f"must be {_CHANNEL_WORDS}"
        raise ValueError(message)
    return text


def _underlying(text: str) -> str:
    try:
        Underlying.parse(text)
    except UsageError:
        message = f"must be {_UNDERLYING_WORDS}"
        raise ValueError(message) from None
    return text


def _index(text: str) -> str:
    try:
        is_index = asset_class_of(text) is AssetClass.INDICES
    except UsageError:
        is_index = False
    if not is_index:
        message = f"must be {_INDEX_WORDS}"
        raise ValueError(message)
    return text


def _distinct[T](values: tuple[T, ...]) -> tuple[T, ...]:
    return _no_repetition(values, values)


def _distinct_underlyings(texts: tuple[str, ...]) -> tuple[str, ...]:
    return _no_repetition(texts, [Underlying.parse(text).symbol for text in texts])


def _no_repetition[T](values: tuple[T, ...], names: Sequence[object]) -> tuple[T, ...]:
    if len(set(names)) != len(names):
        message = "names the same thing twice"
        raise ValueError(message)
    return values


def _raw_table(name: str) -> str:
    from marketlake.tables import TABLES  # noqa: PLC0415 - pyarrow: 0.2 s that defaults alone do not need

    fetched = [table.name for table in TABLES.values() if table.over_rest]
    if name not in fetched:
        message = f"must be a table that the vendor is asked for: {', '.join(fetched)}"
        raise ValueError(message)
    return name


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Exact = Annotated[Decimal, BeforeValidator(_no_boolean)]
Address = Annotated[str, AfterValidator(_address), Allowed(_HTTP_WORDS)]
SlackAddress = Annotated[str, AfterValidator(_address_with_slash), Allowed(_HTTP_WORDS)]
StreamAddress = Annotated[str, AfterValidator(_stream_address), Allowed(_STREAM_WORDS)]
LakeRoot = Annotated[str, AfterValidator(_lake_root), Allowed(_ROOT_WORDS)]
FolderText = Annotated[str, AfterValidator(_folder), Allowed(_FOLDER_WORDS)]
Channel = Annotated[str, AfterValidator(_channel), Allowed(_CHANNEL_WORDS)]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9\-]{1,40}$"), Allowed("the name of a region: eu-central-1")]
UnderlyingText = Annotated[str, AfterValidator(_underlying), Allowed(_UNDERLYING_WORDS)]
IndexText = Annotated[str, AfterValidator(_index), Allowed(_INDEX_WORDS)]
RawTable = Annotated[str, AfterValidator(_raw_table), Allowed("the name of a raw table")]
UpperCase: Final = BeforeValidator(_upper_case)
Distinct: Final = AfterValidator(_distinct)
DistinctUnderlyings: Final = AfterValidator(_distinct_underlyings)
