"""The earliest time at which the scheduler has to be called again."""

from sire.units import FOREVER


class Timer:
    """Keeps the earliest of the times that were scheduled.

    Attributes:
        at: when ``TimerFired`` is due; ``FOREVER`` when nothing waits for a time.
    """

    def __init__(self) -> None:
        self.at = FOREVER

    def schedule(self, when: float) -> None:
        """Fire at this time or earlier."""
        self.at = min(self.at, when)

    def clear(self) -> None:
        """Discard every scheduled time; what still waits for one schedules it anew."""
        self.at = FOREVER
