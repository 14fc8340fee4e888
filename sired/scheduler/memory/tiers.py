"""Where models are that are on no device for now: asleep in main memory, or on disk only.

1. An instance can sleep if its runtime said so when it was loaded, and main memory is set aside.
2. One that gives way to another sleeps rather than ends if main memory has room for its weights,
   or would have once sleepers that were used longer ago are on disk; those end first.
3. Until its device's memory is free both are charged, and so again while it wakes.
4. One that idled for its keep-alive goes to sleep if there is room as things are, unless it was to
   be unloaded after use. A sleeper stays until its memory is wanted, here or on its device: the
   one used longest ago goes to disk first. It does not expire.
5. One that woke may keep the main memory it slept in, for the next time: to make such memory ready
   takes longer than to copy weights. It is charged, and the first to be freed for others.
6. Who could sleep when it was decided, and cannot any more when it is idle, ends.
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

    def can_sleep(self, instance: Instance) -> bool:
        """Whether an instance can ever sleep here."""
        return 0 < instance.sleep_memory <= self._ledger.dram.capacity

    def has_room(self, instance: Instance) -> bool:
        """Whether an instance can go to sleep with nothing ending for it."""
        able = self.can_sleep(instance) and not instance.freeing
        return able and self._need(instance) <= self._room(instance)

    def select_sleepers(self, victims: Iterable[Instance]) -> list[Instance]:
        """Those of some victims that can sleep, all together; the last used have precedence."""
        chosen, claimed = [], 0
        for victim in sorted(victims, key=last_used, reverse=True):
            need = claimed + self._need(victim)
            if self.can_sleep(victim) and need <= self._obtainable(victim):
                chosen.append(victim)
                claimed = need
        return chosen

    def _obtainable(self, instance: Instance) -> int:
        """Bytes of main memory it could have, once those that end and older sleepers are gone."""
        others = [*self._reclaimable(instance), *self._older_sleepers(instance)]
        spare = sum(self._ledger.dram_charge(other.id) for other in others)
        return self._room(instance) + self._freed() - self._claimed() + spare

    def _need(self, instance: Instance) -> int:
        """Bytes of main memory that it takes for an instance to sleep, beside what it kept."""
        kept = 0 if instance.freeing else self._ledger.dram_charge(instance.id)
        return max(0, instance.sleep_memory - kept)

    def _room(self, instance: Instance) -> int:
        # What sleeps where it was loaded, in main memory, takes none that is free.
        there = self._ledger.accounts[instance.device].kind == "cpu"
        return self._ledger.dram.usable(resident=instance.sleep_memory if there else 0)

    def _freed(self) -> int:
        """Bytes of main memory that will be free once those that end are gone, or awake."""
        there = [self._instances[number] for number in self._ledger.dram.charges]
        leaving = [i for i in there if isinstance(i.state, Stopping | Waking) or i.freeing]
        return sum(self._ledger.dram_charge(instance.id) for instance in leaving)

    def _claimed(self) -> int:
        return sum(self._need(self._instances[number]) for number in self._waiting_now())

    def _waiting_now(self) -> list[int]:
        """Those that still wait to sleep, the last used first."""
        there = self._instances
        self._waiting = {n for n in self._waiting if n in there and there[n].waits_to_sleep}
        return sorted(self._waiting, key=lambda number: (-last_used(there[number]), number))

    def _reclaimable(self, instance: Instance) -> list[Instance]:
        """Those awake that kept main memory which another may have; the idle ones first."""
        there = (self._instances[number] for number in self._ledger.dram.charges)
        spare = [
            other
            for other in there
            if isinstance(other.state, Ready)
            and other is not instance
            and not (other.freeing or other.state.to_sleep)
        ]
        return sorted(spare, key=lambda other: (bool(other.in_flight), last_used(other)))

    def _older_sleepers(self, instance: Instance) -> list[Instance]:
        """Sleepers that may go to disk for an instance, the one used longest ago first.

        Some of them may be falling asleep still. One that is about to be woken stays.
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
        """Bytes of its device that an instance gives back by falling asleep, as far as is known."""
        charge = self._ledger.charge(instance.id)
        if instance.asleep_memory is not None:
            return max(0, charge - instance.asleep_memory)
        return min(charge, instance.sleep_memory)

    def being_freed(self, instances: Iterable[Instance]) -> int:
        """Bytes of a device that instances are giving back, as far as is known."""
        freed = 0
        for instance in instances:
            if isinstance(instance.state, Stopping):
                freed += self._ledger.charge(instance.id)
            elif isinstance(instance.state, Suspending) or instance.waits_to_sleep:
                freed += self.freed_by_sleep(instance)
        return freed

    # Falling asleep

    def suspend(self, instance: Instance, now: float) -> None:
        """Hand a ready instance nothing new; it sleeps once it is idle and there is room."""
        assert isinstance(instance.state, Ready)
        instance.state.draining = instance.state.to_sleep = True
        if instance.waits_to_sleep:
            self._waiting.add(instance.id)
            self.suspend_waiting(now)

    def suspend_waiting(self, now: float) -> None:
        """Put to sleep what waits for it; make room where there is none, or end it."""
        if not self._waiting:
            return
        claimed = 0
        for instance in [self._instances[number] for number in self._waiting_now()]:
            need, room = self._need(instance), self._room(instance) - claimed
            if need <= room and not instance.freeing:
                self._fall_asleep(instance, now)
            elif self._make_room(instance, need - room - self._freed(), now):
                claimed += need
            else:
                self._stop(instance, now)

    def _make_room(self, instance: Instance, missing: int, now: float) -> bool:
        """Take what others kept, and end the sleepers used longest ago, until there is room.

        Nothing happens, and it returns False, if that is never enough.
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
            self._take_from(other, instance, now)
        return True

    def _take_from(self, sleeper: Instance, instance: Instance, now: float) -> None:
        if isinstance(sleeper.state, Ready):
            sleeper.freeing = True
            self._out.append(FreeWorkerDram(sleeper.id))
        elif isinstance(sleeper.state, Asleep):  # else it ends when it lies
            self._out.append(Evicted(sleeper.id, sleeper.model.name, instance.model.name))
            self._stop(sleeper, now)

    def dram_freed(self, instance: Instance) -> None:
        """An instance that is awake has given back what it kept of main memory."""
        instance.freeing = False
        self._ledger.release_dram(instance.id)

    def _fall_asleep(self, instance: Instance, now: float) -> None:
        self._waiting.discard(instance.id)
        instance.state = Suspending(now, last_used(instance))
        self._ledger.begin_sleep(instance.id, instance.sleep_memory)
        self._watch(instance)
        self._out.append(SleepWorker(instance.id))

    def slept(self, instance: Instance, device_memory: int, dram_memory: int, now: float) -> None:
        """An instance sleeps and was measured; if it took more than there is, others go to disk."""
        instance.state = Asleep(now, last_used(instance))
        instance.asleep_memory, instance.sleep_memory = device_memory, dram_memory
        self._ledger.finish_sleep(instance.id, device_memory, dram_memory)
        dram = self._ledger.dram
        missing = dram.charged - dram.capacity - self._freed()
        if missing > 0 and not self._make_room(instance, missing, now):
            self._stop(instance, now)
