"""Whether a model that is not loaded would fit on each device, and how much memory it would need.

It fits "now" where enough memory is free; "after-eviction" once other instances have ended or
sleep, possibly after their turns; "not-now" where the instances that can be evicted do not
suffice, because other programs or loading or leased instances hold the memory; "never" where it
would not fit even if everything but pinned models were gone. The memory of its group (see
``groups``) decides in the same way.
"""

from dataclasses import dataclass

from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.groups import group_account
from sired.scheduler.memory.room import candidates_among, evictable, inactive
from sired.scheduler.policies.eviction import choose_victims
from sired.scheduler.rules import Rules

_HARDER = ("now", "after-eviction", "not-now", "never")


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
    """On a device, and within the model's group: the harder of the two decides."""
    need, source = model.footprint(account.kind, rules)
    everyone = fleet.instances.values()
    there = [instance for instance in everyone if instance.device == account.name]
    fits, evicts = _within(account, there, need, fleet, rules, now)
    if found := group_account(model, everyone, fleet.ledger, rules):
        in_group, among_group = _within(*found, need, fleet, rules, now)
        fits = max(fits, in_group, key=_HARDER.index)
        evicts += among_group
    names = dict.fromkeys(evicts) if fits == "after-eviction" else ()
    return Fit(account.name, need, source, fits, tuple(names))


def _within(
    account: Account, there: list[Instance], need: int, fleet: Fleet, rules: Rules, now: float
) -> tuple[str, tuple[str, ...]]:
    """Whether ``need`` bytes fit into one account, and the models to be evicted for that."""

    def charge(instance: Instance) -> int:
        return fleet.ledger.charge(instance.id)

    pinned = sum(charge(i) for i in there if i.model.pinned)
    if need > account.capacity - pinned:
        return "never", ()
    ending = sum(charge(i) for i in there if isinstance(i.state, Stopping))
    missing = need - account.usable(freed=ending)
    if missing <= 0:
        return "now", ()
    for can_go in (_idle, _after_turn):
        candidates = candidates_among([i for i in there if can_go(i)], charge)
        if victims := choose_victims(candidates, missing, rules.eviction, now):
            return "after-eviction", tuple(fleet.instances[v].model.name for v in victims)
    return "not-now", ()


def _idle(instance: Instance) -> bool:
    return evictable(instance) and inactive(instance)


def _after_turn(instance: Instance) -> bool:
    return evictable(instance) and instance.lease is None
