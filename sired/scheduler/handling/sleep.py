"""Operations that put a model to sleep, and their results.

1. Every instance of the model falls asleep once it is idle and main memory has room. Any sleeper
   that is not pinned ends to make that room, since this operation was requested explicitly.
2. An instance that is loading or waking finishes that first. A model without instances is loaded
   first, like any other model.
3. The operation completes once each instance sleeps or is gone; it fails if none sleeps.
"""

from sire.errors import Cancelled, InsufficientMemory, InvalidInput, SireError
from sire.units import format_bytes
from sired.scheduler import events
from sired.scheduler.entities.instance import Asleep, Instance, Loading, Ready, Waking
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import Complete, Fail


class SleepHandler:
    """Handles operations that put models to sleep."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._fleet = state.fleet
        self._loader = state.loader
        self._to_load: set[int] = set()
        # The instances that each operation suspends, by their ids.
        self._pending: dict[int, set[int]] = {}

    @property
    def operations(self) -> set[int]:
        """The operations whose model is loaded and not asleep yet."""
        return set(self._pending)

    def requested(self, event: events.SleepRequested, now: float) -> None:
        """Put a model to sleep; load it first if it has no instance."""
        model = self._state.registered_model(event.model, event.operation)
        if model is None:
            return
        there = [instance for instance in self._fleet.of(model) if not instance.ending]
        error = next(filter(None, map(self._why_not, there)), None)
        if error := error or self._sleep_disabled():
            self._state.out.append(Fail(event.operation, error))
        elif there:
            self._pending[event.operation] = {instance.id for instance in there}
            for instance in there:
                self.suspend_if_requested(instance, now)
            self._complete(_unloaded(instance))
        else:
            self._to_load = {event.operation, *self._to_load & self._state.queues.operations.keys()}
            self._state.queues.add_operation(event.operation, model, event.deadline)
            self._state.timer.schedule(event.deadline)
            self._loader.request(model, None, now)

    def loaded(self, instance: Instance) -> None:
        """Move the operations that waited for this load to the instances that are to sleep."""
        for operation in self._to_load & instance.model.operations:
            self._to_load.discard(operation)
            self._state.queues.operations.pop(operation).operations.discard(operation)
            self._pending[operation] = {instance.id}

    def suspend_if_requested(self, instance: Instance, now: float) -> None:
        """Suspend an instance if an operation requires that and the instance is ready."""
        operations = self._operations_on(instance)
        if not operations or not isinstance(instance.state, Ready) or instance.ending:
            return
        instance.state.last_used = now  # so that every sleeper counts as less recently used
        if error := self._why_not(instance) or self._why_not_now(instance):
            self._fail(operations, error)
        else:
            self._fleet.tiers.suspend(instance, now)

    def slept(self, event: events.WorkerSlept, now: float) -> Instance:
        """Record that an instance sleeps, and complete the operations that waited for it."""
        instance = self._fleet.instances[event.instance]
        self._fleet.slept(instance, event.device_memory, event.dram_memory, now)
        self._complete(_unloaded(instance))
        return instance

    def freed(self, event: events.WorkerDramFreed, now: float) -> None:
        """Record that a worker has freed main memory, and let others use it."""
        self._fleet.tiers.dram_freed(self._fleet.instances[event.instance])
        self._loader.place(now)

    def failed(self, event: events.SleepFailed, now: float) -> None:
        """End an instance that could not fall asleep."""
        instance = self._fleet.instances[event.instance]
        if not instance.ending:
            self._fail(self._operations_on(instance), event.error)
            self._fleet.stop(instance, now)
            self._loader.place(now)

    def gone(self, instance: Instance, error: SireError) -> None:
        """Handle the end of an instance: operations go on waiting for the model's others."""
        if any(instance.id in left for left in self._pending.values()):
            self._complete(_unloaded(instance) if instance.ending else error)

    def _complete(self, error: SireError) -> None:
        """Complete or fail the operations of which every instance sleeps or ends."""
        instances = self._fleet.instances
        for operation, left in list(self._pending.items()):
            there = [instances[number] for number in left if number in instances]
            asleep = [i.id for i in there if isinstance(i.state, Asleep)]
            if any(not i.ending and not isinstance(i.state, Asleep) for i in there):
                continue
            if asleep:
                del self._pending[operation]
                self._state.out.append(Complete(operation, instance=min(asleep)))
            else:
                self._fail([operation], error)

    def _fail(self, operations: list[int], error: SireError) -> None:
        for operation in operations:
            del self._pending[operation]
            self._state.out.append(Fail(operation, error))

    def unloaded(self, instance: Instance) -> None:
        """Fail the operations that put this instance to sleep: its model is being unloaded."""
        self._fail(self._operations_on(instance), _unloaded(instance))

    def _operations_on(self, instance: Instance) -> list[int]:
        return [number for number, left in self._pending.items() if instance.id in left]

    # Reasons why an instance cannot sleep

    def _sleep_disabled(self) -> InsufficientMemory | None:
        if self._fleet.ledger.dram.capacity:
            return None
        return InsufficientMemory(
            "No main memory is reserved for sleeping models: tiers.dram is 0.",
            hint='Reserve some in config.toml: [tiers] dram = "32GiB"; then: sire daemon restart',
            need_bytes=None,
            capacity_bytes=0,
        )

    def _why_not(self, instance: Instance) -> SireError | None:
        """Why an instance can never sleep; None if it can, or if that is not known yet."""
        model, dram = instance.model, self._fleet.ledger.dram
        if isinstance(instance.state, Loading | Waking):
            return None
        if (error := self._sleep_disabled()) or instance.asleep:
            return error
        if instance.lease is not None:
            return Cancelled(
                f"{model.name} is leased and must stay awake.",
                hint=f"Try again once the lease is released, or end it: sire unload {model.name}",
            )
        if not instance.sleep_memory:
            return InvalidInput(
                f"{model.name} cannot sleep: its runtime cannot move a loaded model.",
                hint=f"Free all of its memory instead: sire move {model.name} disk",
            )
        pinned = sum(
            self._fleet.ledger.dram_charge(other.id)
            for other in self._fleet.instances.values()
            if other.asleep and other.model.pinned
        )
        if instance.sleep_memory <= dram.capacity - pinned:
            return None
        held = f", {format_bytes(pinned)} of it pinned" if pinned else ""
        return InsufficientMemory(
            f"{model.name} needs {format_bytes(instance.sleep_memory)} of main memory to sleep, "
            f"but only {format_bytes(dram.capacity)} are reserved{held}.",
            hint="Raise the setting tiers.dram, then: sire daemon restart",
            need_bytes=instance.sleep_memory,
            capacity_bytes=dram.capacity,
        )

    def _why_not_now(self, instance: Instance) -> SireError | None:
        """Why there is no room for an instance now; None if there is, or will be."""
        if self._fleet.tiers.select_sleepers([instance]):
            return None
        dram = self._fleet.ledger.dram
        return InsufficientMemory(
            f"{instance.model.name} needs {format_bytes(instance.sleep_memory)} of main memory to "
            f"sleep. Of {format_bytes(dram.capacity)} reserved, models use "
            f"{format_bytes(dram.charged)} and other programs {format_bytes(dram.foreign)}.",
            hint="Try again later, or check: sire ps",
            need_bytes=instance.sleep_memory,
            capacity_bytes=dram.capacity,
        )


def _unloaded(instance: Instance) -> Cancelled:
    return Cancelled(
        f"{instance.model.name} was unloaded before it fell asleep.",
        hint="Try again, or check: sire ps",
    )
