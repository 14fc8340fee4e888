"""What holds after every event, whatever happened."""

from sire.units import FOREVER
from sired.scheduler import events
from sired.scheduler.entities.instance import Asleep, Loading, Ready, Suspending, Waking
from sired.scheduler.instructions import StartWorker, WakeWorker
from tests.simulation.people import LONGEST_STANDSTILL
from tests.simulation.record import must

# Times are sums and differences of times.
ROUNDING = 1e-6


class Invariants:
    """Compares what the brain believes with the world's own record."""

    def __init__(self, brain, world, record):
        self.brain, self.world, self.record = brain, world, record
        self._charges: dict[str, dict[int, int]] = {}
        self._reported: dict[str, int] = {}

    def prepare(self, event):
        """Note how things stand before an event."""
        self._charges = self._charges_now()
        if isinstance(event, events.MemorySampled):
            self._reported = event.free

    def check(self, event, said):
        """Raise Broken if anything does not hold after an event."""
        self._memory_is_reserved_before_it_is_taken(event, said)
        self._charges_are_those_of_living_processes()
        self._sleepers_are_charged_in_main_memory()
        self._nobody_waits_to_sleep_beside_free_memory()
        self._whoever_asked_is_remembered_and_nobody_else()
        self._whatever_waits_has_a_deadline()
        self._nothing_that_is_over_waits(event)
        self._nobody_waits_beside_a_free_instance()
        self._nobody_is_passed_by()
        self._somebody_cares_for_whoever_waits()
        self._a_load_starts_as_soon_as_it_fits()

    def _charges_now(self):
        return {
            name: {number: charge.memory for number, charge in account.charges.items()}
            for name, account in self.brain.fleet.ledger.accounts.items()
        }

    def _memory_is_reserved_before_it_is_taken(self, event, said):
        """No reservation goes beyond the capacity, nor beyond what the driver calls free.

        Only measuring may: the instance that an event tells of may be charged what it was measured
        to hold, however much that is. No other charge changes.
        """
        started = {do.instance for do in said if isinstance(do, (StartWorker, WakeWorker))}
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
            before, account = self._charges[name], self.brain.fleet.ledger.accounts[name]
            for number, memory in charges.items():
                if number not in started and number != measured:
                    must(before[number] == memory, "a charge changed", number, name)
            if measured in charges and measured not in started:
                worker = self.world.workers[measured]
                others = sum(charges.values()) - charges[measured]
                most = max(worker.measured, account.capacity - others, before[measured])
                must(charges[measured] >= worker.measured, "held and not charged", worker)
                must(charges[measured] <= most, "charged beyond the capacity", worker, charges)
            if started & charges.keys():
                must(sum(charges.values()) <= account.capacity, "reserved too much", name, charges)
                there = (w for w in self.world.workers.values() if w.device == name)
                reserved = sum(self._not_taken_yet(worker, charges) for worker in there)
                free = self._reported.get(name, reserved)
                must(reserved <= free, "reserved what others hold", name, reserved, free)

    def _not_taken_yet(self, worker, charges):
        """What a worker is about to take of its device and the driver calls free."""
        if not worker.loaded:
            return worker.reserved
        if not isinstance(self.brain.fleet.instances[worker.instance].state, Waking):
            return 0
        there = worker.dram if worker.device == "cpu" else 0
        return charges[worker.instance] - worker.measured - there

    def _sleepers_are_charged_in_main_memory(self):
        """Who sleeps, falls asleep or wakes is charged on both accounts, and nobody else."""
        charges, workers = self.brain.fleet.ledger.dram.charges, self.world.workers
        living = {worker.instance for worker in workers.values() if worker.in_dram}
        must(charges.keys() == living, "charges main memory for others", charges, living)
        for number, charge in charges.items():
            if isinstance(self.brain.fleet.instances[number].state, (Asleep, Ready)):
                must(charge.memory == workers[number].dram, "held and not charged", number)

    def _nobody_waits_to_sleep_beside_free_memory(self):
        fleet = self.brain.fleet
        there = [w for w in self.world.workers.values() if w.in_dram]
        leaving = [w for w in there if w.freeing or w.state not in ("asleep", "ready")]
        for instance in fleet.instances.values():
            if instance.waits_to_sleep:
                must(leaving, "waits to sleep for nobody", instance.id)
                must(not fleet.tiers.has_room(instance), "does not fall asleep", instance.id)

    def _charges_are_those_of_living_processes(self):
        fleet, workers = self.brain.fleet, self.world.workers
        must(fleet.instances.keys() == workers.keys(), "remembers other instances", workers)
        for name, charges in self._charges_now().items():
            living = {worker.instance for worker in workers.values() if worker.device == name}
            must(charges.keys() == living, "charges for other instances", name, charges, living)

    def _whoever_asked_is_remembered_and_nobody_else(self):
        queues, brain = self.brain.queues, self.brain
        asked = self.record.by_kind()
        must(queues.requests.keys() == asked["request"], "lost or kept a request")
        to_load = queues.operations.keys() - asked["sleep"]
        must(to_load == asked["load"], "lost or kept a wish")
        to_sleep = (queues.operations.keys() & asked["sleep"]) | brain._sleep.operations
        must(to_sleep == asked["sleep"], "lost or kept a wish to sleep")
        must(queues.leases.keys() == asked["lease"], "lost or kept an asking for a lease")
        unloads = brain._operations._unloads.keys()
        must(unloads == asked["unload"] | asked["shrink"], "lost or kept a wish to unload")
        open_, requests = self.record.open, queues.requests
        astray = [r for n, r in requests.items() if r.instance != open_[n].worker]
        must(not astray, "does not know who has it", *astray)
        waiting = sum(request.instance is None for request in requests.values())
        lines = [model.queue for model in brain.models.values()]
        lines += [lease.queue for lease in brain._leases._held.values()]
        must(queues.waiting == waiting == sum(map(len, lines)), "miscounts", queues.waiting)

    def _whatever_waits_has_a_deadline(self):
        """The brain wants to be woken before anything that waits is due."""
        wakeup, fleet = self.brain.wakeup - ROUNDING, self.brain.fleet
        late = [asked for asked in self.record.open.values() if wakeup > self._latest(asked)]
        must(not late, "sleeps beyond a deadline", wakeup, *late)
        for instance in fleet.instances.values():
            if isinstance(instance.state, (Loading, Suspending, Waking)):
                since = instance.state.since
                if isinstance(instance.state, Loading):
                    since = self.world.workers[instance.id].alive_at
                limit = since + self.brain.rules.load_timeout
                must(wakeup <= limit, "sleeps while a load hangs", instance.id, wakeup)
            expiry = fleet.expiry(instance)
            must(wakeup <= expiry, "sleeps while one idles too long", instance.id, wakeup, expiry)
            must(wakeup <= self._hung_at(instance), "sleeps while one hangs", instance.id)

    def _nobody_is_passed_by(self):
        """Who talks to an instance directly does so before nobody who has to ask."""
        for worker in self.world.workers.values():
            if worker.direct:
                model, instance = worker.model, self.brain.fleet.instances[worker.instance]
                must(self.brain.models.get(model.name) is model, "talks to a former model", worker)
                must(instance.accepting and not instance.lease, "talks to one that is kept", worker)
                waiting = self.record.waiting(model.name, None)
                must(not waiting and not model.leases, "talks before others", worker, waiting)
                lanes = {device for load in self.brain.loader.pending for device in load.lane}
                must(worker.device not in lanes, "talks where memory is awaited", worker)

    def _latest(self, asked):
        """When whoever asked is to have an answer: the patient wait for a load that goes on."""
        if not asked.patient or asked.model not in self.world.progressed_at:
            return asked.deadline
        return max(asked.deadline, self.world.progressed_at[asked.model] + LONGEST_STANDSTILL)

    def _hung_at(self, instance):
        if not isinstance(instance.state, Ready):
            return FOREVER
        running = instance.running
        abandoned_at = self.world.workers[instance.id].abandoned_at
        if not running or any(request.id in self.record.open for request in running):
            return abandoned_at + self.brain.rules.hung_after
        overdue = max(request.deadline for request in running)
        return min(overdue, abandoned_at) + self.brain.rules.hung_after

    def _nothing_that_is_over_waits(self, event):
        if isinstance(event, events.TimerFired):
            now = self.world.now
            late = [asked for asked in self.record.open.values() if self._latest(asked) <= now]
            must(not late, "waits after its deadline", *late)
            must(self.brain.wakeup > now, "wants to be woken over and over", self.brain.wakeup)

    def _nobody_waits_beside_a_free_instance(self):
        for model in self.brain.models.values():
            if model.queue and any(map(self._is_free, self.brain.fleet.of(model))):
                first, until = model.queue.first, model.queue.first.arrived + model.batch_delay
                for_others = first.batch_key and model.batch_size > 1 and model.batch_delay
                must(for_others, "waits beside a free one", model.name)
                must(self.brain.wakeup <= until + ROUNDING, "waits beside a free one", model.name)

    def _is_free(self, instance):
        ready = isinstance(instance.state, Ready) and instance.accepting and not instance.lease
        return ready and instance.batches < self.brain.rules.pipeline

    def _somebody_cares_for_whoever_waits(self):
        """Who waits for a model has an instance of it, or a load that waits.

        The instance may be ending: when it is gone, the model is wanted anew.
        """
        fleet, pending = self.brain.fleet, self.brain.loader.pending
        there = {i.model.name for i in fleet.instances.values() if not isinstance(i.state, Asleep)}
        for model in self.brain.models.values():
            cared_for = model.name in there or pending.get(model) or self._rests(model)
            must(cared_for or not model.needed, "nobody cares", model.name)
        for load in pending:
            must(load.model.needed, "a load waits for nobody", load.model.name)
            must(self.brain.models.get(load.model.name) is load.model, "for a removed model")

    def _rests(self, model):
        """Whether it is left alone for failing, and somebody will look when that is over."""
        until, backoff = model.backoff.until, model.backoff.crashes or model.backoff.loads
        return backoff and not model.operations and self.brain.wakeup <= until + ROUNDING

    def _a_load_starts_as_soon_as_it_fits(self):
        """The first in line waits for nothing that is there already."""
        brain, accounts = self.brain, self.brain.fleet.ledger.accounts
        first = next(iter(brain.loader.pending.first()), None)
        if first is None:
            return
        loaded = {instance.model for instance in brain.fleet.instances.values()}
        most = brain.rules.max_models
        if most and first.model not in loaded and len(loaded) >= most:
            return
        placer, there = brain.loader._placer, brain.fleet.instances.values()
        sleeper = placer.sleeper(first, placer._residents(there))
        if sleeper is not None:  # it wakes where it lies, even if it could be loaded elsewhere now
            account = accounts[sleeper.device]
            need = first.model.footprint(account.kind, brain.rules)[0]
            need -= account.charges[sleeper.id].memory
            asleep = isinstance(sleeper.state, Asleep)
            must(not asleep or need > account.usable(), "sleeps beside free memory", sleeper.id)
            return
        for name in placer.lane(first, there):
            account = accounts[name]
            need = max(first.min_memory, first.model.footprint(account.kind, brain.rules)[0])
            must(need > account.usable(), "waits beside free memory", first.model.name, name)
