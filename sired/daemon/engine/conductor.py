"""Feeds events to the brain and has its instructions carried out."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from sire.units import FOREVER
from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.explanations import Explanations
from sired.daemon.engine.recorder import FileRecorder
from sired.daemon.host.log_setup import BY_SCHEDULER
from sired.devices.inventory import Inventory
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.effects import Effects, methods
from sired.scheduler.events import Event
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router
from sired.scheduler.recording import Policies
from sired.scheduler.rules import Rules

log = logging.getLogger(__name__)

# Before these events the free memory of the devices is sampled.
MEMORY_CHANGES = (
    events.WorkerGone,
    events.WorkerReady,
    events.WorkerSlept,
    events.SleepFailed,
    events.WorkerLoadFailed,
    events.LoadRequested,
    events.SleepRequested,
)


class Conductor:
    """Keeps the brain and the processes in step: the only caller of ``Brain.handle``.

    Args:
        loop: the event loop, whose clock the brain uses.
        brain: makes the decisions.
        effects: carries out instructions.
        direct: reports what direct connections did, before the brain handles an event.
        inventory: reports the free memory of the devices.
        held: reports the bytes that the process of an instance holds of a GPU.
        recorder: records every event, if recording is switched on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        effects: Effects,
        direct: DirectConnections,
        inventory: Inventory,
        held: Callable[[int, str], int],
        recorder: FileRecorder | None,
    ) -> None:
        self._loop = loop
        self._brain = brain
        self._carry_out = methods(effects)
        self._direct = direct
        self._inventory = inventory
        self._held = held
        self._recorder = recorder
        self._explanations = Explanations(brain)
        self._events: deque[Event] = deque()
        self._handling = False
        self._sample = events.MemorySampled({})
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, event: Event) -> None:
        """Have the brain handle an event, and carry out its instructions.

        An event that an instruction causes at once is handled after that instruction's event.
        """
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                event = self._events.popleft()
                if self._direct and not isinstance(event, events.RequestFinished):
                    for used in list(self._direct.read()):
                        self._handle(used)
                if isinstance(event, MEMORY_CHANGES):
                    self._handle(self._sampled())
                self._handle(event)
        finally:
            self._handling = False
        self._set_timer()

    def _handle(self, event: Event) -> None:
        now = self._loop.time()
        instructions = self._brain.handle(event, now)
        if self._recorder is not None:
            self._recorder.record(event, now, instructions)
        if log.isEnabledFor(logging.DEBUG):
            for model, text in self._explanations.of(event, instructions, now):
                log.debug("%s", text, extra={**BY_SCHEDULER, "model": model})
        for instruction in instructions:
            self._carry_out[type(instruction)](instruction)

    def sample(self) -> None:
        """Report the free memory of the devices to the brain."""
        self.feed(self._sampled())

    def _sampled(self) -> events.MemorySampled:
        # If memory cannot be read (no descriptors left, for instance), the last sample is used: the
        # event it is taken for has happened anyway.
        with contextlib.suppress(OSError):
            free, main = self._inventory.free(), self._inventory.main_memory_free()
            # What a load has taken is not free any more, and must not be reserved a second time.
            loading = tuple(
                (one.id, self._held(one.id, one.device))
                for one in self._brain.fleet.loading_on_gpus
            )
            lost, silent = self._inventory.lost, frozenset(self._inventory.silent)
            self._sample = events.MemorySampled(free, main, lost, loading, silent)
        return self._sample

    def adopt(self, rules: Rules, strategy: Strategy, router: Router, names: Policies) -> None:
        """Have the brain decide by these rules and policies from now on."""
        self._brain.adopt(rules, strategy, router)
        if self._recorder is not None:
            self._recorder.adopt(rules, names)
        self.feed(events.TimerFired())  # handle at once what is due under the new rules

    def _set_timer(self) -> None:
        wakeup = self._brain.wakeup
        if self._timer is not None:
            if self._timer.when() <= wakeup and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if wakeup == FOREVER else self._loop.call_at(wakeup, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.feed(events.TimerFired())
