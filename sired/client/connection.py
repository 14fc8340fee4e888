"""One blocking connection to the daemon."""

import itertools
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import msgspec
import zmq

from sired.client.autostart import START_TIMEOUT_SECONDS, daemon_runs, start_daemon
from sired.errors import DaemonUnavailable, DeadlineExceeded, ProtocolError
from sired.paths import Paths, find_paths
from sired.protocol.content import Buffer
from sired.protocol.framing import decode_reply, encode, raise_failure
from sired.protocol.replies import Failure, Reply
from sired.protocol.requests import Cancel, Request

_Kind = TypeVar("_Kind")
_Answer = tuple[Reply, list[memoryview]]

_RECONNECT_MILLISECONDS = 10
_LOCK_CHECK_MILLISECONDS = 100
_LOOK_SECONDS = 0.1
# Smaller frames are copied: keeping account of a borrowed one takes longer.
_WORTH_BORROWING = 16 * 1024
# A daemon that is well confirms at once; one that is not must not hold up Ctrl-C.
_CANCEL_MILLISECONDS = 300


class Connection:
    """A connection to the daemon, opened by the first request; for one thread at a time.

    Args:
        paths: where the daemon's socket and lock are; by default as the environment says.
        autostart: start a daemon when none runs. ``SIRE_NO_AUTOSTART=1`` forbids it as well.
    """

    def __init__(self, paths: Paths | None = None, *, autostart: bool = True) -> None:
        self._paths = paths or find_paths()
        self._autostart = autostart and os.environ.get("SIRE_NO_AUTOSTART", "") in ("", "0")
        self._ids = itertools.count(1)
        self._link: _Link | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the next request would open another one."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def ask(
        self, request: Request, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> _Answer:
        """Send one request and wait for its reply.

        A ``KeyboardInterrupt`` while waiting withdraws the request.

        Args:
            request: any request; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply is there.
            timeout: seconds to wait for the connection and then for the reply; None waits as
                long as the daemon lives.

        Returns:
            The reply and the frames that came with it.

        Raises:
            SireError: the typed error the daemon replied with.
            DaemonUnavailable: none runs and none was started, or it went away before it answered.
            DeadlineExceeded: no reply within ``timeout``; the request is withdrawn.
        """
        link = self._connected(timeout)
        request = msgspec.structs.replace(request, id=next(self._ids))
        try:
            link.send(request, payload)
            reply, frames = link.receive(request.id, timeout)
        except (KeyboardInterrupt, DeadlineExceeded):
            link.withdraw(request.id, next(self._ids))
            raise
        except DaemonUnavailable:
            self.close()
            raise
        if isinstance(reply, Failure):
            raise_failure(reply)
        return reply, frames

    def expect(
        self,
        kind: type[_Kind],
        request: Request,
        payload: Sequence[Buffer] = (),
        *,
        timeout: float | None = None,
    ) -> _Kind:
        """Like ``ask``, for requests that are answered by one kind of reply without payload.

        Raises:
            ProtocolError: the daemon replied with another kind.
        """
        reply, _ = self.ask(request, payload, timeout=timeout)
        if not isinstance(reply, kind):
            raise ProtocolError(
                f"The daemon answered {type(request).__name__} with {type(reply).__name__}.",
                hint="Are sire and sired of the same version? Try: sire daemon restart",
            )
        return reply

    def _connected(self, timeout: float | None) -> "_Link":
        if self._link is not None and self._link.stale():
            self.close()
        while self._link is None:
            if not daemon_runs(self._paths):
                self._start_daemon()
            self._link = _connect(self._paths, timeout)
        return self._link

    def _start_daemon(self) -> None:
        if not self._autostart:
            raise DaemonUnavailable("No daemon is running.", hint="Start it: sire daemon start")
        start_daemon(self._paths)


def _connect(paths: Paths, timeout: float | None) -> "_Link | None":
    """Connect to the daemon that holds the lock; None when it let go of the lock meanwhile."""
    link = _Link(f"ipc://{paths.checked_socket()}", f"See what it wrote: {paths.daemon_log}")
    deadline = time.monotonic() + (START_TIMEOUT_SECONDS if timeout is None else timeout)
    while not link.established(_LOCK_CHECK_MILLISECONDS):
        if not daemon_runs(paths):
            link.close()
            return None
        if time.monotonic() > deadline:
            link.close()
            raise DaemonUnavailable(
                f"A daemon holds {paths.lock}, but takes no connections.",
                hint="Try: sire daemon restart",
            )
    return link


class _Link:
    """A DEALER socket that speaks like a REQ one, and a monitor that tells when it breaks.

    A REQ socket could not send a ``Cancel`` while its request is under way.
    """

    def __init__(self, address: str, hint: str) -> None:
        self._hint = hint
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )
        self._waits = -1
        self._used = 0.0
        self._socket.connect(address)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def established(self, milliseconds: int) -> bool:
        return bool(self._monitor.poll(milliseconds)) and self._event() == zmq.EVENT_CONNECTED

    def lost(self) -> bool:
        """Whether the daemon has closed the connection since it was established."""
        return bool(self._monitor.poll(0))

    def stale(self) -> bool:
        """Whether the connection broke while it was not used; not asked again within a moment."""
        now = time.monotonic()
        used, self._used = self._used, now
        return now - used > _LOOK_SECONDS and self.lost()

    def send(self, request: Request, payload: Sequence[Buffer] = ()) -> None:
        self._socket.send(b"", zmq.SNDMORE)
        frames: list[Any] = [encode(request), *payload]
        last = frames.pop()
        for frame in frames:
            self._socket.send(frame, zmq.SNDMORE, copy=len(frame) < _WORTH_BORROWING)
        self._socket.send(last, copy=len(last) < _WORTH_BORROWING)

    def receive(self, request_id: str | int, timeout: float | None) -> _Answer:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            # Waiting in recv is quicker than in a poller; between two waits there is time to look
            # whether the daemon is still there.
            left = min(_LOOK_SECONDS, deadline - time.monotonic())
            self._wait_at_most(max(0, math.ceil(left * 1e3)))
            try:
                reply, frames = self._answer()
            except zmq.Again:
                if self.lost():
                    raise DaemonUnavailable(
                        "The daemon went away before it answered.", hint=self._hint
                    ) from None
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

    def _answer(self) -> _Answer:
        frames = self._socket.recv_multipart(copy=False)
        header, *payload = frames[1:]
        return decode_reply(header.buffer), [frame.buffer for frame in payload]

    def _event(self) -> int:
        # The first frame opens with the event's number, 16 bits in the machine's byte order.
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)
