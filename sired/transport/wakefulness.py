"""Whether a wait begins awake.

To fall asleep and be woken takes as long as a small model. Who is asked again as soon as an answer
is there is so within a fraction of a millisecond: after short waits the next one begins awake.

On a machine that is busy otherwise this does harm: who waits awake uses up what the kernel would
give it for work, and takes it from whoever is to ask. It shows by being preempted.
"""

import resource
import time

# How long to sleep through every wait once others were seen to want the processor.
YIELD_SECONDS = 0.5


class Wakefulness:
    """Tells before each wait how long to stay awake, and learns from how long it took.

    Args:
        seconds: a wait up to here is short.
        in_a_row: so many short ones tell that the next will be short, too.
    """

    def __init__(self, seconds: float, in_a_row: int = 1) -> None:
        self._seconds = seconds
        self._in_a_row = in_a_row
        self._short_waits = 0
        self._began = 0.0
        self._preempted = 0
        self._asleep_until = 0.0

    def begin(self) -> float:
        """A wait begins; until when to stay awake, by ``time.perf_counter``: 0 for not at all."""
        self._began = time.perf_counter()
        if self._short_waits < self._in_a_row or self._began < self._asleep_until:
            return 0.0
        preempted = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        before, self._preempted = self._preempted, preempted
        if preempted > before:
            self._asleep_until = self._began + YIELD_SECONDS
            return 0.0
        return self._began + self._seconds

    def end(self) -> None:
        """The wait is over."""
        short = time.perf_counter() - self._began < self._seconds
        self._short_waits = self._short_waits + 1 if short else 0
