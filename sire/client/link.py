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

# ZeroMQ's default limit of waiting messages.
BACKLOG = 1000

_TRY_MILLISECONDS = 20
_LOOK_SECONDS = 0.1
# Smaller frames are copied: tracking a borrowed one takes longer.
_ZERO_COPY_BYTES = 16 * 1024
# A healthy daemon confirms at once; one that does not must not delay Ctrl-C.
_CANCEL_MILLISECONDS = 300
# Plain integers: using zmq's enumerations takes as long as the calls themselves.
_EVENTS, _POLLIN, _POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)


def connect(paths: Paths, timeout: float | None, *, backlog: int = BACKLOG) -> "Link | None":
    """Connect to the daemon that holds the lock; None if it has released the lock.

    Raises:
        DaemonUnavailable: a process holds the lock, but accepts no connection within ``timeout``
            seconds.
    """
    hint = f"See its log: {paths.daemon_log}"
    address = f"ipc://{paths.checked_socket()}"
    deadline = time.monotonic() + (START_TIMEOUT_SECONDS if timeout is None else timeout)
    while not (link := Link(address, hint, backlog=backlog)).established(_TRY_MILLISECONDS):
        link.close()
        if not daemon_runs(paths):
            return None
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"A daemon holds {paths.lock}, but accepts no connections.",
                hint="Try: sire daemon restart",
            )
    return link


class Link:
    """A DEALER socket that behaves like a REQ socket, with a monitor that detects disconnection.

    A REQ socket could not send a ``Cancel`` while its request is in flight, nor have several
    requests in flight at once.

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
        # No reconnection: with socket activation an idle client would restart a stopped daemon.
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._timeout_ms = -1
        self._used = 0.0
        self._socket.connect(address)

    def close(self, linger: float = 0.0) -> None:
        """Close the socket; unsent messages may be sent for ``linger`` more seconds."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=round(linger * 1e3))

    def established(self, milliseconds: int) -> bool:
        """Whether the daemon accepts the connection within this time."""
        return bool(self._monitor.poll(milliseconds)) and self._event() == zmq.EVENT_CONNECTED

    def lost(self) -> bool:
        """Whether the daemon has closed the connection since it was established."""
        return bool(self._monitor.poll(0))

    def connection_lost(self) -> DaemonUnavailable:
        """The error of requests without an answer when the connection is lost."""
        return DaemonUnavailable("The daemon went away before it answered.", hint=self._hint)

    @property
    def descriptor(self) -> int:
        """A descriptor that becomes readable when the result of ``ready`` may change."""
        return self._descriptor

    def stale(self) -> bool:
        """Whether the connection was lost while idle; checked after an idle interval only."""
        now = time.monotonic()
        used, self._used = self._used, now
        return now - used > _LOOK_SECONDS and self.lost()

    def ready(self) -> tuple[bool, bool]:
        """Whether a message can be sent without waiting, and whether one can be received."""
        events = int(self._socket.getsockopt(_EVENTS))
        return bool(events & _POLLOUT), bool(events & _POLLIN)

    def wait(self, seconds: float) -> None:
        """Wait until the result of ``ready``, called just before, may have changed.

        ZeroMQ's own poll has a resolution of milliseconds; this one is exact.
        """
        select.select([self._descriptor], [], [], max(0.0, seconds))

    def send(self, request: Request, payload: Sequence[Buffer] = ()) -> None:
        """Send a request; blocks while the backlog is full."""
        self._socket.send(b"", zmq.SNDMORE)
        frames: list[Any] = [encode(request), *payload]
        last = frames.pop()
        for frame in frames:
            self._socket.send(frame, zmq.SNDMORE, copy=len(frame) < _ZERO_COPY_BYTES)
        self._socket.send(last, copy=len(last) < _ZERO_COPY_BYTES)

    def receive(self, request_id: str | int, timeout: float | None) -> Answer:
        """Wait for the reply to one request; others are discarded.

        Raises:
            DaemonUnavailable: the daemon went away before it replied.
            DeadlineExceeded: it did not reply within ``timeout`` seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            # recv returns sooner than a poller; the connection is checked between two waits.
            left = min(_LOOK_SECONDS, deadline - time.monotonic())
            self._set_timeout(max(0, math.ceil(left * 1e3)))
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
                # Replies to cancelled requests may still arrive.
                if reply.id == request_id:
                    return reply, frames

    def _set_timeout(self, milliseconds: int) -> None:
        if milliseconds != self._timeout_ms:
            self._timeout_ms = milliseconds
            self._socket.setsockopt(zmq.RCVTIMEO, milliseconds)

    def cancel(self, request_id: str | int, cancel_id: int) -> None:
        """Cancel a request, and wait briefly so that the message is sent."""
        self.send(Cancel(id=cancel_id, request=request_id))
        try:
            self.receive(cancel_id, _CANCEL_MILLISECONDS / 1e3)
        except (DaemonUnavailable, DeadlineExceeded):
            return

    def take(self) -> Answer:
        """Receive the next message; waits as long as the last ``receive``."""
        frames = self._socket.recv_multipart(copy=False)
        header, *payload = frames[1:]
        return decode_reply(header.buffer), [frame.buffer for frame in payload]

    def _event(self) -> int:
        # The first frame starts with the event number, 16 bits in native byte order.
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)
