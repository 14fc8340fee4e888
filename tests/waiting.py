"""The one way tests wait: until a condition holds. No test waits for a time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Only guards against hanging: a machine that is busy with other work may take this long.
DEADLINE_SECONDS = 90.0
_POLL_SECONDS = 0.01


def wait_until(condition: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Poll a condition until it holds.

    Args:
        condition: called every 10 ms.
        seconds: how long to poll.

    Returns:
        The first true value of the condition.

    Raises:
        TimeoutError: the condition still does not hold after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            line = condition.__code__.co_firstlineno if hasattr(condition, "__code__") else 0
            raise TimeoutError(f"the condition in line {line} did not hold within {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
    return found
