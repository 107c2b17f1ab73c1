"""Fault rules: which requests they hit, when, and what they do; read from YAML or JSON, set at run time.

A rule counts the requests that it matches, and ``when`` speaks of that count. What actions do is in ``actions``.
"""

import random
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import yaml

from simulator.clock import parse_instant_ns
from simulator.faults.actions import Action
from simulator.faults.answers import Answer, Exchange


class FaultScriptError(Exception):
    """A script that cannot be obeyed: where it came from and what is wrong."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source = source
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests; every condition that is given must hold."""

    path: str = "*"
    """A shell pattern over the whole decoded path; ``*`` crosses slashes."""
    regex: str | None = None
    """A regular expression found anywhere in the path."""
    query: str | None = None
    """Text that the query contains (for a later page: the query that its cursor stands in)."""
    ticker: str | None = None
    """A part of the path, or the query's ``ticker`` or ``underlying_ticker``."""
    page: int | None = None
    """The page's number in its chain, from 1."""


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of the matching requests, counted from 1; every condition that is given must hold, and none means all."""

    nth: int | None = None
    first: int | None = None
    every: int | None = None
    probability: float | None = None
    seed: int = 0
    after: str | None = None
    """Simulated time from which on the rule holds, ISO 8601."""
    before: str | None = None
    """Simulated time until which the rule holds, ISO 8601."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault: what it does, to which requests, when."""

    do: Action | list[Action]
    match: Match = Match()
    when: When = When()
    name: str = ""

    def actions(self) -> list[Action]:
        """The actions in the order in which they apply."""
        return self.do if isinstance(self.do, list) else [self.do]


@dataclass(frozen=True, slots=True)
class Occasion:
    """A request as rules see it."""

    path: str
    query: str
    tickers: frozenset[str]
    page: int
    now_ns: int


@dataclass(slots=True)
class _Armed:
    """A rule with the count of its matches and its own dice."""

    rule: Rule
    label: str
    matched: int = 0
    struck: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.rule.when.seed)  # noqa: S311 - repeatable by design

    def strikes(self, occasion: Occasion) -> bool:
        if not _matches(self.rule.match, occasion):
            return False
        self.matched += 1
        is_due = _is_due(self.rule.when, self.matched, occasion.now_ns, self.dice)
        self.struck += is_due
        return is_due


class RuleState(msgspec.Struct, frozen=True):
    """A rule as the control address lists it."""

    name: str
    rule: Rule
    matched: int
    struck: int


class FaultScript:
    """The rules in force, in order; each that strikes changes the answer that the one before left."""

    def __init__(self, rules: list[Rule] | None = None) -> None:
        self._armed: list[_Armed] = []
        self.replace(rules or [])

    def replace(self, rules: list[Rule]) -> None:
        """Puts other rules in force, their counts at zero."""
        self._armed = [_Armed(rule, rule.name or f"rule {place}") for place, rule in enumerate(rules, start=1)]

    def add(self, rules: list[Rule]) -> None:
        """Adds rules behind those in force, whose counts go on."""
        start = len(self._armed) + 1
        self._armed += [_Armed(rule, rule.name or f"rule {place}") for place, rule in enumerate(rules, start=start)]

    def states(self) -> list[RuleState]:
        """The rules with their counts."""
        return [RuleState(armed.label, armed.rule, armed.matched, armed.struck) for armed in self._armed]

    def apply(self, answer: Answer, exchange: Exchange, occasion: Occasion) -> tuple[Answer, tuple[str, ...]]:
        """The answer as the rules leave it, and the names of those that struck."""
        struck = [armed for armed in self._armed if armed.strikes(occasion)]
        for armed in struck:
            for action in armed.rule.actions():
                answer = action.apply(answer, exchange)
        return answer, tuple(armed.label for armed in struck)


def read_script(path: Path) -> list[Rule]:
    """The rules of a YAML or JSON file."""
    try:
        return parse_rules(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FaultScriptError(str(path), " ".join(str(error).split())) from error


def parse_rules(content: object, source: str) -> list[Rule]:
    """The rules of decoded YAML or JSON: a list, or one rule alone; nothing at all is no rule."""
    listed = [] if content is None else content if isinstance(content, list) else [content]
    try:
        rules = msgspec.convert(listed, type=list[Rule])
        for rule in rules:
            re.compile(rule.match.regex or "")
            for text in (rule.when.after, rule.when.before):
                parse_instant_ns(text or "1970-01-01")
    except (msgspec.ValidationError, re.error, ValueError) as error:
        raise FaultScriptError(source, str(error)) from error
    return rules


def _matches(match: Match, occasion: Occasion) -> bool:
    return (
        fnmatchcase(occasion.path, match.path)
        and (match.regex is None or re.search(match.regex, occasion.path) is not None)
        and (match.query is None or match.query in occasion.query)
        and (match.ticker is None or match.ticker in occasion.tickers)
        and (match.page is None or match.page == occasion.page)
    )


def _is_due(when: When, count: int, now_ns: int, dice: random.Random) -> bool:
    return (
        (when.nth is None or count == when.nth)
        and (when.first is None or count <= when.first)
        and (when.every is None or count % when.every == 0)
        and (when.after is None or now_ns >= parse_instant_ns(when.after))
        and (when.before is None or now_ns < parse_instant_ns(when.before))
        and (when.probability is None or dice.random() < when.probability)
    )
