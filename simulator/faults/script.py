"""The fault script: rules for REST and for the stream, read from YAML or JSON, set at run time.

A rule counts what it matches, and ``when`` speaks of that count. What actions do to answers is in ``actions``; the
stream's rules are in ``stream_rules``.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import yaml

from simulator.clock import parse_instant_ns
from simulator.faults.actions import Action
from simulator.faults.answers import Answer, Exchange
from simulator.faults.stream_actions import Stage, StreamAction
from simulator.faults.stream_rules import StreamRule, Target
from simulator.faults.when import When, is_due


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
class _Armed[R: Rule | StreamRule]:
    """A rule with the count of its matches and its own dice."""

    rule: R
    label: str
    matched: int = 0
    struck: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.rule.when.seed)  # noqa: S311 - repeatable by design

    def strikes(self, now_ns: int) -> bool:
        """Counts a match, and whether the rule strikes."""
        self.matched += 1
        is_struck = is_due(self.rule.when, self.matched, now_ns, self.dice)
        self.struck += is_struck
        return is_struck


class RuleState(msgspec.Struct, frozen=True):
    """A rule as the control address lists it."""

    name: str
    rule: Rule | StreamRule
    matched: int
    struck: int


@dataclass(frozen=True, slots=True)
class Strike:
    """A stream rule that strikes: its name and what it does."""

    label: str
    actions: list[StreamAction]


class FaultScript:
    """The rules in force, in order; each that strikes changes the answer that the one before left."""

    def __init__(self, rules: Sequence[Rule | StreamRule] = ()) -> None:
        self._labels: list[str] = []
        self._answers: list[_Armed[Rule]] = []
        self._stream: list[_Armed[StreamRule]] = []
        self.add(rules)

    def replace(self, rules: Sequence[Rule | StreamRule]) -> None:
        """Puts other rules in force, their counts at zero."""
        self._labels, self._answers, self._stream = [], [], []
        self.add(rules)

    def add(self, rules: Sequence[Rule | StreamRule]) -> None:
        """Adds rules behind those in force, whose counts go on."""
        for rule in rules:
            label = rule.name or f"rule {len(self._labels) + 1}"
            self._labels.append(label)
            if isinstance(rule, StreamRule):
                self._stream.append(_Armed(rule, label))
            else:
                self._answers.append(_Armed(rule, label))

    def states(self) -> list[RuleState]:
        """The rules with their counts, those for REST first."""
        armed: list[_Armed[Rule] | _Armed[StreamRule]] = [*self._answers, *self._stream]
        return [RuleState(one.label, one.rule, one.matched, one.struck) for one in armed]

    def apply(self, answer: Answer, exchange: Exchange, occasion: Occasion) -> tuple[Answer, tuple[str, ...]]:
        """The answer as the rules leave it, and the names of those that struck."""
        struck = [one for one in self._answers if _matches(one.rule.match, occasion) and one.strikes(occasion.now_ns)]
        for armed in struck:
            for action in armed.rule.actions():
                answer = action.apply(answer, exchange)
        return answer, tuple(armed.label for armed in struck)

    def at_stage(self, stage: Stage, target: Target, now_ns: int) -> list[Strike]:
        """What strikes a connection that has come so far."""
        return self._striking(lambda rule: rule.stage is stage, target, now_ns)

    def after_messages(self, count: int, target: Target, now_ns: int) -> list[Strike]:
        """What strikes a connection that has been sent so many data messages."""
        return self._striking(lambda rule: rule.when.after_messages == count, target, now_ns)

    def counts_messages(self) -> bool:
        """Whether any rule waits for a count of messages."""
        return any(armed.rule.when.after_messages is not None for armed in self._stream)

    def next_instant_ns(self, after_ns: int) -> int | None:
        """The next simulated time at which a rule strikes."""
        return min(
            (at for armed in self._stream if (at := _instant(armed.rule)) is not None and at > after_ns), default=None
        )

    def at_instant(self, at_ns: int, targets: Sequence[Target]) -> list[tuple[Strike, list[Target]]]:
        """What strikes at a simulated time, and which of the connections that stand."""
        found = []
        for armed in self._stream:
            meant = [target for target in targets if target.is_meant_by(armed.rule.stream)]
            if _instant(armed.rule) == at_ns and (meant or armed.rule.needs_no_connection()) and armed.strikes(at_ns):
                found.append((Strike(armed.label, armed.rule.actions()), meant))
        return found

    def _striking(self, is_now: Callable[[StreamRule], bool], target: Target, now_ns: int) -> list[Strike]:
        return [
            Strike(armed.label, armed.rule.actions())
            for armed in self._stream
            if is_now(armed.rule) and target.is_meant_by(armed.rule.stream) and armed.strikes(now_ns)
        ]


def read_script(path: Path) -> list[Rule | StreamRule]:
    """The rules of a YAML or JSON file."""
    try:
        return parse_rules(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FaultScriptError(str(path), " ".join(str(error).split())) from error


def parse_rules(content: object, source: str) -> list[Rule | StreamRule]:
    """The rules of decoded YAML or JSON: a list, or one rule alone; nothing at all is no rule."""
    listed = [] if content is None else content if isinstance(content, list) else [content]
    try:
        rules = [_rule(one) for one in listed]
        for rule in rules:
            for text in rule.when.instants():
                parse_instant_ns(text or "1970-01-01")
    except (msgspec.ValidationError, re.error, ValueError) as error:
        raise FaultScriptError(source, str(error)) from error
    return rules


def _rule(content: object) -> Rule | StreamRule:
    if isinstance(content, dict) and "stream" in content:
        return msgspec.convert(content, type=StreamRule)
    rule = msgspec.convert(content, type=Rule)
    re.compile(rule.match.regex or "")
    return rule


def _matches(match: Match, occasion: Occasion) -> bool:
    return (
        fnmatchcase(occasion.path, match.path)
        and (match.regex is None or re.search(match.regex, occasion.path) is not None)
        and (match.query is None or match.query in occasion.query)
        and (match.ticker is None or match.ticker in occasion.tickers)
        and (match.page is None or match.page == occasion.page)
    )


def _instant(rule: StreamRule) -> int | None:
    return None if rule.when.at is None else parse_instant_ns(rule.when.at)
