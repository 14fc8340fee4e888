"""Where models are that are on no device for now: asleep in main memory, or on disk only.

1. An instance can sleep if its runtime said so when it was loaded, and main memory is set aside.
2. One that gives way to another sleeps rather than ends if main memory has room for its weights,
   or would have once sleepers that were used longer ago are on disk; those end first.
3. Until its device's memory is free both are charged, and so again while it wakes.
4. One that idled for its keep-alive goes to sleep if there is room as things are, unless it was to
   be unloaded after use. A sleeper stays until its memory is wanted, here or on its device: the
   one used longest ago goes to disk first. It does not expire.
5. Who could sleep when it was decided, and cannot any more when it is idle, ends.
"""

from collections.abc import Callable, Iterable, Mapping

from sired.scheduler.instance import (
    Asleep,
    FallingAsleep,
    Instance,
    Ready,
    Stopping,
    Waking,
    last_used,
)
from sired.scheduler.instructions import Evicted, Instruction, SleepWorker
from sired.scheduler.ledger import Ledger


class Tiers:
    """Puts instances to sleep, and makes room in main memory for them.

    Args:
        ledger: where instances are charged.
        instances: every instance, by id.
        out: the instructions of the event at hand.
        stop: ends an instance.
        watch: sees to it that one that takes too long to fall asleep is killed.
    """

    def __init__(
        self,
        ledger: Ledger,
        instances: Mapping[int, Instance],
        out: list[Instruction],
        stop: Callable[[Instance, float], None],
        watch: Callable[[Instance], None],
    ) -> None:
        self._ledger = ledger
        self._instances = instances
        self._out = out
        self._stop = stop
        self._watch = watch
        self._waiting: set[int] = set()

    def able(self, instance: Instance) -> bool:
        """Whether an instance can ever sleep here."""
        return 0 < instance.sleep_memory <= self._ledger.dram.capacity

    def has_room(self, instance: Instance) -> bool:
        """Whether an instance can go to sleep with nothing ending for it."""
        return self.able(instance) and instance.sleep_memory <= self._room(instance)

    def sleepable(self, victims: Iterable[Instance]) -> list[Instance]:
        """Those of some victims that can sleep, all together; the last used have precedence."""
        chosen, claimed = [], 0
        for victim in sorted(victims, key=last_used, reverse=True):
            need = claimed + victim.sleep_memory
            if self.able(victim) and need <= self._obtainable(victim):
                chosen.append(victim)
                claimed = need
        return chosen

    def _obtainable(self, instance: Instance) -> int:
        """Bytes of main memory it could have, once those that end and older sleepers are gone."""
        older = sum(self._ledger.dram_charge(other.id) for other in self._older(instance))
        return self._room(instance) + self._freed() - self._claimed() + older

    def _room(self, instance: Instance) -> int:
        # What sleeps where it was loaded, in main memory, takes none that is free.
        there = self._ledger.accounts[instance.device].kind == "cpu"
        return self._ledger.dram.usable(taken=instance.sleep_memory if there else 0)

    def _freed(self) -> int:
        """Bytes of main memory that will be free once those that end are gone, or awake."""
        there = [self._instances[number] for number in self._ledger.dram.charges]
        leaving = [i for i in there if isinstance(i.state, Stopping | Waking)]
        return sum(self._ledger.dram_charge(instance.id) for instance in leaving)

    def _claimed(self) -> int:
        return sum(self._instances[number].sleep_memory for number in self._waiting_now())

    def _waiting_now(self) -> list[int]:
        """Those that still wait to sleep, the last used first."""
        there = self._instances
        self._waiting = {n for n in self._waiting if n in there and there[n].waits_to_sleep}
        return sorted(self._waiting, key=lambda number: (-last_used(there[number]), number))

    def _older(self, instance: Instance) -> list[Instance]:
        """Sleepers that may go to disk for an instance, the one used longest ago first.

        Some of them may be falling asleep still. One that is about to be woken stays.
        """
        there = (self._instances[number] for number in self._ledger.dram.charges)
        older = [
            other
            for other in there
            if other.asleep
            and not (other.model.pinned or other.model.wanted)
            and last_used(other) < last_used(instance)
        ]
        return sorted(older, key=last_used)

    def freed_by_sleep(self, instance: Instance) -> int:
        """Bytes of its device that an instance gives back by falling asleep, as far as is known."""
        charge = self._ledger.charge(instance.id)
        if instance.asleep_memory is not None:
            return max(0, charge - instance.asleep_memory)
        return min(charge, instance.sleep_memory)

    def on_their_way(self, instances: Iterable[Instance]) -> int:
        """Bytes of a device that instances are giving back, as far as is known."""
        freed = 0
        for instance in instances:
            if isinstance(instance.state, Stopping):
                freed += self._ledger.charge(instance.id)
            elif isinstance(instance.state, FallingAsleep) or instance.waits_to_sleep:
                freed += self.freed_by_sleep(instance)
        return freed

    # Falling asleep

    def send_to_sleep(self, instance: Instance, now: float) -> None:
        """Hand a ready instance nothing new; it sleeps once it is idle and there is room."""
        assert isinstance(instance.state, Ready)
        instance.state.draining = instance.state.to_sleep = True
        if instance.waits_to_sleep:
            self._waiting.add(instance.id)
            self.settle(now)

    def settle(self, now: float) -> None:
        """Put to sleep what waits for it; make room where there is none, or end it."""
        claimed = 0
        for instance in [self._instances[number] for number in self._waiting_now()]:
            room = self._room(instance) - claimed
            if instance.sleep_memory <= room:
                self._fall_asleep(instance, now)
            elif self._make_room(instance, instance.sleep_memory - room - self._freed(), now):
                claimed += instance.sleep_memory
            else:
                self._stop(instance, now)

    def _make_room(self, instance: Instance, missing: int, now: float) -> bool:
        """End the sleepers used longest ago until the rest is enough; False if it never is."""
        chosen = []
        for sleeper in self._older(instance):
            if missing <= 0:
                break
            chosen.append(sleeper)
            missing -= self._ledger.dram_charge(sleeper.id)
        if missing > 0:
            return False
        for sleeper in chosen:
            if isinstance(sleeper.state, FallingAsleep):  # it ends when it lies
                continue
            self._out.append(Evicted(sleeper.id, sleeper.model.name, instance.model.name))
            self._stop(sleeper, now)
        return True

    def _fall_asleep(self, instance: Instance, now: float) -> None:
        self._waiting.discard(instance.id)
        instance.state = FallingAsleep(now, last_used(instance))
        self._ledger.fall_asleep(instance.id, instance.sleep_memory)
        self._watch(instance)
        self._out.append(SleepWorker(instance.id))

    def slept(self, instance: Instance, device_memory: int, dram_memory: int, now: float) -> None:
        """An instance sleeps and was measured; if it took more than there is, others go to disk."""
        instance.state = Asleep(now, last_used(instance))
        instance.asleep_memory, instance.sleep_memory = device_memory, dram_memory
        self._ledger.slept(instance.id, device_memory, dram_memory)
        dram = self._ledger.dram
        missing = dram.charged - dram.capacity - self._freed()
        if missing > 0 and not self._make_room(instance, missing, now):
            self._stop(instance, now)
