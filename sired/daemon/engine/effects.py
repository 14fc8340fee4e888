"""Carries out the brain's instructions with processes and sockets."""

import logging

from sire.errors import Cancelled
from sired.daemon.engine.direct_broker import DirectBroker
from sired.daemon.engine.instances import Instances
from sired.daemon.engine.operations import NO_CONNECTION, Operations, asked_by_daemon
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.slots import Slots
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.scheduler.brain import Brain
from sired.scheduler.effects import Effects
from sired.scheduler.events import LoadRequested
from sired.scheduler.instructions import (
    CloseDirect,
    Complete,
    Dispatch,
    Evicted,
    Fail,
    FreeWorkerDram,
    Learn,
    LeaseGranted,
    LeaseLost,
    ReloadModel,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from sired.server.failures import log_failure
from sired.workers.messages import FreeDram, Sleep, Wake

log = logging.getLogger(__name__)


class DaemonEffects(Effects):
    """Carries out instructions; ``Effects`` states each method's contract.

    Attributes:
        ending: the daemon is stopping. No worker is started any more, although the brain requests
            new ones as pools shrink.
    """

    def __init__(
        self,
        brain: Brain,
        operations: Operations,
        predictions: Predictions,
        slots: Slots,
        supervisor: WorkerSupervisor,
        instances: Instances,
        direct_broker: DirectBroker,
        counters: AllCounters,
    ) -> None:
        self.ending = False
        self._brain = brain
        self._operations = operations
        self._predictions = predictions
        self._slots = slots
        self._supervisor = supervisor
        self._instances = instances
        self._direct_broker = direct_broker
        self._counters = counters

    def start_worker(self, do: StartWorker) -> None:
        if not self.ending:
            self._instances.start(do)

    def stop_worker(self, do: StopWorker) -> None:
        self._supervisor.stop(do.instance, kill=do.kill)

    def sleep_worker(self, do: SleepWorker) -> None:
        self._supervisor.send(do.instance, Sleep(), ())

    def wake_worker(self, do: WakeWorker) -> None:
        self._supervisor.send(do.instance, Wake(), ())

    def free_worker_dram(self, do: FreeWorkerDram) -> None:
        self._supervisor.send(do.instance, FreeDram(), ())

    def dispatch(self, do: Dispatch) -> None:
        if do.requests[0] in self._slots:
            self._slots.dispatch(do)
        else:
            self._predictions.dispatch(do)

    def fail(self, do: Fail) -> None:
        pending = self._operations.pop(do.operation)
        if pending is None:  # the daemon is stopping and has answered it
            return
        self._predictions.stop(do.operation)
        if not isinstance(do.error, Cancelled) and pending.model in self._brain.models:
            self._counters.of(pending.model).failed(do.error.code, str(do.error))
        if pending.client.connection != NO_CONNECTION:  # the log has other lines about jobs
            seconds = self._operations.now() - pending.arrived
            log_failure(f"a request for {pending.model}", do.error, seconds, pending.model)
        pending.fail(do.error)
        self._slots.failed(do.operation)

    def complete(self, do: Complete) -> None:
        self._operations.complete(do.operation, do)

    def lease_granted(self, do: LeaseGranted) -> None:
        self._operations.complete(do.lease, do)

    def lease_lost(self, do: LeaseLost) -> None:
        log.info("lease %d has lost its instance: %s", do.lease, do.error.message)

    def close_direct(self, do: CloseDirect) -> None:
        self._direct_broker.close(do)

    def reload_model(self, do: ReloadModel) -> None:
        log.warning("%s was lost with its device and is being loaded on another one", do.model)
        allowed, now = self._brain.rules.load_timeout, self._operations.now()
        self._operations.begin(
            asked_by_daemon(do.model),
            do.model,
            lambda number: LoadRequested(number, do.model, None, now + allowed, patient=True),
            lambda _: None,
            lambda _: None,
        )

    def learn(self, do: Learn) -> None:
        self._instances.learn(do)

    def evicted(self, do: Evicted) -> None:
        self._instances.evicted(do)
