"""Detects that the system clock was set.

Within the daemon all deadlines use a monotonic clock. Jobs outlive the daemon, so their times are
of the system clock. When that is set forward or back, they are shifted with it, so that no job
becomes late or old by it.
"""

import time
from collections.abc import Callable

# Smaller jumps are ordinary corrections, which do no harm.
SMALLEST_JUMP_SECONDS = 2.0


def _since_boot() -> float:
    # It also advances while the machine is suspended.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the system clock with one that cannot be set.

    Args:
        wall: reads the system clock, in seconds.
        steady: reads the clock that cannot be set, in seconds.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _since_boot
    ) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def read_jump(self) -> float:
        """Seconds by which the clock was set forward since the last call; negative for back.

        Returns:
            0 unless it was set by at least ``SMALLEST_JUMP_SECONDS``.
        """
        offset = self._wall() - self._steady()
        jump = offset - self._offset
        if abs(jump) < SMALLEST_JUMP_SECONDS:
            return 0.0
        self._offset = offset
        return jump
