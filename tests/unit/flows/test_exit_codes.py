"""What the command line ends with where a recorder could not be kept alive."""

import signal

import pytest

from flows.exit_codes import ExitCode, exit_code_of
from marketlake.errors import RecorderFailed


@pytest.mark.parametrize(
    ("of_recorder", "expected"),
    [
        pytest.param(2, ExitCode.USAGE, id="a wrong setting"),
        pytest.param(3, ExitCode.VENDOR, id="a refused key"),
        pytest.param(4, ExitCode.LAKE, id="a full disk"),
        pytest.param(0, ExitCode.FAILED, id="it ended as if all were done, again and again"),
        pytest.param(-signal.SIGKILL, ExitCode.FAILED, id="killed again and again"),
        pytest.param(97, ExitCode.FAILED, id="an exit code that is none of ours"),
    ],
)
def test_a_recorder_that_failed_is_never_success(of_recorder: int, expected: ExitCode) -> None:
    assert expected is exit_code_of(RecorderFailed(of_recorder, "its last words", "recorder.log"))
