"""Backoff: how long a model that fails repeatedly is not loaded again.

1. The error of a failed load is kept for ``retry_after`` seconds, and for twice as long after each
   further failure, up to ``retry_most``. Requests that arrive meanwhile fail with it at once, and
   nothing is loaded.
2. A model whose process exited unexpectedly is loaded again at once, twice; then after
   ``retry_after`` seconds, and after twice as long each time, as long as it answers nothing in
   between. Requests that wait for it go on waiting: the input of another request may have been the
   cause.
3. An explicit load is tried at once. A lack of memory does not count as a failure of the model.
"""

from copy import copy
from dataclasses import dataclass

from sire.errors import InsufficientMemory, SireError
from sire.units import format_duration
from sired.scheduler.rules import Rules

# Number of crashes after which the model is loaded again at once.
IMMEDIATE_RETRIES = 2


@dataclass(slots=True)
class Backoff:
    """The recent failures of a model.

    Attributes:
        failed_loads: number of consecutive loads that failed.
        crashes: number of unexpected exits of its process since it last answered.
        until: when it may be loaded again without an explicit request.
        error: why the last load failed; None if it did not.
    """

    failed_loads: int = 0
    crashes: int = 0
    until: float = 0.0
    error: SireError | None = None

    def load_failed(self, error: SireError, now: float, rules: Rules) -> None:
        """Record a failed load."""
        if not isinstance(error, InsufficientMemory):
            self.failed_loads += 1
            self.until, self.error = now + _pause(self.failed_loads, rules), error

    def crashed(self, now: float, rules: Rules) -> None:
        """Record that its process exited unexpectedly."""
        self.crashes += 1
        if self.crashes > IMMEDIATE_RETRIES:
            self.until = now + _pause(self.crashes - IMMEDIATE_RETRIES, rules)

    def loaded(self) -> None:
        """Record a successful load."""
        self.failed_loads, self.until, self.error = 0, 0.0, None

    def answered(self) -> None:
        """Record that it answered, with a result or an error of its own."""
        self.crashes = 0

    def reset(self) -> None:
        """Allow a load at once."""
        self.until = 0.0

    def error_now(self, model: str, now: float) -> SireError | None:
        """The error that a request for it fails with now; None if a load may be tried."""
        if self.error is None or now >= self.until:
            return None
        error = copy(self.error)
        left = format_duration(self.until - now)
        error.hint = f"The next attempt is allowed in {left}. To try now: sire load {model}"
        return error


def _pause(times: int, rules: Rules) -> float:
    # A float cannot hold 2 to the power of the failures of a month.
    return float(min(rules.retry_after * 2 ** min(times - 1, 32), rules.retry_most))
