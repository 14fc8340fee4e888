"""Requests in flight on one socket to the daemon, for an event loop."""

import asyncio
import itertools
from collections.abc import Callable, Sequence

import msgspec

from sire.client.heartbeat import HEARTBEAT_ID
from sire.client.link import Answer, Link
from sire.errors import DaemonUnavailable, SireError, error_from
from sire.protocol.content import Buffer
from sire.protocol.replies import Failure, Part, Reply
from sire.protocol.requests import Cancel, Request

# Interval at which the connection is checked while answers are awaited.
_CHECK_SECONDS = 0.25

Outcome = Answer | SireError
Receiver = Callable[[Outcome], None]


class Session:
    """Sends requests, and passes each reply to the receiver of its request.

    Args:
        link: a connection that is not shared, without a limit of waiting messages; it is closed
            with the session.
        loop: the event loop that calls everything here.

    Attributes:
        lost: whether the daemon went away, or does not respond.
        died: whether it went away.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self.lost = self.died = False
        self._link = link
        self._loop = loop
        self._numbers = itertools.count(1)
        self._receivers: dict[int, Receiver] = {}
        self._check: asyncio.TimerHandle | None = None
        loop.add_reader(link.descriptor, self._drain)

    def send(self, request: Request, payload: Sequence[Buffer], receive: Receiver) -> int | None:
        """Send a request; returns its number, or None if the daemon is gone and has not got it.

        ``receive`` gets each ``Part``, and then the reply or the error.

        Raises:
            InvalidInput: the header of the request exceeds the limit.
        """
        if self.lost or self._link.stale():
            self._fail(self._link.connection_lost(), died=True)
            return None
        number = next(self._numbers)
        if not self._link.send(msgspec.structs.replace(request, id=number), payload, seconds=0.0):
            self._fail(self._link.connection_lost(), died=True)
            return None
        if not self._receivers:
            self._link.resume()
        self._receivers[number] = receive
        if self._check is None:
            self._check = self._loop.call_later(_CHECK_SECONDS, self._look)
        # Sending may have taken the notice that a message has arrived.
        self._drain()
        return number

    def cancel(self, number: int) -> None:
        """Cancel a request, whose receiver gets nothing any more."""
        if self._receivers.pop(number, None) is not None and not self.lost:
            self._link.send(Cancel(id=HEARTBEAT_ID, request=number), seconds=0.0)
            self._drain()

    def close(self) -> None:
        """Cancel every request, and close the socket."""
        self._fail(DaemonUnavailable("The connection to the daemon was closed."), died=False)

    def _drain(self) -> None:
        """Take every message that has arrived: the descriptor reports each only once."""
        try:
            while not self.lost and self._link.ready()[1]:
                self._take(*self._link.take())
        except SireError as error:  # a reply that cannot be decoded
            self._fail(error, died=False)

    def _take(self, reply: Reply, frames: list[memoryview]) -> None:
        number = reply.id
        if number == HEARTBEAT_ID:
            return
        if number == "" and isinstance(reply, Failure):  # a header that could not be read
            raise error_from(reply.code, reply.message, reply.hint, reply.details)
        if isinstance(reply, Part):
            receive = self._receivers.get(int(number))
        else:
            receive = self._receivers.pop(int(number or 0), None)
        if receive is None:  # it was cancelled
            return
        if isinstance(reply, Failure):
            receive(error_from(reply.code, reply.message, reply.hint, reply.details))
        else:
            receive((reply, frames))

    def _look(self) -> None:
        self._check = None
        if self.lost or not self._receivers:
            return
        try:
            self._link.check()
        except DaemonUnavailable as error:
            self._fail(error, died=self._link.ended)
            return
        self._drain()
        self._check = self._loop.call_later(_CHECK_SECONDS, self._look)

    def _fail(self, error: SireError, *, died: bool) -> None:
        """Close the socket; every request without an answer gets the error."""
        if self.lost:
            return
        self.lost, self.died = True, died
        self._loop.remove_reader(self._link.descriptor)
        receivers, self._receivers = self._receivers, {}
        self._link.abandon(receivers)
        for receive in receivers.values():
            receive(error)
