"""The instances and the memory they are charged: starting, measuring, ending them."""

from collections.abc import Callable, Sequence

from sire.errors import SireError
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
from sired.scheduler.entities.pending import Pending, PendingLoad
from sired.scheduler.entities.queue import due
from sired.scheduler.events import WorkerReady
from sired.scheduler.instructions import Evicted, Instruction, StartWorker, StopWorker, WakeWorker
from sired.scheduler.memory import lifetimes
from sired.scheduler.memory.measurements import Measurements
from sired.scheduler.memory.model_limit import make_place
from sired.scheduler.memory.placer import MakeRoom, Placer, Start, WakeInstance
from sired.scheduler.memory.tiers import Tiers
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Choice, Router
from sired.scheduler.rules import Rules
from sired.scheduler.timer import Timer

# After running out of memory a model is believed to need this much more than it was granted.
OUT_OF_MEMORY_FACTOR = 1.5


class Fleet:
    """Every instance, and every load that waits for memory.

    Attributes:
        instances: every process that holds memory, by id.
        pending: loads that wait for memory.
        tiers: who can sleep, and puts them to sleep.
    """

    def __init__(
        self,
        devices: Sequence[Account],
        strategy: Strategy,
        rules: Rules,
        router: Router,
        out: list[Instruction],
        timer: Timer,
        hopeless: Callable[[Model, SireError], None],
        dram: int = 0,
    ) -> None:
        self.ledger = Ledger(list(devices), dram)
        self.instances: dict[int, Instance] = {}
        self.pending = Pending()
        self.tiers = Tiers(self.ledger, self.instances, out, self.stop, self._deadlines)
        self._measurements = Measurements(
            self.ledger, self.instances, rules, out, self._evict, self.tiers.on_their_way
        )
        self._of_model: dict[Model, list[Instance]] = {}
        self._placer = Placer(self.ledger, self.tiers, strategy, rules)
        self._rules = rules
        self._router = router
        self._out = out
        self._timer = timer
        self._hopeless = hopeless
        self._next_instance = 1
        self._sleeper_ended = False
        self._resting: set[Model] = set()

    def adopt(self, rules: Rules, strategy: Strategy, router: Router) -> None:
        """Go by these rules and strategies from now on."""
        self._rules = rules
        self._router = router
        self._placer = Placer(self.ledger, self.tiers, strategy, rules)
        self._measurements.adopt(rules)

    def of(self, model: Model) -> list[Instance]:
        """The instances of one model, oldest first."""
        return self._of_model.get(model, [])

    def free_instance(self, model: Model) -> Instance | None:
        """The instance that is to have the next request; None when none can take one more."""
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
        choices = [Choice(i.id, i.device, len(i.in_flight), i.last_handed) for i in able]
        return self.instances[self._router(choices).instance]

    def expiry(self, instance: Instance) -> float:
        """When an idle instance will have gone unused for too long."""
        model = instance.model
        if not instance.idle or not isinstance(instance.state, Ready):
            return FOREVER
        keep = lifetimes.kept_for(instance, self._rules)
        if sum(other.accepting for other in self.of(model)) > model.min_instances:
            keep = min(keep, self._rules.shrink_after)
        return instance.state.last_used + keep

    def hung_at(self, instance: Instance) -> float:
        """When an instance is killed that changes its tier, or works for nobody, for so long."""
        return lifetimes.hung_at(instance, self._rules)

    def keep_alive(self, model: Model) -> float:
        """How long an instance of a model may idle: as the model says, else the rules."""
        return lifetimes.keep_alive(model, self._rules)

    def _deadlines(self, instance: Instance) -> None:
        self._timer.by(self.hung_at(instance))

    def most_instances(self, model: Model) -> int:
        """How many instances of a model there may be."""
        most = model.max_instances
        return self._rules.most_instances if most is None else most

    def add_to_pool(self, model: Model, now: float) -> bool:
        """Start one more instance where memory is free that no load waits for."""
        if self.pending:
            return False
        load = PendingLoad(model, None, now, now)
        try:
            decision = self._placer.decide(load, self.instances.values(), {}, now)
        except SireError:  # beside the first one it fits nowhere
            return False
        if isinstance(decision, MakeRoom):
            return False
        self._begin(load, decision, now)
        return True

    def fits(self, model: Model, now: float) -> bool:
        """Whether a load could start at once, with nothing ending for it.

        Raises:
            SireError: it never can.
        """
        load = PendingLoad(model, None, now, now)
        decision = self._placer.decide(load, self.instances.values(), {}, now)
        return not isinstance(decision, MakeRoom)

    def want(self, model: Model, device: str | None, now: float) -> None:
        """See to it that an instance is there or on its way; one load is shared by all."""
        if any(instance.accepting for instance in self.of(model)):
            return
        if model.backoff.until > now and not model.operations:
            self._resting.add(model)
            self._timer.by(model.backoff.until)
            return
        due = max(now, self._due(model, now))
        if load := self.pending.get(model):
            if self.pending.hasten(load, due):
                self.place(now)
        elif self._let_wait(PendingLoad(model, device, now, due)):
            self.place(now)

    def rested(self, now: float) -> list[Model]:
        """Models that had been left alone for failing, and may be loaded again."""
        rested = [model for model in self._resting if model.backoff.until <= now]
        self._resting.difference_update(rested)
        for model in self._resting:
            self._timer.by(model.backoff.until)
        return rested

    def _due(self, model: Model, now: float) -> float:
        """When the most urgent of those who wait for a model is due; a wish is as a request."""
        operation = due(now, "normal", self._rules.ageing)
        dues = [operation] if model.operations else []
        dues += [model.queue.first.due] if model.queue else []
        dues += [lease.due for lease in model.leases[:1]]
        return min(dues, default=operation)

    def _let_wait(self, load: PendingLoad) -> bool:
        """Put a load into its lane; False, and everybody told, if it can never fit."""
        try:
            load.lane = self._placer.lane(load, self.instances.values())
        except SireError as error:
            self._hopeless(load.model, error)
            return False
        self.pending.add(load)
        return True

    def forget_unwanted(self, model: Model, now: float) -> None:
        """Nothing is loaded for nobody: let a load wait no longer once nobody waits for it."""
        if not model.wanted:
            self._resting.discard(model)
        if not model.wanted and self.pending.get(model):
            self.pending.remove(model)
            self.place(now)

    def check_device(self, model: Model, device: str) -> None:
        """See that a model can be loaded on this device.

        Raises:
            DeviceNotFound: there is no such device.
            InsufficientMemory: it can never fit there.
        """
        self._placer.lane(PendingLoad(model, device, 0.0, 0.0), self.instances.values())

    def want_elsewhere(self, model: Model, device: str, now: float) -> None:
        """Move a model: end what is not on this device, and load it there."""
        for instance in self.of(model):
            if instance.device != device:
                self.drain(instance, now)
        self.pending.remove(model)
        self.want(model, device, now)

    def place(self, now: float) -> None:
        """Start every pending load that fits, and make room for those that do not."""
        self.tiers.settle(now)
        look = True
        while self.pending and look:
            self._sleeper_ended = False
            # A load that waited for a sleeper to wake may go elsewhere once that ends.
            look = self._place_first(now) or self._sleeper_ended

    def _place_first(self, now: float) -> bool:
        """Decide about the loads to be looked at; whether some left, so that others moved up."""
        claims: dict[str, int] = {}
        places = 0
        first = self.pending.first()
        for load in first:
            if not load.model.wanted:
                self.pending.remove(load.model)
                continue
            try:
                decision = self._decide(load, claims, places, now)
            except SireError as error:
                self.pending.remove(load.model)
                self._hopeless(load.model, error)
                continue
            if not isinstance(decision, MakeRoom):
                self._begin(load, decision, now)
            else:
                places += load.model not in self._of_model
                claims[decision.device] = claims.get(decision.device, 0) + decision.memory
                self._make_room(load, decision, now)
        return any(load.over for load in first)

    def _decide(
        self, load: PendingLoad, claims: dict[str, int], places: int, now: float
    ) -> Start | WakeInstance | MakeRoom:
        """Where a load goes, or what it waits for; ``places`` are claimed by those before it."""
        most = self._rules.max_models
        missing = len(self._of_model) + places + 1 - most
        if most and load.model not in self._of_model and missing > 0:
            return make_place(load, self._of_model, missing, most, self._placer, now)
        return self._placer.decide(load, self.instances.values(), claims, now)

    def _begin(self, load: PendingLoad, decision: Start | WakeInstance, now: float) -> None:
        self.pending.remove(load.model)
        self._timer.by(now + self._rules.load_timeout)
        if isinstance(decision, WakeInstance):
            self._wake(self.instances[decision.instance], decision.memory, now)
        else:
            self._start(load, decision, now)
        for other in self.of(load.model):  # one of them may be one too many now
            self._timer.by(self.expiry(other))

    def _wake(self, instance: Instance, memory: int, now: float) -> None:
        instance.state = Waking(now, last_used(instance))
        self.ledger.wake(instance.id, memory)
        self._out.append(WakeWorker(instance.id))

    def _start(self, load: PendingLoad, place: Start, now: float) -> None:
        self._end_surplus_sleepers(load.model, now)
        state = Loading(now, load.attempt)
        instance = Instance(self._next_instance, load.model, place.device, state)
        self._next_instance += 1
        self.instances[instance.id] = instance
        self._of_model.setdefault(load.model, []).append(instance)
        self.ledger.reserve(instance.id, place.device, place.memory)
        self._placer.placed(place.device)
        self._out.append(StartWorker(instance.id, load.model, place.device, place.memory))

    def _end_surplus_sleepers(self, model: Model, now: float) -> None:
        """A model that is loaded anew elsewhere keeps no sleeper beyond its greatest number."""
        there = [instance for instance in self.of(model) if not instance.ending]
        sleepers = [i for i in there if i.asleep or not i.accepting]
        surplus = len(there) + 1 - self.most_instances(model)
        for sleeper in sorted(sleepers, key=last_used)[: max(0, surplus)]:
            self.drain(sleeper, now)

    def _make_room(self, load: PendingLoad, room: MakeRoom, now: float) -> None:
        for victim in room.stop + room.drain:
            self._evict(self.instances[victim], load.model, now)
        for victim in room.sleep:
            self._send_to_sleep(self.instances[victim], load.model, now)
        if room.retry_at is not None:
            self._timer.by(room.retry_at)

    def _evict(self, instance: Instance, wanted_by: Model, now: float) -> None:
        if instance.accepting or isinstance(instance.state, Asleep):
            self._out.append(Evicted(instance.id, instance.model.name, wanted_by.name))
            self.drain(instance, now)

    def _send_to_sleep(self, instance: Instance, wanted_by: Model, now: float) -> None:
        if instance.accepting:
            self._out.append(Evicted(instance.id, instance.model.name, wanted_by.name))
            self.tiers.send_to_sleep(instance, now)

    def drain(self, instance: Instance, now: float) -> None:
        """Hand an instance nothing new and end it as soon as it is idle."""
        match instance.state:
            case Loading() | Suspending() | Waking():
                self.stop(instance, now, kill=True)
            case Ready() if instance.at_work:
                instance.state.draining, instance.state.to_sleep = True, False
            case Ready() | Asleep():
                self.stop(instance, now)

    def retire(self, instance: Instance, now: float) -> None:
        """An idle instance was drained, or has gone unused for too long: it ends, or sleeps."""
        assert isinstance(instance.state, Ready)
        if instance.state.to_sleep or (not instance.state.draining and self._may_suspend(instance)):
            self.tiers.send_to_sleep(instance, now)
        else:
            self.stop(instance, now)

    def _may_suspend(self, instance: Instance) -> bool:
        """Whether one that idled too long sleeps instead of ending."""
        surplus = sum(i.accepting for i in self.of(instance.model)) > instance.model.min_instances
        kept = lifetimes.said_keep_alive(instance, self._rules) > 0
        return kept and not surplus and self.tiers.has_room(instance)

    def stop(self, instance: Instance, now: float, *, kill: bool = False) -> None:
        """End an instance; its memory stays charged until its process is gone."""
        if isinstance(instance.state, Stopping):
            return
        self._sleeper_ended |= instance.asleep
        instance.state = Stopping(now)
        if instance.served:
            self._measurements.learn(instance, instance.peak)
        self._out.append(StopWorker(instance.id, kill))

    def gone(self, instance_id: int) -> Instance:
        """Release what an instance was charged: its process has ended."""
        instance = self.instances.pop(instance_id)
        siblings = self._of_model[instance.model]
        siblings.remove(instance)
        if not siblings:
            del self._of_model[instance.model]
        self.ledger.release(instance_id)
        return instance

    def loaded(self, instance: Instance, event: WorkerReady, now: float) -> None:
        """An instance has loaded its model, or woken, and was measured."""
        assert isinstance(instance.state, Loading | Waking)
        seconds, history = now - instance.state.since, instance.model.history
        if isinstance(instance.state, Loading):
            history.loaded(seconds)
        else:
            history.wake_seconds = seconds
            self.ledger.woke(instance.id, event.dram_memory)
        instance.state = Ready(now, now, load_seconds=seconds)
        instance.sleep_memory = event.sleep_memory
        self._measurements.note(instance, event.memory, now)

    def slept(self, instance: Instance, device_memory: int, dram_memory: int, now: float) -> None:
        """An instance has fallen asleep and was measured."""
        if isinstance(instance.state, Suspending):
            self.tiers.slept(instance, device_memory, dram_memory, now)
            self._measurements.relieve(instance, now)

    def note_peak(self, instance: Instance, peak: int, now: float) -> None:
        """An instance has reported the most memory it ever held."""
        if peak > instance.peak:
            self._measurements.note(instance, peak, now)
            if instance.model.pinned:  # others may fit here no more, and elsewhere or nowhere now
                self.place(now)

    def load_again(self, instance: Instance, now: float) -> None:
        """It needed more than it was granted: believe it, make room, try once more."""
        account = self.ledger.accounts[instance.device]
        need = int(self.ledger.charge(instance.id) * OUT_OF_MEMORY_FACTOR)
        need = min(need, account.capacity)
        instance.model.learned[account.kind] = need
        if sum(i.accepting for i in self.of(instance.model)) >= self.most_instances(instance.model):
            return  # another one was started while this one was draining
        again = PendingLoad(
            instance.model, instance.device, now, due=-FOREVER, attempt=1, at_least=need
        )
        if self._let_wait(again):
            self.place(now)
