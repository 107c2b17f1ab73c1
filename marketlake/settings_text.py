"""Settings as text for people: what holds and where it came from, and the page that documents every key.

``marketlake config show`` prints the first; the second is docs/configuration.md, which a test holds to this module:
``python -m marketlake.settings_text > docs/configuration.md``.
"""

import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from marketlake.settings import LAYOUT, Plan, Settings, VendorSettings
from marketlake.settings_faults import allowed

SECRETS: Final = {
    "POLYGON_API_KEY": "the vendor's key",
    "SLACK_BOT_TOKEN": "the Slack app's token",
    "AWS_ACCESS_KEY_ID": "the lake's bucket, where no AWS profile or role serves",
    "AWS_SECRET_ACCESS_KEY": "the same",
    "AWS_SESSION_TOKEN": "the same, of keys that are lent for some hours",
}
"""Variables that hold secrets, and what each is for; saved blocks serve as well, and win."""

_MASK: Final = "********"
_BY_PLAN: Final = {"vendor.ws_url", "vendor.calls_per_minute", "vendor.delay_minutes", "sources.tables"}

type _Leaf = tuple[tuple[str, ...], FieldInfo, object]


def show(settings: Settings, environ: Mapping[str, str]) -> str:
    """The settings as YAML, each with the file or variable that gave it; whether secrets are set, but never one."""
    lines: list[str] = []
    for file, sections in LAYOUT.files.items():
        lines.append(f"# {file}")
        above: tuple[str, ...] = ()
        for path, _, value in _leaves(settings, sections):
            opened = (depth for depth in range(len(path) - 1) if path[: depth + 1] != above[: depth + 1])
            lines += [f"{'  ' * depth}{path[depth]}:" for depth in opened]
            above = path[:-1]
            lines.append(f"{'  ' * len(above)}{path[-1]}: {_yaml(value)}  # {_origin(settings, '.'.join(path))}")
    lines.append("# Secrets, from the environment; a saved block wins over it.")
    lines += [f"# {name}: {_MASK if environ.get(name) else 'not set'}" for name in SECRETS]
    return "\n".join(lines) + "\n"


def describe() -> str:
    """The page that documents the configuration, in Markdown."""
    short = {".".join(path): name for name, path in LAYOUT.variables.items()}
    lines = [_INTRODUCTION]
    for file, sections in LAYOUT.files.items():
        lines += [f"## {file}", "", "| key | default | may be | what it is |", "|---|---|---|---|"]
        for path, declared, value in _leaves(Settings(), sections):
            key = ".".join(path)
            default = "by `vendor.plan`" if key in _BY_PLAN else f"`{_yaml(value)}`"
            also = f" Short variable: `{short[key]}`." if key in short else ""
            lines.append(
                f"| `{key}` | {default} | {_cell(allowed(declared))} | {_cell(declared.description or '')}{also} |"
            )
        lines.append("")
    lines += [_plans(), _secrets()]
    return "\n".join(lines)


def _leaves(settings: Settings, sections: tuple[str, ...]) -> Iterator[_Leaf]:
    for section in sections:
        yield from _leaves_of((section,), Settings.model_fields[section], getattr(settings, section))


def _leaves_of(path: tuple[str, ...], declared: FieldInfo, value: object) -> Iterator[_Leaf]:
    if isinstance(value, BaseModel):
        for name, inner in type(value).model_fields.items():
            yield from _leaves_of((*path, name), inner, getattr(value, name))
    elif isinstance(value, Mapping):
        for name, inner_value in value.items():
            yield (*path, name), declared, inner_value
    else:
        yield path, declared, value


def _origin(settings: Settings, key: str) -> str:
    return settings.origin(key) or ("by vendor.plan" if key in _BY_PLAN else "default")


def _yaml(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plans() -> str:
    lines = [
        "## What follows from the plan",
        "",
        "| `vendor.plan` | `calls_per_minute` | `delay_minutes` | `ws_url` | `sources.tables` |",
        "|---|---|---|---|---|",
    ]
    for plan in get_args(Plan):
        settings = Settings(vendor=VendorSettings(plan=plan))
        vendor = settings.vendor
        tables = ", ".join(settings.sources.tables)
        lines.append(f"| {plan} | {vendor.calls_per_minute} | {vendor.delay_minutes} | `{vendor.ws_url}` | {tables} |")
    return "\n".join([*lines, ""])


def _secrets() -> str:
    lines = [
        "## Secrets",
        "",
        "No key, token or password is a setting: a file or a `MARKETLAKE__` variable that holds one is refused.",
        "They come from a saved block of the Prefect server (`PolygonCredentials`, `SlackAlerts`, `Lake`) or from the",
        "environment:",
        "",
        "| variable | what it is for |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{name}` | {purpose} |" for name, purpose in SECRETS.items()), ""])


_INTRODUCTION: Final = """# Configuration

marketlake reads four files from one folder: the folder that `MARKETLAKE_CONFIG` names, else `config` in the working
directory. Each file may be missing, and each key: the default holds then. The folders in `config/examples/` hold only
what differs from the defaults, and each says when to use it.

Precedence, highest first:

1. the short variables `MARKETLAKE_REST_URL`, `MARKETLAKE_WS_URL`, `MARKETLAKE_LAKE`
2. variables made of the prefix and the key, joined by two underscores: `vendor.plan` is `MARKETLAKE__VENDOR__PLAN`
3. the files
4. the defaults

A list in a variable is written with commas (`SPY,QQQ`) or as YAML (`[SPY, QQQ]`; `[]` is the empty list), nothing as
`null`. A variable that is empty counts as not set. In the files only `true` and `false` are booleans, so that `ON` and
`NO` are tickers.

Nothing that is written there is passed over: an unknown key or variable, a wrong type, a value out of range, a key that
stands twice or a broken file ends the run before anything is done, in one line that names the file or variable, the key
and what it may be. `marketlake config check` prints all of them, `marketlake config show` what holds and where it came
from.
"""

if __name__ == "__main__":
    sys.stdout.write(describe())
