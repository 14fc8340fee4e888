"""Every error a user can meet, the same names in Python, on the wire and in the exit codes."""

import reprlib
from typing import Any, ClassVar

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200
_LONGEST = 1000
# Characters that an error has to say: it names what was given, and repeats no input.
LONGEST_MESSAGE = 4000


def shorten(text: str) -> str:
    """The text without its middle, where it is too long to be read."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} … {text[-half:]}"


class SireError(Exception):
    """The base of every error sire raises on purpose.

    Attributes:
        message: what happened, with the figures.
        hint: what to do next; empty when the message already says it.
        details: the figures as plain numbers and strings, for programs.
    """

    code: ClassVar[str] = "SireError"

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
        return f"{self.message} {self.hint}" if self.hint else self.message


class ModelNotFound(SireError):
    """No model of that name is registered, or its file is gone."""


class ModelExists(SireError):
    """A model of that name is registered already."""


class InvalidModel(SireError):
    """The file, class or option given for a model cannot be what it is said to be."""


class UntrustedModel(SireError):
    """Loading would run code from the file, and the model was not registered as trusted."""


class LoadFailed(SireError):
    """The model could not be brought into memory."""


class InsufficientMemory(SireError):
    """The model does not fit, whatever is unloaded."""


class InvalidInput(SireError):
    """The data given to a model is not what it takes."""


class InferenceError(SireError):
    """The model raised while computing an answer."""


class WorkerCrashed(SireError):
    """The process holding the model died."""


class QueueFull(SireError):
    """Too many requests are waiting already."""


class DeadlineExceeded(SireError):
    """The answer did not come within the time allowed."""


class Cancelled(SireError):
    """The request was withdrawn, or its model was unloaded or removed while it waited."""


class DeviceNotFound(SireError):
    """No device of that name can be used."""


class JobNotFound(SireError):
    """No job of that id is kept."""


class JobsUnavailable(SireError):
    """The jobs kept on disk cannot be read or written."""


class ProtocolError(SireError):
    """The bytes received are no message of this protocol version."""


class DaemonUnavailable(SireError):
    """No daemon answers, and none could be started."""


class InvalidConfiguration(SireError):
    """A setting has a value it cannot have."""


def shown(value: Any) -> str:
    """A value as an error names it; what is long is told by its ends."""
    return _SHOWN.repr(value)


def error_text(problem: BaseException) -> str:
    """What a library said is wrong, as part of an error; the end of a long text is left out."""
    text = str(problem)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def error_from(code: str, message: str, hint: str, details: dict[str, Any]) -> SireError:
    """Rebuild an error that crossed a process boundary; an unknown code becomes a SireError."""
    by_code = {kind.code: kind for kind in SireError.__subclasses__()}
    kind = by_code.get(code, SireError)
    error = kind(message, hint=hint)
    error.details = details
    return error
