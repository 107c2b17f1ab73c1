"""Reading fault scripts: what cannot be obeyed is told by place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.clock import parse_instant_ns
from simulator.faults.actions import Cut
from simulator.faults.script import FaultScript, FaultScriptError, Rule, parse_rules, read_script
from simulator.faults.stream_actions import Stage
from simulator.faults.stream_rules import StreamRule, Target
from simulator.plans import AssetClass

STREAM_RULE = {"stream": {"market": "stocks"}, "do": {"action": "abort"}}


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("- do: {action: explode}", "explode"),
        ("- do: {action: status}", "code"),
        ("- {do: {action: cut}, wenn: {nth: 1}}", "wenn"),
        ("- {do: {action: cut}, match: {regex: '('}}", "unterminated"),
        ("- {do: {action: cut}, when: {after: noon}}", "noon"),
        ("- do: [", "line"),
    ],
)
def test_a_malformed_script_is_refused_in_one_line(tmp_path, script, problem) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(script)

    with pytest.raises(FaultScriptError) as refused:
        read_script(path)
    assert str(path) in str(refused.value)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_script_is_a_list_one_rule_or_nothing(tmp_path) -> None:
    rule = {"do": {"action": "cut"}}

    assert [] == parse_rules(None, "test")
    assert [Cut()] == [alone.do for alone in parse_rules(rule, "test")]
    assert 2 == len(parse_rules([rule, rule], "test"))


def test_json_is_read_as_well(tmp_path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('[{"name": "a", "do": [{"action": "cut", "after": 0.1}, {"action": "chunked"}]}]')
    (rule,) = read_script(path)

    assert isinstance(rule, Rule)
    assert ["Cut", "Chunked"] == [type(action).__name__ for action in rule.actions()]


def test_rules_without_a_name_are_numbered_across_additions() -> None:
    script = FaultScript(parse_rules([{"do": {"action": "cut"}}, {"name": "own", "do": {"action": "cut"}}], "test"))
    script.add(parse_rules({"do": {"action": "cut"}}, "test"))

    assert ["rule 1", "own", "rule 3"] == [state.name for state in script.states()]


def test_rules_for_the_stream_stand_between_rules_for_rest() -> None:
    rules = parse_rules([STREAM_RULE, {"do": {"action": "cut"}}], "test")

    assert [StreamRule, Rule] == [type(rule) for rule in rules]


@pytest.mark.parametrize(
    "change",
    [
        {"do": {"action": "cut"}},
        {"do": {"action": "refuse_tcp"}},
        {"when": {"at": "noon"}},
        {"when": {"stage": "later"}},
        {"when": {"stage": "connected", "after_messages": 3}},
        {"when": {"after_messages": 0}},
        {"when": {"stage": "accepted"}, "do": {"action": "close"}},
        {"when": {"stage": "connected"}, "do": {"action": "http_status", "code": 503}},
        {"do": {"action": "http_status", "code": 101}},
        {"do": {"action": "http_status", "code": 777}},
        {"do": {"action": "close", "code": 1006}},
        {"do": {"action": "abort_in_frame", "after": 1.0}},
        {"do": {"action": "malformed", "frames": 0}},
        {"do": {"action": "refuse_tcp", "wall_s": -1}},
        {"stream": {"market": "forex"}},
        {"stream": {"path": "/v3"}},
        {"match": {}},
    ],
)
def test_a_stream_rule_that_cannot_be_obeyed_is_refused(change) -> None:
    with pytest.raises(FaultScriptError, match="test"):
        parse_rules([STREAM_RULE | change], "test")


def test_an_action_strikes_at_its_natural_stage_unless_the_rule_says_when() -> None:
    def stage(do: str, **when: object) -> Stage | None:
        (rule,) = parse_rules({"stream": {}, "do": {"action": do}, "when": when}, "test")
        assert isinstance(rule, StreamRule)
        return rule.stage

    assert Stage.CONNECTED is stage("auth_failed")
    assert Stage.AUTHENTICATED is stage("drop_acks")
    assert Stage.SUBSCRIBED is stage("abort")
    assert Stage.ACCEPTED is stage("abort", stage="accepted")
    assert stage("abort", after_messages=3) is None
    assert stage("abort", at="2025-08-29T10:00") is None


@given(rules=st.lists(st.integers(0, 1000), max_size=6), now=st.integers(-1, 1000))
def test_the_next_instant_is_the_earliest_that_lies_ahead(rules, now) -> None:
    base = parse_instant_ns("2025-08-29T10:00")
    script = FaultScript(
        parse_rules(
            [
                {"stream": {}, "do": {"action": "abort"}, "when": {"at": f"2025-08-29T10:{s // 60:02d}:{s % 60:02d}"}}
                for s in rules
            ],
            "test",
        )
    )
    ahead = [second for second in rules if second > now]

    assert (base + min(ahead) * 10**9 if ahead else None) == script.next_instant_ns(base + now * 10**9)


def test_a_count_of_strikes_is_per_rule_over_all_connections_that_it_means() -> None:
    script = FaultScript(
        parse_rules({"stream": {"market": "stocks"}, "do": {"action": "abort"}, "when": {"first": 2}}, "t")
    )
    targets = [Target(AssetClass.OPTIONS, 1, None), *(Target(AssetClass.STOCKS, number, None) for number in (1, 2, 3))]
    struck = [bool(script.at_stage(Stage.SUBSCRIBED, target, 0)) for target in targets]

    assert [False, True, True, False] == struck
    assert [(3, 2)] == [(state.matched, state.struck) for state in script.states()]
