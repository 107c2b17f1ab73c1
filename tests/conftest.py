"""What every test may use: the recorded worlds, where they are, and a process environment that is nobody's.

The environment is emptied when pytest reads this file, once in each of its workers: fixtures of modules and sessions
and the processes that they start must not see a key, a lake or a home of the person who runs the tests either.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

RECORDED = {"MARKETLAKE_WORLDS", "MARKETLAKE_REFERENCE_DATA"}
OURS = ("POLYGON_API_KEY", "MASSIVE_API_KEY", "SLACK_BOT_TOKEN")
OURS_BEGIN = ("MARKETLAKE_", "PREFECT_", "AWS_")
_HOME = TemporaryDirectory(prefix="marketlake-tests-", ignore_cleanup_errors=True)

for _name in sorted(os.environ):
    if _name in OURS or (_name.startswith(OURS_BEGIN) and _name not in RECORDED):
        del os.environ[_name]
os.environ |= {
    "XDG_STATE_HOME": f"{_HOME.name}/state",
    "AWS_CONFIG_FILE": f"{_HOME.name}/no-aws-config",
    "AWS_SHARED_CREDENTIALS_FILE": f"{_HOME.name}/no-aws-credentials",
    # Before Prefect is imported anywhere: no telemetry, and time enough for its embedded server on a busy machine.
    "PREFECT_HOME": f"{_HOME.name}/prefect",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}

# A shared machine makes single examples slow; pytest's own time limit catches what hangs. The examples are the same in
# every run, so that a change is judged by what it changes; `make soak` searches with new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("same")


def pytest_unconfigure() -> None:
    """Leave nothing of this worker's home behind."""
    _HOME.cleanup()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded as ``found``, also those that ran in another process."""
    reports = [report for category in ("passed", "failed") for report in terminalreporter.getreports(category)]
    found = [text for report in reports for name, text in report.user_properties if name == "found"]
    if found:
        terminalreporter.section("found")
        for text in sorted(found):
            terminalreporter.write_line(str(text))


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a test does to the rate limit of a key holds back no other test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _folder(name: str) -> Path:
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set: recorded market data is not part of the project")
    return Path(value)


@pytest.fixture(scope="session")
def worlds() -> Path:
    """The folder of recorded worlds."""
    return _folder("MARKETLAKE_WORLDS")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of recorded reference values: Greeks, indicators, rates."""
    return _folder("MARKETLAKE_REFERENCE_DATA")
