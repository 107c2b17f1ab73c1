"""Words for settings: what a value may be, read off its declaration, and one line for each fault.

No line repeats the value that was given: it may be a secret in the wrong place.
"""

import types
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from marketlake.errors import ConfigurationError
from marketlake.settings_grammar import Allowed
from marketlake.settings_sources import Layout, Reading, field_at


def faults_of(error: ValidationError, layout: Layout, reading: Reading) -> list[ConfigurationError]:
    """One fault for each thing that pydantic refused, with the file or variable that it came from."""
    refused = error.errors(include_url=False)
    broken_lists = {details["loc"][:-1] for details in refused if isinstance(details["loc"][-1], int)}
    return [
        _fault(details, layout, reading)
        for details in refused
        # Two faults that only follow from another: what depends on a plan that was refused, the length of a list whose
        # elements were.
        if details["type"] != "default_factory_not_called"
        and not (details["type"] == "too_short" and details["loc"] in broken_lists)
    ]


def allowed(declared: FieldInfo) -> str:
    """What a field's value may be, in words that follow "must be": ``a whole number from 1 to 16``."""
    return _words(declared.annotation, declared.metadata)


def _fault(details: ErrorDetails, layout: Layout, reading: Reading) -> ConfigurationError:
    location = details["loc"]
    names = tuple(part for part in location if isinstance(part, str))
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return ConfigurationError(reading.where(layout, names), key, _problem(details, layout, names))


def _problem(details: ErrorDetails, layout: Layout, names: tuple[str, ...]) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context["error"])
    declared = field_at(layout.model, names)
    if declared is None:
        return details["msg"]
    is_element = len(details["loc"]) > len(names)
    words = _element_words(declared) if is_element else allowed(declared)
    if details["input"] is None:
        return f"is empty; must be {words}"
    is_unquoted = details["type"] == "string_type" and not isinstance(details["input"], Mapping | Sequence)
    return f"must be {words}" + (" (as text: put it in quotes)" if is_unquoted else "")


def _element_words(declared: FieldInfo) -> str:
    kind, _ = _bare(declared.annotation, ())
    if isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping):
        kind, _ = _bare(get_args(kind)[1], ())
    return _words(get_args(kind)[0], ())


def _words(annotation: Any, metadata: Sequence[Any]) -> str:
    kind, facts = _bare(annotation, metadata)
    given = next((fact.words for fact in facts if isinstance(fact, Allowed)), None)
    origin = get_origin(kind)
    if given is not None:
        return given
    if origin is Literal:
        *others, last = (str(choice) for choice in get_args(kind))
        return f"{', '.join(others)} or {last}"
    if origin in {Union, types.UnionType}:
        inner = next(choice for choice in get_args(kind) if choice is not type(None))
        return f"{_words(inner, facts)}, or null"
    if origin is tuple:
        some = " with at least one" if any(isinstance(fact, annotated_types.MinLen) for fact in facts) else ""
        return f"a list{some}; each: {_words(get_args(kind)[0], ())}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _words(get_args(kind)[1], ())  # its keys are documented and refused one by one
    nouns = {int: "a whole number", float: "a number", Decimal: "a number"}
    return " ".join(part for part in (nouns.get(kind, "text"), _bounds(facts)) if part)


def _bare(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    facts = tuple(metadata)
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        facts += tuple(more)
    flat = (inner for fact in facts for inner in (fact.metadata if isinstance(fact, FieldInfo) else (fact,)))
    return annotation, tuple(flat)


def _bounds(facts: Sequence[Any]) -> str:
    least = next((f"from {fact.ge:g}" for fact in facts if isinstance(fact, annotated_types.Ge)), "")
    above = next((f"above {fact.gt:g}" for fact in facts if isinstance(fact, annotated_types.Gt)), "")
    most = next((f"to {fact.le:g}" for fact in facts if isinstance(fact, annotated_types.Le)), "")
    return " ".join(part for part in (least or above, most) if part)
