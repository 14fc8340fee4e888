"""The errors that report exceeded deadlines, full queues, failed loads and removed models."""

from sire.errors import (
    Cancelled,
    DeadlineExceeded,
    InsufficientMemory,
    LoadFailed,
    QueueFull,
    SireError,
)
from sire.units import format_bytes, format_duration
from sired.scheduler.entities.held_inputs import HeldInputs
from sired.scheduler.entities.instance import Instance, Loading, Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.request import Request
from sired.scheduler.events import RequestArrived
from sired.scheduler.handling.state import State
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.rules import Rules


def not_loaded_in_time(model: Model, state: State) -> DeadlineExceeded:
    """The deadline of an operation that loads a model has passed."""
    return DeadlineExceeded(
        f"{model.name} was not loaded before the deadline: {_awaited(model, state)}.",
        hint="Allow more time with --timeout, or check: sire ps",
        model=model.name,
    )


def not_leased_in_time(model: Model, state: State) -> DeadlineExceeded:
    """The deadline of a lease request has passed."""
    there = [instance for instance in state.fleet.of(model) if isinstance(instance.state, Ready)]
    leased = sum(instance.lease is not None for instance in there)
    reason = f"{leased} of {len(there)} are leased" if there else _awaited(model, state)
    return DeadlineExceeded(
        f"No instance of {model.name} was free before the deadline: {reason}.",
        hint="Increase the timeout, or allow more instances: sire register --replace --instances",
        model=model.name,
    )


def not_answered_in_time(
    request: Request, model: Model, state: State, now: float
) -> DeadlineExceeded:
    """The deadline of a prediction request has passed."""
    running = request.instance is not None
    reason = "the request was still computing" if running else _awaited(model, state)
    waited = now - request.arrived
    return DeadlineExceeded(
        f"{model.name} did not answer within {format_duration(waited)}: {reason}.",
        hint="Allow more time with --timeout, or check: sire ps",
        model=model.name,
        waited_seconds=waited,
    )


def _awaited(model: Model, state: State) -> str:
    """What the requests, operations and leases that wait for a model are waiting for."""
    if any(isinstance(instance.state, Loading) for instance in state.fleet.of(model)):
        return "the model was still loading"
    if state.loader.pending.get(model):
        return "its load was waiting for memory that busy models or other programs hold"
    return f"its queue held {_requests(len(model.queue))}"


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


def queue_full(model: Model, setting: str, depth: int, wait: float | None) -> QueueFull:
    """A queue is full.

    Args:
        model: the model that the rejected request is for.
        setting: the limit that was reached, ``per_model`` or ``total``.
        depth: number of requests that wait in the queue, or in all queues together.
        wait: seconds that one more request would wait; None if unknown.
    """
    full = "The queues of all models together are full: they hold"
    if setting == "per_model":
        full = f"The queue of {model.name} is full: it holds"
    long = "" if wait is None else f"; another request would wait about {format_duration(wait)}"
    return QueueFull(
        f"{full} {_requests(depth)}, the maximum{long}.",
        hint=f"Try again later, or raise the setting queue.{setting}.",
        model=model.name,
        depth=depth,
        wait_seconds=wait,
    )


def removed(model: str) -> Cancelled:
    """What waits for a model cannot be done any more."""
    return Cancelled(f"{model} was removed while this operation waited for it.", model=model)


def inputs_full(event: RequestArrived, held: HeldInputs, unanswered: int, limit: int) -> QueueFull:
    """The inputs of unanswered requests leave no room for another input.

    Args:
        event: the rejected request.
        held: the bytes of the inputs of all unanswered requests.
        unanswered: number of those requests.
        limit: the maximum of these bytes.
    """
    own, share = held.of(event.client), held.share(event.client, limit)
    return QueueFull(
        f"There is no room for an input of {format_bytes(event.size)}: those of "
        f"{_requests(unanswered)} without an answer take {format_bytes(held.total)} of at most "
        f"{format_bytes(limit)}, and this client's {format_bytes(own)} of at most "
        f"{format_bytes(share)}.",
        hint="Try again later, or raise the setting queue.memory.",
        model=event.model,
        depth=unanswered,
        held_bytes=held.total,
        limit_bytes=limit,
        client_bytes=own,
        client_limit_bytes=share,
    )


def load_hung(instance: Instance, now: float, rules: Rules) -> LoadFailed:
    """A load was stopped because it made no progress for ``load_timeout`` seconds."""
    name, state = instance.model.name, instance.state
    read = ""
    if isinstance(state, Loading) and state.total_bytes:
        total = format_bytes(state.total_bytes)
        read = f" after {format_bytes(state.read_bytes)} of {total}"
    return LoadFailed(
        f"{name} had not loaded after {format_duration(now - state.since)}: no progress for "
        f"{format_duration(rules.load_timeout)}{read}. Its process was killed.",
        hint=f"Raise the setting daemon.load_timeout, or check: sire logs {name}",
        model=name,
    )


def exceeds_declared(instance: Instance, memory: int) -> bool:
    """Whether a load took more than the memory declared for its model (``max_memory``)."""
    declared = instance.model.declared
    return isinstance(instance.state, Loading) and declared is not None and memory > declared


def beyond_declared(instance: Instance, memory: int) -> InsufficientMemory:
    """A load was stopped because it took more than the memory declared for its model."""
    name, declared = instance.model.name, instance.model.declared or 0
    return InsufficientMemory(
        f"{name} uses {format_bytes(memory)} on {instance.device}, more than its max_memory of "
        f"{format_bytes(declared)}. Its process was ended.",
        hint="Raise the limit: sire register --replace --max-memory SIZE",
        model=name,
        device=instance.device,
        need_bytes=memory,
        max_memory_bytes=declared,
    )


def cannot_compute(instance: Instance, reason: str) -> LoadFailed:
    """A load has shown that its device cannot be used."""
    return LoadFailed(
        f"CUDA cannot be used on {instance.device}: {reason.rstrip('.')}.",
        hint="Check the GPU: sire doctor, nvidia-smi. It is tried again later.",
        model=instance.model.name,
        device=instance.device,
    )


def ran_out(instance: Instance, fleet: Fleet, error: SireError) -> InsufficientMemory:
    """A load ran out of memory within what was reserved for it."""
    account = fleet.ledger.accounts[instance.device]
    granted = fleet.ledger.charge(instance.id)
    return InsufficientMemory(
        f"{instance.model.name} ran out of memory on {instance.device}, where "
        f"{format_bytes(granted)} of {format_bytes(account.capacity)} were reserved for it: "
        f"{error.message}",
        hint="Close other programs that use the device, or load the model on another device.",
        model=instance.model.name,
        device=instance.device,
        granted_bytes=granted,
    )
