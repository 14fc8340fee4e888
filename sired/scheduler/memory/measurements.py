"""Applies what workers measure: charges it, learns it, and makes room for it."""

from collections.abc import Callable, Iterable, Mapping

from sired.scheduler.entities.instance import Asleep, Instance
from sired.scheduler.entities.ledger import Ledger
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import Instruction, Learn
from sired.scheduler.memory.groups import group_account
from sired.scheduler.memory.room import candidates_among
from sired.scheduler.policies.eviction import choose_victims
from sired.scheduler.rules import Rules


class Measurements:
    """Applies the memory that workers report.

    Args:
        ledger: where instances are charged.
        instances: every instance, by id.
        rules: the eviction policy.
        out: the instructions of the current event.
        evict: ends an instance to free memory for a model.
        being_freed: the bytes that instances are giving back already.
    """

    def __init__(
        self,
        ledger: Ledger,
        instances: Mapping[int, Instance],
        rules: Rules,
        out: list[Instruction],
        evict: Callable[[Instance, Model, float], None],
        being_freed: Callable[[Iterable[Instance]], int],
    ) -> None:
        self._ledger = ledger
        self._instances = instances
        self._rules = rules
        self._out = out
        self._evict = evict
        self._being_freed = being_freed

    def adopt(self, rules: Rules) -> None:
        """Use these rules from now on."""
        self._rules = rules

    def record(self, instance: Instance, memory: int, now: float) -> None:
        """Charge an instance the most memory that it was measured to hold, in bytes."""
        instance.peak = memory
        account = self._ledger.accounts[instance.device]
        # What the user declared, or earlier inferences used, stays reserved: it will be needed.
        known = instance.model.declared or instance.model.learned.get(account.kind, 0)
        room = account.capacity - account.charged + self._ledger.charge(instance.id)
        # One that does not use its GPU needs nothing of it, whatever was declared.
        reserved = max(memory, min(known, room)) if memory else 0
        self._ledger.set_charge(instance.id, reserved)
        if memory > instance.model.learned.get(account.kind, 0):
            self.learn(instance, memory)
        self.evict_excess(instance, now)

    def answered(self, instance: Instance) -> bool:
        """Learn of an instance that has answered that it does not use its GPU, if that is new."""
        kind = self._ledger.accounts[instance.device].kind
        if instance.peak or kind != "cuda" or not instance.model.uses(kind):
            return False
        self.learn(instance, 0)
        return True

    def learn(self, instance: Instance, memory: int) -> None:
        """Remember the bytes that a model needs on devices of that kind."""
        account = self._ledger.accounts[instance.device]
        # It did run there: a load of it is never refused there as impossible.
        kind, memory = account.kind, min(memory, account.capacity)
        if instance.model.learned.get(kind) != memory:
            instance.model.learned[kind] = memory
            self._out.append(Learn(instance.model, kind, memory))

    def evict_excess(self, cause: Instance, now: float) -> None:
        """Evict idle models until the charges fit the device and the group again, if possible."""
        there = [i for i in self._instances.values() if i.device == cause.device]
        self._evict_among(there, self._ledger.excess(cause.device), cause, now)
        found = group_account(cause.model, self._instances.values(), self._ledger, self._rules)
        if found is not None:
            account, members = found
            self._evict_among(members, account.charged - account.capacity, cause, now)

    def _evict_among(
        self, instances: list[Instance], excess: int, cause: Instance, now: float
    ) -> None:
        if excess <= 0:
            return
        others = [instance for instance in instances if instance is not cause]
        excess -= self._being_freed(others)
        idle = [o for o in others if o.idle or isinstance(o.state, Asleep)]
        idle = [other for other in idle if not other.model.pinned]
        candidates = candidates_among(idle, lambda other: self._ledger.charge(other.id))
        victims = choose_victims(candidates, excess, self._rules.eviction, now)
        if victims is None:
            victims = tuple(candidate.instance for candidate in candidates)
        for victim in victims:
            self._evict(self._instances[victim], cause.model, now)
