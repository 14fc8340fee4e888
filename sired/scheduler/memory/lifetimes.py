"""How long instances may idle, and how long they may make no progress."""

from sire.units import FOREVER
from sired.scheduler.entities.instance import Instance, Loading, Suspending, Waking
from sired.scheduler.entities.model import Model
from sired.scheduler.rules import Rules

# Seconds that a model with a keep-alive of 0 is kept for its first request.
UNUSED_SECONDS = 60.0


def keep_alive(model: Model, rules: Rules) -> float:
    """Seconds that an instance of a model may idle: the model's setting, else the rules'."""
    return rules.default_keep_alive if model.keep_alive is None else model.keep_alive


def requested_keep_alive(instance: Instance, rules: Rules) -> float:
    """Seconds that an instance may idle: as its last request states, else its model."""
    requested = instance.keep_alive
    return keep_alive(instance.model, rules) if requested is None else requested


def kept_for(instance: Instance, rules: Rules) -> float:
    """Seconds that an instance may idle, considering pins, services and first uses."""
    if instance.model.pinned or instance.model.kept:
        return FOREVER
    keep = requested_keep_alive(instance, rules)
    # Unloading after use does not mean before it: the model was loaded explicitly.
    return keep if keep or instance.served else UNUSED_SECONDS


def hung_at(instance: Instance, rules: Rules) -> float:
    """When an instance is killed because it hangs; ``FOREVER`` while it does not.

    It hangs if its load makes no progress or its change of tier does not end within
    ``load_timeout`` seconds, or if it works for more than ``hung_after`` seconds on requests of
    which none is awaited any more.
    """
    if isinstance(instance.state, Loading):
        alive_at = instance.state.alive_at or instance.state.since
        return alive_at + rules.load_timeout
    if isinstance(instance.state, Suspending | Waking):
        return instance.state.since + rules.load_timeout
    abandoned = instance.abandoned_since
    unattended = FOREVER if abandoned is None else abandoned + rules.hung_after
    running = instance.running
    if not running or not all(request.answered for request in running):
        return unattended
    overdue = max(request.deadline for request in running) + rules.hung_after
    return min(unattended, overdue)
