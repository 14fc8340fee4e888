"""Explicit loading, unloading and shrinking, and the results of loads."""

from sire.errors import Cancelled, SireError
from sired.scheduler import events
from sired.scheduler.entities.instance import Asleep, Instance, Loading, Ready, Waking, last_used
from sired.scheduler.entities.model import Model
from sired.scheduler.handling.dispatch import ATTEMPTS, RequestHandler
from sired.scheduler.handling.errors import (
    beyond_declared,
    cannot_compute,
    exceeds_declared,
    ran_out,
)
from sired.scheduler.handling.sleep import SleepHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import Complete, Fail


class OperationHandler:
    """Handles operations that load, unload or shrink models, and the results of loads."""

    def __init__(self, state: State, requests: RequestHandler, sleep: SleepHandler) -> None:
        self._state = state
        self._sleep = sleep
        self._queues = state.queues
        self._fleet = state.fleet
        self._loader = state.loader
        self._requests = requests
        self._unloads: dict[int, tuple[set[int], int]] = {}

    def load(self, event: events.LoadRequested, now: float) -> None:
        """Load a model, on the given device if there is one."""
        model = self._state.registered_model(event.model, event.operation)
        if model is None:
            return
        device = None if event.device == "auto" else event.device
        for instance in self._fleet.of(model):
            fits = device in {None, instance.device}
            if fits and isinstance(instance.state, Ready) and instance.accepting:
                instance.state.last_used = now
                self._state.out.append(Complete(event.operation, instance.id))
                return
        if device is not None and (error := self._cannot_go(model, device)):
            self._state.out.append(Fail(event.operation, error))
            return
        model.backoff.reset()
        self._queues.add_operation(event.operation, model, event.deadline, patient=event.patient)
        self._state.timer.schedule(event.deadline)
        if device is None:
            self._loader.request(model, None, now)
        else:
            self._loader.move(model, device, now)

    def _cannot_go(self, model: Model, device: str | None) -> SireError | None:
        """Why a model can never be loaded on a device, or on any; None if it can."""
        try:
            self._loader.check_device(model, device)
        except SireError as error:
            return error
        return None

    def progressed(self, event: events.LoadProgressed, now: float) -> None:
        """Record the progress of a load: it does not hang."""
        state = self._fleet.instances[event.instance].state
        if isinstance(state, Loading) and not event.total_bytes:
            state.alive_at = now
        elif isinstance(state, Loading) and event.read_bytes > state.read_bytes:
            state.alive_at = now
            state.read_bytes, state.total_bytes = event.read_bytes, event.total_bytes

    def loaded(self, event: events.WorkerReady, now: float) -> None:
        """Complete the operations that load a model: it is loaded or awake, and serves now."""
        instance = self._fleet.instances[event.instance]
        if not isinstance(instance.state, Loading | Waking):
            return
        if exceeds_declared(instance, event.memory):
            # The memory stays charged until the process has exited.
            self._loader.record_peak(instance, event.memory, now)
            error = beyond_declared(instance, event.memory)
            self.load_failed(events.WorkerLoadFailed(instance.id, error), now)
            self._loader.place(now)  # more may have been reserved for it than it takes
            return
        self._fleet.loaded(instance, event, now)
        instance.model.backoff.loaded()
        self._sleep.loaded(instance)
        for operation in sorted(instance.model.operations):
            self._queues.drop_operation(operation)
            self._state.out.append(Complete(operation, instance.id))
        self._requests.after_work(instance, now)
        self._sleep.suspend_if_requested(instance, now)
        self._loader.place(now)  # its turn begins if another model waits for its memory

    def load_failed(self, event: events.WorkerLoadFailed, now: float) -> None:
        """Retry a load that ran out of memory; otherwise fail everything that waits for it.

        If a sleeper could not wake, what waits for it has the model loaded anew. A device on which
        nothing can be loaded rests, and the model is loaded on another one that it may go to.
        """
        instance = self._fleet.instances[event.instance]
        allocated = self._fleet.ledger.allocated(instance.id)
        wanted = allocated + event.requested if allocated and event.requested else None
        if isinstance(instance.state, Waking):
            self._fleet.stop(instance, now)
            if event.out_of_memory and instance.model.needed:
                self._loader.retry(instance, now, wanted)
            self._loader.place(now)
            return
        if not isinstance(instance.state, Loading):
            return
        state = instance.state
        self._fleet.stop(instance, now)
        if event.device_failure:
            self._device_failed(instance, event.device_failure, state.on_named_device, now)
            return
        if self._state.pools.failed(instance, now):
            return
        if event.out_of_memory and state.attempt + 1 < ATTEMPTS and instance.model.needed:
            self._loader.retry(instance, now, wanted)
        else:
            out = event.out_of_memory
            error = ran_out(instance, self._fleet, event.error) if out else event.error
            instance.model.backoff.load_failed(error, now, self._state.rules)
            self._queues.fail_all(instance.model, error)
            self._loader.cancel_unneeded(instance.model, now)

    def _device_failed(self, instance: Instance, reason: str, named: bool, now: float) -> None:
        """Let a device rest, and load the model on another one unless this one was ``named``."""
        model, error = instance.model, cannot_compute(instance, reason)
        self._fleet.ledger.accounts[instance.device].rest(error, now, self._state.rules)
        if not self._state.pools.failed(instance, now) and model.needed:
            if named or self._cannot_go(model, None):
                self._queues.fail_all(model, error)
                self._loader.cancel_unneeded(model, now)
            else:
                self._loader.request(model, None, now)
        self._loader.place(now)  # other loads may have waited for this device

    def unload(self, event: events.UnloadRequested, now: float) -> None:
        """End every instance of a model; the operation completes once their processes exited."""
        model = self._state.registered_model(event.model, event.operation)
        if model is None:
            return
        error = Cancelled(f"{model.name} was unloaded before its load finished.")
        self._queues.fail_operations(model, error)
        self._loader.cancel_unneeded(model, now)
        # Instances of an earlier registration may still be ending.
        instances = self._fleet.instances.values()
        ending = {instance.id for instance in instances if instance.model.name == model.name}
        self._unloads[event.operation] = (ending, len(ending))
        for instance in self._fleet.of(model):
            self._sleep.unloaded(instance)
            self._fleet.drain(instance, now)
        self.complete_unloads()
        self._loader.place(now)

    def shrink(self, event: events.ShrinkRequested, now: float) -> None:
        """End idle instances beyond the number to keep, the least recently used first."""
        models = list(dict.fromkeys(i.model for i in self._fleet.instances.values()))
        if event.model is not None:
            model = self._state.registered_model(event.model, event.operation)
            if model is None:
                return
            models = [model]
        ending = [instance for model in models for instance in self._surplus(model, event.keep)]
        self._unloads[event.operation] = ({instance.id for instance in ending}, len(ending))
        for instance in ending:
            self._state.pools.shrunk(instance.model)
            self._fleet.stop(instance, now)
        self.complete_unloads()
        self._loader.place(now)

    def _surplus(self, model: Model, keep: int | None) -> list[Instance]:
        if model.pinned:
            keep = max(1, keep or 0)
        there = [i for i in self._fleet.of(model) if i.accepting or isinstance(i.state, Asleep)]
        surplus = len(there) - (model.min_instances if keep is None else keep)
        idle = [instance for instance in there if instance.idle or instance.asleep]
        idle.sort(key=lambda instance: (not instance.asleep, last_used(instance)))
        return idle[: max(0, surplus)]

    def complete_unloads(self) -> None:
        """Complete the unload and shrink operations whose instances have all ended."""
        for operation, (left, ended) in list(self._unloads.items()):
            if left.isdisjoint(self._fleet.instances):
                del self._unloads[operation]
                self._state.out.append(Complete(operation, ended=ended))
