"""Every error that marketlake raises on purpose.

MarketlakeError
├── ConfigurationError            the settings or the environment are wrong; nothing was attempted
├── UsageError                    what was asked for cannot be done as asked
├── VendorError                   the vendor did not give a usable answer
│   ├── VendorUnavailable         refused, reset, timed out, 5xx: transient
│   ├── RateLimited               429 for longer than we are willing to wait: transient
│   ├── BrokenAnswer              200 whose body is not the JSON that was promised: transient
│   ├── PaginationError           the pages do not add up to one complete answer
│   ├── NotEntitled               the plan does not include this data
│   ├── KeyRefused                the key is missing or unknown
│   ├── TooManyConnections        another program streams with the same key
│   ├── RequestRefused            the vendor calls the request malformed or the thing unknown
│   ├── HealFellShort             history lacks rows that the stream brought
│   └── OpeningMissing            a session is over, and nobody told its opening price
├── LakeError                     the lake could not be read or written
│   ├── StoreUnavailable          disk full, S3 out of reach or overloaded: transient
│   ├── LeaseHeld                 another writer owns the partition now: transient
│   └── RecordMismatch            a published file is not the one that its ledger record proves
├── RecorderFailed                the process that records a feed cannot be kept alive
├── SessionUnheard                a session runs, and a feed of it is not being recorded
├── ReplayFailed                  a command of a session that is replayed failed
├── ReplayDiffers                 a session that was replayed did not come to the rows that are stored
├── CheckFailed                   the data is there, and a rule says that it must not pass as it is
└── BatchesFailed                 some batches of a run ended in one of the above; the others are done

Facts are passed to ``super().__init__`` so that every error survives pickling; the sentence is made in ``__str__`` and
says what to do. Which of them are worth trying again is decided in :func:`is_transient` and nowhere else.
"""

from collections.abc import Sequence
from datetime import date


class MarketlakeError(Exception):
    """The root: catching it catches everything that marketlake raises on purpose."""


class ConfigurationError(MarketlakeError):
    """A setting is missing, unknown, of the wrong type or out of range."""

    def __init__(self, where: str, key: str, problem: str) -> None:
        super().__init__(where, key, problem)
        self.where = where
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.problem}" if self.key else f"{self.where}: {self.problem}"


class UsageError(MarketlakeError):
    """What was asked for cannot be done as asked; the sentence says what can."""


class VendorError(MarketlakeError):
    """The vendor did not give a usable answer to ``request`` (method, path and query; never a key)."""

    advice = ""

    def __init__(self, request: str, problem: str) -> None:
        super().__init__(request, problem)
        self.request = request
        self.problem = problem

    def __str__(self) -> str:
        sentence = f"{self.problem} (asked: {self.request})"
        return f"{sentence}. {self.advice}" if self.advice else sentence


class VendorUnavailable(VendorError):
    """No answer, or a gateway's answer: refused, reset, timed out, 5xx."""

    advice = "Run again later: what was captured is kept, and the run goes on where it stopped"


class RateLimited(VendorError):
    """The vendor kept answering 429 for longer than the retry policy waits."""

    advice = "Set vendor.calls_per_minute to what the plan allows, then run again"


class BrokenAnswer(VendorError):
    """Status 200, but the body is cut, is not JSON, or is not the kind of document that was asked for."""

    advice = "Nothing of this answer was used. Run again; if it stays, look at the captured page"


class PaginationError(VendorError):
    """The pages do not add up to one complete answer: an odd, looping or missing cursor, a page without results."""

    advice = (
        "Nothing of this answer was used, and the ledger claims nothing. Run again; if it stays, report the request"
    )


class NotEntitled(VendorError):
    """403: the key is good, its plan does not include this data or this much history."""

    advice = "Take the table out of config/sources.yaml, or upgrade the vendor's plan"


class KeyRefused(VendorError):
    """401: the key is missing or unknown."""

    advice = "Check POLYGON_API_KEY or the PolygonCredentials block"


class TooManyConnections(VendorError):
    """The account's connections to the stream are taken: the vendor turned the recorder away again and again."""

    advice = "Stop the other program that streams with this key, then start the recorder again"


class RequestRefused(VendorError):
    """400 or 404: the vendor calls the request malformed, or the thing unknown."""

    advice = "Check the ticker and the dates"


class HealFellShort(VendorError):
    """History was asked to fill a session and has not all that the stream brought: it does not fill it."""

    advice = (
        "What is missing stays missing in the ledger. Run marketlake heal again later; if the vendor took the rows "
        "back, --accept-short takes its history for the truth and puts them in quarantine"
    )


class OpeningMissing(VendorError):
    """A session is over, and neither history nor the stream told its opening price."""


class LakeError(MarketlakeError):
    """The lake could not be read or written at ``path``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class StoreUnavailable(LakeError):
    """The disk or the object store did not do what was asked, and may do it later: full, overloaded, out of reach."""


class LeaseHeld(LakeError):
    """Another writer owns the partition until its lease is released or expires."""


class ReplayFailed(MarketlakeError):
    """A command of a session that is replayed failed."""

    def __init__(self, command: str, last_words: str, log: str) -> None:
        super().__init__(command, last_words, log)
        self.command = command
        self.last_words = last_words
        self.log = log

    def __str__(self) -> str:
        return f"marketlake {self.command} failed: {self.last_words}. Look at {self.log}, and replay again"


class ReplayDiffers(MarketlakeError):
    """A session that was replayed did not come to the rows that are stored."""

    def __init__(self, partitions: tuple[str, ...], folder: str) -> None:
        super().__init__(partitions, folder)
        self.partitions = partitions
        self.folder = folder

    def __str__(self) -> str:
        named = ", ".join(self.partitions)
        return (
            f"what was replayed is not what is stored: {named}. Hold the files under {self.folder} against the lake's"
        )


class RecordMismatch(LakeError):
    """A published file is not the one that its ledger record proves: the partition has to be done again."""


class RecorderFailed(MarketlakeError):
    """The process that records a feed ends again and again, or for a reason that stays."""

    def __init__(self, exit_code: int, last_words: str, log: str) -> None:
        super().__init__(exit_code, last_words, log)
        self.exit_code = exit_code
        self.last_words = last_words
        self.log = log

    def __str__(self) -> str:
        return f"the recorder cannot be kept alive (exit {self.exit_code}): {self.last_words}. Its log is {self.log}"


class SessionUnheard(MarketlakeError):
    """A session runs, and a feed of it is not being recorded."""

    def __init__(self, session: date, feeds: Sequence[str]) -> None:
        super().__init__(session, feeds)
        self.session = session
        self.feeds = tuple(feeds)

    def __str__(self) -> str:
        what = "; ".join(self.feeds)
        return f"{self.session} is not being recorded whole: {what}. Look at market-open and stream in Prefect"


class CheckFailed(MarketlakeError):
    """A rule about a whole partition failed; the partition was not published."""

    def __init__(self, partition: str, rules: tuple[str, ...]) -> None:
        super().__init__(partition, rules)
        self.partition = partition
        self.rules = rules

    def __str__(self) -> str:
        return f"{self.partition}: not published, because it fails {', '.join(self.rules)}"


class BatchesFailed(MarketlakeError):
    """Some batches of a run failed; what the others brought is published.

    ``failures`` holds the title and the error of each, ``totals`` what the whole run counted.
    """

    def __init__(self, failures: tuple[tuple[str, MarketlakeError], ...], totals: dict[str, int]) -> None:
        super().__init__(failures, totals)
        self.failures = failures
        self.totals = totals

    def as_json(self) -> dict[str, object]:
        """What the command line's --json prints."""
        failures = [
            {"batch": title, "kind": type(error).__name__, "error": str(error)} for title, error in self.failures
        ]
        return {**self.totals, "failures": failures}

    def __str__(self) -> str:
        lines = [f"{title}: {error}" for title, error in self.failures]
        return "\n".join([f"{len(lines)} of {len(lines) + self.totals['batches']} batches failed:", *lines])


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later without anybody changing anything.

    Transient: VendorUnavailable, RateLimited, BrokenAnswer, StoreUnavailable, LeaseHeld. Everything else is fatal: a
    pagination that does not add up was already asked for again within the seam, and a refused key stays refused.
    """
    return isinstance(error, VendorUnavailable | RateLimited | BrokenAnswer | StoreUnavailable | LeaseHeld)


def may_pass(error: BaseException) -> bool:
    """Whether something that is asked for again and again may go on: what the vendor says next may be another thing.

    Besides what is transient, pages that do not add up and rows that fail a table's rule: they are the vendor's of the
    moment. A refused key, plan or request stays refused, and a lake that contradicts itself needs a person.
    """
    return is_transient(error) or isinstance(error, PaginationError | CheckFailed)
