"""Tiers: instances that sleep with their weights in main memory instead of ending.

1. An instance can sleep if its runtime reported so when it loaded, and main memory is reserved for
   sleepers.
2. An instance that gives way sleeps instead of ending if main memory has room for its weights, or
   will have once less recently used sleepers have ended; those end first.
3. Both accounts are charged until its device's memory is free, and again while it wakes.
4. An instance that idled for its keep-alive falls asleep if there is room now, unless its
   keep-alive is 0. A sleeper does not expire; it stays until its memory is needed, in main memory
   or on its device, and the least recently used sleeper ends first.
5. An instance that woke may keep the main memory that it slept in, since preparing such memory
   takes longer than copying weights. It stays charged, and is the first to be freed for others.
6. An instance that could sleep when this was decided, but cannot any more once it is idle, ends.
"""

from collections.abc import Callable, Iterable, Mapping

from sired.scheduler.entities.instance import (
    Asleep,
    Instance,
    Ready,
    Stopping,
    Suspending,
    Waking,
    last_used,
)
from sired.scheduler.entities.ledger import Ledger
from sired.scheduler.instructions import Evicted, FreeWorkerDram, Instruction, SleepWorker


class Tiers:
    """Suspends instances, and makes room in main memory for them.

    Args:
        ledger: where instances are charged.
        instances: every instance, by id.
        out: the instructions of the current event.
        stop: ends an instance.
        watch: schedules the check for an instance that takes too long to fall asleep.
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

    def can_sleep(self, instance: Instance) -> bool:
        """Whether an instance can sleep at all."""
        return 0 < instance.sleep_memory <= self._ledger.dram.capacity

    def has_room(self, instance: Instance) -> bool:
        """Whether an instance can fall asleep without ending another one."""
        can_sleep = self.can_sleep(instance) and not instance.freeing
        return can_sleep and self._need(instance) <= self._room(instance)

    def select_sleepers(self, victims: Iterable[Instance]) -> list[Instance]:
        """Select the victims that can sleep together, the most recently used first."""
        chosen, claimed = [], 0
        for victim in sorted(victims, key=last_used, reverse=True):
            need = claimed + self._need(victim)
            if self.can_sleep(victim) and need <= self._obtainable(victim):
                chosen.append(victim)
                claimed = need
        return chosen

    def _obtainable(self, instance: Instance) -> int:
        """Bytes of main memory that it could have once ending and older sleepers are gone."""
        others = [*self._reclaimable(instance), *self._older_sleepers(instance)]
        reclaimed = sum(self._ledger.dram_charge(other.id) for other in others)
        return self._room(instance) + self._dram_being_freed() - self._claimed() + reclaimed

    def _need(self, instance: Instance) -> int:
        """Bytes of main memory that an instance needs to sleep, beside what it kept there."""
        kept = 0 if instance.freeing else self._ledger.dram_charge(instance.id)
        return max(0, instance.sleep_memory - kept)

    def _room(self, instance: Instance) -> int:
        # On a CPU the weights are in main memory already and need no free memory.
        there = self._ledger.accounts[instance.device].kind == "cpu"
        return self._ledger.dram.usable(resident=instance.sleep_memory if there else 0)

    def _dram_being_freed(self) -> int:
        """Bytes of main memory that instances which end, wake or release it will free."""
        there = [self._instances[number] for number in self._ledger.dram.charges]
        leaving = [i for i in there if isinstance(i.state, Stopping | Waking) or i.freeing]
        return sum(self._ledger.dram_charge(instance.id) for instance in leaving)

    def _claimed(self) -> int:
        return sum(self._need(self._instances[number]) for number in self._waiting_now())

    def _waiting_now(self) -> list[int]:
        """The ids of the instances that wait to sleep, the most recently used first."""
        there = self._instances
        self._waiting = {n for n in self._waiting if n in there and there[n].waits_to_sleep}
        return sorted(self._waiting, key=lambda number: (-last_used(there[number]), number))

    def _reclaimable(self, instance: Instance) -> list[Instance]:
        """The instances that are awake and kept main memory, the idle ones first."""
        there = (self._instances[number] for number in self._ledger.dram.charges)
        keepers = [
            other
            for other in there
            if isinstance(other.state, Ready)
            and other is not instance
            and not (other.freeing or other.state.to_sleep)
        ]
        return sorted(keepers, key=lambda other: (bool(other.in_flight), last_used(other)))

    def _older_sleepers(self, instance: Instance) -> list[Instance]:
        """The sleepers that may end for an instance, the least recently used first.

        Some of them may still be falling asleep. A sleeper that is about to be woken stays.
        """
        there = (self._instances[number] for number in self._ledger.dram.charges)
        older = [
            other
            for other in there
            if other.asleep
            and not (other.model.pinned or other.model.needed)
            and last_used(other) < last_used(instance)
        ]
        return sorted(older, key=last_used)

    def freed_by_sleep(self, instance: Instance) -> int:
        """Bytes of its device that an instance frees by falling asleep, as far as is known."""
        charge = self._ledger.charge(instance.id)
        if instance.asleep_memory is not None:
            return max(0, charge - instance.asleep_memory)
        return min(charge, instance.sleep_memory)

    def being_freed(self, instances: Iterable[Instance]) -> int:
        """Bytes of a device that instances are freeing already, as far as is known."""
        freed = 0
        for instance in instances:
            if isinstance(instance.state, Stopping):
                freed += self._ledger.charge(instance.id)
            elif isinstance(instance.state, Suspending) or instance.waits_to_sleep:
                freed += self.freed_by_sleep(instance)
        return freed

    # Falling asleep

    def suspend(self, instance: Instance, now: float) -> None:
        """Dispatch nothing more to a ready instance; it sleeps once it is idle and has room."""
        assert isinstance(instance.state, Ready)
        instance.state.draining = instance.state.to_sleep = True
        if instance.waits_to_sleep:
            self._waiting.add(instance.id)
            self.suspend_waiting(now)

    def suspend_waiting(self, now: float) -> None:
        """Suspend the instances that wait for it; make room for them, or end them."""
        if not self._waiting:
            return
        claimed = 0
        for instance in [self._instances[number] for number in self._waiting_now()]:
            need, room = self._need(instance), self._room(instance) - claimed
            if need <= room and not instance.freeing:
                self._fall_asleep(instance, now)
            elif self._make_room(instance, need - room - self._dram_being_freed(), now):
                claimed += need
            else:
                self._stop(instance, now)

    def _make_room(self, instance: Instance, missing: int, now: float) -> bool:
        """Reclaim what others kept, and end the least recently used sleepers, for an instance.

        Does nothing and returns False if that cannot free the missing bytes.
        """
        chosen = []
        for other in [*self._reclaimable(instance), *self._older_sleepers(instance)]:
            if missing <= 0:
                break
            chosen.append(other)
            missing -= self._ledger.dram_charge(other.id)
        if missing > 0:
            return False
        for other in chosen:
            self._reclaim_from(other, instance, now)
        return True

    def _reclaim_from(self, sleeper: Instance, instance: Instance, now: float) -> None:
        if isinstance(sleeper.state, Ready):
            sleeper.freeing = True
            self._out.append(FreeWorkerDram(sleeper.id))
        elif isinstance(sleeper.state, Asleep):  # else it ends once it is asleep
            self._out.append(Evicted(sleeper.id, sleeper.model.name, instance.model.name))
            self._stop(sleeper, now)

    def dram_freed(self, instance: Instance) -> None:
        """Release the main memory that an instance kept: its worker has freed it."""
        instance.freeing = False
        self._ledger.release_dram(instance.id)

    def _fall_asleep(self, instance: Instance, now: float) -> None:
        self._waiting.discard(instance.id)
        instance.state = Suspending(now, last_used(instance))
        self._ledger.begin_sleep(instance.id, instance.sleep_memory)
        self._watch(instance)
        self._out.append(SleepWorker(instance.id))

    def slept(self, instance: Instance, device_memory: int, dram_memory: int, now: float) -> None:
        """Record that an instance sleeps; end others if it took more memory than there was."""
        instance.state = Asleep(now, last_used(instance))
        instance.asleep_memory, instance.sleep_memory = device_memory, dram_memory
        self._ledger.finish_sleep(instance.id, device_memory, dram_memory)
        dram = self._ledger.dram
        missing = dram.charged - dram.capacity - self._dram_being_freed()
        if missing > 0 and not self._make_room(instance, missing, now):
            self._stop(instance, now)
