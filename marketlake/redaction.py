"""Takes secrets out of text and values: known ones wherever they stand, unknown ones by the places where they stand.

How this gets into every log record lives in :mod:`marketlake.logs`. What is printed, stored or sent without a logger
goes through :func:`redacted` where it may quote a vendor or an exception.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "********"

# A shorter secret would be found in ordinary words, and the lines around it would be unreadable.
SHORTEST: Final = 6
_DEEPEST: Final = 8

_Q = r"""\\*["']?"""  # a quote, however often it was escaped
_IS = rf"""{_Q}\s*[=:,]\s*(?:b(?=["'\\]))?{_Q}"""
_VALUE = r"""[^\s"'\\&,;<>{}()\[\]]+"""

# Where secrets stand, and what every text with such a place holds in small letters: looking for that first costs a
# tenth of the pattern.
_PLACES: Final = (
    # apiKey=…, "apiKey": "…", X-Api-Key: …, POLYGON_API_KEY=…
    ("key", "", re.compile(rf"(?i)((?:api|access)[_-]?key{_IS})({_VALUE})")),
    ("token", "", re.compile(rf"(?i)(token(?:=|\\*[\"']{_IS})\\*[\"']?)({_VALUE})")),
    ("secret", "", re.compile(rf"(?i)(secret(?:[_-]access[_-]key)?(?:=|\\*[\"']{_IS})\\*[\"']?)({_VALUE})")),
    ("passw", "", re.compile(rf"(?i)(passw(?:or)?d{_IS})({_VALUE})")),
    # Authorization: Bearer …, ('Authorization', 'Basic …'), and a bare Bearer …
    ("authorization", "", re.compile(rf"(?i)(authorization{_IS}(?:(?:bearer|basic|token)\s+)?)({_VALUE})")),
    ("bearer", "", re.compile(r"(?i)(\bbearer\s+)([a-z0-9._~+/=\-]{6,})")),
    # what AWS's libraries sign, line by line
    ("x-amz-", "", re.compile(rf"(?i)(x-amz-(?:security-token|credential|signature)\s*[=:]\s*)({_VALUE})")),
    # {"action":"auth","params":"…"}, in either order
    (
        "action",
        "params",
        re.compile(rf"(?i)(action{_Q}\s*:\s*{_Q}auth{_Q}\s*,\s*{_Q}params{_Q}\s*:\s*{_Q})({_VALUE})"),
    ),
    (
        "action",
        "params",
        re.compile(rf"(?i)(params{_Q}\s*:\s*{_Q})({_VALUE})(?={_Q}\s*,\s*{_Q}action{_Q}\s*:\s*{_Q}auth\b)"),
    ),
    # https://user:password@host
    ("://", "@", re.compile(r"(://)([^\s/@\"'*]*:[^\s/@\"']+)(?=@)")),
    # Slack's tokens and the path of its webhooks
    ("xox", "", re.compile(r"()(\bxox[a-z](?:\.[a-z]+)?-[A-Za-z0-9-]{6,})")),
    ("xapp-", "", re.compile(r"()(\bxapp-[A-Za-z0-9-]{6,})")),
    ("hooks.slack", "", re.compile(r"(hooks\.slack\.com/[a-z]+/)([A-Za-z0-9/_-]+)")),
)


class Redactor:
    """Replaces what must not be seen; doing it twice changes nothing more."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        stripped = {secret.strip() for secret in secrets}
        self.secrets: Final = frozenset(
            secret for secret in stripped if len(secret) >= SHORTEST and secret.strip("*") == secret
        )
        forms = {form for secret in self.secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def with_more(self, secrets: Collection[str]) -> "Redactor":
        """A redactor that knows these secrets too."""
        return Redactor({*self.secrets, *secrets})

    def exact(self, text: str) -> str:
        """The text without the known secrets, be they plain, escaped, URL-encoded or in base64."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def text(self, text: str) -> str:
        """The text without known secrets, and without what stands where secrets stand."""
        clean = self.exact(text)
        lowered = clean.lower()
        for hint, another, place in _PLACES:
            if hint in lowered and another in lowered:
                clean = place.sub(rf"\g<1>{MASK}", clean)
        return clean

    def value(self, value: object, depth: int = 0) -> object:
        """The same object if nothing in it is secret, else one like it without; an odd object becomes its text."""
        kind = type(value)
        if kind is str:
            return self.text(value)  # type: ignore[arg-type]
        if value is None or kind in {int, float, bool}:
            clean = self.exact(str(value))
            return value if clean == str(value) else clean
        if kind is bytes:
            text = value.decode("latin-1")  # type: ignore[attr-defined]
            clean = self.text(text)
            return value if clean == text else clean.encode("latin-1")
        if depth < _DEEPEST and kind in _CONTAINERS:
            return self._container(value, depth)
        return self._object(value)

    def _container(self, value: object, depth: int) -> object:
        if isinstance(value, dict):
            pairs = {self.value(key, depth + 1): self._named(key, inner, depth) for key, inner in value.items()}
            same = all(key in value and value[key] is inner for key, inner in pairs.items())
            return value if same and len(pairs) == len(value) else pairs
        items = [self.value(inner, depth + 1) for inner in value]  # type: ignore[attr-defined]
        same = all(old is new for old, new in zip(value, items, strict=True))  # type: ignore[call-overload]
        return value if same else type(value)(items)  # type: ignore[call-arg]

    def _named(self, key: object, value: object, depth: int) -> object:
        """A value of a mapping: its key may say that it is secret, as in {"apiKey": "…"}."""
        if isinstance(value, str) and isinstance(key, str):
            told = f"{key}={value}"
            if value and self.text(told) != told:
                clean = self.text(value)
                return clean if clean != value else MASK
            return value
        return self.value(value, depth + 1)

    def _object(self, value: object) -> object:
        for text in _texts_of(value):
            clean = self.text(text)
            if clean != text:
                return clean
        return value


_CONTAINERS: Final = {dict, list, tuple, set, frozenset}


def _texts_of(value: object) -> Iterator[str]:
    renders: tuple[Callable[[object], str], ...] = (str, repr)
    for render in renders:
        try:
            yield render(value)
        except Exception:  # noqa: BLE001, S112 - any object may be logged, also one that cannot be rendered
            continue


def _forms(secret: str) -> Iterator[str]:
    """The ways in which a secret is written: plain, escaped, URL-encoded, and within something that is in base64."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield repr(secret)[1:-1]
    yield repr(repr(secret))[2:-2]
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        # Of the letters in base64, those that hold bits of what stands before or after the secret are left out.
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = -(-before * 8 // 6)
        last = (before + len(raw)) * 8 // 6
        inner = whole[first:last]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
            yield quote(inner, safe="")


_current = Redactor()


def hide(secrets: Collection[str]) -> None:
    """From now on, these never appear in a log line of this process, nor in what :func:`redacted` gives."""
    global _current  # noqa: PLW0603 - one process, one set of secrets: loggers have no other place to look
    if any(secret.strip() not in _current.secrets for secret in secrets):
        _current = _current.with_more(secrets)


def redacted(text: str) -> str:
    """The text without secrets."""
    return _current.text(text)


def current() -> Redactor:
    """The redactor that knows every secret hidden so far."""
    return _current


def clean_mapping(facts: Mapping[str, object]) -> dict[str, object]:
    """Facts without secrets, under the same names."""
    clean = _current.value(dict(facts))
    return dict(clean) if isinstance(clean, dict) else {}
