"""Models that fail again and again, and how long they are left alone for it.

1. Why a load failed is remembered for ``retry_after``, and twice as long each time it fails again,
   up to ``retry_most``. Whoever asks meanwhile is told at once, and nothing is loaded.
2. A model whose process ended by itself is loaded again at once, twice; then after ``retry_after``,
   and after twice as long each time, as long as it has answered nothing in between. Who waits for
   it goes on waiting: another's input may have been the cause.
3. To load it by hand is to try at once. A want of memory is no fault of the model's.
"""

from copy import copy
from dataclasses import dataclass

from sire.errors import InsufficientMemory, SireError
from sire.units import format_duration
from sired.scheduler.rules import Rules

# Ends that are taken for chance.
CHANCE = 2


@dataclass(slots=True)
class Backoff:
    """What a model has been failing with lately.

    Attributes:
        loads: how often in a row it could not be loaded.
        crashes: how often its process ended by itself since it last answered.
        until: when it is loaded again, unless by hand.
        error: why it could not be loaded; None if it could.
    """

    loads: int = 0
    crashes: int = 0
    until: float = 0.0
    error: SireError | None = None

    def load_failed(self, error: SireError, now: float, rules: Rules) -> None:
        """It could not be loaded."""
        if not isinstance(error, InsufficientMemory):
            self.loads += 1
            self.until, self.error = now + _pause(self.loads, rules), error

    def crashed(self, now: float, rules: Rules) -> None:
        """Its process ended by itself."""
        self.crashes += 1
        if self.crashes > CHANCE:
            self.until = now + _pause(self.crashes - CHANCE, rules)

    def loaded(self) -> None:
        """It could be loaded."""
        self.loads, self.until, self.error = 0, 0.0, None

    def answered(self) -> None:
        """It has given an answer, or an error of its own."""
        self.crashes = 0

    def reset(self) -> None:
        """Somebody wants it tried at once."""
        self.until = 0.0

    def remembered(self, model: str, now: float) -> SireError | None:
        """What to tell who asks for it now; None if it is to be tried."""
        if self.error is None or now >= self.until:
            return None
        told = copy(self.error)
        left = format_duration(self.until - now)
        told.hint = f"The next attempt is allowed in {left}. To try now: sire load {model}"
        return told


def _pause(times: int, rules: Rules) -> float:
    # No float holds 2 to the power of a month of failures.
    return float(min(rules.retry_after * 2 ** min(times - 1, 32), rules.retry_most))
