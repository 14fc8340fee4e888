"""The instances and the memory they are charged: starting, measuring, ending them."""

from collections.abc import Callable, Sequence

from sired.errors import SireError
from sired.scheduler.eviction import choose_victims
from sired.scheduler.instance import Instance, Loading, Ready, Stopping
from sired.scheduler.instructions import Evicted, Instruction, Learn, StartWorker, StopWorker
from sired.scheduler.ledger import Account, Ledger
from sired.scheduler.loads import MakeRoom, PendingLoad, Placer, Start, candidates_among
from sired.scheduler.model import Model
from sired.scheduler.placement import Strategy
from sired.scheduler.rules import Rules
from sired.units import FOREVER

# After running out of memory a model is believed to need this much more than it was granted.
OUT_OF_MEMORY_FACTOR = 1.5


class Fleet:
    """Every instance, and every load that waits for memory.

    Attributes:
        instances: every process that holds memory, by id.
        pending: loads that wait for memory, in the order they came.
        hung_loads_at: when a load begun in this event will have taken too long.
        retry_at: when a pending load will have waited long enough for busy models to go.
    """

    def __init__(
        self,
        devices: Sequence[Account],
        strategy: Strategy,
        rules: Rules,
        out: list[Instruction],
        hopeless: Callable[[Model, SireError], None],
    ) -> None:
        self.ledger = Ledger(list(devices))
        self.instances: dict[int, Instance] = {}
        self.pending: list[PendingLoad] = []
        self.retry_at = FOREVER
        self.hung_loads_at = FOREVER
        self._of_model: dict[Model, list[Instance]] = {}
        self._placer = Placer(self.ledger, strategy, rules)
        self._rules = rules
        self._out = out
        self._hopeless = hopeless
        self._next_instance = 1

    def adopt(self, rules: Rules, strategy: Strategy) -> None:
        """Go by these rules and this strategy from now on."""
        self._rules = rules
        self._placer = Placer(self.ledger, strategy, rules)

    def of(self, model: Model) -> list[Instance]:
        """The instances of one model, oldest first."""
        return self._of_model.get(model, [])

    def free_instance(self, model: Model) -> Instance | None:
        """The instance with the least to do that can take one more request."""
        able = [
            instance
            for instance in self.of(model)
            if isinstance(instance.state, Ready)
            and not instance.state.draining
            and len(instance.in_flight) < self._rules.pipeline
        ]
        return min(able, key=lambda instance: len(instance.in_flight), default=None)

    def expiry(self, instance: Instance) -> float:
        """When an idle instance will have gone unused for too long."""
        if not instance.idle or instance.model.pinned or not isinstance(instance.state, Ready):
            return FOREVER
        keep = instance.model.keep_alive
        return instance.state.last_used + (self._rules.default_keep_alive if keep is None else keep)

    def want(self, model: Model, device: str | None, now: float) -> None:
        """See to it that an instance is there or on its way; one load is shared by all."""
        if any(instance.accepting for instance in self.of(model)):
            return
        if any(load.model is model for load in self.pending):
            return
        self.pending.append(PendingLoad(model, device, since=now))
        self.place(now)

    def want_elsewhere(self, model: Model, device: str, now: float) -> None:
        """Move a model: end what is not on this device, and load it there."""
        for instance in self.of(model):
            if instance.device != device and instance.accepting:
                self.drain(instance, now)
        self.pending = [load for load in self.pending if load.model is not model]
        self.want(model, device, now)

    def place(self, now: float) -> None:
        """Start every pending load that fits, and make room for those that do not."""
        self.retry_at = FOREVER
        claims: dict[str, int] = {}
        for load in list(self.pending):
            if not load.model.wanted:
                self.pending.remove(load)
                continue
            try:
                decision = self._placer.decide(load, self.instances.values(), claims, now)
            except SireError as error:
                self.pending.remove(load)
                self._hopeless(load.model, error)
                continue
            if isinstance(decision, Start):
                self._start(load, decision, now)
            else:
                claims[decision.device] = claims.get(decision.device, 0) + decision.memory
                self._make_room(load, decision, now)

    def _start(self, load: PendingLoad, place: Start, now: float) -> None:
        self.pending.remove(load)
        state = Loading(now, load.attempt)
        instance = Instance(self._next_instance, load.model, place.device, state)
        self._next_instance += 1
        self.instances[instance.id] = instance
        self._of_model.setdefault(load.model, []).append(instance)
        self.ledger.reserve(instance.id, place.device, place.memory)
        self._placer.placed(place.device)
        self.hung_loads_at = now + self._rules.load_timeout
        self._out.append(StartWorker(instance.id, load.model, place.device, place.memory))

    def _make_room(self, load: PendingLoad, room: MakeRoom, now: float) -> None:
        for victim in room.stop + room.drain:
            self._evict(self.instances[victim], load.model, now)
        if room.retry_at is not None:
            self.retry_at = min(self.retry_at, room.retry_at)

    def _evict(self, instance: Instance, wanted_by: Model, now: float) -> None:
        if instance.accepting:
            self._out.append(Evicted(instance.id, instance.model.name, wanted_by.name))
            self.drain(instance, now)

    def drain(self, instance: Instance, now: float) -> None:
        """Hand an instance nothing new and end it as soon as it is idle."""
        match instance.state:
            case Loading():
                self.stop(instance, now, kill=True)
            case Ready() if instance.in_flight:
                instance.state.draining = True
            case Ready():
                self.stop(instance, now)

    def stop(self, instance: Instance, now: float, *, kill: bool = False) -> None:
        """End an instance; its memory stays charged until its process is gone."""
        if isinstance(instance.state, Stopping):
            return
        instance.state = Stopping(now)
        if instance.served:
            self._learn(instance, instance.peak)
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

    def loaded(self, instance: Instance, memory: int, now: float) -> None:
        """An instance has loaded its model and was measured."""
        if isinstance(instance.state, Loading):
            instance.state = Ready(now, now, load_seconds=now - instance.state.since)
            instance.model.history.loaded(instance.state.load_seconds)
            self._measured(instance, memory, now)

    def note_peak(self, instance: Instance, peak: int, now: float) -> None:
        """An instance has reported the most memory it ever held."""
        if peak > instance.peak:
            self._measured(instance, peak, now)

    def _measured(self, instance: Instance, memory: int, now: float) -> None:
        instance.peak = memory
        account = self.ledger.accounts[instance.device]
        # What the user declared, or earlier inferences took, stays reserved: it will be needed.
        known = instance.model.declared or instance.model.learned.get(account.kind, 0)
        self.ledger.settle(instance.id, max(memory, known))
        if memory > instance.model.learned.get(account.kind, 0):
            self._learn(instance, memory)
        if (excess := self.ledger.overdrawn(instance.device)) > 0:
            self._relieve(instance, excess, now)

    def _learn(self, instance: Instance, memory: int) -> None:
        kind = self.ledger.accounts[instance.device].kind
        if instance.model.learned.get(kind) != memory:
            instance.model.learned[kind] = memory
            self._out.append(Learn(instance.model, kind, memory))

    def _relieve(self, cause: Instance, excess: int, now: float) -> None:
        """End idle models until what was measured fits the device again, as far as that goes."""
        others = [i for i in self.instances.values() if i.device == cause.device and i is not cause]
        excess -= sum(
            self.ledger.charge(other.id) for other in others if isinstance(other.state, Stopping)
        )
        idle = [other for other in others if other.idle and not other.model.pinned]
        candidates = candidates_among(idle, self.ledger)
        victims = choose_victims(candidates, excess, self._rules.eviction, now)
        if victims is None:
            victims = tuple(candidate.instance for candidate in candidates)
        for victim in victims:
            self._evict(self.instances[victim], cause.model, now)

    def load_again(self, instance: Instance, now: float) -> None:
        """It needed more than it was granted: believe it, make room, try once more."""
        account = self.ledger.accounts[instance.device]
        need = int(self.ledger.charge(instance.id) * OUT_OF_MEMORY_FACTOR)
        need = min(need, account.capacity)
        instance.model.learned[account.kind] = need
        self.pending.insert(
            0, PendingLoad(instance.model, instance.device, since=now, attempt=1, at_least=need)
        )
        self.place(now)
