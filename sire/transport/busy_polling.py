"""Polling at the start of a wait, instead of blocking at once.

Blocking and being woken takes as long as a small model. A client that sends its next request as
soon as it has an answer does so within a fraction of a millisecond: after short waits the next one
starts with polling.

On a busy machine polling does harm: it uses up the process's share of CPU time and takes it from
the client. The process is then preempted for longer than a client's turn takes, and polling stops
for a while.
"""

import time
from collections.abc import Callable
from typing import TypeVar

# After this long another process had the CPU; a client that sends again takes much less.
PREEMPTED_SECONDS = 300e-6
# How long every wait then blocks at once.
YIELD_SECONDS = 0.5

Found = TypeVar("Found")


class BusyPolling:
    """Polls at the start of a wait if the previous waits were short.

    Args:
        seconds: the longest wait that counts as short, and the longest poll.
        in_a_row: number of consecutive short waits after which the next is expected to be short.
    """

    def __init__(self, seconds: float, in_a_row: int = 1) -> None:
        self._seconds = seconds
        self._in_a_row = in_a_row
        self._short_waits = 0
        self._began = 0.0
        self._no_polling_until = 0.0

    def poll(self, look: Callable[[], Found], most: float | None = None) -> Found | None:
        """Start a wait: poll if a short wait is expected.

        Args:
            look: returns the awaited object, or a false value.
            most: seconds to poll at most.

        Returns:
            The object; None if the caller has to block.
        """
        began = now = self._began = time.perf_counter()
        if self._short_waits < self._in_a_row or now < self._no_polling_until:
            return None
        until = began + (self._seconds if most is None else min(most, self._seconds))
        while now < until:
            if found := look():
                return found
            before, now = now, time.perf_counter()
            if now - before > PREEMPTED_SECONDS:
                self._no_polling_until = now + YIELD_SECONDS
                return None
        return None

    def end(self) -> None:
        """End the wait."""
        short = time.perf_counter() - self._began < self._seconds
        self._short_waits = self._short_waits + 1 if short else 0
