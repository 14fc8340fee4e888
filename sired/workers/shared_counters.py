"""What a worker does for direct connections, counted in memory that the daemon reads.

To tell the daemon of every request would take as long as to let it pass the request on.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

from sire.transport import sealed

# Latencies are kept for so many requests; the daemon reads them more often than that.
LATENCIES_KEPT = 512
# Rounds, odd while one is under way; answered; busy seconds; last use; peak; running; bytes.
_HEAD = struct.Struct("<QQddQQQQ")
_NUMBER = struct.Struct("<Q")
_LATENCY = struct.Struct("<f")
_MOST_RUNNING = 64
_RUNNING_AT = 64
_LATENCIES_AT = _RUNNING_AT + _MOST_RUNNING * _NUMBER.size
_SIZE = _LATENCIES_AT + LATENCIES_KEPT * _LATENCY.size


class Counts(NamedTuple):
    """What has been done so far.

    Attributes:
        rounds: odd while the worker is at work.
        answered: requests, failed ones included.
        seconds: what the worker was busy with them.
        last_used: when it last was, by the clock that never goes back.
        peak: the most memory it has held, in bytes.
        running: how many requests it works on.
        taken: bytes of their payloads, and ``given`` of the answers'.
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
        """Whether the worker is at work."""
        return self.rounds % 2 == 1


class SharedCounters:
    """The counts, in shared memory: one process writes, another reads."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        # What this side has written; the daemon's reads.
        self._rounds = self._answered = self._peak = self._taken = self._given = 0
        self._running: list[int] = []
        self._seconds = self._last_used = 0.0

    @classmethod
    def create(cls) -> Self:
        """New counts, all zero."""
        return cls(sealed.allocate(_SIZE))

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()
        os.close(self.descriptor)

    # The worker

    def begin(self, connections: Sequence[int]) -> None:
        """Work for these connections begins."""
        self._rounds += 2 if self._running else 1
        self._running += connections
        self._tell_running()

    def answer(self, latency: float, seconds: float, taken: int = 0, given: int = 0) -> None:
        """One request is about to be answered; ``tell`` or ``end`` has the daemon see it."""
        place = _LATENCIES_AT + self._answered % LATENCIES_KEPT * _LATENCY.size
        _LATENCY.pack_into(self._memory, place, latency)
        self._answered += 1
        self._seconds += seconds
        self._taken += taken
        self._given += given

    def end(self, connections: Sequence[int], now: float, peak: int) -> None:
        """Work for these connections is done."""
        for number in connections:
            self._running.remove(number)
        self._rounds += 2 if self._running else 1
        self._last_used, self._peak = now, peak
        self._tell_running()

    def _tell_running(self) -> None:
        for place, number in enumerate(self._running[:_MOST_RUNNING]):
            _NUMBER.pack_into(self._memory, _RUNNING_AT + place * _NUMBER.size, number)
        self.tell()

    def tell(self) -> None:
        """Have the daemon see what was counted."""
        _HEAD.pack_into(
            self._memory,
            0,
            self._rounds,
            self._answered,
            self._seconds,
            self._last_used,
            self._peak,
            min(len(self._running), _MOST_RUNNING),
            self._taken,
            self._given,
        )

    # The daemon

    def read(self) -> Counts:
        """What the worker has counted so far."""
        counts = Counts(*_HEAD.unpack_from(self._memory))
        # It may have been written to in the very moment.
        while (again := Counts(*_HEAD.unpack_from(self._memory))) != counts:
            counts = again
        return counts

    def running(self, count: int) -> tuple[int, ...]:
        """The connections that are worked for, ``count`` of them."""
        return struct.unpack_from(f"<{min(count, _MOST_RUNNING)}Q", self._memory, _RUNNING_AT)

    def latencies(self, first: int, last: int) -> list[float]:
        """Seconds from sending to answer of the requests of these numbers, as far as kept."""
        kept = range(max(first, last - LATENCIES_KEPT), last)
        places = (_LATENCIES_AT + n % LATENCIES_KEPT * _LATENCY.size for n in kept)
        return [_LATENCY.unpack_from(self._memory, place)[0] for place in places]
