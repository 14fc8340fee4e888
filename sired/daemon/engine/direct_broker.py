"""Leads clients to workers, and sees that the brain hears what they do there."""

import asyncio
import socket
from collections.abc import Callable

from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.instances import Instances
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.instructions import CloseDirect

# How often the brain hears of it: while something waits for such a worker, while one is in use,
# and otherwise.
AWAITED_SECONDS, LIVELY_SECONDS, QUIET_SECONDS = 0.005, 0.1, 1.0


class DirectBroker:
    """Opens and closes direct connections as the brain says.

    Args:
        feed: tells the brain of an event; before that, of what went over the connections.
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

    def lead(self, model: str, connection: socket.socket, largest: int) -> int | None:
        """Lead a client's connection to a worker of a model; its number, or None for not now.

        ``largest`` is what a request over it may have, in bytes.
        """
        spec = self._instances.spec_of(model)
        instance = self._brain.direct.instance(model)
        if spec is None or spec.cached or instance is None:
            return None
        number = self._connections.add(instance.id, model, instance.device, connection, largest)
        if number is not None:
            self._feed(events.DirectOpened(instance.id))
            self._look_again()
        return number

    def close(self, do: CloseDirect) -> None:
        """Close the connections to an instance."""
        self._connections.close(do.instance)
        self._look_again()

    def catch_up(self) -> None:
        """Have the brain hear what was done until now."""
        if self._connections:
            self._feed(events.TimerFired())

    def _look(self) -> None:
        self._timer = None
        self.catch_up()
        self._look_again()

    def _look_again(self) -> None:
        """Do so in a while, as long as there is anybody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._connections:
            return
        pause = LIVELY_SECONDS if self._connections.lively else QUIET_SECONDS
        pause = AWAITED_SECONDS if self._brain.direct.awaited else pause
        self._timer = self._loop.call_later(pause, self._look)
