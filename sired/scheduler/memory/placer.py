"""Finding a place for a model that somebody waits for.

How it is decided, for each waiting load in the order they are due (see ``pending``):

1. The devices it may go to: the one it names, else all of the best kind (GPUs before CPUs) where
   it would fit if everything but the pinned were gone. If there is none, it fails at once.
2. The placement strategy puts these in order.
3. One that sleeps on one of them wakes there, if it fits now, or will once processes that end or
   idle models have given their memory back; it is loaded anew only where that is not so.
   Else the first where it fits now: start it there.
4. Else the first where it fits once the processes already ending are gone: wait.
5. Else the first where ending idle models makes room: end those the eviction policy names, wait.
   A model that still loads while nobody waits for it any more is as good as idle. Those that can
   sleep (see ``tiers``) sleep instead; where what stays of them is too much, sleepers end, the
   one used longest ago first, and where that is not enough either, all end.
6. Else the first where busy models, too, would have to go: once they have had their turn, hand
   them nothing new, so that they become idle; wait.

A load that waits has a claim on its device: those behind it cannot take what it waits for.

A turn begins when a load first waits for a busy instance, or when that has loaded if this is
later. Its queue is drained meanwhile, so models that are asked for in turn are loaded once each
and not once a request. It ends after ``patience`` seconds, or as many as its load took where these
are more, so that no more time goes into loading than into serving; or after ``turn_requests``
requests. Both are multiplied by the model's weight: what is evicted waits behind whoever waits
already, so models that compete take turns, and turns in proportion to their weights.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sire.errors import DeviceNotFound, InsufficientMemory
from sire.units import format_bytes
from sired.scheduler.entities.instance import Asleep, Instance, Placement, Ready, last_used
from sired.scheduler.entities.ledger import Account, Ledger
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.memory.tiers import Tiers
from sired.scheduler.policies.eviction import Candidate, choose_victims
from sired.scheduler.policies.placement import Place, Strategy
from sired.scheduler.rules import Rules

KINDS_BEST_FIRST = ("cuda", "cpu")


@dataclass(frozen=True, slots=True)
class Start:
    """It fits: start it on this device with this much memory."""

    device: str
    memory: int


@dataclass(frozen=True, slots=True)
class WakeInstance:
    """It sleeps and fits: wake this instance, with so much memory in all."""

    instance: int
    memory: int


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """It will fit on this device once these have ended (``stop``) or have become idle (``drain``).

    Attributes:
        sleep: those that are to sleep once they are idle.
        harm: 0 when it only waits for what is ending anyway, 1 when idle models go, 2 when busy
            ones do, 3 when not even that suffices now.
        retry_at: when a busy model there will have had its turn; None to wait for events only.
    """

    device: str
    memory: int
    harm: int
    stop: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()
    sleep: tuple[int, ...] = ()
    retry_at: float | None = None


def candidates_among(
    instances: Sequence[Instance], frees: Callable[[Instance], int]
) -> list[Candidate]:
    """These instances as an eviction policy sees them, each with the bytes that it ``frees``."""
    return [
        Candidate(
            instance.id,
            frees(instance),
            last_used(instance),
            instance.model.history,
        )
        for instance in instances
    ]


def _ids(instances: Iterable[Instance]) -> tuple[int, ...]:
    return tuple(instance.id for instance in instances)


@dataclass(frozen=True, slots=True)
class Victims:
    """Who has to go so that a load fits: to ``end``, and to ``sleep``."""

    end: tuple[Instance, ...] = ()
    sleep: tuple[Instance, ...] = ()


def may_go(resident: Instance) -> bool:
    """Whether an instance may give way, as soon as it is idle."""
    there = isinstance(resident.state, Ready | Asleep) or resident.unwanted
    return there and not resident.waits_to_sleep and not resident.model.pinned


class Placer:
    """Decides where pending loads go; of what it sees it changes only when turns began."""

    def __init__(self, ledger: Ledger, tiers: Tiers, strategy: Strategy, rules: Rules) -> None:
        self._ledger = ledger
        self._tiers = tiers
        self._strategy = strategy
        self._rules = rules
        self._placements: dict[str, int] = {}

    def placed(self, device: str) -> None:
        """Note that a load went to this device, for the strategies that take turns."""
        self._placements[device] = 1 + max(self._placements.values(), default=0)

    def decide(
        self,
        load: PendingLoad,
        instances: Iterable[Instance],
        claims: dict[str, int],
        now: float,
    ) -> Start | WakeInstance | MakeRoom:
        """Where this load goes, or what it waits for.

        Raises:
            DeviceNotFound: it names a device that there is not.
            InsufficientMemory: it can never fit.
        """
        residents = self._residents(instances)
        waking = self._wake(load, residents, claims, now)
        if isinstance(waking, WakeInstance) or (waking and waking.harm <= 1):
            return waking
        order = self._order(load, residents, claims)
        for account in order:
            need = self._need(load, account)
            if need + claims.get(account.name, 0) <= account.usable():
                return Start(account.name, need)
        rooms = [waking] if waking else []
        rooms += [
            self._room(load, account, residents[account.name], claims, now) for account in order
        ]
        return min(rooms, key=lambda room: room.harm)

    def _wake(
        self,
        load: PendingLoad,
        residents: dict[str, list[Instance]],
        claims: dict[str, int],
        now: float,
    ) -> WakeInstance | MakeRoom | None:
        """Wake an instance of the model, or what that waits for; None if none sleeps."""
        sleeper = self.sleeper(load, residents)
        if sleeper is None:
            return None
        account = self._ledger.accounts[sleeper.device]
        charge = self._ledger.charge(sleeper.id)
        memory = max(charge, self._need(load, account))
        if not isinstance(sleeper.state, Asleep):  # it has to lie down before it can get up
            return MakeRoom(account.name, memory - charge, harm=0)
        there = self._ledger.there_already(sleeper.id)
        if memory - charge + claims.get(account.name, 0) <= account.usable(taken=there):
            return WakeInstance(sleeper.id, memory)
        others = [other for other in residents[account.name] if other is not sleeper]
        return self._make_room(load, account, memory - charge, others, claims, now, there)

    def sleeper(self, load: PendingLoad, residents: dict[str, list[Instance]]) -> Instance | None:
        """The instance that a load can wake, or could if it slept already."""
        if load.attempt:  # it has just run out of memory: a fresh process is wanted
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
        """The devices on which a load can fit, once everything that may go is gone.

        Raises:
            DeviceNotFound: it names a device that there is not.
            InsufficientMemory: it can never fit.
        """
        return tuple(account.name for account in self._fitting(load, self._residents(instances)))

    def _residents(self, instances: Iterable[Instance]) -> dict[str, list[Instance]]:
        residents: dict[str, list[Instance]] = {name: [] for name in self._ledger.accounts}
        for instance in instances:
            residents[instance.device].append(instance)
        return residents

    def _fitting(self, load: PendingLoad, residents: dict[str, list[Instance]]) -> list[Account]:
        """The devices of the best kind on which the load can ever fit."""
        allowed = self._allowed(load)
        pinned = {
            account.name: sum(
                self._ledger.charge(resident.id)
                for resident in residents[account.name]
                if resident.model.pinned and resident.model is not load.model
            )
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
                return fitting
        raise self._insufficient(load, allowed, pinned)

    def _allowed(self, load: PendingLoad) -> list[Account]:
        accounts = self._ledger.accounts
        name = load.device or load.model.device
        if name == "auto":
            if there := [account for account in accounts.values() if not account.lost]:
                return there
            raise DeviceNotFound("No device answers its driver.", hint="See: sire devices")
        if name not in accounts:
            raise DeviceNotFound(
                f"There is no device {name!r} for {load.model.name}.",
                hint=f"There are: {', '.join(accounts)}. See: sire devices",
                device=name,
            )
        if accounts[name].lost:
            raise DeviceNotFound(
                f"{name}, where {load.model.name} is to go, does not answer its driver any more.",
                hint="Look at it: sire devices. Or register the model for another device.",
                device=name,
            )
        return [accounts[name]]

    def _need(self, load: PendingLoad, account: Account) -> int:
        return max(load.at_least, load.model.footprint(account.kind, self._rules)[0])

    def _room(
        self,
        load: PendingLoad,
        account: Account,
        residents: list[Instance],
        claims: dict[str, int],
        now: float,
    ) -> MakeRoom:
        """What has to go from one device before the load fits there."""
        memory = self._need(load, account)
        return self._make_room(load, account, memory, residents, claims, now)

    def _make_room(
        self,
        load: PendingLoad,
        account: Account,
        memory: int,
        residents: list[Instance],
        claims: dict[str, int],
        now: float,
        taken: int = 0,
    ) -> MakeRoom:
        freed = self._tiers.on_their_way(residents)
        usable = account.usable(freed=freed, taken=taken)
        missing = memory + claims.get(account.name, 0) - usable
        if missing <= 0:
            return MakeRoom(account.name, memory, harm=0)
        idle = [r for r in residents if may_go(r) and (r.idle or r.unwanted or r.asleep)]
        if victims := self._victims(idle, missing, now):
            end, sleep = _ids(victims.end), _ids(victims.sleep)
            return MakeRoom(account.name, memory, harm=1, stop=end, sleep=sleep)
        return self._room_among_busy(load, account.name, memory, missing, residents, now)

    def _room_among_busy(
        self,
        load: PendingLoad,
        device: str,
        memory: int,
        missing: int,
        residents: list[Instance],
        now: float,
    ) -> MakeRoom:
        loaded = [r for r in residents if may_go(r) and r.lease is None]
        # Nobody is ended before all of them can be: a set that does not suffice helps no one.
        if self._victims(loaded, missing, now) is None:
            return MakeRoom(device, memory, harm=3)
        ends = {resident.id: self._turn_end(load, resident, now) for resident in loaded}
        over = [resident for resident in loaded if ends[resident.id] <= now]
        victims = self._victims(over, missing, now)
        if victims is None:
            soonest = min(end for end in ends.values() if end > now)
            return MakeRoom(device, memory, harm=2, retry_at=soonest)
        at_once = [v for v in victims.end if v.idle or v.unwanted or v.asleep]
        later = [victim for victim in victims.end if victim not in at_once]
        end, drain, sleep = _ids(at_once), _ids(later), _ids(victims.sleep)
        return MakeRoom(device, memory, harm=2, stop=end, drain=drain, sleep=sleep)

    def turns_end(self, load: PendingLoad, instances: Iterable[Instance], now: float) -> float:
        """When the last of some instances has to give its place to this load."""
        return max(self._turn_end(load, instance, now) for instance in instances)

    def _turn_end(self, load: PendingLoad, resident: Instance, now: float) -> float:
        """When an instance has to give its place to this load, if its model is still busy."""
        if resident.idle or not isinstance(resident.state, Ready):
            return now
        turn = resident.turn
        if turn is None or turn.wanted_by.over:
            weight = resident.model.weight
            since = max(load.since, resident.state.since)
            turn = resident.turn = Placement(
                wanted_by=load,
                ends=since + max(self._rules.patience, resident.state.load_seconds) * weight,
                last_request=resident.served + max(1, round(self._rules.turn_requests * weight)),
            )
        return now if resident.served >= turn.last_request else turn.ends

    def _victims(self, instances: list[Instance], need: int, now: float) -> Victims | None:
        """Who is to go, as gently as possible; None when all of them together do not suffice."""
        awake = [instance for instance in instances if not instance.asleep]
        tiers = self._tiers
        able = {i for i in awake if isinstance(i.state, Ready) and tiers.sleepable([i])}

        def frees(instance: Instance) -> int:
            return tiers.freed_by_sleep(instance) if instance in able else self._charge(instance)

        spare = [i for i in instances if not i.asleep or not i.model.wanted]
        for those, gently in ((awake, True), (spare, True), (instances, False)):
            candidates = candidates_among(those, frees if gently else self._charge)
            chosen = choose_victims(candidates, need, self._rules.eviction, now)
            if chosen is not None:
                victims = [instance for instance in those if instance.id in chosen]
                sleep = tiers.sleepable(v for v in victims if v in able) if gently else []
                return Victims(tuple(v for v in victims if v not in sleep), tuple(sleep))
        return None

    def _charge(self, instance: Instance) -> int:
        return self._ledger.charge(instance.id)

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
        need = max(need, load.at_least)
        return InsufficientMemory(
            f"{load.model.name} needs {format_bytes(need)} ({source}), more than can ever be "
            f"free: {'; '.join(places) or 'there is no device'}.",
            hint="Unpin a model, raise the limit (sire config set), or state what the model really "
            "needs: sire register --replace --max-memory",
            model=load.model.name,
            need_bytes=need,
            devices={account.name: account.capacity - pinned[account.name] for account in allowed},
        )
