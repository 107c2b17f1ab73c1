"""Defaults, files and variables give one frozen set of settings; each thing that is wrong with them is one line."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import annotated_types
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from marketlake.errors import ConfigurationError
from marketlake.settings import (
    LAYOUT,
    Plan,
    RestRetry,
    Settings,
    SourceSettings,
    SpanName,
    VendorSettings,
    faults,
    load_settings,
)
from marketlake.settings_text import SECRETS, describe, show
from marketlake.tables import TABLES, Layer, Span

CHECKOUT = Path(__file__).parents[3]
CONFIG = CHECKOUT / "config"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration folder: ``write(sources="vendor: {plan: free}")``."""

    def write(**files: str) -> Path:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return folder

    return write


def lines(folder: Path | None, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(fault).replace(f"{folder}/", "") for fault in faults(folder, environ or {})]


def leaves(
    model: type[BaseModel] = Settings, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, declared in model.model_fields.items():
        kind = declared.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, (*above, name))
        else:
            yield (*above, name), declared


# Defaults


def test_the_defaults_are_what_the_shipped_files_say() -> None:
    assert Settings().model_dump() == load_settings(CONFIG, {}).model_dump()


def test_the_shipped_files_name_every_key() -> None:
    shipped = "".join((CONFIG / name).read_text() for name in LAYOUT.files)

    assert [] == [path for path, _ in leaves() if f"{path[-1]}:" not in shipped]


def test_settings_alone_read_neither_files_nor_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETLAKE__VENDOR__PLAN", "free")
    monkeypatch.setenv("VENDOR", '{"plan": "free"}')

    assert Settings().vendor.plan == "advanced"


def test_with_a_key_and_nothing_else_the_vendor_is_asked_in_real_time_for_what_a_session_needs() -> None:
    defaults = Settings()

    assert defaults.vendor.rest_url == "https://api.polygon.io"
    assert defaults.vendor.delay_minutes == 0
    assert defaults.sources.underlyings == ("SPY",)
    assert {"stock_bars", "index_bars", "option_contracts", "option_bars", "option_quotes", "news"} <= set(
        defaults.sources.tables
    )


# The vendor's plan tables: calls a minute, minutes of delay, whether options' snapshots, trades and quotes are sold.
@pytest.mark.parametrize(
    ("plan", "calls", "delay", "sold"),
    [
        ("free", 5, 480, set()),
        ("starter", 6_000, 15, {"option_snapshots"}),
        ("developer", 6_000, 15, {"option_snapshots", "option_trades"}),
        ("advanced", 6_000, 0, {"option_snapshots", "option_trades", "option_quotes"}),
    ],
)
def test_calls_delay_stream_and_tables_follow_from_the_plan(plan: str, calls: int, delay: int, sold: set[str]) -> None:
    found = load_settings(None, {"MARKETLAKE__VENDOR__PLAN": plan})

    assert (calls, delay) == (found.vendor.calls_per_minute, found.vendor.delay_minutes)
    assert (delay > 0) == ("delayed" in found.vendor.ws_url)
    assert sold == {"option_snapshots", "option_trades", "option_quotes"} & set(found.sources.tables)


def test_what_is_given_wins_over_what_follows_from_the_plan(write: Write) -> None:
    folder = write(
        sources="{vendor: {plan: free, calls_per_minute: 9, delay_minutes: null}, sources: {tables: [option_quotes]}}"
    )
    found = load_settings(folder, {})

    assert (9, 480, ("option_quotes",)) == (
        found.vendor.calls_per_minute,
        found.vendor.delay_minutes,
        found.sources.tables,
    )


def test_without_indices_their_bars_are_not_among_the_default_tables(write: Write) -> None:
    assert "index_bars" not in load_settings(write(sources="sources: {indices: []}"), {}).sources.tables


def test_contracts_come_before_what_is_asked_by_contract() -> None:
    tables = Settings().sources.tables

    assert tables.index("option_contracts") < tables.index("option_bars") < tables.index("option_quotes")


def test_tables_and_spans_have_the_names_that_they_have_in_the_lake() -> None:
    assert set(get_args(SpanName)) == set(Span)
    assert {name for plan in get_args(Plan) for name in Settings(vendor=VendorSettings(plan=plan)).sources.tables} <= {
        table.name for table in TABLES.values() if table.layer is Layer.RAW
    }
    assert set(SourceSettings().spans) == {name for name in TABLES if name.endswith("_bars")}


def test_settings_do_not_change_and_survive_a_process_border() -> None:
    found = load_settings(CONFIG, {"MARKETLAKE_LAKE": "/data"})

    assert found == pickle.loads(pickle.dumps(found))
    with pytest.raises(ValidationError):
        found.vendor.plan = "free"  # type: ignore[misc]


# Precedence


def test_short_variables_win_over_long_ones_over_files_over_defaults(write: Write) -> None:
    folder = write(settings="lake: {root: from-file, lease_minutes: 7}", sources="vendor: {rest_url: http://file}")
    environ = {
        "MARKETLAKE_REST_URL": "http://short",
        "MARKETLAKE__VENDOR__REST_URL": "http://long",
        "MARKETLAKE__LAKE__ROOT": "from-variable",
    }
    found = load_settings(folder, environ)

    assert "http://short" == found.vendor.rest_url
    assert "MARKETLAKE_REST_URL" == found.origin("vendor.rest_url")
    assert "from-variable" == found.lake.root
    assert "MARKETLAKE__LAKE__ROOT" == found.origin("lake.root")
    assert (7, 24) == (found.lake.lease_minutes, found.lake.capture_reuse_hours)


def test_the_folder_is_the_given_one_else_the_variables_else_config(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(settings="selection: {limit: 1}")
    other = tmp_path / "other"
    other.mkdir()
    (other / "settings.yaml").write_text("selection: {limit: 2}")
    monkeypatch.chdir(tmp_path)

    named = {"MARKETLAKE_CONFIG": str(other)}
    assert 1 == load_settings(folder, named).selection.limit
    assert 2 == load_settings(None, named).selection.limit
    assert 1 == load_settings(None, {}).selection.limit
    monkeypatch.chdir(other)
    assert 30 == load_settings(None, {}).selection.limit


def test_a_variable_that_is_empty_counts_as_not_set() -> None:
    environ = {"MARKETLAKE_LAKE": "", "MARKETLAKE__VENDOR__PLAN": "", "MARKETLAKE__NONSENSE": ""}

    assert Settings().model_dump() == load_settings(CONFIG, environ).model_dump()


def test_a_span_that_is_not_named_keeps_its_default(write: Write) -> None:
    folder = write(sources="sources: {spans: {stock_bars: [day]}}")
    spans = load_settings(folder, {"MARKETLAKE__SOURCES__SPANS__OPTION_BARS": "minute"}).sources.spans

    assert {"stock_bars": ("day",), "option_bars": ("minute",), "index_bars": ("minute", "day")} == spans


@pytest.mark.parametrize("text", ["SPY,QQQ", " SPY , QQQ ", "[SPY, QQQ]", '["SPY", "QQQ"]'])
def test_a_list_in_a_variable_is_written_with_commas_or_as_yaml(text: str) -> None:
    assert ("SPY", "QQQ") == load_settings(None, {"MARKETLAKE__SOURCES__UNDERLYINGS": text}).sources.underlyings


def test_every_key_can_be_set_by_its_variable(tmp_path: Path) -> None:
    """Setting each key to its own default by variable changes nothing, and is noted as its origin."""
    defaults = Settings()
    for path, _ in leaves():
        value: Any = defaults
        for part in path:
            value = getattr(value, part)
        items = {path: value} if not isinstance(value, Mapping) else {(*path, key): item for key, item in value.items()}
        for keys, item in items.items():
            text = (
                ",".join(str(part) for part in item)
                if isinstance(item, tuple)
                else "null"
                if item is None
                else str(item)
            )
            name = "MARKETLAKE__" + "__".join(keys).upper()
            found = load_settings(tmp_path, {name: text})
            assert defaults.model_dump() == found.model_dump(), name
            assert not text or name == found.origin(".".join(keys))


def test_tickers_that_look_like_booleans_are_tickers(write: Write) -> None:
    folder = write(sources="sources: {underlyings: [ON, NO, Y]}")

    assert ("ON", "NO", "Y") == load_settings(folder, {}).sources.underlyings


def test_a_file_of_comments_and_an_empty_section_change_nothing(write: Write) -> None:
    folder = write(
        settings="# nothing\n", sources="vendor:\nsources:\n", sinks="", retry_policy="\ufeffretry: {rest: }\n"
    )

    assert Settings().model_dump() == load_settings(folder, {}).model_dump()


def test_the_home_folder_may_be_written_short(write: Write) -> None:
    assert f"{Path.home()}/lake" == load_settings(write(settings="lake: {root: ~/lake}"), {}).lake.root


@given(
    percent=st.decimals(min_value="0.001", max_value=100, allow_nan=False, places=3),
    limit=st.integers(1, 1_000),
    level=st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "info"]),
    waits=st.lists(st.integers(0, 3_600), min_size=1, max_size=5),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_what_is_shown_can_be_loaded_again(
    percent: Decimal, limit: int, level: str, waits: list[int], tmp_path: Path
) -> None:
    environ = {
        "MARKETLAKE__SELECTION__RANGE_PERCENT": str(percent),
        "MARKETLAKE__SELECTION__LIMIT": str(limit),
        "MARKETLAKE__LOGGING__LEVEL": level,
        "MARKETLAKE__RETRY__TASK__WAITS_S": ",".join(map(str, waits)),
    }
    found = load_settings(None, environ)
    shown = yaml.safe_load(show(found, {}))
    for name, sections in LAYOUT.files.items():
        (tmp_path / name).write_text(yaml.safe_dump({section: shown[section] for section in sections}))

    assert found.model_dump() == load_settings(tmp_path, {}).model_dump()


# Faults


ADDRESS = "must be an address with https or http and a host, without a query"
STREAM = "must be an address with wss or ws and a host, without a query"
ROOT = "must be a folder or s3://bucket/prefix"
UNDERLYING = "must be a share or an index: SPY, SPX or I:SPX"
CHANNEL = 'must be a channel\'s id or its name in quotes: "#alerts"'
LIMIT = "must be a whole number from 1 to 1000"
SPANS = "must be second, minute or day"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("lake: {rot: x}", "lake.rot", "there is no such key; did you mean root?"),
        ("lake: [1]", "lake", "must be a section with some of root, s3, lease_minutes, capture_reuse_hours"),
        ("lake: {root: gs://bucket}", "lake.root", ROOT),
        ("lake: {root: s3://B}", "lake.root", ROOT),
        ("lake: {root: s3://bucket/a/../b}", "lake.root", ROOT),
        ("lake: {root: ''}", "lake.root", ROOT),
        ("lake: {s3: {region: 'a b'}}", "lake.s3.region", "must be the name of a region: eu-central-1, or null"),
        ("logging: {level: loud}", "logging.level", "must be DEBUG, INFO, WARNING or ERROR"),
        ("logging: {heartbeat_seconds: 0}", "logging.heartbeat_seconds", "must be a number from 0.1 to 3600"),
        ("logging: {heartbeat_seconds: .nan}", "logging.heartbeat_seconds", "must be a number from 0.1 to 3600"),
        ("selection: {range_percent: 0}", "selection.range_percent", "must be a number above 0 to 100"),
        ("selection: {limit: true}", "selection.limit", LIMIT),
        ("selection: {limit: 3.5}", "selection.limit", LIMIT),
        ("selection: {limit: }", "selection.limit", f"is empty; {LIMIT}"),
        ("vendor: {plan: gold}", "vendor.plan", "must be free, starter, developer or advanced"),
        ("vendor: {rest_url: api.polygon.io}", "vendor.rest_url", ADDRESS),
        ("vendor: {rest_url: 'http://x:99999'}", "vendor.rest_url", ADDRESS),
        ("vendor: {rest_url: 'http://x/?a=b'}", "vendor.rest_url", ADDRESS),
        ("vendor: {ws_url: https://x}", "vendor.ws_url", STREAM),
        ("sources: {underlyings: [SPY, spy]}", "sources.underlyings[1]", UNDERLYING),
        ("sources: {underlyings: [O:SPY250919C00650000]}", "sources.underlyings[0]", UNDERLYING),
        ("sources: {underlyings: [true]}", "sources.underlyings[0]", f"{UNDERLYING} (as text: put it in quotes)"),
        ("sources: {underlyings: [SPX, 'I:SPX']}", "sources.underlyings", "names the same thing twice"),
        ("sources: {indices: [SPY]}", "sources.indices[0]", "must be an index: I:VIX"),
        ("sources: {indices: [I:VIX, I:VIX]}", "sources.indices", "names the same thing twice"),
        ("sources: {tables: [index_bars], indices: []}", "sources", "tables names index_bars, but indices is empty"),
        ("sources: {spans: {stock_bars: [hour]}}", "sources.spans.stock_bars[0]", SPANS),
        ("sources: {spans: {news: [day]}}", "sources.spans", "only stock_bars, option_bars, index_bars have spans"),
        ("sources: {spans: day}", "sources.spans", "must be a section"),
        ("sources: {chunk_days: 32}", "sources.chunk_days", "must be a whole number from 1 to 31"),
        ("sources: {workers: 17}", "sources.workers", "must be a whole number from 1 to 16"),
        ("slack:\n  channel: #alerts", "slack.channel", f"is empty; {CHANNEL}"),
        ("slack: {channel: 'two words'}", "slack.channel", CHANNEL),
        ("retry: {rest: {longest_wait_s: 0.1}}", "retry.rest", "longest_wait_s is shorter than first_wait_s"),
        ("retry: {task: {waits_s: [1, x]}}", "retry.task.waits_s[1]", "must be a whole number from 0 to 3600"),
    ],
)
def test_each_fault_in_a_file_is_one_line(write: Write, text: str, key: str, problem: str) -> None:
    file = LAYOUT.file_of(text.partition(":")[0])

    assert [f"{file}: {key}: {problem}"] == lines(write(**{file.removesuffix(".yaml"): text}))


def test_an_empty_list_of_underlyings_is_one_line_that_says_what_may_be_in_it(write: Write) -> None:
    (line,) = lines(write(sources="sources: {underlyings: []}"))

    assert "sources.underlyings: must be a list with at least one; each: a share or an index: SPY, SPX or I:SPX" in line


def test_an_unknown_table_is_answered_with_those_that_there_are(write: Write) -> None:
    first, second = faults(write(sources="sources: {tables: [stock_barz, market_minutes]}"), {})

    assert ("sources.tables[0]", "sources.tables[1]") == (first.key, second.key)
    assert "stock_bars, stock_trades, " in first.problem
    assert "market_minutes" not in second.problem


def test_a_section_in_another_file_is_sent_where_it_belongs(write: Write) -> None:
    assert ["settings.yaml: vendor: belongs in sources.yaml"] == lines(write(settings="vendor: {plan: free}"))


@pytest.mark.parametrize("text", ["- lake", "5", "lake"])
def test_a_file_without_sections_is_answered_with_those_that_belong_in_it(write: Write, text: str) -> None:
    assert ["settings.yaml: must hold sections: lake, logging, stream, selection, consolidation"] == lines(
        write(settings=text)
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("lake: {root: a}\nlake: {root: b}", "line 2, column 1: lake is there twice"),
        ("lake:\n  root: a\n  root: b", "line 3, column 3: root is there twice"),
        ("lake:\n\troot: a", "line 2, column 1: "),
        ("lake: {root: a", "line "),
        ("lake: !!python/object:os.system x", "line 1, column 7: "),
    ],
)
def test_a_broken_file_is_one_line_with_the_place(write: Write, text: str, place: str) -> None:
    (line,) = lines(write(settings=text))

    assert line.startswith(f"settings.yaml: is no YAML: {place}")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("MARKETLAKE_LAKE", "ftp://x", f"lake.root: {ROOT}"),
        ("MARKETLAKE__VENDOR__PLAM", "free", "vendor.plam: there is no such key; did you mean plan?"),
        ("MARKETLAKE__VENDOR", "free", "vendor: is a section: name one of its keys, MARKETLAKE__VENDOR__…"),
        ("MARKETLAKE__VENDOR__PLAN__X", "free", "vendor.plan.x: there is no such key"),
        ("MARKETLAKE__SOURCES__SPANS__STOCK_BARS", "year", f"sources.spans.stock_bars[0]: {SPANS}"),
        ("MARKETLAKE__SOURCES__WORKERS", "four", "sources.workers: must be a whole number from 1 to 16"),
        ("MARKETLAKE__SOURCES__WORKERS", "null", "sources.workers: is empty; must be a whole number from 1 to 16"),
        ("MARKETLAKE_VENDOR__PLAN", "free", "is not read; did you mean MARKETLAKE__VENDOR__PLAN?"),
        ("MARKETLAKE_CONFIG", "/nowhere/at/all", "there is no folder /nowhere/at/all"),
    ],
)
def test_each_fault_in_a_variable_is_one_line(tmp_path: Path, name: str, text: str, fault: str) -> None:
    folder = None if name == "MARKETLAKE_CONFIG" else tmp_path

    assert [f"{name}: {fault}"] == lines(folder, {name: text})


def test_a_broken_list_in_a_variable_is_one_line(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, {"MARKETLAKE__SOURCES__UNDERLYINGS": "[SPY"})

    assert line.startswith("MARKETLAKE__SOURCES__UNDERLYINGS: sources.underlyings: is no YAML: line ")


def test_a_variable_that_names_all_spans_at_once_is_told_to_name_one(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, {"MARKETLAKE__SOURCES__SPANS": "day"})

    assert line.endswith("is a section: name one of its keys, MARKETLAKE__SOURCES__SPANS__…")


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("vendor: {api_key: %s}", "vendor.api_key"),
        ("polygon: {auth: {apiKey: %s}}", "polygon"),
        ("vendor: {token: %s}", "vendor.token"),
        ("vendor: {rest_url: 'https://me:%s@host'}", "vendor.rest_url"),
        ("vendor: {rest_url: 'https://%s@host'}", "vendor.rest_url"),
        ("vendor: {plan: %s}", "vendor.plan"),
        ("vendor: {client: {%s: 1}}", "vendor.client"),
        ("sources: {underlyings: [%s]}", "sources.underlyings[0]"),
        ("sources: {tables: [%s]}", "sources.tables[0]"),
        ("vendor: [%s", ""),
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(write: Write, place: str, key: str) -> None:
    secret = "Zk3vQ81mLw0pX7"
    (fault,) = faults(write(sources=place % secret), {})

    assert key == fault.key
    assert secret not in str(fault)
    if any(word in place for word in ("api_key", "apiKey", "token", "@")):
        assert "secrets belong in a block or the environment" in str(fault)


@pytest.mark.parametrize(
    "name", ["MARKETLAKE__VENDOR__API_KEY", "MARKETLAKE__SLACK__TOKEN", "MARKETLAKE__LAKE__S3__SECRET"]
)
def test_a_secret_in_a_settings_variable_is_refused_and_not_repeated(tmp_path: Path, name: str) -> None:
    (fault,) = faults(tmp_path, {name: "Zk3vQ81mLw0pX7"})

    assert "secrets belong in a block or the environment" in str(fault)
    assert "Zk3vQ81mLw0pX7" not in str(fault)


def test_a_slack_token_is_no_channel(write: Write) -> None:
    (fault,) = faults(write(sinks="slack: {channel: xoxb-1-abcdef}"), {})

    assert "secrets belong" in str(fault)
    assert "abcdef" not in str(fault)


def test_a_file_with_a_wrong_name_is_not_passed_over(write: Write) -> None:
    folder = write(source="vendor: {plan: free}", compose="services: {}")
    (folder / "settings.yml").write_text("")

    assert [
        "settings.yml: is not read; did you mean settings.yaml?",
        "source.yaml: is not read; did you mean sources.yaml?",
    ] == lines(folder)


def test_a_file_that_cannot_be_read_is_one_line(write: Write) -> None:
    folder = write()
    (folder / "settings.yaml").mkdir()
    (folder / "sources.yaml").write_bytes(b"vendor: {plan: \xff}")
    (folder / "sinks.yaml").write_bytes(b"slack: {channel: \x00}")

    assert [
        "settings.yaml: cannot be read: Is a directory",
        "sources.yaml: is not UTF-8 text",
        "sinks.yaml: is no YAML: it holds a character that YAML does not allow",
    ] == lines(folder)


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert [f"{tmp_path}/x: there is no folder {tmp_path}/x"] == [str(fault) for fault in faults(tmp_path / "x", {})]


def test_several_faults_are_all_found_and_the_first_is_raised_with_their_count(write: Write) -> None:
    folder = write(settings="{selection: {limit: 0}, lake: {typo: 1}}", sources="vendor: {plan: gold}")
    environ = {"MARKETLAKE__SOURCES__WORKERS": "0"}

    assert [
        "settings.yaml: lake.typo: there is no such key; known: root, s3, lease_minutes, capture_reuse_hours",
        "settings.yaml: selection.limit: must be a whole number from 1 to 1000",
        "sources.yaml: vendor.plan: must be free, starter, developer or advanced",
        "MARKETLAKE__SOURCES__WORKERS: sources.workers: must be a whole number from 1 to 16",
    ] == lines(folder, environ)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(folder, environ)
    assert "lake.typo" == caught.value.key
    assert str(caught.value).endswith("(and 3 more: `marketlake config check` lists them)")


def test_a_bound_is_refused_just_beyond_and_taken_at_it(tmp_path: Path) -> None:
    """For every number with bounds: the outermost allowed value loads, the next one is a fault at that key."""
    for path, declared in leaves():
        name = "MARKETLAKE__" + "__".join(path).upper()
        step = 1 if declared.annotation is int else Decimal("0.001")
        if declared.annotation is int:
            assert any(isinstance(fact, annotated_types.Le) for fact in declared.metadata), path
        for fact in declared.metadata:
            if isinstance(fact, annotated_types.Ge | annotated_types.Le):
                edge = fact.ge if isinstance(fact, annotated_types.Ge) else fact.le
                beyond = Decimal(str(edge)) + (-step if isinstance(fact, annotated_types.Ge) else step)
                taken = {name: str(edge)}
                if path[-1] == "longest_wait_s":
                    taken["MARKETLAKE__RETRY__REST__FIRST_WAIT_S"] = "0"
                if path[-1] == "first_wait_s":
                    taken["MARKETLAKE__RETRY__REST__LONGEST_WAIT_S"] = "300"
                assert [] == faults(tmp_path, taken), path
                assert [".".join(path)] == [fault.key for fault in faults(tmp_path, {name: str(beyond)})], path


def test_every_key_has_a_sentence() -> None:
    assert [] == [path for path, declared in leaves() if not (declared.description or "").endswith(".")]


def test_waits_that_shrink_are_refused_in_code_too() -> None:
    with pytest.raises(ValidationError, match="longest_wait_s is shorter"):
        RestRetry(first_wait_s=2, longest_wait_s=1)


# Examples and pages


@pytest.mark.parametrize("folder", sorted((CONFIG / "examples").iterdir()), ids=lambda folder: folder.name)
def test_an_example_loads_differs_and_says_when_to_use_it(folder: Path) -> None:
    found, defaults = load_settings(folder, {}), Settings()

    for file in folder.iterdir():
        assert file.name in LAYOUT.files
        assert file.read_text().startswith("# Use this ")
        for section, keys in yaml.safe_load(file.read_text()).items():
            for key in keys:
                given, default = getattr(getattr(found, section), key), getattr(getattr(defaults, section), key)
                assert given != default or (folder.name, key) == ("simulator", "plan"), (
                    f"{section}.{key} is the default"
                )


def test_the_examples_are_those_that_the_documentation_names() -> None:
    assert {"free-plan", "delayed-plan", "s3", "several-underlyings", "simulator"} == {
        folder.name for folder in (CONFIG / "examples").iterdir()
    }


def test_the_page_about_the_configuration_is_current() -> None:
    page = (CHECKOUT / "docs" / "configuration.md").read_text()

    assert page == describe(), "run: python -m marketlake.settings_text > docs/configuration.md"


def test_the_page_names_every_key_and_variable() -> None:
    page = describe()

    assert [] == [path for path, _ in leaves() if f"`{'.'.join(path)}" not in page]
    assert [] == [name for name in (*LAYOUT.variables, *SECRETS, "MARKETLAKE_CONFIG") if f"`{name}`" not in page]


def test_what_holds_is_shown_with_where_it_came_from_and_secrets_masked(write: Write) -> None:
    folder = write(sources="vendor: {plan: starter}", settings="lake: {lease_minutes: 9}")
    environ = {
        "POLYGON_API_KEY": "Zk3vQ81mLw0pX7",
        "MARKETLAKE_LAKE": "s3://bucket/lake",
        "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": "day",
    }
    shown = show(load_settings(folder, environ), environ).splitlines()

    assert "Zk3vQ81mLw0pX7" not in "\n".join(shown)
    for line in (
        "  root: s3://bucket/lake  # MARKETLAKE_LAKE",
        f"  lease_minutes: 9  # {folder}/settings.yaml",
        "  capture_reuse_hours: 24  # default",
        f"  plan: starter  # {folder}/sources.yaml",
        "  delay_minutes: 15  # by vendor.plan",
        "    stock_bars: [day]  # MARKETLAKE__SOURCES__SPANS__STOCK_BARS",
        "# POLYGON_API_KEY: ********",
        "# SLACK_BOT_TOKEN: not set",
    ):
        assert line in shown


def test_the_import_needs_neither_prefect_nor_pyarrow() -> None:
    """Every command pays for this import, `marketlake config check` included."""
    script = "import sys, marketlake.settings, marketlake.logs; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)

    assert not {"prefect", "pyarrow", "pandas", "great_expectations", "numpy"} & set(done.stdout.split())
