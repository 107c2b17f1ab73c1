"""What the command line tells the shell, and which error means which."""

from enum import IntEnum

from marketlake.errors import (
    BatchesFailed,
    CheckFailed,
    ConfigurationError,
    LakeError,
    MarketlakeError,
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


def exit_code_of(error: MarketlakeError) -> ExitCode:
    """The exit code that stands for an error."""
    match error:
        case BatchesFailed():
            return exit_code_of(error.failures[0][1])
        case ConfigurationError() | UsageError():
            return ExitCode.USAGE
        case VendorError():
            return ExitCode.VENDOR
        case LakeError():
            return ExitCode.LAKE
        case CheckFailed():
            return ExitCode.CHECK
        case _:
            return ExitCode.FAILED
