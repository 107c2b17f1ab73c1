"""The environment of the tests is nobody's, as soon as pytest has read what they share."""

import json
import os
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
PROGRAM = "import json, os, runpy, sys; runpy.run_path(sys.argv[1]); print(json.dumps(dict(os.environ)))"
SOMEBODYS = {
    "POLYGON_API_KEY": "somebodys",
    "MASSIVE_API_KEY": "somebodys",
    "SLACK_BOT_TOKEN": "somebodys",
    "MARKETLAKE_LAKE": "/somebodys",
    "MARKETLAKE__SOURCES__PAGE_SIZE": "77",
    "PREFECT_API_URL": "http://somebodys",
    "PREFECT_HOME": "/somebodys",
    "AWS_PROFILE": "somebodys",
    "XDG_STATE_HOME": "/somebodys",
}


def test_no_setting_and_no_home_of_a_person_is_left() -> None:
    kept = {"MARKETLAKE_WORLDS": "/worlds", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(CONFTEST)],
        env={**kept, **SOMEBODYS}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    left = json.loads(done.stdout)

    assert [] == [name for name, value in left.items() if SOMEBODYS.get(name) == value]
    assert kept.items() <= left.items()
    assert left["XDG_STATE_HOME"].startswith("/"), "a relative one would be the person's home again"


def test_two_workers_share_no_state() -> None:
    homes = set()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(CONFTEST)], check=True, capture_output=True, text=True
        )
        homes.add(json.loads(done.stdout)["XDG_STATE_HOME"])

    assert len(homes) == 2
