"""Which instances give way so that a load fits on a device.

The gentlest of these plans that suffices is used:

1. Wait: the processes that are ending or falling asleep already free enough.
2. Idle models go: those that the eviction policy selects. A model that still loads although
   nothing waits for it any more counts as idle. Instances that can sleep (see ``tiers``) sleep
   instead of ending. If what they leave on the device is too much, sleepers end too, the least
   recently used first; if that is not enough either, all of the selected instances end.
3. Busy models go, too, once their turns are over: nothing more is dispatched to them, so that they
   become idle.

A load that waits has a claim on its device: loads behind it cannot take the memory it waits for.

A turn begins when a load first waits for a busy instance, or when that instance has loaded if this
is later. The instance's queue is served meanwhile, so models that are requested alternately are
loaded once per turn and not once per request. A turn ends after ``patience`` seconds, or after as
many seconds as the instance took to load if that is longer, so that no more time is spent on
loading than on serving; or after ``turn_requests`` requests. Both limits are multiplied by the
model's weight. An evicted model queues behind the loads that already wait, so competing models
take turns, and the lengths of their turns are proportional to their weights.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sired.scheduler.entities.instance import Asleep, Instance, Ready, Turn, last_used
from sired.scheduler.entities.ledger import Account, Ledger
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.memory.tiers import Tiers
from sired.scheduler.policies.eviction import Candidate, choose_victims
from sired.scheduler.rules import Rules


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """The load will fit on this device once ``stop`` have ended and ``drain`` become idle.

    Attributes:
        memory: bytes that the load claims meanwhile.
        disruption: 0 when the load only waits for instances that are ending anyway, 1 when idle
            models are evicted, 2 when busy models are, 3 when not even that suffices now.
        stop: idle instances to end.
        drain: busy instances to end once they are idle.
        sleep: instances to suspend once they are idle.
        retry_at: when the next turn on the device ends; None to wait for events only.
    """

    device: str
    memory: int
    disruption: int
    stop: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()
    sleep: tuple[int, ...] = ()
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Victims:
    """The instances that give way to a load: those to ``end`` and those to ``sleep``."""

    end: tuple[Instance, ...] = ()
    sleep: tuple[Instance, ...] = ()


def candidates_among(
    instances: Sequence[Instance], frees: Callable[[Instance], int]
) -> list[Candidate]:
    """Describe instances to an eviction policy, each with the bytes that it ``frees``."""
    return [
        Candidate(
            instance.id,
            frees(instance),
            last_used(instance),
            instance.model.history,
        )
        for instance in instances
    ]


def evictable(instance: Instance) -> bool:
    """Whether an instance may give way as soon as it is idle."""
    there = isinstance(instance.state, Ready | Asleep) or instance.unneeded
    return there and not instance.waits_to_sleep and not instance.model.pinned


def inactive(instance: Instance) -> bool:
    """Whether ending an instance interrupts nothing."""
    return instance.idle or instance.unneeded or instance.asleep


def ids(instances: Iterable[Instance]) -> tuple[int, ...]:
    """The ids of instances, in the same order."""
    return tuple(instance.id for instance in instances)


class RoomPlanner:
    """Plans which instances give way to a load; it changes nothing but when turns began."""

    def __init__(self, ledger: Ledger, tiers: Tiers, rules: Rules) -> None:
        self._ledger = ledger
        self._tiers = tiers
        self._rules = rules

    def plan(
        self,
        load: PendingLoad,
        account: Account,
        memory: int,
        residents: list[Instance],
        claimed: int,
        now: float,
        resident_memory: int = 0,
    ) -> MakeRoom:
        """Plan which instances give way so that a load fits on a device.

        Args:
            load: the load to make room for.
            account: the device.
            memory: bytes that the load needs there.
            residents: the instances on the device that may give way.
            claimed: bytes of the device that earlier loads wait for.
            now: the current time.
            resident_memory: bytes of the load that are in the device's memory already.
        """
        freed = self._tiers.being_freed(residents)
        usable = account.usable(freed=freed, resident=resident_memory)
        missing = memory + claimed - usable
        if missing <= 0:
            return MakeRoom(account.name, memory, disruption=0)
        idle = [r for r in residents if evictable(r) and inactive(r)]
        if victims := self._victims(idle, missing, now):
            end, sleep = ids(victims.end), ids(victims.sleep)
            return MakeRoom(account.name, memory, disruption=1, stop=end, sleep=sleep)
        return self._plan_among_busy(load, account.name, memory, missing, residents, now)

    def _plan_among_busy(
        self,
        load: PendingLoad,
        device: str,
        memory: int,
        missing: int,
        residents: list[Instance],
        now: float,
    ) -> MakeRoom:
        loaded = [r for r in residents if evictable(r) and r.lease is None]
        # No instance is ended before all can be: a set that does not suffice helps no load.
        if self._victims(loaded, missing, now) is None:
            return MakeRoom(device, memory, disruption=3)
        ends = {resident.id: self._turn_end(load, resident, now) for resident in loaded}
        over = [resident for resident in loaded if ends[resident.id] <= now]
        victims = self._victims(over, missing, now)
        if victims is None:
            soonest = min(end for end in ends.values() if end > now)
            return MakeRoom(device, memory, disruption=2, retry_at=soonest)
        at_once = [victim for victim in victims.end if inactive(victim)]
        later = [victim for victim in victims.end if victim not in at_once]
        end, drain, sleep = ids(at_once), ids(later), ids(victims.sleep)
        return MakeRoom(device, memory, disruption=2, stop=end, drain=drain, sleep=sleep)

    def turns_end(self, load: PendingLoad, instances: Iterable[Instance], now: float) -> float:
        """When the last of these instances has to give way to this load."""
        return max(self._turn_end(load, instance, now) for instance in instances)

    def _turn_end(self, load: PendingLoad, resident: Instance, now: float) -> float:
        """When an instance has to give way to this load if its model is still busy."""
        if resident.idle or not isinstance(resident.state, Ready):
            return now
        turn = resident.turn
        if turn is None or turn.awaited_by.resolved:
            weight = resident.model.weight
            since = max(load.since, resident.state.since)
            turn = resident.turn = Turn(
                awaited_by=load,
                ends=since + max(self._rules.patience, resident.state.load_seconds) * weight,
                last_request=resident.served + max(1, round(self._rules.turn_requests * weight)),
            )
        return now if resident.served >= turn.last_request else turn.ends

    def _victims(self, instances: list[Instance], need: int, now: float) -> Victims | None:
        """Select the victims as gently as possible; None when all together do not suffice."""
        awake = [instance for instance in instances if not instance.asleep]
        tiers = self._tiers
        able = {i for i in awake if isinstance(i.state, Ready) and tiers.select_sleepers([i])}

        def frees(instance: Instance) -> int:
            return tiers.freed_by_sleep(instance) if instance in able else self._charge(instance)

        unneeded = [i for i in instances if not i.asleep or not i.model.needed]
        for those, gently in ((awake, True), (unneeded, True), (instances, False)):
            candidates = candidates_among(those, frees if gently else self._charge)
            chosen = choose_victims(candidates, need, self._rules.eviction, now)
            if chosen is not None:
                victims = [instance for instance in those if instance.id in chosen]
                sleep = tiers.select_sleepers(v for v in victims if v in able) if gently else []
                return Victims(tuple(v for v in victims if v not in sleep), tuple(sleep))
        return None

    def _charge(self, instance: Instance) -> int:
        return self._ledger.charge(instance.id)
