"""Direct connections: a client talks to a worker, and the daemon looks on.

The daemon takes the connection, asks the brain whom it may lead to, and hands it to that worker. It
keeps a descriptor of the worker's end: to learn when the client has left, to close it when the
brain says so, and so that the client reads the connection's end only after the daemon knows why.
What goes over it is counted by the worker in memory that the daemon reads (``workers/tally.py``).
"""

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from sired.daemon.stats import Statistics
from sired.errors import SireError
from sired.protocol.direct import NotNow, OpenDirect, Opened
from sired.protocol.requests import PROTOCOL_VERSION
from sired.scheduler.events import DirectUsed
from sired.transport.channel import Channel
from sired.workers.messages import TakeConnection, TakeTally
from sired.workers.tally import Tally

log = logging.getLogger(__name__)

# How often one looks at what workers count: while something waits for them, while they are in use,
# and otherwise.
URGENT_SECONDS, LIVELY_SECONDS, QUIET_SECONDS = 0.005, 0.1, 1.0
# Connections that have been taken and said nothing yet.
MOST_SILENT = 64
# How many ends are remembered for clients that come and ask.
ENDS_REMEMBERED = 1024
BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")


class Line(msgspec.Struct, eq=False):
    """A client's connection to a worker."""

    number: int
    instance: int
    socket: socket.socket


class Served(msgspec.Struct, eq=False):
    """An instance that clients talk to, and what of its counts is known already.

    ``left`` says that a client has left since.
    """

    model: str
    tally: Tally
    lines: dict[int, Line] = {}
    left: bool = False
    answered: int = 0
    seconds: float = 0.0
    last_used: float = 0.0
    busy: bool = False

    @property
    def active(self) -> bool:
        """Whether there may be something new."""
        return bool(self.lines) or self.busy or self.left


class DirectLines:
    """Every direct connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        statistics: Statistics,
        pass_on: Callable[[int, TakeTally | TakeConnection, int], bool],
    ) -> None:
        self._loop = loop
        self._statistics = statistics
        self._pass_on = pass_on
        self._served: dict[int, Served] = {}
        self._ended: dict[int, SireError] = {}
        self._by_descriptor: dict[int, Line] = {}
        # The loop would be told of every request; this one tells only of clients that leave.
        self._hangups = select.epoll()
        self._next = 1
        loop.add_reader(self._hangups.fileno(), self._left)

    def __bool__(self) -> bool:
        return any(served.active for served in self._served.values())

    def add(self, instance: int, model: str, connection: socket.socket) -> int | None:
        """Lead a connection to an instance; its number, or None if that worker takes none now."""
        served = self._served.get(instance)
        try:
            if served is None:
                tally = Tally.create()
                if not self._pass_on(instance, TakeTally(), tally.descriptor):
                    tally.close()
                    return None
                served = self._served[instance] = Served(model, tally)
            number = self._next
            if not self._pass_on(instance, TakeConnection(number), connection.fileno()):
                return None
        except OSError:
            return None
        self._next += 1
        line = Line(number, instance, connection)
        served.lines[number] = line
        self._by_descriptor[connection.fileno()] = line
        self._hangups.register(connection.fileno(), select.EPOLLRDHUP | select.EPOLLHUP)
        return number

    def _left(self) -> None:
        for descriptor, _ in self._hangups.poll(0):
            if line := self._by_descriptor.get(descriptor):
                self._forget(line)

    def _forget(self, line: Line) -> None:
        descriptor = line.socket.fileno()
        del self._by_descriptor[descriptor]
        self._hangups.unregister(descriptor)
        if served := self._served.get(line.instance):
            served.lines.pop(line.number, None)
            served.left = True
        line.socket.close()

    def close(self, instance: int) -> None:
        """End an instance's connections; what has come over them by now is answered."""
        served = self._served.get(instance)
        for line in list(served.lines.values()) if served is not None else ():
            with contextlib.suppress(OSError):  # it has ended by itself
                line.socket.shutdown(socket.SHUT_RD)
            self._forget(line)

    def close_all(self) -> None:
        """End every connection."""
        for instance in list(self._served):
            self.close(instance)

    def gone(self, instance: int, error: SireError, *, expected: bool) -> None:
        """An instance's process has ended: tell the clients, by ending their connections."""
        served = self._served.pop(instance, None)
        if served is None:
            return
        counts = served.tally.read()
        running = served.tally.running(counts.running) if counts.busy and not expected else ()
        # Of several that ran together one is to blame: the brain finds out which.
        if len(running) == 1:
            self._remember(running[0], error)
            self._statistics.of(served.model).failed(error.code, str(error))
        for line in served.lines.values():
            self._forget(line)
        served.tally.close()

    def _remember(self, connection: int, error: SireError) -> None:
        self._ended[connection] = error
        if len(self._ended) > ENDS_REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def why_ended(self, connection: int) -> SireError | None:
        """What a client is told that waited for an answer; None if it is to ask the daemon."""
        return self._ended.pop(connection, None)

    @property
    def busy(self) -> int:
        """How many instances are at work, as of the last sample."""
        return sum(served.busy for served in self._served.values())

    def sample(self) -> Iterator[DirectUsed]:
        """What instances did since this was last asked, if anything."""
        for instance, served in self._served.items():
            if not served.active:
                continue
            served.left = False
            counts = served.tally.read()
            was_busy, served.busy = served.busy, counts.busy
            answered = counts.answered - served.answered
            if not answered and not counts.busy and not was_busy:
                continue
            running = served.tally.running(counts.running) if counts.busy else ()
            used = DirectUsed(
                instance=instance,
                served=answered,
                seconds=counts.seconds - served.seconds,
                last_used=counts.last_used,
                busy=counts.busy,
                abandoned=counts.busy and not any(one in served.lines for one in running),
                peak=counts.peak,
            )
            if answered:
                self._count(served, counts.answered, used)
            served.answered, served.seconds = counts.answered, counts.seconds
            served.last_used = counts.last_used
            yield used

    def _count(self, served: Served, answered: int, used: DirectUsed) -> None:
        latencies = served.tally.latencies(served.answered, answered)
        counters = self._statistics.of(served.model)
        counters.answered_directly(used.served, latencies, used.seconds, self._loop.time())

    def pause(self, *, urgent: bool) -> float:
        """Seconds until the next sample."""
        if urgent:
            return URGENT_SECONDS
        newest = max((served.last_used for served in self._served.values()), default=0.0)
        lively = self.busy or self._loop.time() - newest < QUIET_SECONDS
        return LIVELY_SECONDS if lively else QUIET_SECONDS


class Door:
    """The socket at which clients ask for direct connections.

    Args:
        loop: the event loop to listen in.
        path: of the socket.
        lead: takes a connection to a worker of the model; its number, or None for not now.
        terms: the timeout and the largest request, as ``Opened`` has them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        lead: Callable[[str, socket.socket], int | None],
        terms: Callable[[], tuple[float, int]],
    ) -> None:
        self._loop = loop
        self._path = path
        self._lead = lead
        self._terms = terms
        self._silent: dict[int, socket.socket] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def open(self) -> None:
        """Listen from now on."""
        self._path.unlink(missing_ok=True)  # the lock says that it is nobody's
        self._socket.bind(str(self._path))
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Listen no longer."""
        for descriptor in list(self._silent):
            self._dismiss(descriptor)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as problem:  # out of descriptors, perhaps: it would be told again at once
            log.warning("a direct connection could not be taken: %s", problem)
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(QUIET_SECONDS, self._listen_again)
            return
        if _uid(connection) not in (os.getuid(), 0):
            connection.close()
            return
        if len(self._silent) >= MOST_SILENT:
            self._dismiss(next(iter(self._silent)))
        self._silent[connection.fileno()] = connection
        self._loop.add_reader(connection.fileno(), self._listen, connection)

    def _listen_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _listen(self, connection: socket.socket) -> None:
        """Take what a client says first, and lead it to a worker if that can be."""
        self._dismiss(connection.fileno(), close=False)
        channel: Channel[OpenDirect] = Channel(connection, OpenDirect)
        try:
            received = channel.try_receive()
            wanted = received[0] if received is not None else None
            known = wanted is not None and wanted.v == PROTOCOL_VERSION
            number = self._lead(wanted.model, connection) if wanted and known else None
            if number is None:
                channel.try_send(NotNow())
            else:
                channel.try_send(Opened(number, *self._terms()))
                return
        except (EOFError, OSError, SireError):
            pass
        connection.close()

    def _dismiss(self, descriptor: int, *, close: bool = True) -> None:
        connection = self._silent.pop(descriptor)
        self._loop.remove_reader(descriptor)
        if close:
            connection.close()


def _uid(connection: socket.socket) -> int:
    """Whose process is at the other end."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(said)[1])
