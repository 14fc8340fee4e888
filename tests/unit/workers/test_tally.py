"""What a worker counts for direct connections, and the daemon reads."""

import pytest

from sired.workers.shared_counters import Tally


@pytest.fixture
def tally():
    tally = Tally.create()
    yield tally
    tally.close()


def test_it_is_busy_from_the_first_that_begins_to_the_last_that_ends(tally):
    assert not tally.read().busy
    tally.begin([7])
    tally.begin([8, 9])
    counts = tally.read()
    assert counts.busy
    assert tally.running(counts.running) == (7, 8, 9)
    tally.end([8, 9], now=1.0, peak=10)
    counts = tally.read()
    assert counts.busy
    assert tally.running(counts.running) == (7,)
    tally.end([7], now=2.0, peak=12)
    counts = tally.read()
    assert not counts.busy
    assert (counts.running, counts.last_used, counts.peak) == (0, 2.0, 12)


def test_what_is_answered_is_seen_once_it_is_told(tally):
    tally.begin([1, 2])
    tally.answer(0.5, 0.25, taken=3, given=4)
    tally.tell()
    tally.answer(1.5, 0.25)
    assert tally.read().answered == 1
    tally.end([1, 2], now=1.0, peak=0)
    counts = tally.read()
    assert (counts.answered, counts.seconds, counts.taken, counts.given) == (2, 0.5, 3, 4)
    assert tally.latencies(0, 2) == [0.5, 1.5]
