"""The socket between a client and the daemon."""

import math
import os
import select
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import zmq

from sire.client.autostart import START_TIMEOUT_SECONDS, daemon_runs
from sire.client.heartbeat import (
    HEARTBEAT_ID,
    SILENT_SECONDS,
    Heartbeat,
    daemon_stopped,
    unresponsive,
)
from sire.client.interrupts import Uninterrupted
from sire.client.payloads import SMALLEST, PayloadSender
from sire.errors import DaemonUnavailable, DeadlineExceeded
from sire.paths import Paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import decode_reply, encode_request
from sire.protocol.jobs import Submit
from sire.protocol.replies import Failure, Reply
from sire.protocol.requests import Cancel, Predict, Request

Answer = tuple[Reply, list[memoryview]]

# ZeroMQ's default limit of waiting messages.
BACKLOG = 1000

# More than a first connection takes, with the threads of its context.
_DESCRIPTORS = 16
_TRY_MILLISECONDS = 20
_LOOK_SECONDS = 0.1
# Smaller frames are copied: tracking a borrowed one takes longer.
_ZERO_COPY_BYTES = 16 * 1024
# A healthy daemon confirms at once; one that does not must not delay Ctrl-C.
_CANCEL_SECONDS = 0.3
# For cancellations to leave this process while the daemon is stopped.
_LINGER_SECONDS = 1.0
# Plain integers: using zmq's enumerations takes as long as the calls themselves.
_EVENTS, _POLLIN, _POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
_NOBLOCK, _SNDMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)


def connect(paths: Paths, timeout: float | None, *, backlog: int = BACKLOG) -> "Link | None":
    """Connect to the daemon that holds the lock; None if it has released the lock.

    Raises:
        DaemonUnavailable: a process holds the lock, but accepts no connection within ``timeout``
            seconds, or this process has no descriptors left for one.
    """
    paths.checked_socket()
    patience = START_TIMEOUT_SECONDS if timeout is None else timeout
    deadline = time.monotonic() + patience
    while not (link := _new_link(paths, backlog)).established(_TRY_MILLISECONDS):
        link.close()
        if not daemon_runs(paths):
            return None
        if time.monotonic() > deadline:
            if daemon_stopped(paths):
                raise unresponsive(paths, patience)
            raise DaemonUnavailable(
                f"A daemon holds {paths.lock}, but accepts no connections.",
                hint="Try: sire daemon restart",
            )
    return link


def _new_link(paths: Paths, backlog: int) -> "Link":
    """Open a link if there are descriptors for it.

    ZeroMQ ends the whole process if it finds none for its threads, so the number that it takes is
    opened and closed before.
    """
    probes: list[int] = []
    try:
        probes += (os.eventfd(0) for _ in range(_DESCRIPTORS))
        for descriptor in probes:
            os.close(descriptor)
        probes.clear()
        return Link(paths, backlog=backlog)
    except (OSError, zmq.ZMQError) as problem:
        for descriptor in probes:
            os.close(descriptor)
        raise DaemonUnavailable(
            f"Cannot open a connection to the daemon: {problem.strerror}.",
            hint="Each takes a few file descriptors. Close some, or raise the limit: ulimit -n",
        ) from None


class Link:
    """A DEALER socket that behaves like a REQ socket, with a monitor that detects disconnection.

    A REQ socket could not send a ``Cancel`` while its request is in flight, nor have several
    requests in flight at once.

    Nothing here waits without a limit: see ``send``, ``receive`` and ``Heartbeat``.

    Args:
        paths: the daemon's socket, lock and log.
        backlog: messages that may wait in each direction; 0 for any number.

    Attributes:
        ended: whether the connection was found lost by ``send`` or ``receive``.
        greeted: whether a daemon has answered on it; known once the connection is lost. The kernel
            also accepts connections for a process that is being killed, which reads nothing.
    """

    def __init__(self, paths: Paths, *, backlog: int = BACKLOG) -> None:
        self.ended = False
        self.greeted = False
        self._lost = False
        self._paths = paths
        self._payloads = PayloadSender(paths)
        self._heartbeat = Heartbeat()
        self._incomplete = False
        # Whether ZeroMQ may still send from memory of callers.
        self._lends = False
        self._uninterrupted = Uninterrupted()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, backlog)
        self._socket.setsockopt(zmq.RCVHWM, backlog)
        # No reconnection: with socket activation an idle client would restart a stopped daemon.
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._timeout_ms = -1
        self._used = 0.0
        self._socket.connect(f"ipc://{paths.socket}")

    def close(self, linger: float = 0.0) -> None:
        """Close the socket; unsent messages may be sent for ``linger`` more seconds."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._payloads.close()
        self._socket.close(linger=round(linger * 1e3))

    def established(self, milliseconds: int) -> bool:
        """Whether the daemon accepts the connection within this time."""
        return bool(self._monitor.poll(milliseconds)) and self._event() == zmq.EVENT_CONNECTED

    def lost(self) -> bool:
        """Whether the daemon has closed the connection since it was established."""
        while not self._lost and self._monitor.poll(0):
            greeted = self._event() == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.greeted, self._lost = self.greeted or greeted, not greeted
        return self._lost

    def connection_lost(self) -> DaemonUnavailable:
        """The error of requests without an answer when the connection is lost."""
        return DaemonUnavailable(
            "The daemon went away before it answered.",
            hint=f"See its log: {self._paths.daemon_log}",
        )

    @property
    def descriptor(self) -> int:
        """A descriptor that becomes readable when the result of ``ready`` may change."""
        return self._descriptor

    def stale(self) -> bool:
        """Whether the connection was lost while idle; checked after an idle interval only."""
        now = time.monotonic()
        used, self._used = self._used, now
        return self._incomplete or (now - used > _LOOK_SECONDS and self.lost())

    def ready(self) -> tuple[bool, bool]:
        """Whether a message can be sent without waiting, and whether one can be received."""
        events = int(self._socket.getsockopt(_EVENTS))
        return bool(events & _POLLOUT), bool(events & _POLLIN)

    def wait(self, seconds: float) -> None:
        """Wait until the result of ``ready``, called just before, may have changed.

        ZeroMQ's own poll has a resolution of milliseconds; this one is exact.
        """
        select.select([self._descriptor], [], [], max(0.0, seconds))

    def send(
        self, request: Request, payload: Sequence[Buffer] = (), *, seconds: float | None = None
    ) -> bool:
        """Send a request; waits while the backlog is full.

        Args:
            request: any request.
            payload: the frames that follow the header.
            seconds: how long to wait, ``SILENT_SECONDS`` at most.

        Returns:
            Whether it was sent. If not, the connection is lost, and the daemon has not received the
            request, so that it may be sent to another.

        Raises:
            InvalidInput: its header is too large.
            DaemonUnavailable: the backlog stayed full.
        """
        seconds = SILENT_SECONDS if seconds is None else min(seconds, SILENT_SECONDS)
        request, payload = self._passed(request, payload, seconds)
        frames: list[Any] = [encode_request(request), *payload]
        deadline = 0.0
        while not self._send_at_once(frames):
            # ZeroMQ reports a lost connection as it reports a full backlog.
            if self._incomplete or self.lost():
                self.ended = True
                return False
            deadline = deadline or time.monotonic() + seconds
            if time.monotonic() >= deadline:
                raise unresponsive(self._paths, seconds)
            self._socket.poll(_TRY_MILLISECONDS, _POLLOUT)
        return True

    def open_payloads(self) -> None:
        """Open the connection for large payloads now, for a caller that must not wait for it."""
        self._payloads.open()

    def _passed(
        self, request: Request, payload: Sequence[Buffer], seconds: float
    ) -> tuple[Request, Sequence[Buffer]]:
        """Pass a large payload in memory of its own; returns what is left to send."""
        if isinstance(request, Predict | Submit) and size_of(payload) >= SMALLEST:
            encode_request(request)  # no payload is passed if its header is too large
            if (reference := self._payloads.put(payload, seconds)) is not None:
                return msgspec.structs.replace(request, payload=reference), ()
        return request, payload

    def _send_at_once(self, frames: list[Any]) -> bool:
        """Send a message if there is room.

        If a connection is lost between two frames, none of them is delivered, and the message
        stays incomplete.
        """
        with self._uninterrupted:
            try:
                self._socket.send(b"", _NOBLOCK | _SNDMORE)
                self._incomplete = True
                for frame in frames[:-1]:
                    self._socket.send(frame, _NOBLOCK | _SNDMORE, copy=self._copies(frame))
                self._socket.send(frames[-1], _NOBLOCK, copy=self._copies(frames[-1]))
            except zmq.Again:
                return False
            self._incomplete = False
            return True

    def _copies(self, frame: Any) -> bool:
        """Whether to send a copy of a frame; a large one is sent from the caller's memory."""
        if len(frame) < _ZERO_COPY_BYTES:
            return True
        self._lends = True
        return False

    def receive(
        self, request_id: str | int, timeout: float | None, *, due: float | None = None
    ) -> Answer:
        """Wait for the reply to one request; others are discarded.

        Args:
            request_id: of the request.
            timeout: seconds to wait; None waits as long as the daemon answers heartbeats.
            due: seconds after which the daemon itself reports that the time is over, unless it is
                stopped.

        Raises:
            DaemonUnavailable: the daemon went away before it replied, or does not respond.
            DeadlineExceeded: it did not reply within ``timeout`` seconds.
        """
        began = time.monotonic()
        deadline = math.inf if timeout is None else began + timeout
        due_at = math.inf if due is None else began + due
        self._heartbeat.resume()
        while True:
            # recv returns sooner than a poller; the connection is checked between two waits.
            left = min(_LOOK_SECONDS, deadline - time.monotonic())
            self._set_timeout(max(0, math.ceil(left * 1e3)))
            try:
                reply, frames = self.take()
            except zmq.Again:
                self._look(began, due_at, deadline)
            else:
                # Replies to cancelled requests may still arrive. A request whose header could not
                # be read is refused without its id.
                if reply.id == request_id or (reply.id == "" and isinstance(reply, Failure)):
                    return reply, frames

    def _look(self, began: float, due_at: float, deadline: float) -> None:
        """Check between two waits of ``receive`` whether to go on waiting."""
        self.check()
        now = time.monotonic()
        if now >= min(due_at, deadline) and daemon_stopped(self._paths):
            raise unresponsive(self._paths, round(now - began, 1))
        if now >= deadline:
            raise DeadlineExceeded(f"The daemon did not answer within {deadline - began:g} s.")

    def check(self) -> None:
        """Check, between two waits for an answer, that the daemon is there and responds.

        Raises:
            DaemonUnavailable: it went away, or has not answered a heartbeat in time.
        """
        if self.lost():
            self.ended = True
            raise self.connection_lost()
        if self._heartbeat.look() and self.ready()[0]:
            # Answered at once, since no request has that id.
            self.send(Cancel(id=HEARTBEAT_ID, request=HEARTBEAT_ID), seconds=0.0)
        if self._heartbeat.missed:
            raise unresponsive(self._paths, SILENT_SECONDS)

    def resume(self) -> None:
        """Count silence from now on: no answer was awaited before."""
        self._heartbeat.resume()

    def stopped(self, seconds: float) -> DaemonUnavailable | None:
        """The error of a request that waited for ``seconds`` if the daemon's process is stopped."""
        return unresponsive(self._paths, seconds) if daemon_stopped(self._paths) else None

    def _set_timeout(self, milliseconds: int) -> None:
        if milliseconds != self._timeout_ms:
            self._timeout_ms = milliseconds
            self._socket.setsockopt(zmq.RCVTIMEO, milliseconds)

    def cancel(self, request_id: str | int, cancel_id: int) -> None:
        """Cancel a request, and wait briefly so that the message is sent."""
        if self._incomplete:
            return
        try:
            if self.send(Cancel(id=cancel_id, request=request_id), seconds=_CANCEL_SECONDS):
                self.receive(cancel_id, _CANCEL_SECONDS)
        except (DaemonUnavailable, DeadlineExceeded):
            return

    def abandon(self, requests: Iterable[str | int]) -> None:
        """Cancel requests whose answers are not awaited any more, and close the socket.

        A daemon that is stopped reads the requests when it continues, and then that they are
        cancelled: otherwise it would lease an instance to a client that does not know of it.
        """
        if not self.ended:
            with suppress(DaemonUnavailable):
                for number in requests:
                    if self._incomplete or not self.ready()[0]:
                        break
                    self.send(Cancel(id=HEARTBEAT_ID, request=number), seconds=0.0)
        # ZeroMQ aborts the process if it sends from memory that is gone: at its exit, for instance.
        self.close(linger=0.0 if self.ended or self._lends else _LINGER_SECONDS)

    def take(self) -> Answer:
        """Receive the next message; waits as long as the last ``receive``."""
        frames = self._socket.recv_multipart(copy=False)
        self._heartbeat.heard()
        header, *payload = frames[1:]
        return decode_reply(header.buffer), [frame.buffer for frame in payload]

    def _event(self) -> int:
        # The first frame starts with the event number, 16 bits in native byte order.
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)
