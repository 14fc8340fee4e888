"""Slots: requests that clients send to the program that serves a model, without a worker.

The brain schedules a slot as it does a prediction: it waits in the model's queue, has the model
loaded, and counts as a request in progress. It ends when its client says so.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sire.errors import InferenceError, InvalidInput, SireError
from sire.protocol.replies import SlotTaken
from sire.protocol.requests import FreeSlot, TakeSlot
from sire.spec import keep_alive_seconds
from sired.daemon.engine.instances import Instances
from sired.daemon.engine.operations import Operations, PendingOperation, ReplySink
from sired.daemon.telemetry.counters import AllCounters
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event, RequestArrived, RequestCancelled, RequestFinished
from sired.scheduler.instructions import Dispatch
from sired.server.front import Client


@dataclass(slots=True)
class Slot:
    """A slot that a client waits for or has taken.

    Attributes:
        arrived: when it was requested, and ``taken`` when it was taken, on the event loop's clock.
        instance: whose program it is of; None while it waits.
    """

    client: Client
    model: str
    arrived: float
    taken: float = 0.0
    instance: int | None = None


class Slots:
    """All slots, by the number of their operation.

    Args:
        loop: the event loop.
        brain: decides who gets one.
        operations: the table that slots are operations in.
        instances: know where programs serve.
        counters: count what slots were used for.
        front: sends replies to clients.
        feed: passes an event to the brain.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        operations: Operations,
        instances: Instances,
        counters: AllCounters,
        front: ReplySink,
        feed: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._brain = brain
        self._operations = operations
        self._instances = instances
        self._counters = counters
        self._front = front
        self._feed = feed
        self._slots: dict[int, Slot] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._slots

    def request(self, client: Client, request: TakeSlot, timeout: float) -> None:
        """Have a client wait for a slot, for at most ``timeout`` seconds."""
        now = self._loop.time()
        slot = Slot(client, request.model, now)
        number = self._operations.add(
            PendingOperation(client, request.model, now, lambda _: None, partial(self._fail, slot))
        )
        self._slots[number] = slot
        self._feed(
            RequestArrived(
                number,
                request.model,
                now + timeout,
                request.priority,
                keep_alive=keep_alive_seconds(request.keep_alive),
                slot=True,
            )
        )

    def dispatch(self, do: Dispatch) -> None:
        """Tell a client that it has a slot."""
        (number,) = do.requests
        slot, url = self._slots[number], self._instances.url_of(do.instance)
        slot.instance, slot.taken = do.instance, self._loop.time()
        if url:
            self._front.reply(
                slot.client, SlotTaken(id=slot.client.request_id, slot=number, url=url)
            )
        else:  # the model was registered anew meanwhile
            error = InvalidInput(f"{slot.model} is not served by a program.")
            self._front.fail(slot.client, error)
            self._feed(RequestCancelled(number))

    def free(self, client: Client, request: FreeSlot) -> None:
        """End a slot that a client has taken; does nothing if it is over, or another client's."""
        number = request.slot
        slot = self._slots.get(number)
        if slot is None or slot.instance is None or slot.client.connection != client.connection:
            return
        self._operations.pop(number)
        del self._slots[number]
        now, counters = self._loop.time(), self._counters.of(slot.model)
        seconds = now - slot.taken
        if request.error:
            counters.failed(InferenceError.code, request.error)
        else:
            device = self._brain.fleet.instances[slot.instance].device
            wait = slot.taken - slot.arrived
            counters.answered(now - slot.arrived, seconds, wait, device, now)
        counters.bytes_in += request.bytes_in
        counters.bytes_out += request.bytes_out
        self._feed(RequestFinished(slot.instance, number, seconds=seconds))

    def failed(self, number: int) -> None:
        """End a slot that the brain has failed: its client has left, or its instance is gone."""
        slot = self._slots.pop(number, None)
        if slot is None or slot.instance is None:
            return
        instance = self._brain.fleet.instances.get(slot.instance)
        if instance is not None and any(one.id == number for one in instance.in_flight):
            self._feed(RequestFinished(slot.instance, number))

    def _fail(self, slot: Slot, error: SireError) -> None:
        """Tell a client that it gets no slot; one that has it notices by the program's end."""
        if slot.instance is None:
            self._front.fail(slot.client, error)
