"""The log's lines about failed requests; their component is ``requests``."""

import logging

from sire.errors import (
    DaemonUnavailable,
    DeadlineExceeded,
    InsufficientMemory,
    LoadFailed,
    QueueFull,
    SireError,
    WorkerCrashed,
)
from sire.protocol.message import Message

log = logging.getLogger("sired.requests")

# A client that repeats a failing request at full speed must not fill the log.
LINES_PER_SECOND = 20
# Messages of other errors can repeat what a client sent, which the log must not contain.
_OF_DAEMON = frozenset(
    error.code
    for error in (
        DaemonUnavailable,
        DeadlineExceeded,
        InsufficientMemory,
        LoadFailed,
        QueueFull,
        WorkerCrashed,
    )
)


class RateLimit(logging.Filter):
    """Passes ``LINES_PER_SECOND`` records per second; the next one states how many were omitted."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._passed = 0
        self._omitted = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is within the limit."""
        if (second := int(record.created)) != self._second:
            self._second, self._passed = second, 0
        if self._passed == LINES_PER_SECOND:
            self._omitted += 1
            return False
        self._passed += 1
        if self._omitted:
            record.msg = f"{record.msg} ({self._omitted} failures before it were not logged)"
            self._omitted = 0
        return True


log.addFilter(RateLimit())


def described(request: Message) -> str:
    """A request that has no operation, for ``log_failure``: "the request Remove"."""
    return f"the request {type(request).__name__}"


def log_failure(what: str, error: SireError, seconds: float, model: str = "") -> None:
    """Log one failed request.

    Args:
        what: the request: "a request for m".
        error: why it failed.
        seconds: time since it arrived.
        model: the model it concerned; "" for none.
    """
    log_failure_code(what, error.code, error.message, seconds, model)


def log_failure_code(what: str, code: str, message: str, seconds: float, model: str) -> None:
    """Log one failed request by the code and message of its error."""
    why = f"{code}: {message.partition(chr(10))[0]}" if code in _OF_DAEMON else code
    extra = {"model": model}
    log.warning("%s failed after %.0f ms: %s", what, seconds * 1000, why, extra=extra)
