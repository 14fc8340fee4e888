"""Pending loads: requesting, placing, starting and retrying them.

A model has at most one pending load, which every request for the model shares. ``pending`` states
the order in which loads are considered, ``placer`` where each of them goes, ``room`` which
instances give way to it, and ``model_limit`` how ``max_models`` bounds them.
"""

from collections.abc import Callable

from sire.errors import SireError
from sire.units import FOREVER
from sired.scheduler.entities.instance import Instance, last_used
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad, PendingLoads
from sired.scheduler.entities.queue import due
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.model_limit import free_slots
from sired.scheduler.memory.placer import Placer, Start, WakeInstance
from sired.scheduler.memory.room import MakeRoom
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.rules import Rules
from sired.scheduler.timer import Timer

# After running out of memory a model is assumed to need this many times what it was granted.
OUT_OF_MEMORY_FACTOR = 1.5


class Loader:
    """Loads models: keeps the loads that wait for memory, and starts them once they fit.

    Args:
        fleet: starts, wakes and ends instances.
        strategy: the placement strategy.
        rules: delays and limits.
        timer: schedules the next check.
        fail_all: fails everything that waits for a model that cannot be loaded.

    Attributes:
        pending: the loads that wait for memory.
    """

    def __init__(
        self,
        fleet: Fleet,
        strategy: Strategy,
        rules: Rules,
        timer: Timer,
        fail_all: Callable[[Model, SireError], None],
    ) -> None:
        self.pending = PendingLoads()
        self._fleet = fleet
        self._placer = Placer(fleet.ledger, fleet.tiers, strategy, rules)
        self._rules = rules
        self._timer = timer
        self._fail_all = fail_all
        self._backing_off: set[Model] = set()

    def adopt(self, rules: Rules, strategy: Strategy) -> None:
        """Use these rules and this placement strategy from now on."""
        self._rules = rules
        self._placer = Placer(self._fleet.ledger, self._fleet.tiers, strategy, rules)

    # Requesting

    def request(self, model: Model, device: str | None, now: float) -> None:
        """Ensure that an instance of a model is loaded, loading or pending."""
        if any(instance.accepting for instance in self._fleet.of(model)):
            return
        if model.backoff.until > now and not model.operations:
            self._backing_off.add(model)
            self._timer.schedule(model.backoff.until)
            return
        when_due = max(now, self._due(model, now))
        if load := self.pending.get(model):
            if self.pending.expedite(load, when_due):
                self.place(now)
        elif self._enqueue(PendingLoad(model, device, now, when_due)):
            self.place(now)

    def _due(self, model: Model, now: float) -> float:
        """When the most urgent item that waits for a model is due.

        An operation counts as a request of normal priority that arrives now.
        """
        operation = due(now, "normal", self._rules.ageing)
        dues = [operation] if model.operations else []
        dues += [model.queue.first.due] if model.queue else []
        dues += [lease.due for lease in model.leases[:1]]
        return min(dues, default=operation)

    def _enqueue(self, load: PendingLoad) -> bool:
        """Add a load to its lane; if it can never fit, fail what waits for it and return False."""
        try:
            load.lane = self._placer.lane(load, self._fleet.instances.values())
        except SireError as error:
            self._fail_all(load.model, error)
            return False
        self.pending.add(load)
        return True

    def move(self, model: Model, device: str, now: float) -> None:
        """End the instances of a model that are not on this device, and load the model there."""
        for instance in self._fleet.of(model):
            if instance.device != device:
                self._fleet.drain(instance, now)
        self.pending.remove(model)
        self.request(model, device, now)

    def retry(self, instance: Instance, now: float, wanted: int | None = None) -> None:
        """Load a model once more: the instance ran out of memory.

        Args:
            instance: which did.
            now: the current time.
            wanted: bytes that would have sufficed; None if that is unknown. If they were reserved
                for it on a GPU, others took them: it is not to blame, and needs no more. Otherwise
                the next reservation is larger.
        """
        account = self._fleet.ledger.accounts[instance.device]
        need = granted = self._fleet.ledger.charge(instance.id)
        robbed = account.kind == "cuda" and wanted is not None and wanted <= granted
        if not robbed:
            need = min(int(granted * OUT_OF_MEMORY_FACTOR), account.capacity)
        model = instance.model
        if model.declared is None and not robbed:
            model.learned[account.kind] = need
        if self._has_all_instances(model):
            return  # another one was started while this one was draining
        again = PendingLoad(model, instance.device, now, due=-FOREVER, attempt=1, min_memory=need)
        if self._enqueue(again):
            self.place(now)

    def _has_all_instances(self, model: Model) -> bool:
        """Whether a model has as many instances that take requests as it may have."""
        accepting = sum(instance.accepting for instance in self._fleet.of(model))
        return accepting >= self._fleet.max_instances(model)

    def cancel_unneeded(self, model: Model, now: float) -> None:
        """Cancel the pending load of a model for which nothing waits any more."""
        if not model.needed:
            self._backing_off.discard(model)
        if not model.needed and self.pending.get(model):
            self.pending.remove(model)
            self.place(now)

    def backoff_ended(self, now: float) -> list[Model]:
        """Return the models that failed, were not retried for a time, and may be loaded again."""
        ended = [model for model in self._backing_off if model.backoff.until <= now]
        self._backing_off.difference_update(ended)
        for model in self._backing_off:
            self._timer.schedule(model.backoff.until)
        return ended

    def add_to_pool(self, model: Model, now: float) -> bool:
        """Start one more instance of a model in free memory for which no load waits."""
        if self.pending:
            return False
        load = PendingLoad(model, None, now, now)
        try:
            decision = self._placer.decide(load, self._fleet.instances.values(), {}, now)
        except SireError:  # beside the first instance it fits nowhere
            return False
        if isinstance(decision, MakeRoom):
            return False
        self._begin(load, decision, now)
        return True

    # Checking

    def fits(self, model: Model, now: float) -> bool:
        """Whether a load could start at once, without evicting anything.

        Raises:
            SireError: the model can never be loaded.
        """
        load = PendingLoad(model, None, now, now)
        decision = self._placer.decide(load, self._fleet.instances.values(), {}, now)
        return not isinstance(decision, MakeRoom)

    def check_device(self, model: Model, device: str | None) -> None:
        """Check that a model can be loaded on this device; None for any that it may go to.

        Raises:
            DeviceNotFound: the device does not exist.
            InsufficientMemory: the model can never fit there, or into its group.
        """
        self._placer.lane(PendingLoad(model, device, 0.0, 0.0), self._fleet.instances.values())

    def record_peak(self, instance: Instance, peak: int, now: float) -> None:
        """Charge an instance the most memory that it has ever held, in bytes.

        A pinned instance that grows may leave pending loads no room on its device: they are placed
        anew, and fail if they fit nowhere else.
        """
        if peak > instance.peak:
            self._fleet.measured(instance, peak, now)
            if instance.model.pinned:
                self.place(now)

    def answered(self, instance: Instance, now: float) -> None:
        """Learn what an answer shows: a load of the model that waits may need less memory now."""
        if self._fleet.answered(instance):
            self.place(now)

    # Placing and starting

    def place(self, now: float) -> None:
        """Start every pending load that fits, and make room for those that do not."""
        self._fleet.tiers.suspend_waiting(now)
        again = True
        while self.pending and again:
            stopped = self._fleet.sleepers_stopped
            again = self._place_first(now)
            # A load that waited for a sleeper to wake may go elsewhere once that sleeper ends.
            again = again or self._fleet.sleepers_stopped > stopped

    def _place_first(self, now: float) -> bool:
        """Decide the first loads of each lane; True if some left, so that others moved up."""
        claims: dict[str, int] = {}
        slots = 0
        first = self.pending.first()
        for load in first:
            # The limit may have been lowered while a second instance was pending.
            if not load.model.needed or self._has_all_instances(load.model):
                self.pending.remove(load.model)
                continue
            try:
                decision = self._decide(load, claims, slots, now)
            except SireError as error:
                self.pending.remove(load.model)
                self._fail_all(load.model, error)
                continue
            if not isinstance(decision, MakeRoom):
                self._begin(load, decision, now)
            else:
                slots += load.model not in self._fleet.by_model
                claims[decision.device] = claims.get(decision.device, 0) + decision.memory
                self._make_room(load, decision, now)
        return any(load.resolved for load in first)

    def _decide(
        self, load: PendingLoad, claims: dict[str, int], slots: int, now: float
    ) -> Start | WakeInstance | MakeRoom:
        """Where a load goes, or what it waits for; earlier loads claim ``slots`` more models."""
        by_model, limit = self._fleet.by_model, self._rules.max_models
        missing = len(by_model) + slots + 1 - limit
        if limit and load.model not in by_model and missing > 0:
            return free_slots(load, by_model, missing, limit, self._placer.room, now)
        return self._placer.decide(load, self._fleet.instances.values(), claims, now)

    def _begin(self, load: PendingLoad, decision: Start | WakeInstance, now: float) -> None:
        self.pending.remove(load.model)
        self._timer.schedule(now + self._rules.load_timeout)
        if isinstance(decision, WakeInstance):
            self._fleet.wake(self._fleet.instances[decision.instance], decision.memory, now)
        else:
            self._end_surplus_sleepers(load.model, now)
            self._fleet.start(load, decision.device, decision.memory, now)
            self._placer.record_placement(decision.device)
        for other in self._fleet.of(load.model):  # one of them may exceed the minimum number now
            self._timer.schedule(self._fleet.expiry(other))

    def _end_surplus_sleepers(self, model: Model, now: float) -> None:
        """End sleepers that would exceed the model's maximum once it is loaded anew elsewhere."""
        there = [instance for instance in self._fleet.of(model) if not instance.ending]
        sleepers = [i for i in there if i.asleep or not i.accepting]
        surplus = len(there) + 1 - self._fleet.max_instances(model)
        for sleeper in sorted(sleepers, key=last_used)[: max(0, surplus)]:
            self._fleet.drain(sleeper, now)

    def _make_room(self, load: PendingLoad, room: MakeRoom, now: float) -> None:
        for victim in room.stop + room.drain:
            self._fleet.evict(self._fleet.instances[victim], load.model, now)
        for victim in room.sleep:
            self._fleet.suspend(self._fleet.instances[victim], load.model, now)
        if room.retry_at is not None:
            self._timer.schedule(room.retry_at)
