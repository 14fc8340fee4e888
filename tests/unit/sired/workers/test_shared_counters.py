"""What a worker counts for direct connections, and the daemon reads."""

from collections.abc import Iterator
from typing import Any

import pytest

from sired.workers import shared_counters
from sired.workers.shared_counters import SharedCounters


@pytest.fixture
def counters() -> Iterator[Any]:
    counters = SharedCounters.create()
    yield counters
    counters.close()


def test_it_is_busy_from_the_first_that_begins_to_the_last_that_ends(counters: Any) -> None:
    assert not counters.read().busy
    counters.begin([7])
    counters.begin([8, 9])
    counts = counters.read()
    assert counts.busy
    assert counters.running(counts.running) == (7, 8, 9)
    counters.end([8, 9], now=1.0, peak=10)
    counts = counters.read()
    assert counts.busy
    assert counters.running(counts.running) == (7,)
    counters.end([7], now=2.0, peak=12)
    counts = counters.read()
    assert not counts.busy
    assert (counts.running, counts.last_used, counts.peak) == (0, 2.0, 12)


def test_what_is_answered_is_seen_once_it_is_told(counters: Any) -> None:
    counters.begin([1, 2])
    counters.answer(0.5, 0.25, taken=3, given=4)
    counters.publish()
    counters.answer(1.5, 0.25)
    assert counters.read().answered == 1
    counters.end([1, 2], now=1.0, peak=0)
    counts = counters.read()
    assert (counts.answered, counts.seconds, counts.taken, counts.given) == (2, 0.5, 3, 4)
    assert counters.latencies(0, 2) == [0.5, 1.5]


class HalfWritten:
    """Writes the first half, as if the kernel had stopped the process there."""

    size = shared_counters._HEAD.size
    unpack_from = shared_counters._HEAD.unpack_from

    @staticmethod
    def pack_into(memory: Any, place: int, *_: Any) -> None:
        memory[place : place + 32] = bytes(32)
        raise InterruptedError


def test_a_worker_that_is_stopped_while_it_writes_leaves_what_it_wrote_before(
    counters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        counters.answer(0.5, 0.25)
        counters.publish()
        before = counters.read()
        assert before.answered > 0
        monkeypatch.setattr(shared_counters, "_HEAD", HalfWritten)
        with pytest.raises(InterruptedError):
            counters.publish()
        assert counters.read() == before
        monkeypatch.undo()
