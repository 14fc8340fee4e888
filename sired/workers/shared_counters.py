"""Counters of requests over direct connections, in memory shared with the daemon.

Reporting each request in a message would take as long as routing it through the daemon.

The counters are written in turn to one of two places, and then the number of the latest writing is
stored at once. So the daemon reads a whole snapshot also from a worker that the kernel has stopped,
or that was killed, while it wrote.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

from sire.transport import sealed

# Size of the ring buffer of latencies; the daemon reads it before it wraps around.
LATENCIES_KEPT = 512
# Rounds, odd while busy; answered; busy seconds; last use; peak; running; bytes in; bytes out.
_HEAD = struct.Struct("<QQddQQQQ")
_NUMBER = struct.Struct("<Q")
_HEADS_AT = _NUMBER.size
_LATENCY = struct.Struct("<f")
_MOST_RUNNING = 64
_RUNNING_AT = _HEADS_AT + 2 * _HEAD.size
_LATENCIES_AT = _RUNNING_AT + _MOST_RUNNING * _NUMBER.size
_SIZE = _LATENCIES_AT + LATENCIES_KEPT * _LATENCY.size


class Counts(NamedTuple):
    """A snapshot of the counters.

    Attributes:
        rounds: odd while the worker is busy.
        answered: number of requests, including failed ones.
        seconds: time that the worker was busy with them.
        last_used: the end of the last one, in seconds of the monotonic clock.
        peak: peak memory in bytes.
        running: number of requests in progress.
        taken: bytes of the requests' payloads.
        given: bytes of the outputs.
    """

    rounds: int
    answered: int
    seconds: float
    last_used: float
    peak: int
    running: int
    taken: int = 0
    given: int = 0

    @property
    def busy(self) -> bool:
        """Whether the worker is busy."""
        return self.rounds % 2 == 1


class SharedCounters:
    """Counters in shared memory: the worker writes, the daemon reads."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        # Struct writes byte by byte, and this all eight of them at once.
        self._latest = memoryview(self._memory)[: _NUMBER.size].cast("Q")
        # The values written by the worker.
        self._rounds = self._answered = self._peak = self._taken = self._given = 0
        self._running: list[int] = []
        self._seconds = self._last_used = 0.0

    @classmethod
    def create(cls) -> Self:
        """New counters, all zero."""
        return cls(sealed.allocate(_SIZE))

    def close(self) -> None:
        """Unmap the memory and close the descriptor."""
        self._latest.release()
        self._memory.close()
        os.close(self.descriptor)

    # The worker

    def begin(self, connections: Sequence[int]) -> None:
        """Record that requests of these connections are started."""
        self._rounds += 2 if self._running else 1
        self._running += connections
        self._publish_running()

    def answer(self, latency: float, seconds: float, taken: int = 0, given: int = 0) -> None:
        """Count one request; visible to the daemon after ``publish`` or ``end``."""
        place = _LATENCIES_AT + self._answered % LATENCIES_KEPT * _LATENCY.size
        _LATENCY.pack_into(self._memory, place, latency)
        self._answered += 1
        self._seconds += seconds
        self._taken += taken
        self._given += given

    def end(self, connections: Sequence[int], now: float, peak: int) -> None:
        """Record that requests of these connections are finished."""
        for number in connections:
            self._running.remove(number)
        self._rounds += 2 if self._running else 1
        self._last_used, self._peak = now, peak
        self._publish_running()

    def _publish_running(self) -> None:
        for place, number in enumerate(self._running[:_MOST_RUNNING]):
            _NUMBER.pack_into(self._memory, _RUNNING_AT + place * _NUMBER.size, number)
        self.publish()

    def publish(self) -> None:
        """Write the counters to the shared memory."""
        latest = self._latest[0] + 1
        _HEAD.pack_into(
            self._memory,
            _HEADS_AT + latest % 2 * _HEAD.size,
            self._rounds,
            self._answered,
            self._seconds,
            self._last_used,
            self._peak,
            min(len(self._running), _MOST_RUNNING),
            self._taken,
            self._given,
        )
        self._latest[0] = latest

    # The daemon

    def read(self) -> Counts:
        """A consistent snapshot of the counters."""
        while True:
            latest = self._latest[0]
            place = _HEADS_AT + latest % 2 * _HEAD.size
            counts = Counts(*_HEAD.unpack_from(self._memory, place))
            if self._latest[0] == latest:  # otherwise it may have been written during the read
                return counts

    def running(self, count: int) -> tuple[int, ...]:
        """The connections with a request in progress, up to ``count``."""
        return struct.unpack_from(f"<{min(count, _MOST_RUNNING)}Q", self._memory, _RUNNING_AT)

    def latencies(self, first: int, last: int) -> list[float]:
        """Latencies in seconds of the requests numbered ``first`` to ``last``, as far as stored."""
        kept = range(max(first, last - LATENCIES_KEPT), last)
        places = (_LATENCIES_AT + n % LATENCIES_KEPT * _LATENCY.size for n in kept)
        return [_LATENCY.unpack_from(self._memory, place)[0] for place in places]
