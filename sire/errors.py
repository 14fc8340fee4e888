"""The errors of sire: the same types in Python, on the wire and in exit codes."""

import reprlib
from typing import Any, ClassVar

from sire import exit_codes

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200
_LONGEST = 1000
# Characters of a message: it names the input but does not repeat it.
LONGEST_MESSAGE = 4000


def shorten(text: str) -> str:
    """The text, without its middle if it exceeds ``LONGEST_MESSAGE`` characters."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} … {text[-half:]}"


class SireError(Exception):
    """The base class of all errors that sire raises.

    Attributes:
        message: what happened, with the figures.
        hint: what to do next; "" if the message states it.
        details: the figures as plain numbers and strings, for programs; sizes are bytes, times
            seconds.
        code: the name of the class, which identifies it on the wire.
        exit_code: the exit code of a command that fails with this error.
    """

    code: ClassVar[str] = "SireError"
    exit_code: ClassVar[int] = exit_codes.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        self.message = shorten(message)
        super().__init__(self.message)
        self.hint = hint
        self.details = {
            name: shorten(value) if isinstance(value, str) else value
            for name, value in details.items()
        }

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.code = cls.__name__

    def __str__(self) -> str:
        ends = self.message.endswith((".", "!", "?", ":"))
        return f"{self.message}{' ' if ends else '. '}{self.hint}" if self.hint else self.message


class ModelNotFound(SireError):
    """No model of that name is registered, or its file does not exist."""

    exit_code = exit_codes.NOT_FOUND


class ModelExists(SireError):
    """A model of that name is already registered."""

    exit_code = exit_codes.NOT_LOADABLE


class InvalidModel(SireError):
    """The file, class or an option of a model is not valid."""

    exit_code = exit_codes.NOT_LOADABLE


class UntrustedModel(SireError):
    """Loading would run code from the file, and the model was not registered as trusted."""

    exit_code = exit_codes.NOT_LOADABLE


class LoadFailed(SireError):
    """The model could not be loaded."""

    exit_code = exit_codes.NOT_LOADABLE


class InsufficientMemory(SireError):
    """The model does not fit in memory, even after every other model is unloaded."""

    exit_code = exit_codes.NO_MEMORY


class InvalidInput(SireError):
    """The data is not a valid input of the model."""

    exit_code = exit_codes.INVALID_INPUT


class InferenceError(SireError):
    """The model raised an exception while computing an answer."""

    exit_code = exit_codes.INFERENCE_FAILED


class WorkerCrashed(SireError):
    """The process that held the model ended unexpectedly."""

    exit_code = exit_codes.INFERENCE_FAILED


class QueueFull(SireError):
    """The queue has reached its limit of waiting requests."""

    exit_code = exit_codes.QUEUE_FULL


class DeadlineExceeded(SireError):
    """The answer did not arrive within the timeout."""

    exit_code = exit_codes.DEADLINE


class Cancelled(SireError):
    """The request was cancelled, or its model was unloaded or removed while it waited."""


class DeviceNotFound(SireError):
    """No device of that name exists, or it is disabled."""

    exit_code = exit_codes.NOT_FOUND


class JobNotFound(SireError):
    """No job of that id exists."""

    exit_code = exit_codes.NOT_FOUND


class JobsUnavailable(SireError):
    """The database of jobs cannot be read or written."""


class ServiceNotFound(SireError):
    """No service of that name exists."""

    exit_code = exit_codes.NOT_FOUND


class ServiceExists(SireError):
    """A service of that name exists already."""

    exit_code = exit_codes.NOT_LOADABLE


class ServiceFailed(SireError):
    """The process of a service ended, or could not be started."""


class ProtocolError(SireError):
    """The bytes received are not a message of this protocol version."""


class DaemonUnavailable(SireError):
    """No daemon is running, and none could be started."""

    exit_code = exit_codes.NO_DAEMON


class AccessDenied(SireError):
    """An API key is missing, not valid, or does not allow the request."""

    exit_code = exit_codes.USAGE


class InvalidConfiguration(SireError):
    """A setting or an option has an invalid value."""

    exit_code = exit_codes.USAGE


def shown(value: Any) -> str:
    """The ``repr`` of a value for an error message, shortened in the middle."""
    return _SHOWN.repr(value)


def error_text(problem: BaseException) -> str:
    """The message of a library's exception, as part of an error; shortened at its end."""
    text = str(problem)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def error_from(code: str, message: str, hint: str, details: dict[str, Any]) -> SireError:
    """Rebuild an error received from another process; an unknown code gives a SireError."""
    by_code = {kind.code: kind for kind in SireError.__subclasses__()}
    kind = by_code.get(code, SireError)
    error = kind(message, hint=hint)
    error.details = details
    return error
