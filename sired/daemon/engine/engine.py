"""Makes and connects the parts between the brain, the workers and the clients."""

import asyncio

from sire.errors import DaemonUnavailable, SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.runs import RunPart, RunResult, WorkerError
from sired.config.settings import DaemonSettings
from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.direct_broker import DirectBroker
from sired.daemon.engine.effects import DaemonEffects
from sired.daemon.engine.instances import Instances, grant
from sired.daemon.engine.operations import Operations, ReplySink
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.recorder import FileRecorder
from sired.daemon.engine.result_cache import ResultCache
from sired.daemon.engine.slots import Slots
from sired.daemon.engine.worker_events import WorkerEvents
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.event_log import EventLog
from sired.devices.inventory import Inventory
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event, WorkerGone
from sired.scheduler.instructions import Fail
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.control_groups import ControlGroups
from sired.workers.messages import FromWorker
from sired.workers.zygote.zygote import Zygote


class Engine:
    """Makes the parts that depend on each other, and connects them.

    Attributes:
        conductor: feeds the brain.
        operations: everything that waits for an answer.
        predictions: takes predictions through the daemon.
        slots: what clients send to programs themselves.
        results: the cached answers.
        instances: the processes of the brain's instances.
        supervisor: the workers' processes.
        direct: connections between clients and workers; ``direct_broker`` opens them.
        counters: the counters of all models.
        event_log: the most recent events, for people.
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
        standby = {grant(device, paths): device.standby for device in inventory.devices}
        self.supervisor = WorkerSupervisor(
            loop, zygote, self._received, self._worker_gone, standby, paths.standby_log
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
        self.slots = Slots(
            loop, brain, self.operations, self.instances, self.counters, front, self.feed
        )
        self.direct = DirectConnections(loop, self.counters, self.supervisor.pass_descriptor)
        self.direct_broker = DirectBroker(loop, brain, self.instances, self.direct, self.feed)
        self._effects = DaemonEffects(
            brain,
            self.operations,
            self.predictions,
            self.slots,
            self.supervisor,
            self.instances,
            self.direct_broker,
            self.counters,
        )
        self.conductor = Conductor(
            loop,
            brain,
            self._effects,
            self.direct,
            inventory,
            self.instances.memory_by_driver,
            recorder,
        )
        self._worker_events = WorkerEvents(brain, self.instances)
        self._brain = brain
        self._recorder = recorder

    def feed(self, event: Event) -> None:
        """Pass an event to the brain."""
        self.conductor.feed(event)

    # Workers

    def _received(self, instance: int, message: FromWorker, payload: tuple[Buffer, ...]) -> None:
        if isinstance(message, RunPart):
            self.predictions.pass_part(message, payload)
            return
        if isinstance(message, WorkerError) and message.request is not None:
            self.predictions.ended(message.request)
        if isinstance(message, RunResult):
            self.feed(self.predictions.answered(instance, message, payload))
        elif (event := self._worker_events.event(instance, message)) is not None:
            self.feed(event)
        self.predictions.report_started(instance)

    def _worker_gone(self, instance: int, error: SireError) -> None:
        known = self._brain.fleet.instances[instance]
        expected = known.state_name == "stopping" or self._effects.ending
        self.predictions.worker_gone(instance)
        worked_directly = self.direct.gone(instance, error, expected=expected)
        self.instances.gone(instance, known.device, error, expected=expected)
        self.feed(WorkerGone(instance, error, worked_directly))

    # The end

    @property
    def unanswered(self) -> int:
        """The number of operations without an answer, direct requests included."""
        self.direct_broker.catch_up()
        return len(self.operations) + self.direct.busy

    def end_workers(self) -> None:
        """End every worker at once and fail every operation."""
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
