"""The socket between a client and the daemon."""

import math
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

import zmq

from sire.client.autostart import START_TIMEOUT_SECONDS, daemon_runs
from sire.errors import DaemonUnavailable, DeadlineExceeded
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.framing import decode_reply, encode
from sire.protocol.replies import Reply
from sire.protocol.requests import Cancel, Request

Answer = tuple[Reply, list[memoryview]]

# As many messages as ZeroMQ lets wait by itself.
BACKLOG = 1000

_TRY_MILLISECONDS = 20
_LOOK_SECONDS = 0.1
# Smaller frames are copied: keeping account of a borrowed one takes longer.
_WORTH_BORROWING = 16 * 1024
# A daemon that is well confirms at once; one that is not must not hold up Ctrl-C.
_CANCEL_MILLISECONDS = 300
# Plain numbers: every use of zmq's enumerations costs as much as the call it is for.
_EVENTS, _POLLIN, _POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)


def connect(paths: Paths, timeout: float | None, *, backlog: int = BACKLOG) -> "Link | None":
    """Connect to the daemon that holds the lock; None when it let go of the lock meanwhile.

    Raises:
        DaemonUnavailable: somebody holds the lock, but takes no connections within ``timeout``.
    """
    hint = f"See what it wrote: {paths.daemon_log}"
    address = f"ipc://{paths.checked_socket()}"
    deadline = time.monotonic() + (START_TIMEOUT_SECONDS if timeout is None else timeout)
    while not (link := Link(address, hint, backlog=backlog)).established(_TRY_MILLISECONDS):
        link.close()
        if not daemon_runs(paths):
            return None
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"A daemon holds {paths.lock}, but takes no connections.",
                hint="Try: sire daemon restart",
            )
    return link


class Link:
    """A DEALER socket that speaks like a REQ one, and a monitor that tells when it breaks.

    A REQ socket could not send a ``Cancel`` while its request is under way, nor have several
    requests under way at once.

    Args:
        address: of the daemon's socket.
        hint: what to do when the daemon goes away.
        backlog: messages that may wait in each direction; 0 for any number.
    """

    def __init__(self, address: str, hint: str, *, backlog: int = BACKLOG) -> None:
        self._hint = hint
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, backlog)
        self._socket.setsockopt(zmq.RCVHWM, backlog)
        # Never again: where systemd listens, an idle client would start what was just stopped.
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._waits = -1
        self._used = 0.0
        self._socket.connect(address)

    def close(self, linger: float = 0.0) -> None:
        """Close it; what has not left yet may do so for ``linger`` more seconds."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=round(linger * 1e3))

    def established(self, milliseconds: int) -> bool:
        """Whether the daemon has taken the connection, by so many milliseconds from now."""
        return bool(self._monitor.poll(milliseconds)) and self._event() == zmq.EVENT_CONNECTED

    def lost(self) -> bool:
        """Whether the daemon has closed the connection since it was established."""
        return bool(self._monitor.poll(0))

    def connection_lost(self) -> DaemonUnavailable:
        """What there is to say of requests that have no answer when the connection is lost."""
        return DaemonUnavailable("The daemon went away before it answered.", hint=self._hint)

    @property
    def descriptor(self) -> int:
        """Becomes readable when ``ready``, asked just before, may say something else."""
        return self._descriptor

    def stale(self) -> bool:
        """Whether the connection broke while it was not used; not asked again within a moment."""
        now = time.monotonic()
        used, self._used = self._used, now
        return now - used > _LOOK_SECONDS and self.lost()

    def ready(self) -> tuple[bool, bool]:
        """Whether there is room to send a message, and whether there is one to take."""
        events = int(self._socket.getsockopt(_EVENTS))
        return bool(events & _POLLOUT), bool(events & _POLLIN)

    def wait(self, seconds: float) -> None:
        """Sleep until ``ready`` may say something else; it must have been asked just before.

        Unlike ZeroMQ's own poll, which counts milliseconds, it does not oversleep.
        """
        select.select([self._descriptor], [], [], max(0.0, seconds))

    def send(self, request: Request, payload: Sequence[Buffer] = ()) -> None:
        """Send a request; waits where the backlog is full."""
        self._socket.send(b"", zmq.SNDMORE)
        frames: list[Any] = [encode(request), *payload]
        last = frames.pop()
        for frame in frames:
            self._socket.send(frame, zmq.SNDMORE, copy=len(frame) < _WORTH_BORROWING)
        self._socket.send(last, copy=len(last) < _WORTH_BORROWING)

    def receive(self, request_id: str | int, timeout: float | None) -> Answer:
        """Wait for the answer to one request; others are dropped.

        Raises:
            DaemonUnavailable: the daemon went away before it answered.
            DeadlineExceeded: it did not answer within ``timeout`` seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            # Waiting in recv is quicker than in a poller; between two waits there is time to look
            # whether the daemon is still there.
            left = min(_LOOK_SECONDS, deadline - time.monotonic())
            self._wait_at_most(max(0, math.ceil(left * 1e3)))
            try:
                reply, frames = self.take()
            except zmq.Again:
                if self.lost():
                    raise self.connection_lost() from None
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded(
                        f"The daemon did not answer within {timeout:g} s."
                    ) from None
            else:
                # Answers to requests that were given up may still come in: they are dropped.
                if reply.id == request_id:
                    return reply, frames

    def _wait_at_most(self, milliseconds: int) -> None:
        if milliseconds != self._waits:
            self._waits = milliseconds
            self._socket.setsockopt(zmq.RCVTIMEO, milliseconds)

    def withdraw(self, request_id: str | int, cancel_id: int) -> None:
        """Cancel a request, and wait a moment so that the message leaves before we do."""
        self.send(Cancel(id=cancel_id, request=request_id))
        try:
            self.receive(cancel_id, _CANCEL_MILLISECONDS / 1e3)
        except (DaemonUnavailable, DeadlineExceeded):
            return

    def take(self) -> Answer:
        """The next message; waits for it as long as a ``receive`` last did."""
        frames = self._socket.recv_multipart(copy=False)
        header, *payload = frames[1:]
        return decode_reply(header.buffer), [frame.buffer for frame in payload]

    def _event(self) -> int:
        # The first frame opens with the event's number, 16 bits in the machine's byte order.
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)
