"""Replies that are not read are held up to a limit, and those of a client that reads for longer."""

from collections.abc import Callable
from typing import Any, cast

from sired.server.unread import STALLED_SECONDS, UnreadReplies


class Loop:
    """A clock, and the one timer that is set."""

    def __init__(self) -> None:
        self.now, self.timer = 0.0, cast("tuple[Callable[..., None], Any] | None", None)

    def time(self) -> float:
        return self.now

    def call_later(self, _: float, callback: Callable[..., None], argument: Any) -> object:
        self.timer = callback, argument
        return self.timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.timer is not None:
            (callback, argument), self.timer = self.timer, None
            callback(argument)


class Line:
    def __init__(self, replies: UnreadReplies, loop: Any) -> None:
        self.closed, self._replies, self._loop = False, replies, loop

    def close(self) -> None:
        self.closed = True
        self.leaves(0)

    def leaves(self, size: int) -> None:
        self._replies.note(self, size, self._loop)


def test_who_reads_nothing_is_disconnected_only_while_there_is_too_much() -> None:
    replies, loop = UnreadReplies(100), Loop()
    idle, reading = Line(replies, loop), Line(replies, loop)
    idle.leaves(60)
    reading.leaves(40)
    loop.advance(2 * STALLED_SECONDS)
    assert not idle.closed
    reading.leaves(90)
    reading.leaves(80)  # it has read 10
    loop.advance(1.0)
    assert (idle.closed, reading.closed) == (True, False)
    assert loop.timer is None


def test_a_client_that_stops_for_a_moment_is_kept() -> None:
    replies, loop = UnreadReplies(100), Loop()
    line = Line(replies, loop)
    line.leaves(200)
    loop.advance(STALLED_SECONDS / 2)
    line.leaves(150)
    loop.advance(STALLED_SECONDS)
    assert not line.closed
    loop.advance(STALLED_SECONDS)
    assert line.closed


def test_while_descriptors_are_short_nothing_may_be_left() -> None:
    replies, loop = UnreadReplies(100), Loop()
    replies.descriptors_short = True
    line = Line(replies, loop)
    line.leaves(1)
    loop.advance(STALLED_SECONDS + 1)
    assert line.closed
