"""Whether a wait begins awake.

To fall asleep and be woken takes as long as a small model. Who is asked again as soon as an answer
is there is so within a fraction of a millisecond: after short waits the next one begins awake.

On a machine that is busy otherwise this does harm: who waits awake uses up what the kernel would
give it for work, and takes it from whoever is to ask. It shows by being put aside for longer than
a client's turn takes.
"""

import time
from collections.abc import Callable
from typing import TypeVar

# Put aside for so long, somebody else was at work; a client that asks again is done much sooner.
PUT_ASIDE_SECONDS = 300e-6
# How long to sleep through every wait then.
YIELD_SECONDS = 0.5

Found = TypeVar("Found")


class BusyPolling:
    """Stays awake for a while at the beginning of a wait, if the last ones were short.

    Args:
        seconds: a wait up to here is short.
        in_a_row: so many short ones tell that the next will be short, too.
    """

    def __init__(self, seconds: float, in_a_row: int = 1) -> None:
        self._seconds = seconds
        self._in_a_row = in_a_row
        self._short_waits = 0
        self._began = 0.0
        self._asleep_until = 0.0

    def watch(self, look: Callable[[], Found], most: float | None = None) -> Found | None:
        """A wait begins: look out, as long as it is worth while.

        Args:
            look: returns what is waited for, or something false.
            most: seconds to look out at most.

        Returns:
            What was found; None if whoever waits is to fall asleep.
        """
        began = now = self._began = time.perf_counter()
        if self._short_waits < self._in_a_row or now < self._asleep_until:
            return None
        until = began + (self._seconds if most is None else min(most, self._seconds))
        while now < until:
            if found := look():
                return found
            before, now = now, time.perf_counter()
            if now - before > PUT_ASIDE_SECONDS:
                self._asleep_until = now + YIELD_SECONDS
                return None
        return None

    def end(self) -> None:
        """The wait is over."""
        short = time.perf_counter() - self._began < self._seconds
        self._short_waits = self._short_waits + 1 if short else 0
