"""Exit codes; sire(1) documents the same table."""

from collections.abc import Iterable

from sire.errors import (
    DaemonUnavailable,
    DeadlineExceeded,
    DeviceNotFound,
    InferenceError,
    InsufficientMemory,
    InvalidConfiguration,
    InvalidInput,
    InvalidModel,
    JobNotFound,
    LoadFailed,
    ModelExists,
    ModelNotFound,
    QueueFull,
    SireError,
    UntrustedModel,
    WorkerCrashed,
    error_from,
)
from sire.protocol.replies import JobEnd

DONE = 0
UNEXPECTED = 1
USAGE = 2
NOT_FOUND = 3
NO_MEMORY = 4
INFERENCE_FAILED = 5
NO_DAEMON = 6
DEADLINE = 7
QUEUE_FULL = 8
NOT_LOADABLE = 9
INVALID_INPUT = 10
OUTPUT_NOT_WRITTEN = 11
INTERRUPTED = 130


class FileMissing(SireError):
    """An input file does not exist."""


class OutputNotWritten(SireError):
    """An answer or another output of a command cannot be written."""


_BY_ERROR: dict[type[SireError], int] = {
    InvalidConfiguration: USAGE,
    ModelNotFound: NOT_FOUND,
    JobNotFound: NOT_FOUND,
    DeviceNotFound: NOT_FOUND,
    FileMissing: NOT_FOUND,
    InsufficientMemory: NO_MEMORY,
    InferenceError: INFERENCE_FAILED,
    WorkerCrashed: INFERENCE_FAILED,
    DaemonUnavailable: NO_DAEMON,
    DeadlineExceeded: DEADLINE,
    QueueFull: QUEUE_FULL,
    LoadFailed: NOT_LOADABLE,
    InvalidModel: NOT_LOADABLE,
    UntrustedModel: NOT_LOADABLE,
    ModelExists: NOT_LOADABLE,
    InvalidInput: INVALID_INPUT,
    OutputNotWritten: OUTPUT_NOT_WRITTEN,
}


def exit_code(error: SireError) -> int:
    """The exit code of an error; 1 for a type without its own code."""
    return _BY_ERROR.get(type(error), UNEXPECTED)


def worst_exit_code(ends: Iterable[JobEnd]) -> int:
    """The exit code for several jobs: that of their failures, or 5 if these differ."""
    incomplete = [end for end in ends if end.state != "complete"]
    failed = {exit_code(error_from(end.error, "", "", {})) for end in incomplete if end.error}
    if len(failed) > 1:
        return INFERENCE_FAILED
    return failed.pop() if failed else UNEXPECTED if incomplete else DONE
