"""Whether a model that is not loaded would fit on each device, and how much memory it would need.

It fits "now" where enough memory is free; "after-eviction" once other instances have ended or
sleep, possibly after their turns; "not-now" where the instances that can be evicted do not
suffice, because other programs or loading or leased instances hold the memory; "never" where it
would not fit even if everything but pinned models were gone.
"""

from dataclasses import dataclass

from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.room import candidates_among, evictable, inactive
from sired.scheduler.policies.eviction import choose_victims
from sired.scheduler.rules import Rules


@dataclass(frozen=True, slots=True)
class Fit:
    """How one model fits on one device.

    Attributes:
        device: the name of the device.
        need: bytes that the model needs there.
        source: where ``need`` comes from: declared, learned or estimated.
        fits: now, after-eviction, not-now or never.
        evicts: the models whose instances would be evicted.
    """

    device: str
    need: int
    source: str
    fits: str
    evicts: tuple[str, ...] = ()


def fit_by_device(model: Model, fleet: Fleet, rules: Rules, now: float) -> list[Fit]:
    """How a model fits on each device that it may go to. Changes nothing."""
    accounts = fleet.ledger.accounts.values()
    return [
        _on(account, model, fleet, rules, now)
        for account in accounts
        if model.device in {"auto", account.name}
    ]


def _on(account: Account, model: Model, fleet: Fleet, rules: Rules, now: float) -> Fit:
    need, source = model.footprint(account.kind, rules)

    def charge(instance: Instance) -> int:
        return fleet.ledger.charge(instance.id)

    there = [i for i in fleet.instances.values() if i.device == account.name]
    pinned = sum(charge(i) for i in there if i.model.pinned)
    if need > account.capacity - pinned:
        return Fit(account.name, need, source, "never")
    ending = sum(charge(i) for i in there if isinstance(i.state, Stopping))
    missing = need - account.usable(freed=ending)
    if missing <= 0:
        return Fit(account.name, need, source, "now")
    for can_go in (_idle, _after_turn):
        candidates = candidates_among([i for i in there if can_go(i)], charge)
        if victims := choose_victims(candidates, missing, rules.eviction, now):
            names = dict.fromkeys(fleet.instances[victim].model.name for victim in victims)
            return Fit(account.name, need, source, "after-eviction", tuple(names))
    return Fit(account.name, need, source, "not-now")


def _idle(instance: Instance) -> bool:
    return evictable(instance) and inactive(instance)


def _after_turn(instance: Instance) -> bool:
    return evictable(instance) and instance.lease is None
