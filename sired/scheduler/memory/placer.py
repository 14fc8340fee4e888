"""Which device a pending load goes to.

Loads are decided in the order in which they are due (see ``pending``). For each load:

1. The load has to fit into its model's group, if that has a limit (see ``groups``).
2. The candidates are the device that the load or its model names, else all devices of the best
   kind (GPUs before CPUs) on which it would fit if every instance that is not pinned were gone.
   Models that were found not to use GPUs go to CPUs. Without a candidate the load fails at once.
3. The placement strategy orders the candidates.
4. If an instance of the model sleeps on an allowed device, it wakes there: now if it fits, else
   once ending processes or idle models have given back enough memory. Only if neither suffices is
   the model loaded anew.
5. Otherwise the load starts on the first candidate on which it fits now.
6. Otherwise it waits for the first candidate on which room can be made with the least disruption
   (see ``room``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from sire.errors import DeviceNotFound, InsufficientMemory
from sire.units import format_bytes
from sired.scheduler.entities.instance import Asleep, Instance, last_used
from sired.scheduler.entities.ledger import Account, DeviceState, Ledger
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.memory.groups import check_group, group_account, pinned_by_others
from sired.scheduler.memory.room import MakeRoom, RoomPlanner
from sired.scheduler.memory.tiers import Tiers
from sired.scheduler.policies.placement import Place, Strategy
from sired.scheduler.rules import Rules

KINDS_BEST_FIRST = ("cuda", "cpu")


@dataclass(frozen=True, slots=True)
class Start:
    """The load fits: start it on this device with this many bytes."""

    device: str
    memory: int


@dataclass(frozen=True, slots=True)
class WakeInstance:
    """The model sleeps and fits: wake this instance; ``memory`` is its new total in bytes."""

    instance: int
    memory: int


class Placer:
    """Decides where pending loads go.

    Attributes:
        room: plans which instances give way to a load.
    """

    def __init__(self, ledger: Ledger, tiers: Tiers, strategy: Strategy, rules: Rules) -> None:
        self.room = RoomPlanner(ledger, tiers, rules)
        self._ledger = ledger
        self._strategy = strategy
        self._rules = rules
        self._placements: dict[str, int] = {}

    def record_placement(self, device: str) -> None:
        """Record that a load went to this device, for strategies that take turns."""
        self._placements[device] = 1 + max(self._placements.values(), default=0)

    def decide(
        self,
        load: PendingLoad,
        instances: Iterable[Instance],
        claims: dict[str, int],
        now: float,
    ) -> Start | WakeInstance | MakeRoom:
        """Where this load goes, or what it waits for.

        Args:
            load: the load to place.
            instances: every instance.
            claims: bytes by device, or group, that loads which are due earlier wait for.
            now: the current time.

        Raises:
            DeviceNotFound: it names a device that does not exist or does not respond.
            InsufficientMemory: it can never fit.
        """
        residents = self._residents(instances)
        if within_group := self._fit_group(load, residents, claims, now):
            return within_group
        waking = self._wake(load, residents, claims, now)
        if isinstance(waking, WakeInstance) or (waking and waking.disruption <= 1):
            return waking
        order = self._order(load, residents, claims)
        for account in order:
            need = self._need(load, account)
            if need + claims.get(account.name, 0) <= account.usable():
                return Start(account.name, need)
        rooms = [waking] if waking else []
        for account in order:
            need, claimed = self._need(load, account), claims.get(account.name, 0)
            rooms.append(self.room.plan(load, account, need, residents[account.name], claimed, now))
        return min(rooms, key=lambda room: room.disruption)

    def _fit_group(
        self,
        load: PendingLoad,
        residents: dict[str, list[Instance]],
        claims: dict[str, int],
        now: float,
    ) -> MakeRoom | None:
        """What the load waits for in its group; None if it fits there, or has no limit."""
        instances = chain.from_iterable(residents.values())
        found = group_account(load.model, instances, self._ledger, self._rules)
        if found is None:
            return None
        account, members = found
        sleeper = self.sleeper(load, residents)
        if sleeper is None:
            need = self._need(load, self._fitting(load, residents)[0])
        else:
            charge = self._ledger.charge(sleeper.id)
            need = max(charge, self._need(load, self._ledger.accounts[sleeper.device])) - charge
        claimed = claims.get(account.name, 0)
        if need + claimed <= account.usable():
            return None
        others = [member for member in members if member is not sleeper]
        return self.room.plan(load, account, need, others, claimed, now)

    def _wake(
        self,
        load: PendingLoad,
        residents: dict[str, list[Instance]],
        claims: dict[str, int],
        now: float,
    ) -> WakeInstance | MakeRoom | None:
        """Wake an instance of the model, or what that waits for; None if no instance sleeps."""
        sleeper = self.sleeper(load, residents)
        if sleeper is None:
            return None
        account = self._ledger.accounts[sleeper.device]
        charge = self._ledger.charge(sleeper.id)
        memory = max(charge, self._need(load, account))
        if not isinstance(sleeper.state, Asleep):  # it has to fall asleep before it can wake
            return MakeRoom(account.name, memory - charge, disruption=0)
        there = self._ledger.already_resident(sleeper.id)
        claimed = claims.get(account.name, 0)
        if memory - charge + claimed <= account.usable(resident=there):
            return WakeInstance(sleeper.id, memory)
        others = [other for other in residents[account.name] if other is not sleeper]
        return self.room.plan(load, account, memory - charge, others, claimed, now, there)

    def sleeper(self, load: PendingLoad, residents: dict[str, list[Instance]]) -> Instance | None:
        """The instance that a load can wake, including one that is still falling asleep."""
        if load.attempt:  # it has just run out of memory and needs a fresh process
            return None
        allowed = self._allowed(load)
        asleep = [
            resident
            for account in allowed
            for resident in residents[account.name]
            if resident.model is load.model and resident.asleep
        ]
        return max(asleep, key=lambda i: (isinstance(i.state, Asleep), last_used(i)), default=None)

    def _order(
        self, load: PendingLoad, residents: dict[str, list[Instance]], claims: dict[str, int]
    ) -> list[Account]:
        accounts = self._fitting(load, residents)
        places = [
            Place(
                device=account.name,
                capacity=account.capacity,
                used=account.charged,
                usable=account.usable() - claims.get(account.name, 0),
                instances=len(residents[account.name]),
                last_placed=self._placements.get(account.name, 0),
            )
            for account in accounts
        ]
        ordered = self._strategy(places, self._need(load, accounts[0]))
        return [self._ledger.accounts[place.device] for place in ordered]

    def lane(self, load: PendingLoad, instances: Iterable[Instance]) -> tuple[str, ...]:
        """The devices on which a load can fit once everything that can be evicted is gone.

        A group that has a limit follows: what waits for it waits in a lane of its own.

        Raises:
            DeviceNotFound: it names a device that does not exist or does not respond.
            InsufficientMemory: it can never fit.
        """
        residents = self._residents(instances)
        devices = self._fitting(load, residents)
        everyone = chain.from_iterable(residents.values())
        found = group_account(load.model, everyone, self._ledger, self._rules)
        return tuple(account.name for account in [*devices, *(found[:1] if found else ())])

    def _residents(self, instances: Iterable[Instance]) -> dict[str, list[Instance]]:
        residents: dict[str, list[Instance]] = {name: [] for name in self._ledger.accounts}
        for instance in instances:
            residents[instance.device].append(instance)
        return residents

    def _fitting(self, load: PendingLoad, residents: dict[str, list[Instance]]) -> list[Account]:
        """The devices of the best kind on which the load can ever fit."""
        allowed = self._allowed(load)
        pinned = {
            account.name: pinned_by_others(load.model, residents[account.name], self._ledger)
            for account in allowed
        }
        for kind in KINDS_BEST_FIRST:
            fitting = [
                account
                for account in allowed
                if account.kind == kind
                and self._need(load, account) <= account.capacity - pinned[account.name]
            ]
            if fitting:
                everyone = chain.from_iterable(residents.values())
                need = self._need(load, fitting[0])
                check_group(load.model, need, everyone, self._ledger, self._rules)
                return fitting
        raise self._insufficient(load, allowed, pinned)

    def _allowed(self, load: PendingLoad) -> list[Account]:
        accounts = self._ledger.accounts
        name = load.device or load.model.device
        if load.attempt and name in accounts:  # it ran out of memory there
            name = name if accounts[name].usable_now else load.model.device
        if name == "auto":
            if there := [one for one in accounts.values() if one.usable_now]:
                return [one for one in there if load.model.uses(one.kind)] or there
            raise DeviceNotFound(
                "No driver of a device responds.", hint="List the devices with: sire devices"
            )
        if name not in accounts:
            raise DeviceNotFound(
                f"{load.model.name} cannot be loaded on {name!r}: no such device.",
                hint=f"The devices are: {', '.join(accounts)}. Details: sire devices",
                device=name,
            )
        if not accounts[name].usable_now:
            raise _unusable(load.model.name, accounts[name])
        return [accounts[name]]

    def _need(self, load: PendingLoad, account: Account) -> int:
        return max(load.min_memory, load.model.footprint(account.kind, self._rules)[0])

    def _insufficient(
        self, load: PendingLoad, allowed: list[Account], pinned: dict[str, int]
    ) -> InsufficientMemory:
        places = []
        for account in allowed:
            held = f", {format_bytes(pinned[account.name])} of it pinned"
            bound = f" by {account.bounded_by}" if account.bounded_by else ""
            places.append(
                f"{account.name} has {format_bytes(account.capacity)}{bound}"
                f"{held if pinned[account.name] else ''}"
            )
        need, source = min(load.model.footprint(account.kind, self._rules) for account in allowed)
        need = max(need, load.min_memory)
        return InsufficientMemory(
            f"{load.model.name} needs {format_bytes(need)} ({source}), more than can ever be "
            f"free: {'; '.join(places) or 'there is no device'}.",
            hint="Unpin a model, raise the limit (sire config set), or state what the model really "
            "needs: sire register --replace --max-memory",
            model=load.model.name,
            need_bytes=need,
            devices={account.name: account.capacity - pinned[account.name] for account in allowed},
        )


def _unusable(model: str, account: Account) -> DeviceNotFound:
    """A model is bound to a device on which nothing can be placed now."""
    problem = account.backoff.error
    why = {
        DeviceState.GONE: "the device is gone.",
        DeviceState.SILENT: "the device is not reported on by its driver.",
        DeviceState.RESTING: f"the last load failed there. {problem.message if problem else ''}",
    }[account.state]
    return DeviceNotFound(
        f"{model} cannot be loaded on {account.name}: {why}",
        hint="Check it with: sire devices. Or register the model for another device.",
        device=account.name,
    )
