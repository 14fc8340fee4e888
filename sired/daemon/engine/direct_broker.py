"""Connects clients to workers, and reports to the brain what they do there."""

import asyncio
import socket
from collections.abc import Callable

from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.instances import Instances
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.instructions import CloseDirect

# The pauses between reports: while a request waits for such a worker, while one is in use, else.
AWAITED_SECONDS, ACTIVE_SECONDS, IDLE_SECONDS = 0.005, 0.1, 1.0


class DirectBroker:
    """Opens and closes direct connections as the brain decides.

    Args:
        feed: passes an event to the brain; before that, reports what the connections carried.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        instances: Instances,
        connections: DirectConnections,
        feed: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._brain = brain
        self._instances = instances
        self._connections = connections
        self._feed = feed
        self._timer: asyncio.TimerHandle | None = None

    def connect(self, model: str, connection: socket.socket, largest: int) -> int | None:
        """Pass a client's connection to a worker of a model.

        ``largest`` is the size limit of a request over it, in bytes.

        Returns:
            The connection's number; None if the client has to send requests to the daemon for now.
        """
        spec = self._instances.spec_of(model)
        instance = self._brain.direct.instance(model)
        if spec is None or spec.cached or instance is None:
            return None
        number = self._connections.add(instance.id, model, instance.device, connection, largest)
        if number is not None:
            self._feed(events.DirectOpened(instance.id))
            self._schedule_report()
        return number

    def close(self, do: CloseDirect) -> None:
        """Close the connections to an instance."""
        self._connections.close(do.instance)
        self._schedule_report()

    def catch_up(self) -> None:
        """Report to the brain what was done over direct connections until now."""
        if self._connections:
            self._feed(events.TimerFired())

    def _report(self) -> None:
        self._timer = None
        self.catch_up()
        self._schedule_report()

    def _schedule_report(self) -> None:
        """Report again after a pause, while there are connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._connections:
            return
        pause = ACTIVE_SECONDS if self._connections.recently_used else IDLE_SECONDS
        pause = AWAITED_SECONDS if self._brain.direct.awaited else pause
        self._timer = self._loop.call_later(pause, self._report)
