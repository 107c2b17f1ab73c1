"""Logging for the whole process: one handler in two formats, no secret in any record, and a heartbeat for long work.

What counts as a secret lives in :mod:`marketlake.redaction`. Code logs through ``logging.getLogger(__name__)`` and
gives facts by ``extra``; inside a Prefect flow run Prefect's own handlers get the same records.
"""

import contextvars
import json
import logging
import math
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO

from marketlake import redaction
from marketlake.redaction import hide, redacted

__all__ = ["ConsoleHandler", "Heartbeat", "JsonFormatter", "PeopleFormatter", "configure", "protect", "redacted"]

OUR_LOGGERS: Final = ("marketlake", "tasks", "flows", "blocks", "expectations")

_log = logging.getLogger(__name__)
# A beat that is just being logged may end; work does not wait longer for a line about itself.
_LAST_BEAT_S: Final = 5.0
_SHORT_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class LogSettings(Protocol):
    """What :func:`configure` reads of the settings."""

    @property
    def level(self) -> str:
        """The least severe level."""
        ...

    @property
    def format(self) -> str:
        """Either people or json."""
        ...


def protect(secrets: Collection[str]) -> None:
    """Keep secrets out of every record that this process makes from now on, whoever's logger and handler it is."""
    hide(secrets)
    _install()


def configure(settings: LogSettings, secrets: Collection[str], stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) in the chosen format, and keep secrets out of every record of the process.

    Handlers of the root logger that write to the console are replaced, others stay. Third parties are heard from
    WARNING on, and from DEBUG on when that is our level. May be called again, before or after Prefect is imported;
    secrets add up.
    """
    protect(secrets)
    handler = ConsoleHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else PeopleFormatter())
    root = logging.getLogger()
    for present in list(root.handlers):
        if _writes_to_console(present):
            root.removeHandler(present)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[settings.level]
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Ours among the root logger's handlers.

    Prefect leaves the root logger alone at its import when it finds a handler there whose class has no leading
    underscore and whose formatter is set (prefect/logging/configuration.py).
    """


class PeopleFormatter(logging.Formatter):
    """``2026-11-22 21:35:02 INFO  marketlake.rest  message rows=5``, UTC; further lines of a record are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        at = datetime.fromtimestamp(record.created, UTC)
        level = _SHORT_LEVELS.get(record.levelname, record.levelname)
        # Prefect adds the names and ids of the run to each of its records; for people that is noise.
        facts = _facts(record) if record.name.partition(".")[0] in OUR_LOGGERS else {}
        facts.pop("facts", None)  # a heartbeat's, which its message holds
        words = [_printable(record.getMessage()), *(f"{name}={_quoted(value)}" for name, value in facts.items())]
        lines = [f"{at:%Y-%m-%d %H:%M:%S} {level:<5} {record.name}  {' '.join(words)}"]
        lines += [_printable(text) for text in (_exception_text(record), record.stack_info) if text]
        return redaction.redacted("\n".join(lines).replace("\n", "\n    "))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and facts, exception, stack where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line."""
        at = datetime.fromtimestamp(record.created, UTC)
        facts = _facts(record)
        told = facts.pop("facts", {})
        facts.update(told if isinstance(told, Mapping) else {"facts": told})
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if facts:
            line["facts"] = _plain(facts)
        if text := _exception_text(record):
            line["exception"] = text
        if record.stack_info:
            line["stack"] = record.stack_info
        clean = redaction.clean_mapping(line)
        return redaction.current().exact(json.dumps(clean, allow_nan=False))


class Heartbeat:
    """A context manager that logs one line every ``every_s`` seconds while long work goes on.

    ``facts`` is called for each line, in a thread of its own, and says how far the work is (rows, pages, what is being
    done). ``wait`` sleeps for so many seconds or until the work is over, and says whether it is; ``clock`` counts
    seconds from anywhere.
    """

    def __init__(
        self,
        what: str,
        facts: Callable[[], Mapping[str, object]],
        *,
        every_s: float,
        logger: logging.Logger = _log,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._what = what
        self._facts = facts
        self._every_s = every_s
        self._logger = logger
        self._clock = clock
        self._over = threading.Event()
        self._wait = wait or self._over.wait
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # The context goes along, so that Prefect knows which flow run the lines belong to.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._beat,), name=f"heartbeat of {self._what}", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(_LAST_BEAT_S)

    def _beat(self) -> None:
        started = self._clock()
        while not self._wait(self._every_s):
            facts = {"elapsed_s": round(self._clock() - started), **self._facts()}
            # In the message too, since Prefect's interface shows nothing but the message.
            told = " ".join(f"{name}={_quoted(value)}" for name, value in facts.items())
            self._logger.info("%s goes on: %s", self._what, told, extra={"facts": facts})


class _Facts(dict[str, object]):
    """The attributes of a record. Logger.makeRecord puts ``extra`` straight in here, after the record was made."""

    def __setitem__(self, name: str, value: object) -> None:
        super().__setitem__(name, value if name == "exc_info" else redaction.current().value(value))

    def update(self, *args: Any, **kwargs: Any) -> None:  # logging.makeLogRecord calls it
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


def _install() -> None:
    if not isinstance(logging.getLogRecordFactory(), _RecordFactory):
        logging.setLogRecordFactory(_RecordFactory(logging.getLogRecordFactory()))
    if not isinstance(sys.excepthook, _ExceptionHook):
        sys.excepthook = _ExceptionHook(sys.excepthook)
    if not isinstance(threading.excepthook, _ThreadHook):
        threading.excepthook = _ThreadHook(threading.excepthook)
    if not isinstance(sys.unraisablehook, _UnraisableHook):
        sys.unraisablehook = _UnraisableHook(sys.unraisablehook)


class _RecordFactory:
    """Makes records as before, then takes secrets out of them.

    The only place through which every record of every logger goes: a filter on the root logger does not see what other
    loggers send to handlers of their own. A record without a secret is left exactly as it was.
    """

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self._inner = inner

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._inner(*args, **kwargs)
        redactor = redaction.current()
        if not _is_plainly_clean(record, redactor):
            # Each by itself, because a format like %.8s would let a part of a secret through.
            record.msg = redactor.value(record.msg) if type(record.msg) is not str else record.msg
            record.args = redactor.value(record.args) if record.args else record.args  # type: ignore[assignment]
            _clean_message(record, redactor)
        if record.exc_info:
            _clean_exception(record, redactor)
        if record.stack_info:
            record.stack_info = redactor.text(record.stack_info)
        record.__dict__ = _Facts(record.__dict__)
        return record


_WHOLE_IN_MESSAGE: Final = frozenset({str, int, float, bool, type(None)})
_CUTS_SHORT: Final = re.compile(r"%[^%a-zA-Z]*[.*]")  # a precision (%.8s, %40.9s) shows a part of an argument


def _is_plainly_clean(record: logging.LogRecord, redactor: redaction.Redactor) -> bool:
    """Whether one look at the message is enough, because every argument stands in it from end to end: most records."""
    message = record.msg
    if type(message) is not str:
        return False
    if args := record.args:
        if type(args) is not tuple or _CUTS_SHORT.search(message):
            return False
        for arg in args:
            if type(arg) not in _WHOLE_IN_MESSAGE:
                return False
        try:
            message = message % args
        except (TypeError, ValueError, OverflowError):
            return False
    return redactor.text(message) == message


def _clean_message(record: logging.LogRecord, redactor: redaction.Redactor) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format is reported by the handler, which prints its parts
        record.msg = redactor.value(record.msg)
        return
    clean = redactor.text(message)
    if clean != message:
        record.msg, record.args = clean, ()


def _clean_exception(record: logging.LogRecord, redactor: redaction.Redactor) -> None:
    if not isinstance(record.exc_info, tuple) or record.exc_info[0] is None:
        return
    text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    clean = redactor.text(text)
    if clean != text:
        # Formatters print exc_text where there is one; without exc_info none can print the original beside it.
        record.exc_info, record.exc_text = None, clean


class _ExceptionHook:
    def __init__(self, inner: Callable[..., object]) -> None:
        self._inner = inner

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _print_if_secret("", kind, error, trace):
            self._inner(kind, error, trace)


class _ThreadHook:
    def __init__(self, inner: Callable[[threading.ExceptHookArgs], object]) -> None:
        self._inner = inner

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread is not None else "of unknown name"
        if args.exc_type is SystemExit or not _print_if_secret(
            f"Exception in thread {name}:\n", args.exc_type, args.exc_value, args.exc_traceback
        ):
            self._inner(args)


class _UnraisableHook:
    def __init__(self, inner: Callable[["sys.UnraisableHookArgs"], object]) -> None:
        self._inner = inner

    def __call__(self, args: "sys.UnraisableHookArgs") -> None:
        told = f"{args.err_msg or 'Exception ignored in'}: {args.object!r}\n"
        if not _print_if_secret(told, args.exc_type, args.exc_value, args.exc_traceback):
            self._inner(args)


def _print_if_secret(
    told: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> bool:
    text = told + "".join(traceback.format_exception(kind, error, trace))
    clean = redaction.redacted(text)
    if clean == text:
        return False
    sys.stderr.write(clean)
    return True


def _writes_to_console(handler: logging.Handler) -> bool:
    if isinstance(handler, ConsoleHandler):
        return True
    consoles = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return isinstance(handler, logging.StreamHandler) and any(handler.stream is console for console in consoles)


def _exception_text(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    return ""


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and not any(letter.isspace() or letter in '"=' for letter in text) else json.dumps(text)


def _printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters but the end of a line are written out."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


def _plain(value: object) -> object:
    """A value that JSON can hold: what it does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
