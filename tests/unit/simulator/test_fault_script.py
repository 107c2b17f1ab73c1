"""Reading fault scripts: what cannot be obeyed is told by place."""

import pytest

from simulator.faults.actions import Cut
from simulator.faults.script import FaultScript, FaultScriptError, Rule, parse_rules, read_script


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
