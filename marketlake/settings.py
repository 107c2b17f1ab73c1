"""Every setting: its type, its bounds, its default and a sentence about it; and how the settings of a run are loaded.

What a value may be lives in :mod:`marketlake.settings_grammar`, how files and the environment are read in
:mod:`marketlake.settings_sources`, how a fault is worded in :mod:`marketlake.settings_faults`, how settings are printed
and documented in :mod:`marketlake.settings_text`. No secret is a setting: keys and tokens come from blocks or from the
environment (POLYGON_API_KEY, SLACK_BOT_TOKEN) and are read where they are used.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from marketlake.errors import ConfigurationError
from marketlake.settings_faults import faults_of
from marketlake.settings_grammar import (
    Address,
    Channel,
    Distinct,
    DistinctUnderlyings,
    Exact,
    FolderText,
    IndexText,
    LakeRoot,
    Number,
    RawTable,
    Region,
    SlackAddress,
    StreamAddress,
    UnderlyingText,
    UpperCase,
    Whole,
)
from marketlake.settings_sources import Layout, Source, read

Plan = Literal["free", "starter", "developer", "advanced"]
# The words of marketlake.tables.Span, without the time that pyarrow takes to import.
SpanName = Literal["second", "minute", "day"]

# What a plan allows, by the vendor's pricing and knowledge-base pages. The paid plans have no fixed limit, but the
# vendor asks to stay under 100 calls a second. When the free plan's end-of-day data appears is not published: eight
# hours after the post-market is the next morning, also after a half day.
_CALLS: Final[Mapping[Plan, int]] = {"free": 5, "starter": 6_000, "developer": 6_000, "advanced": 6_000}
_DELAY: Final[Mapping[Plan, int]] = {"free": 480, "starter": 15, "developer": 15, "advanced": 0}
_WS_URL: Final[Mapping[Plan, str]] = {
    "free": "wss://delayed.polygon.io",
    "starter": "wss://delayed.polygon.io",
    "developer": "wss://delayed.polygon.io",
    "advanced": "wss://socket.polygon.io",
}
_OF_EVERY_PLAN: Final = (
    "stock_bars",
    "index_bars",
    "option_contracts",
    "option_bars",
    "news",
    "dividends",
    "splits",
    "treasury_yields",
)
_ADDED_BY_PLAN: Final[Mapping[Plan, tuple[str, ...]]] = {
    "free": (),
    "starter": ("option_snapshots",),
    "developer": ("option_snapshots", "option_trades"),
    "advanced": ("option_snapshots", "option_trades", "option_quotes"),
}
# What the feeds carry, by the words of the settings; the vendor refuses what a plan does not have, and says so.
StreamName = Literal["minute_bars", "second_bars", "trades", "quotes", "values"]
# A bar is sent again for up to 15 minutes after its end when late trades change it: a revision, and not late.
_DEFAULT_ALLOWANCE_S: Final[Mapping[str, int]] = {
    "stock_bars": 1_200,
    "stock_trades": 30,
    "stock_quotes": 30,
    "option_bars": 1_200,
    "option_trades": 30,
    "option_quotes": 30,
    "index_bars": 1_200,
    "index_values": 30,
}
_DEFAULT_REJECTION_S: Final[Mapping[str, int]] = {
    name: max(1_200, 3 * allowance_s) for name, allowance_s in _DEFAULT_ALLOWANCE_S.items()
}
_OF_TAPES: Final = frozenset({"minute_bars", "second_bars", "trades", "quotes"})
_STREAMS: Final[Mapping[str, frozenset[str]]] = {
    "stocks": _OF_TAPES,
    "options": _OF_TAPES,
    "indices": frozenset({"minute_bars", "second_bars", "values"}),
}
_DEFAULT_STREAMS: Final[Mapping[str, tuple[StreamName, ...]]] = {
    "stocks": ("minute_bars", "second_bars"),
    "options": ("minute_bars", "trades", "quotes"),
    "indices": ("minute_bars", "values"),
}
_DEFAULT_SPANS: Final[Mapping[str, tuple[SpanName, ...]]] = {
    "stock_bars": ("second", "minute", "day"),
    "option_bars": ("minute", "day"),
    "index_bars": ("minute", "day"),
}


class Section(BaseModel):
    """What all sections have in common: they do not change, and refuse keys that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class S3Settings(Section):
    """How the bucket is reached where the root is s3://; the credentials are AWS's usual ones or a block's."""

    endpoint_url: Address | None = Field(None, description="Address of an S3-compatible service; null means AWS.")
    region: Region | None = Field(
        None, description="Region of the bucket; null means what the AWS configuration of the machine says."
    )
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="Encryption that every object is written with; null means the bucket's own rule."
    )


class LakeSettings(Section):
    """Where the data is kept, and how long claims on it last."""

    root: LakeRoot = Field("lake", description="Folder or bucket that holds the lake.")
    s3: S3Settings = Field(default_factory=S3Settings, description="How the bucket is reached.")
    lease_minutes: Whole = Field(
        30,
        ge=1,
        le=1_440,
        description="Minutes after which another process may take over a partition from a writer on another machine "
        "that died; raise it if one batch takes longer.",
    )
    capture_reuse_hours: Whole = Field(
        24,
        ge=0,
        le=8_760,
        description="Hours for which a captured answer is used again, and a cut one continued; 0 asks afresh.",
    )


class LoggingSettings(Section):
    """What is logged, and in which form."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], UpperCase] = Field(
        "INFO", description="Least severe level that is logged."
    )
    format: Literal["people", "json"] = Field(
        "people", description="One line of text for people, or one JSON object a line for machines."
    )
    heartbeat_seconds: Number = Field(
        30, ge=0.1, le=3_600, description="Seconds between the lines in which long work says how far it is."
    )


class StreamSettings(Section):
    """How the live feeds are recorded, and cut into windows."""

    spool: FolderText = Field(
        "spool", description="Folder of this machine that holds what came until it is in the lake; never a bucket."
    )
    sync_ms: Whole = Field(
        100, ge=1, le=10_000, description="Milliseconds after which what came is on the disk, at the latest."
    )
    buffer_mb: Whole = Field(
        64,
        ge=1,
        le=4_096,
        description="Megabytes that may wait for a slow disk; what comes beyond is lost and counted.",
    )
    file_mb: Whole = Field(256, ge=1, le=4_096, description="Megabytes after which the spool goes on in a new file.")
    clock: Literal["machine", "vendor"] = Field(
        "machine",
        description="Whose clock tells how long a feed was silent: the vendor's where a past session is replayed.",
    )
    stocks_silence_s: Whole = Field(
        10, ge=1, le=86_400, description="Seconds of a session without news from shares until the feed is stalled."
    )
    indices_silence_s: Whole = Field(
        60, ge=1, le=86_400, description="The same for indices; VIX has a value about every 15 s."
    )
    options_silence_s: Whole = Field(
        900, ge=1, le=86_400, description="The same for options, of which a few contracts may well be silent for long."
    )
    minute_bars_silence_s: Whole = Field(
        150, ge=61, le=86_400, description="The same for minute bars, where that is longer than the feed's own limit."
    )
    window_minutes: Whole = Field(
        15, ge=1, le=30, description="Minutes of a session that one window holds: 1, 5, 15 or 30."
    )
    allowance_s: Mapping[str, Annotated[Whole, Field(ge=0, le=7_200)]] = Field(
        default_factory=lambda: dict(_DEFAULT_ALLOWANCE_S),
        description="Seconds of event time for which a window stays open behind its end, by table; a table that is "
        "not named keeps its default.",
    )
    rejection_s: Mapping[str, Annotated[Whole, Field(ge=0, le=86_400)]] = Field(
        default_factory=lambda: dict(_DEFAULT_REJECTION_S),
        description="Seconds behind the feed after which a row whose window is closed is refused, by table; a table "
        "that is not named keeps its default.",
    )
    after_close_s: Whole = Field(
        300, ge=0, le=7_200, description="Seconds for which a feed stays open behind the close of what it carries."
    )

    @field_validator("window_minutes", mode="after")
    @classmethod
    def _begins_with_the_hour(cls, minutes: int) -> int:
        if minutes not in {1, 5, 15, 30}:
            message = "must be 1, 5, 15 or 30"
            raise ValueError(message)
        return minutes

    @field_validator("allowance_s", "rejection_s", mode="after")
    @classmethod
    def _complete_lateness(cls, given: Mapping[str, int], info: ValidationInfo) -> Mapping[str, int]:
        if not set(given) <= set(_DEFAULT_ALLOWANCE_S):
            message = f"only {', '.join(_DEFAULT_ALLOWANCE_S)} are streamed"
            raise ValueError(message)
        return {**(_DEFAULT_ALLOWANCE_S if info.field_name == "allowance_s" else _DEFAULT_REJECTION_S), **given}

    @model_validator(mode="after")
    def _rejection_is_later(self) -> Self:
        for table, allowance_s in self.allowance_s.items():
            if self.rejection_s[table] < allowance_s:
                message = f"rejection_s of {table} is shorter than its allowance_s"
                raise ValueError(message)
        return self


class SelectionSettings(Section):
    """Which contracts of an underlying are chosen for a session."""

    range_percent: Exact = Field(
        Decimal(1), gt=0, le=100, description="Strikes within this percentage of the opening price, both ends included."
    )
    limit: Whole = Field(30, ge=1, le=1_000, description="Most contracts an underlying, nearest to the price first.")
    expiries: Whole = Field(1, ge=1, le=50, description="How many expiries, from the nearest on or after the session.")
    recentre_percent: Exact = Field(
        Decimal(0),
        ge=0,
        le=100,
        description="When the price has moved by this percentage, contracts are chosen around the new one too, and the "
        "stream goes over to them; 0: never.",
    )
    opening_patience_s: Whole = Field(
        30,
        ge=0,
        le=3_600,
        description="Seconds for which the minute bar of 09:30 is waited for before the stream is asked for the "
        "opening price.",
    )


class ConsolidationSettings(Section):
    """How old a value may be when a minute uses it."""

    max_price_age_s: Whole = Field(
        900, ge=1, le=86_400, description="Seconds after which an option's price is stale and no longer priced."
    )
    max_underlying_age_s: Whole = Field(
        900, ge=1, le=86_400, description="Seconds after which the underlying's price is no longer used."
    )
    max_vix_age_s: Whole = Field(900, ge=1, le=86_400, description="Seconds after which the VIX is no longer used.")
    news_lag_s: Whole = Field(
        60, ge=0, le=86_400, description="Seconds from an article's published time until it counts as known."
    )


class VendorSettings(Section):
    """Whom we ask, with which client, and what the plan allows; the key is no setting."""

    plan: Plan = Field(
        "advanced", description="Plan of the key; calls, delay, stream address and default tables follow from it."
    )
    rest_url: Address = Field("https://api.polygon.io", description="Address of the REST service.")
    ws_url: StreamAddress = Field(
        default_factory=lambda known: _WS_URL[_plan_of(known)],
        description="Address of the streaming service; by default the plan's real-time or delayed one.",
    )
    client: Literal["auto", "polygon", "massive"] = Field(
        "auto", description="The vendor's client library; auto takes massive where it is installed, else polygon."
    )
    calls_per_minute: Whole = Field(
        default_factory=lambda known: _CALLS[_plan_of(known)],
        ge=1,
        le=6_000,
        description="Most calls a minute, over all processes of this user; by default what the plan allows.",
    )
    delay_minutes: Whole = Field(
        default_factory=lambda known: _DELAY[_plan_of(known)],
        ge=0,
        le=1_440,
        description="Minutes by which the vendor's data is late; by default the plan's own.",
    )

    @field_validator("ws_url", "calls_per_minute", "delay_minutes", mode="before")
    @classmethod
    def _null_means_by_plan(cls, value: object, info: ValidationInfo) -> object:
        by_plan: dict[str | None, Mapping[Plan, object]] = {
            "ws_url": _WS_URL,
            "calls_per_minute": _CALLS,
            "delay_minutes": _DELAY,
        }
        return by_plan[info.field_name][_plan_of(info.data)] if value is None else value


class SourceSettings(Section):
    """What is asked for."""

    underlyings: Annotated[tuple[UnderlyingText, ...], DistinctUnderlyings] = Field(
        ("SPY",), min_length=1, description="Shares or indices whose options, bars and news are collected."
    )
    indices: Annotated[tuple[IndexText, ...], Distinct] = Field(
        ("I:VIX",), description="Indices that are collected; an empty list where the key has none."
    )
    tables: Annotated[tuple[RawTable, ...], Distinct] = Field(
        _OF_EVERY_PLAN, min_length=1, description="Tables that are collected; by default those that the plan includes."
    )
    spans: Mapping[str, Annotated[tuple[SpanName, ...], Distinct, Field(min_length=1)]] = Field(
        default_factory=lambda: dict(_DEFAULT_SPANS),
        description="Lengths of the bars that are collected, by table; a table that is not named keeps its default.",
    )
    streams: Mapping[str, Annotated[tuple[StreamName, ...], Distinct]] = Field(
        default_factory=lambda: dict(_DEFAULT_STREAMS),
        description="What is recorded live, by feed; a feed that is not named keeps its default, and an empty list "
        "switches it off.",
    )
    news_poll_minutes: Whole = Field(
        5, ge=1, le=60, description="Minutes of session time from one poll of the news to the next."
    )
    chunk_days: Whole = Field(
        31, ge=1, le=31, description="Most days that one batch asks for; lower it where sessions are large."
    )
    workers: Whole = Field(4, ge=1, le=16, description="Batches that are worked on at once, in one process.")
    page_size: Whole = Field(50_000, ge=1, le=50_000, description="Most rows a page, where the vendor allows as many.")

    @field_validator("spans", mode="after")
    @classmethod
    def _complete_spans(cls, spans: Mapping[str, tuple[SpanName, ...]]) -> Mapping[str, tuple[SpanName, ...]]:
        unknown = sorted(set(spans) - set(_DEFAULT_SPANS))
        if unknown:
            message = f"only {', '.join(_DEFAULT_SPANS)} have spans"
            raise ValueError(message)
        return {**_DEFAULT_SPANS, **spans}

    @field_validator("streams", mode="after")
    @classmethod
    def _complete_streams(cls, streams: Mapping[str, tuple[StreamName, ...]]) -> Mapping[str, tuple[StreamName, ...]]:
        unknown = sorted(set(streams) - set(_STREAMS))
        if unknown:
            message = f"only {', '.join(_STREAMS)} are feeds"
            raise ValueError(message)
        for feed, names in streams.items():
            if not set(names) <= _STREAMS[feed]:
                message = f"{feed} carry {', '.join(sorted(_STREAMS[feed]))}"
                raise ValueError(message)
        return {**_DEFAULT_STREAMS, **streams}

    @model_validator(mode="after")
    def _indices_for_their_bars(self) -> Self:
        if "index_bars" in self.tables and "tables" in self.model_fields_set and not self.indices:
            message = "tables names index_bars, but indices is empty"
            raise ValueError(message)
        return self


def _with_tables_of(plan: Plan, sources: SourceSettings) -> SourceSettings:
    tables = (*_OF_EVERY_PLAN, *_ADDED_BY_PLAN[plan])
    return sources.model_copy(
        update={"tables": tuple(name for name in tables if name != "index_bars" or sources.indices)}
    )


class SlackSettings(Section):
    """Where an operator is told; the token is no setting."""

    channel: Channel = Field("", description="Channel that is told when something needs a person; empty means nobody.")
    api_url: SlackAddress = Field("https://slack.com/api/", description="Address of Slack's Web API.")


class RestRetry(Section):
    """How the vendor seam answers faults that pass within seconds."""

    connect_timeout_s: Number = Field(5, ge=0.1, le=60, description="Longest wait for a connection.")
    read_timeout_s: Number = Field(
        20, ge=0.1, le=300, description="Longest silence within an answer; raise it for slow lines."
    )
    attempts: Whole = Field(4, ge=1, le=10, description="Times that a page is asked for before the answer fails.")
    first_wait_s: Number = Field(0.5, ge=0, le=60, description="Wait before the second attempt; it doubles from there.")
    longest_wait_s: Number = Field(8, ge=0, le=300, description="Longest wait between two attempts.")
    rate_limit_patience_s: Number = Field(
        120, ge=0, le=3_600, description="Longest time that a call waits for the vendor's rate limit in all."
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.longest_wait_s < self.first_wait_s:
            message = "longest_wait_s is shorter than first_wait_s"
            raise ValueError(message)
        return self


class StreamRetry(Section):
    """How the recorder answers what goes wrong with its connection; these limits are of the machine's clock."""

    connect_timeout_s: Number = Field(
        10, ge=0.1, le=60, description="Longest wait for a connection, and again for its upgrade to WebSocket."
    )
    handshake_timeout_s: Number = Field(
        10, ge=0.1, le=60, description="Longest wait for the vendor's greeting, and again for its answer to the key."
    )
    acknowledgement_timeout_s: Number = Field(
        5, ge=0.1, le=60, description="Seconds within which the vendor must acknowledge what is subscribed to."
    )
    first_wait_s: Number = Field(
        0.5, ge=0.01, le=30, description="Wait before connecting again; it doubles while connections do not last."
    )
    longest_wait_s: Number = Field(30, ge=0.5, le=600, description="Longest wait before connecting again.")
    attempts: Whole = Field(
        3,
        ge=1,
        le=10,
        description="Times that the vendor may turn the recorder away (too many connections, a key that it "
        "refuses, a subscription that it does not answer) before the recorder gives up.",
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.longest_wait_s < self.first_wait_s:
            message = "longest_wait_s is shorter than first_wait_s"
            raise ValueError(message)
        return self


class TaskRetry(Section):
    """How a task of a Prefect flow run answers outages; on the command line a person runs again."""

    retries: Whole = Field(2, ge=0, le=10, description="Times that a failed task is run again.")
    waits_s: tuple[Annotated[Whole, Field(ge=0, le=3_600)], ...] = Field(
        (10, 60),
        min_length=1,
        description="Seconds before each of these runs; the last is used again for further ones.",
    )
    timeout_minutes: Number = Field(
        240,
        gt=0,
        le=1_440,
        description="Longest time that one run of a task may take; raise it for whole chains of quotes.",
    )


class RetrySettings(Section):
    """Which layer retries for how long; a flow retries nothing."""

    rest: RestRetry = Field(default_factory=RestRetry, description="One call to the vendor: seconds.")
    stream: StreamRetry = Field(default_factory=StreamRetry, description="One connection to the stream: seconds.")
    task: TaskRetry = Field(default_factory=TaskRetry, description="One task of a flow run: minutes.")


class Settings(BaseSettings):
    """All settings of a run; ``Settings()`` are the defaults alone, :func:`load_settings` reads files and variables."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    lake: LakeSettings = Field(default_factory=LakeSettings, description="Where the data is kept.")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="What is logged.")
    stream: StreamSettings = Field(default_factory=StreamSettings, description="How the live feeds are recorded.")
    selection: SelectionSettings = Field(default_factory=SelectionSettings, description="Which contracts are chosen.")
    consolidation: ConsolidationSettings = Field(
        default_factory=ConsolidationSettings, description="How a session is aligned."
    )
    vendor: VendorSettings = Field(default_factory=VendorSettings, description="Whom we ask.")
    sources: SourceSettings = Field(
        default_factory=SourceSettings, validate_default=True, description="What is asked for."
    )
    slack: SlackSettings = Field(default_factory=SlackSettings, description="Where an operator is told.")
    retry: RetrySettings = Field(default_factory=RetrySettings, description="What is tried again.")

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back; the sources of a run are passed in by :func:`load_settings`."""
        return (init_settings,)

    @field_validator("sources", mode="after")
    @classmethod
    def _tables_of_the_plan(cls, sources: SourceSettings, info: ValidationInfo) -> SourceSettings:
        vendor = info.data.get("vendor")
        if not isinstance(vendor, VendorSettings) or "tables" in sources.model_fields_set:
            return sources
        return _with_tables_of(vendor.plan, sources)

    def with_vendor(self, vendor: VendorSettings) -> Self:
        """The same settings about another account; tables that followed from its plan follow from the new one."""
        sources = self.sources if self.origin("sources.tables") else _with_tables_of(vendor.plan, self.sources)
        return self.model_copy(update={"vendor": vendor, "sources": sources})

    def origin(self, key: str) -> str | None:
        """The file or variable that gave ``vendor.plan``; None where the default holds."""
        return self._origins.get(key)


LAYOUT: Final = Layout(
    model=Settings,
    files={
        "settings.yaml": ("lake", "logging", "stream", "selection", "consolidation"),
        "sources.yaml": ("vendor", "sources"),
        "sinks.yaml": ("slack",),
        "retry_policy.yaml": ("retry",),
    },
    variables={
        "MARKETLAKE_REST_URL": ("vendor", "rest_url"),
        "MARKETLAKE_WS_URL": ("vendor", "ws_url"),
        "MARKETLAKE_LAKE": ("lake", "root"),
    },
)
"""Which sections stand in which file, and the short variables that others script against."""


def load_settings(config_dir: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a run: defaults, under the files of ``config_dir``, under the environment.

    Without ``config_dir``, MARKETLAKE_CONFIG names the folder, else ``config`` in the working directory where there is
    one. A file that is missing leaves its sections at their defaults.

    Raises:
        ConfigurationError: the first fault; its text counts the others, which :func:`faults` gives.
    """
    settings, found = _load(config_dir, environ)
    if settings is not None and not found:
        return settings
    first, *others = found
    if not others:
        raise first
    more = f"{first.problem} (and {len(others)} more: `marketlake config check` lists them)"
    raise ConfigurationError(first.where, first.key, more)


def faults(config_dir: Path | None, environ: Mapping[str, str]) -> list[ConfigurationError]:
    """Everything that is wrong with a configuration, in the order of the files; empty when it can be used."""
    return _load(config_dir, environ)[1]


def _load(config_dir: Path | None, environ: Mapping[str, str]) -> tuple[Settings | None, list[ConfigurationError]]:
    reading = read(LAYOUT, config_dir, environ)
    sources = tuple(Source(Settings, values) for values in reading.values)
    try:
        settings = Settings(_build_sources=(sources, {}))
    except ValidationError as error:
        return None, [*reading.faults, *faults_of(error, LAYOUT, reading)]
    settings._origins = reading.origins  # noqa: SLF001 - where a value came from is no value of the settings
    return settings, list(reading.faults)


def _plan_of(known: Mapping[str, Any]) -> Plan:
    plan: Plan = known.get("plan", "advanced")  # the plan's own fault is reported where it stands
    return plan
