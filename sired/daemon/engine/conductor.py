"""Between the brain and the world: feeds events to the brain and carries out its instructions."""

import asyncio
import contextlib
from collections import deque

from sire.errors import DaemonUnavailable, SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.runs import RunPart, RunResult
from sire.units import FOREVER
from sired.config.settings import DaemonSettings
from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.direct_broker import DirectBroker
from sired.daemon.engine.effects import DaemonEffects
from sired.daemon.engine.instances import Instances, grant
from sired.daemon.engine.operations import Operations, ReplySink
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.recorder import FileRecorder
from sired.daemon.engine.result_cache import ResultCache
from sired.daemon.engine.worker_events import WorkerEvents
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.event_log import EventLog
from sired.devices.inventory import Inventory
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.effects import methods
from sired.scheduler.events import Event
from sired.scheduler.instructions import Fail
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router
from sired.scheduler.recording import Policies
from sired.scheduler.rules import Rules
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.control_groups import ControlGroups
from sired.workers.messages import FromWorker
from sired.workers.zygote.zygote import Zygote

# Before these the drivers are asked how full the devices are.
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
    """Keeps the brain and the world in step.

    It makes the parts that need each other, hands each what it needs, and is the only one that
    calls ``Brain.handle``.

    Attributes:
        operations: everything without an answer.
        predictions: the way of predictions through the daemon.
        results: the cached answers.
        instances: the processes behind the brain's instances.
        supervisor: the workers' processes.
        direct: connections between clients and workers; ``direct_broker`` opens them.
        counters: what is counted, by model.
        event_log: what happened lately, for people.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        front: ReplySink,
        inventory: Inventory,
        registry: Registry,
        footprints: Footprints,
        zygote: Zygote,
        groups: ControlGroups,
        paths: Paths,
        settings: DaemonSettings,
        cache_bytes: int,
        recorder: FileRecorder | None,
    ) -> None:
        self.counters, self.event_log = AllCounters(), EventLog()
        stand_by = {grant(device, paths): device.standby for device in inventory.devices}
        self.supervisor = WorkerSupervisor(
            loop, zygote, self._received, self._worker_gone, stand_by, paths.standby_log
        )
        self.instances = Instances(
            self.supervisor,
            inventory,
            registry,
            footprints,
            self.counters,
            self.event_log,
            groups,
            paths,
            settings.max_decoded_bytes,
        )
        self.operations = Operations(loop, brain, front, self.feed)
        self.results = ResultCache(cache_bytes)
        self.predictions = Predictions(
            loop,
            brain,
            self.operations,
            self.supervisor,
            self.instances,
            self.counters,
            self.results,
            self.feed,
        )
        self.direct = DirectConnections(loop, self.counters, self.supervisor.pass_on)
        self.direct_broker = DirectBroker(loop, brain, self.instances, self.direct, self.feed)
        self._effects = DaemonEffects(
            brain,
            self.operations,
            self.predictions,
            self.supervisor,
            self.instances,
            self.direct_broker,
            self.counters,
        )
        self._carry_out = methods(self._effects)
        self._worker_events = WorkerEvents(brain, self.instances)
        self._loop = loop
        self._brain = brain
        self._inventory = inventory
        self._recorder = recorder
        self._events: deque[Event] = deque()
        self._handling = False
        self._sample = events.MemorySampled({})
        self._timer: asyncio.TimerHandle | None = None

    # Events

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
                if self.direct and not isinstance(event, events.RequestFinished):
                    for used in list(self.direct.news()):
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
            self._recorder.note(event, now, instructions)
        for instruction in instructions:
            self._carry_out[type(instruction)](instruction)

    def sample(self) -> None:
        """Report to the brain how full the devices are."""
        self.feed(self._sampled())

    def _sampled(self) -> events.MemorySampled:
        # If even this cannot be read (no descriptors left, for instance), the last sample stands:
        # the event it is taken for has happened all the same.
        with contextlib.suppress(OSError):
            free, main = self._inventory.free(), self._inventory.main_memory_free()
            self._sample = events.MemorySampled(free, main, self._inventory.lost)
        return self._sample

    def adopt(self, rules: Rules, strategy: Strategy, router: Router, names: Policies) -> None:
        """Have the brain decide by these rules and policies from now on."""
        self._brain.adopt(rules, strategy, router)
        if self._recorder is not None:
            self._recorder.adopt(rules, names)
        self.feed(events.TimerFired())  # what the new rules make due is handled now

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

    # Workers

    def _received(self, instance: int, message: FromWorker, payload: tuple[Buffer, ...]) -> None:
        if isinstance(message, RunPart):
            self.predictions.pass_part(message, payload)
            return
        if isinstance(message, RunResult):
            self.feed(self.predictions.answered(instance, message, payload))
        elif (event := self._worker_events.event(instance, message)) is not None:
            self.feed(event)
        self.predictions.report_begun(instance)

    def _worker_gone(self, instance: int, error: SireError) -> None:
        known = self._brain.fleet.instances[instance]
        expected = known.state_name == "stopping" or self._effects.ending
        self.predictions.worker_gone(instance)
        worked_directly = self.direct.gone(instance, error, expected=expected)
        self.instances.gone(instance, known.device, error, expected=expected)
        self.feed(events.WorkerGone(instance, error, worked_directly))

    # The end

    @property
    def unanswered(self) -> int:
        """How many operations have no answer, direct requests included."""
        self.direct_broker.catch_up()
        return len(self.operations) + self.direct.busy

    def end_workers(self) -> None:
        """End every worker, whatever it is doing, and fail every operation."""
        self._effects.ending = True
        self.supervisor.standby.close()
        for number in self.operations:
            error = DaemonUnavailable("The daemon was stopped before this was done.")
            self._effects.fail(Fail(number, error))
        for instance in self._brain.fleet.instances:
            self.supervisor.stop(instance, kill=True)

    def close(self) -> None:
        """Release what is left once the workers are gone."""
        self.supervisor.close()
        if self._recorder is not None:
            self._recorder.close()
