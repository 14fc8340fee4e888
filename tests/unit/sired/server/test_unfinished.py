"""Messages that have begun have room together, and one that makes no progress gives way."""

import pytest

from sired.server import unfinished
from sired.server.unfinished import SMALL, UnfinishedMessages

LIMIT = 1000 * SMALL


class Line:
    """A connection that is closed, or is not."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_messages_wait_for_room_until_others_have_ended(clock: Clock) -> None:
    messages, first, second = UnfinishedMessages(LIMIT, clock), Line(), Line()
    assert messages.may_read(first, LIMIT // 2)
    assert not messages.may_read(second, LIMIT)
    assert messages.may_read(second, LIMIT // 2)
    assert not messages.may_read(first, LIMIT // 2 + 1)
    assert messages.may_read(second, 0)
    assert messages.may_read(first, LIMIT)


def test_small_messages_never_wait(clock: Clock) -> None:
    messages, large, small = UnfinishedMessages(LIMIT, clock), Line(), Line()
    assert messages.may_read(large, LIMIT)
    assert messages.may_read(small, SMALL)


def test_one_message_alone_may_be_larger_than_the_limit(clock: Clock) -> None:
    messages, large, other = UnfinishedMessages(LIMIT, clock), Line(), Line()
    assert messages.may_read(large, 9 * LIMIT)
    assert not messages.may_read(other, 2 * SMALL)
    messages.forget(large)
    assert messages.may_read(other, 2 * SMALL)


@pytest.mark.parametrize(
    ("drips", "seconds"),
    [(False, unfinished.STALLED_SECONDS), (True, unfinished.LONGEST_SECONDS)],
    ids=["stalls", "drips"],
)
def test_a_message_that_stalls_or_takes_too_long_is_dropped_only_if_others_wait(
    clock: Clock, drips: bool, seconds: float
) -> None:
    messages, slow, other = UnfinishedMessages(LIMIT, clock), Line(), Line()
    assert messages.may_read(slow, LIMIT)
    while clock.now <= seconds:
        clock.now += 1.0
        if drips:
            assert messages.may_read(slow, LIMIT)
    assert not slow.closed
    assert not messages.may_read(other, LIMIT)
    assert slow.closed
    assert messages.may_read(other, LIMIT)
