"""What every test may use: the recorded worlds, where they are, and a process environment that is nobody's."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before Prefect is imported anywhere: no telemetry, and time enough for its embedded server on a busy machine.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

# A shared machine makes single examples slow; pytest's own time limit catches what hangs. The examples are the same in
# every run, so that a change is judged by what it changes; `make soak` searches with new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("same")

RECORDED = {"MARKETLAKE_WORLDS", "MARKETLAKE_REFERENCE_DATA"}
OURS = ("POLYGON_API_KEY", "MASSIVE_API_KEY", "SLACK_BOT_TOKEN", "PREFECT_API_URL")


@pytest.fixture(autouse=True)
def _environment_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, lake or setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name in OURS or (
            name.startswith("MARKETLAKE_") and name not in {"MARKETLAKE_WORLDS", "MARKETLAKE_REFERENCE_DATA"}
        ):
            monkeypatch.delenv(name)
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
