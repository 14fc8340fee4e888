"""How many requests may be under way at a daemon whose queue may be full."""

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0


class CongestionWindow:
    """Fewer requests when some are refused, slowly more again as they are answered.

    As TCP does it with a network of which nobody says how much it takes.

    Args:
        most: requests that may be under way at best.

    Attributes:
        limit: requests that may be under way now.
        resume: when a refused one may be sent again, unless an answer comes before.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pause = _FIRST_PAUSE_SECONDS
        self.limit = float(most)
        self.resume = 0.0

    def refused(self, accepted: int, now: float) -> None:
        """One was refused while so many others are under way."""
        self.limit = max(1.0, accepted)
        if now >= self.resume:  # else it was refused together with the one before
            self.resume = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def answered(self) -> None:
        """One was answered: there is a place free."""
        self.limit = min(self._most, self.limit + 1 / self.limit)
        self._pause = _FIRST_PAUSE_SECONDS
        self.resume = 0.0
