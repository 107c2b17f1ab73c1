"""Alarms have fixed names, which the page about them tells with all that they carry."""

import re
from pathlib import Path

from tasks.alarms import Alarm

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")


def test_the_page_names_every_event_and_no_other() -> None:
    assert {alarm.value for alarm in Alarm} == set(re.findall(r"^\| `(marketlake\.[a-z.]+)` \|", PAGE, re.MULTILINE))
