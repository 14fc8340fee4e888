"""Notices when somebody sets the clock.

Within the daemon everything waits by a clock that nobody can set. Jobs outlive it, so their times
are the calendar's; when that is put forward or back, they go with it: none is late or old for it.
"""

import time
from collections.abc import Callable

# Less is what a clock is corrected by now and then, and hurts nobody.
WORTH_NOTICING_SECONDS = 2.0


def _since_boot() -> float:
    # Time passes while the machine is suspended, too.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """The calendar's clock beside one that only runs.

    Args:
        wall: seconds of the one that can be set.
        steady: seconds of the one that cannot.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _since_boot
    ) -> None:
        self._wall, self._steady = wall, steady
        self._between = wall() - steady()

    def set_by(self) -> float:
        """Seconds by which it was put forward since this was last asked; negative for back."""
        between = self._wall() - self._steady()
        jump = between - self._between
        if abs(jump) < WORTH_NOTICING_SECONDS:
            return 0.0
        self._between = between
        return jump
