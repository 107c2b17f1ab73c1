"""Reads the configuration folder and the environment into plain nested values, noting where each came from.

What is known stands in :mod:`marketlake.settings`, whose models come in as a :class:`Layout`; what a value may be is
decided there too. Here it is only seen to that every key and every variable is a known one, so that nothing that a
person wrote is passed over in silence.
"""

import difflib
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from marketlake.errors import ConfigurationError
from marketlake.settings_grammar import SECRETS_ELSEWHERE

PREFIX: Final = "MARKETLAKE__"
FOLDER_VARIABLE: Final = "MARKETLAKE_CONFIG"

_SECRET_NAME = re.compile(
    r"api_?key|access_?key|(^|_)key(_id)?$|token|secret|passw|credential|authorization|bearer", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What there is: the model, which of its sections stand in which file, and variables with short names."""

    model: type[BaseModel]
    files: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, tuple[str, ...]]

    def file_of(self, section: str) -> str:
        """The file in which a section stands."""
        return next(name for name, sections in self.files.items() if section in sections)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: nested values, highest precedence first; where each dotted key's came from; and faults."""

    folder: Path | None
    values: tuple[dict[str, object], ...]
    origins: Mapping[str, str]
    faults: tuple[ConfigurationError, ...]

    def where(self, layout: Layout, path: tuple[str, ...]) -> str:
        """Where the value of a path came from, or the first value below it, or where it would have to be written."""
        for length in range(len(path), 0, -1):
            key = ".".join(path[:length])
            if key in self.origins:
                return self.origins[key]
        below = ".".join(path) + "."
        nearest = next((where for key, where in self.origins.items() if key.startswith(below)), None)
        return nearest or str((self.folder or Path("config")) / layout.file_of(path[0]))


class Source(PydanticBaseSettingsSource):
    """One layer of values that were read before."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, object]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - its signature
        """The value of a section, as it was read."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All sections that were given."""
        return dict(self._values)


@dataclass(slots=True)
class _Layer:
    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[ConfigurationError] = field(default_factory=list)

    def put(self, path: tuple[str, ...], value: object, where: str) -> None:
        *sections, last = path
        inner = self.values
        for name in sections:
            inner = cast("dict[str, object]", inner.setdefault(name, {}))
        inner[last] = value
        self.origins[".".join(path)] = where

    def blame(self, where: str, path: tuple[str, ...], problem: str) -> None:
        self.faults.append(ConfigurationError(where, ".".join(path), problem))


def read(layout: Layout, config_dir: Path | None, environ: Mapping[str, str]) -> Reading:
    """Read everything there is; nothing is raised, all that is wrong is among the faults.

    An environment variable that is empty counts as not set.
    """
    short, long, files = _Layer(), _Layer(), _Layer()
    folder = _folder(config_dir, environ, files)
    if folder is not None:
        for name in layout.files:
            _read_file(layout, folder, name, files)
        _blame_misnamed_files(layout, folder, files)
    for name, path in layout.variables.items():
        if environ.get(name):
            short.put(path, environ[name], name)
    for name in sorted(environ):
        _read_variable(layout, name, environ[name], long)
    return Reading(
        folder=folder,
        values=(short.values, long.values, files.values),
        origins={**files.origins, **long.origins, **short.origins},
        faults=(*files.faults, *long.faults),
    )


def field_at(model: type[BaseModel], path: tuple[str, ...]) -> FieldInfo | None:
    """The declaration at a path; below a mapping, that of the mapping; None where there is none."""
    found: FieldInfo | None = None
    for name in path:
        if found is not None and (inner := section_of(found)) is not None:
            model = inner
        elif found is not None:
            return found if is_mapping(found) else None
        found = model.model_fields.get(name)
        if found is None:
            return None
    return found


def section_of(declared: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section."""
    kind = declared.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def is_mapping(declared: FieldInfo) -> bool:
    """Whether a field's value has keys of its own."""
    return isinstance(origin := get_origin(declared.annotation), type) and issubclass(origin, Mapping)


def _folder(config_dir: Path | None, environ: Mapping[str, str], layer: _Layer) -> Path | None:
    named = environ.get(FOLDER_VARIABLE)
    if config_dir is None and not named:
        default = Path("config")
        return default if default.is_dir() else None
    folder = config_dir if config_dir is not None else Path(named or "").expanduser()
    if folder.is_dir():
        return folder
    where = FOLDER_VARIABLE if config_dir is None or str(config_dir) == named else str(folder)
    layer.blame(where, (), f"there is no folder {folder}")
    return None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # the C one where libyaml is there
    """Safe YAML in which a key stands once, and only true and false are booleans: ON and NO are tickers."""

    yaml_implicit_resolvers: Final = {
        first: [(tag, pattern) for tag, pattern in resolvers if first in "tTfF" or not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        made: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return made


def _parse(text: str) -> object:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"is no YAML: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "is no YAML: it holds a character that YAML does not allow"


def _read_file(layout: Layout, folder: Path, name: str, layer: _Layer) -> None:
    where = str(folder / name)
    try:
        data = _parse((folder / name).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return
    except OSError as error:
        layer.blame(where, (), f"cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError:
        layer.blame(where, (), "is not UTF-8 text")
        return
    except yaml.YAMLError as error:
        layer.blame(where, (), _yaml_problem(error))
        return
    if data is None:
        return
    if not isinstance(data, dict):
        layer.blame(where, (), f"must hold sections: {', '.join(layout.files[name])}")
        return
    known = {section: layout.model.model_fields[section] for section in layout.files[name]}
    elsewhere = {section: file for file, sections in layout.files.items() for section in sections if file != name}
    for key, value in data.items():
        if key in elsewhere:
            layer.blame(where, (key,), f"belongs in {elsewhere[key]}")
        else:
            _take(known, (str(key),), value, where, layer)


def _take(known: Mapping[str, FieldInfo], path: tuple[str, ...], value: object, where: str, layer: _Layer) -> None:
    declared = known.get(path[-1])
    if declared is None:
        layer.blame(where, path, _unknown(path[-1], known, value))
        return
    section = section_of(declared)
    if section is None and not is_mapping(declared):
        layer.put(path, value, where)
        return
    if value is None:
        return
    if not isinstance(value, dict):
        known_keys = f" with some of {', '.join(section.model_fields)}" if section else ""
        layer.blame(where, path, f"must be a section{known_keys}")
        return
    for inner_key, inner in value.items():
        if section is None:
            layer.put((*path, str(inner_key)), inner, where)
        else:
            _take(section.model_fields, (*path, str(inner_key)), inner, where, layer)


def _unknown(key: str, known: Mapping[str, FieldInfo], value: object = None) -> str:
    if any(_SECRET_NAME.search(name) for name in (key, *_keys_within(value))):
        return f"{SECRETS_ELSEWHERE} (POLYGON_API_KEY, SLACK_BOT_TOKEN), never among the settings"
    near = difflib.get_close_matches(key, known, n=1)
    return (
        f"there is no such key; did you mean {near[0]}?" if near else f"there is no such key; known: {', '.join(known)}"
    )


def _keys_within(value: object, depth: int = 4) -> Iterator[str]:
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield str(key)
            yield from _keys_within(inner, depth - 1)


def _blame_misnamed_files(layout: Layout, folder: Path, layer: _Layer) -> None:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in {".yaml", ".yml"})
    except OSError as error:
        layer.blame(str(folder), (), f"cannot be listed: {error.strerror}")
        return
    for name in names:
        near = difflib.get_close_matches(name, layout.files, n=1, cutoff=0.75)
        if name not in layout.files and near:
            layer.blame(str(folder / name), (), f"is not read; did you mean {near[0]}?")


def _read_variable(layout: Layout, name: str, text: str, layer: _Layer) -> None:
    if not text or not name.startswith("MARKETLAKE_") or "__" not in name:
        return
    if not name.startswith(PREFIX):
        layer.blame(name, (), f"is not read; did you mean {PREFIX}{name.removeprefix('MARKETLAKE_')}?")
        return
    path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
    known: Mapping[str, FieldInfo] = layout.model.model_fields
    declared: FieldInfo | None = None
    for depth, part in enumerate(path):
        if declared is not None and is_mapping(declared) and depth == len(path) - 1:
            break
        inner = section_of(declared) if declared is not None else None
        known = inner.model_fields if inner is not None else known if declared is None else {}
        declared = known.get(part)
        if declared is None:
            layer.blame(name, path, _unknown(part, known) if known else "there is no such key")
            return
    if declared is None:
        return
    is_inside_mapping = is_mapping(declared) and field_at(layout.model, path[:-1]) is declared
    inner = section_of(declared)
    if inner is not None or (is_mapping(declared) and not is_inside_mapping):
        layer.blame(name, path, f"is a section: name one of its keys, {name}__…")
        return
    kind = get_args(declared.annotation)[1] if is_inside_mapping else declared.annotation
    is_list = get_origin(_bare(kind)) is tuple
    try:
        layer.put(path, _value(text, is_list=is_list, may_be_null=declared.annotation is not str), name)
    except yaml.YAMLError as error:
        layer.blame(name, path, _yaml_problem(error))


def _bare(kind: Any) -> Any:
    """A type without what annotates it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _value(text: str, *, is_list: bool, may_be_null: bool) -> object:
    if is_list:
        return _parse(text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",")]
    return None if may_be_null and text.strip().lower() == "null" else text.strip()
