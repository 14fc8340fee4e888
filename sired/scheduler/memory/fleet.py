"""The instances and the memory they are charged: starting, measuring and ending them."""

from collections.abc import Sequence

from sire.units import FOREVER
from sired.scheduler.entities.instance import (
    Asleep,
    Instance,
    Loading,
    Ready,
    Stopping,
    Suspending,
    Waking,
    last_used,
)
from sired.scheduler.entities.ledger import Account, Ledger
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.events import WorkerReady
from sired.scheduler.instructions import Evicted, Instruction, StartWorker, StopWorker, WakeWorker
from sired.scheduler.memory import lifetimes
from sired.scheduler.memory.measurements import Measurements
from sired.scheduler.memory.tiers import Tiers
from sired.scheduler.policies.routing import Choice, Router
from sired.scheduler.rules import Rules
from sired.scheduler.timer import Timer


class Fleet:
    """Every instance, from the start of its process to its end.

    Attributes:
        ledger: the memory that instances are charged, by device.
        instances: every process that holds memory, by id.
        by_model: the same instances by model, oldest first; a model without any is absent.
        tiers: decides which instances can sleep, and suspends them.
        sleepers_stopped: number of sleeping instances that were stopped so far.
    """

    def __init__(
        self,
        devices: Sequence[Account],
        rules: Rules,
        router: Router,
        out: list[Instruction],
        timer: Timer,
        dram: int = 0,
    ) -> None:
        self.ledger = Ledger(list(devices), dram)
        self.instances: dict[int, Instance] = {}
        self.by_model: dict[Model, list[Instance]] = {}
        self.tiers = Tiers(self.ledger, self.instances, out, self.stop, self._schedule_hung_check)
        self.sleepers_stopped = 0
        self._measurements = Measurements(
            self.ledger, self.instances, rules, out, self.evict, self.tiers.being_freed
        )
        self._rules = rules
        self._router = router
        self._out = out
        self._timer = timer
        self._next_instance = 1

    def adopt(self, rules: Rules, router: Router) -> None:
        """Use these rules and this routing strategy from now on."""
        self._rules = rules
        self._router = router
        self._measurements.adopt(rules)

    def of(self, model: Model) -> list[Instance]:
        """The instances of one model, oldest first."""
        return self.by_model.get(model, [])

    def free_instance(self, model: Model) -> Instance | None:
        """The instance to send the next request to; None when none can take one more."""
        able = [
            instance
            for instance in self.of(model)
            if isinstance(instance.state, Ready)
            and not instance.state.draining
            and instance.lease is None
            and instance.takes_more(self._rules.pipeline)
        ]
        if len(able) < 2:
            return able[0] if able else None
        choices = [Choice(i.id, i.device, len(i.in_flight), i.last_dispatched) for i in able]
        return self.instances[self._router(choices).instance]

    @property
    def loading_on_gpus(self) -> list[Instance]:
        """The instances that load onto a GPU."""
        accounts = self.ledger.accounts
        return [
            instance
            for instance in self.instances.values()
            if isinstance(instance.state, Loading) and accounts[instance.device].kind == "cuda"
        ]

    def note_allocated(self, instance: int, memory: int) -> None:
        """Record what an instance that still loads holds already; others are measured."""
        found = self.instances.get(instance)
        if found is not None and isinstance(found.state, Loading):
            self.ledger.note_allocated(instance, memory)

    def expiry(self, instance: Instance) -> float:
        """When an idle instance will have been unused for too long."""
        model = instance.model
        if not instance.idle or not isinstance(instance.state, Ready):
            return FOREVER
        keep = lifetimes.kept_for(instance, self._rules)
        if sum(other.accepting for other in self.of(model)) > model.min_instances:
            keep = min(keep, self._rules.shrink_after)
        return instance.state.last_used + keep

    def hung_at(self, instance: Instance) -> float:
        """When an instance is killed because it makes no progress (see ``lifetimes``)."""
        return lifetimes.hung_at(instance, self._rules)

    def keep_alive(self, model: Model) -> float:
        """Seconds that an instance of a model may idle: the model's setting, else the rules'."""
        return lifetimes.keep_alive(model, self._rules)

    def _schedule_hung_check(self, instance: Instance) -> None:
        self._timer.schedule(self.hung_at(instance))

    def max_instances(self, model: Model) -> int:
        """The maximum number of instances of a model."""
        most = model.max_instances
        return self._rules.most_instances if most is None else most

    # Starting and ending

    def start(self, load: PendingLoad, device: str, memory: int, now: float) -> None:
        """Reserve memory on a device and start a process there that loads the model."""
        named = load.model.device != "auto" or (load.device is not None and not load.attempt)
        state = Loading(now, load.attempt, on_named_device=named)
        instance = Instance(self._next_instance, load.model, device, state)
        self._next_instance += 1
        self.instances[instance.id] = instance
        self.by_model.setdefault(load.model, []).append(instance)
        self.ledger.reserve(instance.id, device, memory)
        self._out.append(StartWorker(instance.id, load.model, device, memory))

    def wake(self, instance: Instance, memory: int, now: float) -> None:
        """Reserve memory on the device of a sleeping instance and bring its weights back."""
        instance.state = Waking(now, last_used(instance))
        self.ledger.begin_wake(instance.id, memory)
        self._out.append(WakeWorker(instance.id))

    def evict(self, instance: Instance, wanted_by: Model, now: float) -> None:
        """End an instance, as soon as it is idle, to free its memory for another model."""
        if instance.accepting or isinstance(instance.state, Asleep):
            self._out.append(Evicted(instance.id, instance.model.name, wanted_by.name))
            self.drain(instance, now)

    def suspend(self, instance: Instance, wanted_by: Model, now: float) -> None:
        """Suspend an instance, as soon as it is idle, to free its device for another model."""
        if instance.accepting:
            self._out.append(Evicted(instance.id, instance.model.name, wanted_by.name))
            self.tiers.suspend(instance, now)

    def drain(self, instance: Instance, now: float) -> None:
        """Dispatch nothing more to an instance and end it as soon as it is idle."""
        match instance.state:
            case Loading() | Suspending() | Waking():
                self.stop(instance, now, kill=True)
            case Ready() if instance.at_work:
                instance.state.draining, instance.state.to_sleep = True, False
            case Ready() | Asleep():
                self.stop(instance, now)

    def retire(self, instance: Instance, now: float) -> None:
        """End or suspend an idle instance that was drained or has been unused for too long."""
        assert isinstance(instance.state, Ready)
        if instance.state.to_sleep or (not instance.state.draining and self._may_suspend(instance)):
            self.tiers.suspend(instance, now)
        else:
            self.stop(instance, now)

    def _may_suspend(self, instance: Instance) -> bool:
        """Whether an instance that idled too long sleeps instead of ending."""
        surplus = sum(i.accepting for i in self.of(instance.model)) > instance.model.min_instances
        kept = lifetimes.requested_keep_alive(instance, self._rules) > 0
        return kept and not surplus and self.tiers.has_room(instance)

    def stop(self, instance: Instance, now: float, *, kill: bool = False) -> None:
        """End an instance; its memory stays charged until its process has exited."""
        if isinstance(instance.state, Stopping):
            return
        self.sleepers_stopped += instance.asleep
        instance.state = Stopping(now)
        if instance.served:
            self._measurements.learn(instance, instance.peak)
        self._out.append(StopWorker(instance.id, kill))

    def remove(self, instance_id: int) -> Instance:
        """Release what an instance was charged: its process has exited."""
        instance = self.instances.pop(instance_id)
        siblings = self.by_model[instance.model]
        siblings.remove(instance)
        if not siblings:
            del self.by_model[instance.model]
        self.ledger.release(instance_id)
        return instance

    # Measuring

    def loaded(self, instance: Instance, event: WorkerReady, now: float) -> None:
        """Record that an instance has loaded its model, or woken, and its measured memory."""
        assert isinstance(instance.state, Loading | Waking)
        # A process that waits for the fork server to have imported everything does not load yet.
        seconds = event.load_seconds or now - instance.state.since
        history = instance.model.history
        if isinstance(instance.state, Loading):
            history.loaded(seconds)
        else:
            history.wake_seconds = seconds
            self.ledger.finish_wake(instance.id, event.dram_memory)
        instance.state = Ready(now, now, load_seconds=seconds)
        self.ledger.accounts[instance.device].backoff.loaded()
        instance.sleep_memory = event.sleep_memory
        self._measurements.record(instance, event.memory, now)

    def slept(self, instance: Instance, device_memory: int, dram_memory: int, now: float) -> None:
        """Record that an instance has fallen asleep and what it was measured to hold."""
        if isinstance(instance.state, Suspending):
            self.tiers.slept(instance, device_memory, dram_memory, now)
            self._measurements.evict_excess(instance, now)

    def measured(self, instance: Instance, peak: int, now: float) -> None:
        """Charge an instance the most memory that it has held; ``peak`` exceeds what was known."""
        self._measurements.record(instance, peak, now)

    def answered(self, instance: Instance) -> bool:
        """Learn what an answer shows about the memory of an instance; True if that is new."""
        return self._measurements.answered(instance)
