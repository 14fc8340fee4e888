"""The number of requests in flight to a daemon whose queue may be full."""

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0


class CongestionWindow:
    """Reduces the limit when a request finds the queue full, and raises it with each answer.

    The scheme is that of TCP congestion control: the capacity is unknown and changes.

    Args:
        most: the highest limit.

    Attributes:
        limit: the number of requests that may be in flight now.
        resume: the monotonic time at which a rejected request may be sent again, unless an answer
            arrives earlier.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pause = _FIRST_PAUSE_SECONDS
        self.limit = float(most)
        self.resume = 0.0

    def on_queue_full(self, accepted: int, now: float) -> None:
        """A request was rejected while ``accepted`` others are in flight."""
        self.limit = max(1.0, accepted)
        if now >= self.resume:  # otherwise it was rejected together with the previous one
            self.resume = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def on_answer(self) -> None:
        """A request was answered, so that the queue has room."""
        self.limit = min(self._most, self.limit + 1 / self.limit)
        self._pause = _FIRST_PAUSE_SECONDS
        self.resume = 0.0
