"""Invariants: what holds after every event, whatever happened."""

from collections.abc import Sequence
from typing import Protocol

from sire.units import FOREVER
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.entities.instance import Asleep, Instance, Loading, Ready, Suspending, Waking
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.instructions import Instruction, StartWorker, WakeWorker
from tests.simulation.clients import LONGEST_STANDSTILL
from tests.simulation.record import Operation, Record, ensure
from tests.simulation.world import Worker

# Seconds; times are the result of sums and differences.
ROUNDING = 1e-6


class Machine(Protocol):
    """The processes of a simulation, or those behind a recording."""

    now: float
    workers: dict[int, Worker]
    progressed_at: dict[str, float]


class Invariants:
    """Compares the scheduler's state with the simulation's own record."""

    def __init__(self, brain: Brain, world: Machine, record: Record) -> None:
        self.brain, self.world, self.record = brain, world, record
        self._charges: dict[str, dict[int, int]] = {}
        self._reported: dict[str, int] = {}
        self._due_again_at: float | None = None

    def prepare(self, event: Event) -> None:
        """Record the state before an event."""
        self._charges = self._charges_now()
        if isinstance(event, events.MemorySampled):
            self._reported = event.free

    def check(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Raise Violation if an invariant does not hold after an event."""
        self._memory_is_reserved_before_it_is_allocated(event, instructions)
        self._no_start_exceeds_a_groups_limit(instructions)
        self._charges_are_those_of_living_processes()
        self._sleepers_are_charged_in_main_memory()
        self._nothing_waits_to_sleep_beside_free_memory()
        self._exactly_the_open_operations_are_known()
        self._whatever_waits_has_a_deadline()
        self._nothing_waits_after_its_deadline(event)
        self._nothing_waits_beside_a_free_instance()
        self._direct_connections_bypass_nothing()
        self._whatever_waits_has_an_instance_or_a_load()
        self._a_load_starts_as_soon_as_it_fits()

    def _charges_now(self) -> dict[str, dict[int, int]]:
        return {
            name: {number: charge.memory for number, charge in account.charges.items()}
            for name, account in self.brain.fleet.ledger.accounts.items()
        }

    def _memory_is_reserved_before_it_is_allocated(
        self, event: Event, instructions: Sequence[Instruction]
    ) -> None:
        """No reservation exceeds the capacity, or what the driver reports as free.

        Only a measurement may: the instance that an event reports on may be charged what it was
        measured to hold, however much that is. No other charge changes.
        """
        started = {do.instance for do in instructions if isinstance(do, (StartWorker, WakeWorker))}
        measured = None
        if isinstance(
            event,
            (
                events.WorkerReady,
                events.WorkerSlept,
                events.RequestFinished,
                events.DirectUsed,
            ),
        ):
            measured = event.instance
        for name, charges in self._charges_now().items():
            before, account = self._charges.get(name, {}), self.brain.fleet.ledger.accounts[name]
            for number, memory in charges.items():
                if number not in started and number != measured:
                    ensure(before[number] == memory, "a charge changed", number, name)
            if measured in charges and measured not in started:
                worker = self.world.workers[measured]
                others = sum(charges.values()) - charges[measured]
                most = max(worker.measured, account.capacity - others, before[measured])
                ensure(
                    charges[measured] >= worker.measured, "holds more than it is charged", worker
                )
                ensure(charges[measured] <= most, "charged beyond the capacity", worker, charges)
            if started & charges.keys():
                ensure(
                    sum(charges.values()) <= account.capacity, "reserved too much", name, charges
                )
                there = (w for w in self.world.workers.values() if w.device == name)
                reserved = sum(self._not_allocated_yet(worker, charges) for worker in there)
                free = self._reported.get(name, reserved)
                ensure(reserved <= free, "reserved memory that others hold", name, reserved, free)

    def _no_start_exceeds_a_groups_limit(self, instructions: Sequence[Instruction]) -> None:
        started = [do.instance for do in instructions if isinstance(do, (StartWorker, WakeWorker))]
        fleet, rules = self.brain.fleet, self.brain.rules
        for number in started:
            model = fleet.instances[number].model if number in fleet.instances else None
            if model is not None and model.group in rules.groups:
                members = [i for i in fleet.instances.values() if i.model.group == model.group]
                held = sum(fleet.ledger.charge(member.id) for member in members)
                limit = rules.groups[model.group]
                ensure(held <= limit, "a group holds too much", model.group, held, limit)

    def _not_allocated_yet(self, worker: Worker, charges: dict[int, int]) -> int:
        """Bytes that a worker is about to allocate and the driver still reports as free."""
        if not worker.loaded:
            return worker.reserved - min(worker.told, worker.reserved)
        if not isinstance(self.brain.fleet.instances[worker.instance].state, Waking):
            return 0
        there = worker.dram if worker.device == "cpu" else 0
        return charges[worker.instance] - worker.measured - there

    def _sleepers_are_charged_in_main_memory(self) -> None:
        """Exactly the workers that have weights in main memory are charged there."""
        charges, workers = self.brain.fleet.ledger.dram.charges, self.world.workers
        living = {worker.instance for worker in workers.values() if worker.in_dram}
        ensure(charges.keys() == living, "charges main memory for other instances", charges, living)
        for number, charge in charges.items():
            if isinstance(self.brain.fleet.instances[number].state, (Asleep, Ready)):
                ensure(
                    charge.memory == workers[number].dram, "holds other than it is charged", number
                )

    def _nothing_waits_to_sleep_beside_free_memory(self) -> None:
        fleet = self.brain.fleet
        there = [w for w in self.world.workers.values() if w.in_dram]
        leaving = [w for w in there if w.freeing or w.state not in ("asleep", "ready")]
        for instance in fleet.instances.values():
            if instance.waits_to_sleep:
                ensure(leaving, "waits to sleep although nothing frees memory", instance.id)
                ensure(not fleet.tiers.has_room(instance), "does not fall asleep", instance.id)

    def _charges_are_those_of_living_processes(self) -> None:
        fleet, workers = self.brain.fleet, self.world.workers
        ensure(fleet.instances.keys() == workers.keys(), "knows other instances", workers)
        for name, charges in self._charges_now().items():
            living = {worker.instance for worker in workers.values() if worker.device == name}
            ensure(charges.keys() == living, "charges for other instances", name, charges, living)

    def _exactly_the_open_operations_are_known(self) -> None:
        queues, brain = self.brain.queues, self.brain
        by_kind = self.record.by_kind()
        ensure(queues.requests.keys() == by_kind["request"], "lost or kept a request")
        to_load = queues.operations.keys() - by_kind["sleep"]
        ensure(to_load == by_kind["load"], "lost or kept a load")
        to_sleep = (queues.operations.keys() & by_kind["sleep"]) | brain._sleep.operations
        ensure(to_sleep == by_kind["sleep"], "lost or kept a sleep operation")
        ensure(queues.leases.keys() == by_kind["lease"], "lost or kept a lease request")
        unloads = brain._operations._unloads.keys()
        ensure(unloads == by_kind["unload"] | by_kind["shrink"], "lost or kept an unload")
        open_, requests = self.record.open, queues.requests
        astray = [r for n, r in requests.items() if r.instance != open_[n].worker]
        ensure(not astray, "assigned to another worker", *astray)
        waiting = sum(request.instance is None for request in requests.values())
        queued = [model.queue for model in brain.models.values()]
        queued += [lease.queue for lease in brain._leases._held.values()]
        ensure(queues.waiting == waiting == sum(map(len, queued)), "miscounts", queues.waiting)

    def _whatever_waits_has_a_deadline(self) -> None:
        """The scheduler's next wakeup comes before anything that waits is due."""
        wakeup, fleet = self.brain.wakeup - ROUNDING, self.brain.fleet
        late = [each for each in self.record.open.values() if wakeup > self._latest(each)]
        ensure(not late, "wakes after a deadline", wakeup, *late)
        for instance in fleet.instances.values():
            if isinstance(instance.state, (Loading, Suspending, Waking)):
                since = instance.state.since
                if isinstance(instance.state, Loading):
                    since = self.world.workers[instance.id].alive_at
                limit = since + self.brain.rules.load_timeout
                ensure(wakeup <= limit, "wakes after a load hangs", instance.id, wakeup)
            expiry = fleet.expiry(instance)
            ensure(wakeup <= expiry, "wakes after an expiry", instance.id, wakeup, expiry)
            ensure(wakeup <= self._hung_at(instance), "wakes after a worker hangs", instance.id)

    def _direct_connections_bypass_nothing(self) -> None:
        """A direct connection never overtakes a queued request."""
        for worker in self.world.workers.values():
            if worker.direct:
                model, instance = worker.model, self.brain.fleet.instances[worker.instance]
                registered = self.brain.models.get(model.name) is model
                ensure(registered, "connects to a removed model", worker)
                free = instance.accepting and not instance.lease
                ensure(free, "connects to a leased or ending instance", worker)
                waiting = self.record.waiting(model.name, None)
                ensure(not waiting and not model.leases, "overtakes requests", worker, waiting)
                lanes = {device for load in self.brain.loader.pending for device in load.lane}
                ensure(worker.device not in lanes, "connects where a load waits for memory", worker)

    def _latest(self, operation: Operation) -> float:
        """When an operation has to be answered.

        Patient ones wait while their load progresses, and slots that are taken are never due.
        """
        if operation.slot and operation.worker is not None:
            return FOREVER
        if not operation.patient or operation.model not in self.world.progressed_at:
            return operation.deadline
        progressed_at = self.world.progressed_at[operation.model]
        return max(operation.deadline, progressed_at + LONGEST_STANDSTILL)

    def _hung_at(self, instance: Instance) -> float:
        if not isinstance(instance.state, Ready):
            return FOREVER
        running = instance.running
        abandoned_at = self.world.workers[instance.id].abandoned_at
        if not running or any(request.id in self.record.open for request in running):
            return abandoned_at + self.brain.rules.hung_after
        overdue = max(request.deadline for request in running)
        return min(overdue, abandoned_at) + self.brain.rules.hung_after

    def _nothing_waits_after_its_deadline(self, event: Event) -> None:
        if isinstance(event, events.TimerFired):
            now = self.world.now
            late = [each for each in self.record.open.values() if self._latest(each) <= now]
            ensure(not late, "waits after its deadline", *late)
            # What becomes due while other things are handled may wait for the next time.
            due = self.brain.wakeup <= now
            again = due and self._due_again_at == now
            ensure(not again, "wakes again and again", self.brain.wakeup)
            self._due_again_at = now if due else None

    def _nothing_waits_beside_a_free_instance(self) -> None:
        for model in self.brain.models.values():
            if model.queue and any(map(self._is_free, self.brain.fleet.of(model))):
                first, until = model.queue.first, model.queue.first.arrived + model.batch_delay
                for_others = first.batch_key and model.batch_size > 1 and model.batch_delay
                ensure(for_others, "waits beside a free instance", model.name)
                ensure(
                    self.brain.wakeup <= until + ROUNDING,
                    "waits beside a free instance",
                    model.name,
                )

    def _is_free(self, instance: Instance) -> bool:
        ready = isinstance(instance.state, Ready) and instance.accepting and not instance.lease
        most = self.brain.rules.pipeline if instance.model.pipelined else 1
        return ready and instance.batches < most

    def _whatever_waits_has_an_instance_or_a_load(self) -> None:
        """What waits for a model has an instance or a pending load.

        The instance may be ending: once it is gone, the model is requested anew.
        """
        fleet, pending = self.brain.fleet, self.brain.loader.pending
        there = {i.model.name for i in fleet.instances.values() if not isinstance(i.state, Asleep)}
        for model in self.brain.models.values():
            served = model.name in there or pending.get(model) or self._backs_off(model)
            ensure(served or not model.needed, "waits for nothing", model.name)
        for load in pending:
            ensure(load.model.needed, "a load that nothing waits for", load.model.name)
            ensure(
                self.brain.models.get(load.model.name) is load.model, "a load of a removed model"
            )

    def _backs_off(self, model: Model) -> bool:
        """Whether it is not loaded after a failure, with a wakeup scheduled for the end of that."""
        until, backoff = model.backoff.until, model.backoff.crashes or model.backoff.failed_loads
        return backoff > 0 and not model.operations and self.brain.wakeup <= until + ROUNDING

    def _a_load_starts_as_soon_as_it_fits(self) -> None:
        """The first pending load does not wait for memory that is free."""
        brain, accounts = self.brain, self.brain.fleet.ledger.accounts
        first = next(iter(brain.loader.pending.first()), None)
        if first is None:
            return
        loaded = {instance.model for instance in brain.fleet.instances.values()}
        most = brain.rules.max_models
        if most and first.model not in loaded and len(loaded) >= most:
            return
        placer, there = brain.loader._placer, brain.fleet.instances.values()
        if placer._fit_group(first, placer._residents(there), {}, self.world.now):
            return
        sleeper = placer.sleeper(first, placer._residents(there))
        if sleeper is not None:  # it wakes where it is, even if it could be loaded elsewhere now
            account = accounts[sleeper.device]
            need = first.model.footprint(account.kind, brain.rules)[0]
            need -= account.charges[sleeper.id].memory
            asleep = isinstance(sleeper.state, Asleep)
            ensure(not asleep or need > account.usable(), "sleeps beside free memory", sleeper.id)
            return
        for name in placer.lane(first, there):
            if name not in accounts:  # its group
                continue
            account = accounts[name]
            need = max(first.min_memory, first.model.footprint(account.kind, brain.rules)[0])
            ensure(need > account.usable(), "waits beside free memory", first.model.name, name)
