"""The errors the brain answers with when something took too long or too much, in words."""

from sire.errors import DeadlineExceeded, InsufficientMemory, LoadFailed, QueueFull, SireError
from sire.units import format_bytes, format_duration
from sired.scheduler.entities.instance import Instance, Loading, Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.request import Request
from sired.scheduler.handling.state import State
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.rules import Rules


def not_loaded_in_time(model: Model, state: State) -> DeadlineExceeded:
    """A wish to load whose deadline has come."""
    return DeadlineExceeded(
        f"{model.name} was not loaded in the time allowed: {_waits_for(model, state)}.",
        hint="Allow more with --timeout, or look at: sire ps",
        model=model.name,
    )


def not_leased_in_time(model: Model, state: State) -> DeadlineExceeded:
    """An asking for a lease whose deadline has come."""
    there = [instance for instance in state.fleet.of(model) if isinstance(instance.state, Ready)]
    leased = sum(instance.lease is not None for instance in there)
    doing = f"{leased} of {len(there)} are leased" if there else _waits_for(model, state)
    return DeadlineExceeded(
        f"No instance of {model.name} was free in the time allowed: {doing}.",
        hint="Allow more with timeout, or more instances: sire register --replace --instances",
        model=model.name,
    )


def not_answered_in_time(
    request: Request, model: Model, state: State, now: float
) -> DeadlineExceeded:
    """A request whose deadline has come."""
    running = request.instance is not None
    doing = "it was still computing" if running else _waits_for(model, state)
    waited = now - request.arrived
    return DeadlineExceeded(
        f"{model.name} gave no answer within {format_duration(waited)}: {doing}.",
        hint="Allow more with --timeout, or look at: sire ps",
        model=model.name,
        waited_seconds=waited,
    )


def _waits_for(model: Model, state: State) -> str:
    """What those who wait for a model are waiting for."""
    if any(isinstance(instance.state, Loading) for instance in state.fleet.of(model)):
        return "the model was still loading"
    if state.loader.pending.get(model):
        return "it waited for memory that busy models or other programs hold"
    return f"{len(model.queue)} requests for it were waiting"


def queue_full(model: Model, setting: str, depth: int, wait: float | None) -> QueueFull:
    """A request too many, by the setting that says so; ``wait`` is what it would have waited."""
    whose = f"for {model.name}" if setting == "per_model" else "for all models together"
    long = "" if wait is None else f"; another would wait about {format_duration(wait)}"
    return QueueFull(
        f"{depth} requests {whose} are waiting already, as many as may{long}.",
        hint=f"Try again later, or raise the setting queue.{setting}.",
        model=model.name,
        depth=depth,
        wait_seconds=wait,
    )


def load_hung(instance: Instance, now: float, rules: Rules) -> LoadFailed:
    """A load that was ended because it did not go on."""
    name, state = instance.model.name, instance.state
    read = ""
    if isinstance(state, Loading) and state.total_bytes:
        of = format_bytes(state.total_bytes)
        read = f" after {format_bytes(state.read_bytes)} of {of}"
    return LoadFailed(
        f"{name} had not loaded after {format_duration(now - state.since)}: nothing came of it "
        f"for {format_duration(rules.load_timeout)}{read}; its process was ended.",
        hint=f"Allow more with the setting daemon.load_timeout, or look at: sire logs {name}",
        model=name,
    )


def exceeds(instance: Instance, memory: int) -> bool:
    """Whether a load took more than was declared for its model (``max_memory``)."""
    declared = instance.model.declared
    return isinstance(instance.state, Loading) and declared is not None and memory > declared


def beyond_declared(instance: Instance, memory: int) -> InsufficientMemory:
    """A load that was ended because it took more than its model may."""
    name, declared = instance.model.name, instance.model.declared or 0
    return InsufficientMemory(
        f"{name} took {format_bytes(memory)} on {instance.device}, more than the "
        f"{format_bytes(declared)} of its max_memory; it was ended.",
        hint="Allow more: sire register --replace --max-memory SIZE",
        model=name,
        device=instance.device,
        need_bytes=memory,
        max_memory_bytes=declared,
    )


def ran_out(instance: Instance, fleet: Fleet, error: SireError) -> InsufficientMemory:
    """A load that failed for want of memory although it was granted enough."""
    account = fleet.ledger.accounts[instance.device]
    granted = fleet.ledger.charge(instance.id)
    return InsufficientMemory(
        f"{instance.model.name} ran out of memory on {instance.device} with "
        f"{format_bytes(granted)} granted of {format_bytes(account.capacity)}: "
        f"{error.message}",
        hint="Close other programs that use the device, or put the model on another one.",
        model=instance.model.name,
        device=instance.device,
        granted_bytes=granted,
    )
