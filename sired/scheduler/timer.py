"""The one time the brain keeps in mind: when it has to be woken at the latest."""

from sire.units import FOREVER


class Timer:
    """Rings at the earliest of the times it was given.

    Attributes:
        at: when ``Woken`` has to come at the latest; ``FOREVER`` when nothing waits for time.
    """

    def __init__(self) -> None:
        self.at = FOREVER

    def schedule(self, when: float) -> None:
        """Ring at this time or before."""
        self.at = min(self.at, when)

    def clear(self) -> None:
        """Forget every time; whoever waits for one gives it anew."""
        self.at = FOREVER
