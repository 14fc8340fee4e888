"""How a model that is not there would fare: what it would need on each device, and whether it fits.

It is "now" where memory is free; "after-eviction" where it is once others have ended or sleep, be
it when they have had their turn; "not-now" where those who could go do not suffice, because others
hold the memory, or what still loads or is leased; "never" where nothing that may go is enough.
"""

from dataclasses import dataclass

from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.room import candidates_among, evictable
from sired.scheduler.policies.eviction import choose_victims
from sired.scheduler.rules import Rules


@dataclass(frozen=True, slots=True)
class Fit:
    """One model on one device; sizes in bytes.

    Attributes:
        source: by what right ``need`` is believed: declared, learned or estimated.
        fits: now, after-eviction, not-now or never.
        evicts: the models whose instances would have to end.
    """

    device: str
    need: int
    source: str
    fits: str
    evicts: tuple[str, ...] = ()


def fit_by_device(model: Model, fleet: Fleet, rules: Rules, now: float) -> list[Fit]:
    """How a model would fare on each device that it may go to; changes nothing."""
    accounts = fleet.ledger.accounts.values()
    return [
        _on(account, model, fleet, rules, now)
        for account in accounts
        if model.device in {"auto", account.name}
    ]


def _on(account: Account, model: Model, fleet: Fleet, rules: Rules, now: float) -> Fit:
    need, source = model.footprint(account.kind, rules)

    def charge(one: Instance) -> int:
        return fleet.ledger.charge(one.id)

    there = [one for one in fleet.instances.values() if one.device == account.name]
    pinned = sum(charge(one) for one in there if one.model.pinned)
    if need > account.capacity - pinned:
        return Fit(account.name, need, source, "never")
    ending = sum(charge(one) for one in there if isinstance(one.state, Stopping))
    missing = need - account.usable(freed=ending)
    if missing <= 0:
        return Fit(account.name, need, source, "now")
    for goes in (_idle, _in_turn):
        going = candidates_among([one for one in there if goes(one)], charge)
        if victims := choose_victims(going, missing, rules.eviction, now):
            names = dict.fromkeys(fleet.instances[victim].model.name for victim in victims)
            return Fit(account.name, need, source, "after-eviction", tuple(names))
    return Fit(account.name, need, source, "not-now")


def _idle(instance: Instance) -> bool:
    return evictable(instance) and (instance.idle or instance.unneeded or instance.asleep)


def _in_turn(instance: Instance) -> bool:
    return evictable(instance) and instance.lease is None
