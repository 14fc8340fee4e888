"""Whether the request that runs in this thread is still wanted, for runtimes that can stop early.

A client may leave, or its deadline may pass, while the model runs. Most models cannot be stopped in
the middle of a pass; those that run step by step ask ``check_wanted`` between two steps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sire.errors import Cancelled

_WANTED: ContextVar[Callable[[], bool] | None] = ContextVar("wanted", default=None)


def is_wanted() -> bool:
    """Whether an answer to the running request is still wanted; takes a few microseconds."""
    check = _WANTED.get()
    return check is None or check()


def check_wanted() -> None:
    """Return if an answer to the running request is still wanted.

    Raises:
        Cancelled: it is not; nothing receives this error.
    """
    if not is_wanted():
        raise Cancelled("The request was cancelled while it ran.")


@contextmanager
def running(check: Callable[[], bool]) -> Iterator[None]:
    """Run a request in this thread; ``check`` returns whether it is still wanted."""
    token = _WANTED.set(check)
    try:
        yield
    finally:
        _WANTED.reset(token)
