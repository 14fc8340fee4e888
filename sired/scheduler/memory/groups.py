"""The limit on what the models of a group hold together (``[groups.NAME] memory``).

A group has an account like that of a device, charged with everything that its instances are charged
on any device. A load has to fit into its group before a device is chosen for it; room is made there
by the rules that hold on a device (see ``room``), and only the group's own instances give way.
Weights that sleep in main memory do not count.
"""

from collections.abc import Iterable

from sire.errors import InsufficientMemory
from sire.units import format_bytes
from sired.scheduler.entities.instance import Instance
from sired.scheduler.entities.ledger import Account, Charge, Ledger
from sired.scheduler.entities.model import Model
from sired.scheduler.rules import Rules


def group_account(
    model: Model, instances: Iterable[Instance], ledger: Ledger, rules: Rules
) -> tuple[Account, list[Instance]] | None:
    """The account of a model's group and the group's instances; None if nothing limits it."""
    limit = rules.groups.get(model.group)
    if limit is None:
        return None
    members = [instance for instance in instances if instance.model.group == model.group]
    charges = {member.id: Charge(ledger.charge(member.id)) for member in members}
    return Account(f"group {model.group}", "group", limit, charges=charges), members


def pinned_by_others(model: Model, instances: Iterable[Instance], ledger: Ledger) -> int:
    """Bytes that pinned models other than this one hold: they can never be freed for it."""
    pinned = (i for i in instances if i.model.pinned and i.model is not model)
    return sum(ledger.charge(instance.id) for instance in pinned)


def check_group(
    model: Model, need: int, instances: Iterable[Instance], ledger: Ledger, rules: Rules
) -> None:
    """Check that a model can ever fit into its group.

    Args:
        model: the model to load.
        need: bytes that it needs on its device.
        instances: every instance.
        ledger: what they are charged.
        rules: the limits.

    Raises:
        InsufficientMemory: it needs more than pinned models leave of the group's memory.
    """
    found = group_account(model, instances, ledger, rules)
    if found is None:
        return
    account, members = found
    pinned = pinned_by_others(model, members, ledger)
    if need <= account.capacity - pinned:
        return
    held = f", {format_bytes(pinned)} of it pinned" if pinned else ""
    raise InsufficientMemory(
        f"{model.name} needs {format_bytes(need)}, more than can ever be free in its group: "
        f"{model.group} has {format_bytes(account.capacity)}{held}.",
        hint=f"Raise the limit: sire config set groups.{model.group}.memory SIZE",
        model=model.name,
        need_bytes=need,
    )
