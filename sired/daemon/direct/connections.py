"""Direct connections: a client talks to a worker, and the daemon observes.

The daemon accepts the connection (``listener.py``), asks the brain for an instance, and passes it
to that worker. It keeps a descriptor of the worker's end: to notice when the client has left, to
close it when the brain says so, and so that the client reads the end of the connection only after
the daemon knows the reason. The worker counts what the connection carries in memory that the daemon
reads (``workers/shared_counters.py``).
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable, Iterator

import msgspec

from sire.errors import SireError
from sired.daemon.engine.numbers import first_number
from sired.daemon.telemetry.counters import AllCounters
from sired.scheduler.events import DirectUsed
from sired.workers.messages import TakeConnection, TakeCounters
from sired.workers.shared_counters import SharedCounters

# Connections used within this time are read often.
ACTIVE_SECONDS = 1.0
# How many errors are kept for clients that ask why their connection ended.
ERRORS_KEPT = 1024

PassDescriptor = Callable[[int, TakeCounters | TakeConnection, int], bool]


class DirectConnectionState(msgspec.Struct, eq=False):
    """A client's connection to a worker."""

    number: int
    instance: int
    socket: socket.socket


class DirectInstance(msgspec.Struct, eq=False):
    """An instance with direct connections, and its counts as last read.

    Attributes:
        left: whether a connection has ended since the counts were read.
        answered: requests answered, failed ones included; ``seconds`` spent on them.
        taken: bytes of the requests, and ``given`` of the answers.
        last_used: when it last worked, on the monotonic clock.
        busy: whether it was working on a request.
    """

    model: str
    device: str
    shared: SharedCounters
    connections: dict[int, DirectConnectionState] = {}
    left: bool = False
    answered: int = 0
    seconds: float = 0.0
    taken: int = 0
    given: int = 0
    last_used: float = 0.0
    busy: bool = False

    @property
    def active(self) -> bool:
        """Whether there may be new counts."""
        return bool(self.connections) or self.busy or self.left


class DirectConnections:
    """All direct connections.

    Args:
        loop: the event loop.
        counters: where answers are counted.
        pass_descriptor: passes a descriptor to the worker of an instance, if it can take one now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        counters: AllCounters,
        pass_descriptor: PassDescriptor,
    ) -> None:
        self._loop = loop
        self._counters = counters
        self._pass_descriptor = pass_descriptor
        self._served: dict[int, DirectInstance] = {}
        self._errors: dict[int, SireError] = {}
        self._by_descriptor: dict[int, DirectConnectionState] = {}
        # The event loop would report each request; this reports only clients that disconnect.
        self._hangups = select.epoll()
        self._next = first_number()
        loop.add_reader(self._hangups.fileno(), self._left)

    def __bool__(self) -> bool:
        return any(served.active for served in self._served.values())

    def add(
        self, instance: int, model: str, device: str, connection: socket.socket, largest: int
    ) -> int | None:
        """Pass a connection to the worker of an instance.

        ``largest`` is the size limit of a request over it, in bytes.

        Returns:
            The connection's number; None if the worker cannot take one now.
        """
        number = self._next
        try:
            served = self._count_for(instance, model, device)
            message = TakeConnection(number, largest)
            if served is None or not self._pass_descriptor(instance, message, connection.fileno()):
                return None
        except OSError:
            return None
        self._next += 1
        opened = DirectConnectionState(number, instance, connection)
        served.connections[number] = opened
        self._by_descriptor[connection.fileno()] = opened
        self._hangups.register(connection.fileno(), select.EPOLLRDHUP | select.EPOLLHUP)
        return number

    def _count_for(self, instance: int, model: str, device: str) -> DirectInstance | None:
        """The counts of an instance; None if its worker cannot take a descriptor now.

        Raises:
            OSError: the worker is gone.
        """
        if instance not in self._served:
            shared = SharedCounters.create()
            if not self._pass_descriptor(instance, TakeCounters(), shared.descriptor):
                shared.close()
                return None
            self._served[instance] = DirectInstance(model, device, shared)
        return self._served[instance]

    def _left(self) -> None:
        for descriptor, _ in self._hangups.poll(0):
            if connection := self._by_descriptor.get(descriptor):
                self._forget(connection)

    def _forget(self, connection: DirectConnectionState) -> None:
        descriptor = connection.socket.fileno()
        del self._by_descriptor[descriptor]
        self._hangups.unregister(descriptor)
        if served := self._served.get(connection.instance):
            served.connections.pop(connection.number, None)
            served.left = True
        connection.socket.close()

    def close(self, instance: int) -> None:
        """End an instance's connections once the requests sent over them so far are answered.

        The worker closes its end after the last answer. Only then is a connection forgotten.
        """
        served = self._served.get(instance)
        for connection in served.connections.values() if served is not None else ():
            # Our own shutdown must not be taken for a client that disconnects.
            self._hangups.modify(connection.socket.fileno(), select.EPOLLHUP)
            with contextlib.suppress(OSError):  # it has ended already
                connection.socket.shutdown(socket.SHUT_RD)

    def close_all(self) -> None:
        """End every connection."""
        for instance in list(self._served):
            self.close(instance)

    def gone(self, instance: int, error: SireError, *, expected: bool) -> bool:
        """End the connections of an instance whose process has ended.

        Args:
            instance: its number.
            error: how it ended.
            expected: whether its end was requested.

        Returns:
            Whether it was working on a direct request.
        """
        served = self._served.pop(instance, None)
        if served is None:
            return False
        counts = served.shared.read()
        running = served.shared.running(counts.running) if not expected else ()
        # If several ran together, one of them is the cause, and the brain finds out which.
        if len(running) == 1:
            self._keep_error(running[0], error)
            self._counters.of(served.model).failed(error.code, str(error))
        for connection in served.connections.values():
            self._forget(connection)
        served.shared.close()
        return counts.busy

    def _keep_error(self, connection: int, error: SireError) -> None:
        self._errors[connection] = error
        if len(self._errors) > ERRORS_KEPT:
            del self._errors[next(iter(self._errors))]

    def why_ended(self, connection: int) -> SireError | None:
        """The error that ended a connection; None if the client is to send the request here."""
        return self._errors.pop(connection, None)

    @property
    def busy(self) -> int:
        """How many instances were working when they were last read."""
        return sum(served.busy for served in self._served.values())

    @property
    def recently_used(self) -> bool:
        """Whether any instance works on a request or has done so within ``ACTIVE_SECONDS``."""
        newest = max((served.last_used for served in self._served.values()), default=0.0)
        return bool(self.busy) or self._loop.time() - newest < ACTIVE_SECONDS

    def read(self) -> Iterator[DirectUsed]:
        """Read the counts: yields what each instance did since the last call, if anything."""
        for instance, served in self._served.items():
            if served.active and (used := self._read(instance, served)):
                yield used

    def _read(self, instance: int, served: DirectInstance) -> DirectUsed | None:
        counts = served.shared.read()
        was_busy, served.busy, served.left = served.busy, counts.busy, False
        answered = counts.answered - served.answered
        if not answered and not counts.busy and not was_busy:
            return None
        running = served.shared.running(counts.running)
        used = DirectUsed(
            instance=instance,
            served=answered,
            seconds=counts.seconds - served.seconds,
            last_used=counts.last_used,
            busy=counts.busy,
            abandoned=counts.busy and not any(number in served.connections for number in running),
            peak=counts.peak,
        )
        if answered:
            latencies = served.shared.latencies(served.answered, counts.answered)
            counters = self._counters.of(served.model)
            counters.answered_directly(
                answered, latencies, used.seconds, served.device, self._loop.time()
            )
            counters.bytes_in += counts.taken - served.taken
            counters.bytes_out += counts.given - served.given
        served.answered, served.seconds = counts.answered, counts.seconds
        served.taken, served.given = counts.taken, counts.given
        served.last_used = counts.last_used
        return used
