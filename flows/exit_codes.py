"""What the command line tells the shell, and which error means which."""

from enum import IntEnum

from marketlake.errors import (
    BatchesFailed,
    CheckFailed,
    ConfigurationError,
    LakeError,
    LeaseHeld,
    MarketlakeError,
    RecorderFailed,
    ReplayDiffers,
    ReplayFailed,
    SessionUnheard,
    UsageError,
    VendorError,
)


class ExitCode(IntEnum):
    """The closed list of exit codes."""

    OK = 0
    FAILED = 1  # a defect of ours; the traceback is shown
    USAGE = 2  # the command line or the configuration is wrong; nothing was attempted
    VENDOR = 3  # the vendor gave no usable answer for at least one batch
    LAKE = 4  # the lake could not be read or written
    CHECK = 5  # a rule about a whole partition failed
    HELD = 6  # another process writes the partition, or records the feed
    UNHEARD = 7  # a session runs, and a feed of it is not being recorded
    REPLAY = 8  # a session that was replayed failed on its way, or did not come to what is stored


_CODES = (
    ((ConfigurationError, UsageError), ExitCode.USAGE),
    (VendorError, ExitCode.VENDOR),
    (LeaseHeld, ExitCode.HELD),
    (LakeError, ExitCode.LAKE),
    (CheckFailed, ExitCode.CHECK),
    (SessionUnheard, ExitCode.UNHEARD),
    ((ReplayFailed, ReplayDiffers), ExitCode.REPLAY),
)


def exit_code_of(error: MarketlakeError) -> ExitCode:
    """The exit code that stands for an error."""
    if isinstance(error, BatchesFailed):
        return exit_code_of(error.failures[0][1])
    if isinstance(error, RecorderFailed) and error.exit_code in set(ExitCode) - {ExitCode.OK}:
        return ExitCode(error.exit_code)  # the recorder's own, which says what is wrong
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), ExitCode.FAILED)
