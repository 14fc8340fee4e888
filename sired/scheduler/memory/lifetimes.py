"""How long instances may idle, and how long they may give no sign of life."""

from sire.units import FOREVER
from sired.scheduler.entities.instance import Instance, Loading, Suspending, Waking
from sired.scheduler.entities.model import Model
from sired.scheduler.rules import Rules

# A model that is to be unloaded after use is kept this long for its first one.
UNUSED_SECONDS = 60.0


def keep_alive(model: Model, rules: Rules) -> float:
    """How long an instance of a model may idle: as the model says, else the rules."""
    return rules.default_keep_alive if model.keep_alive is None else model.keep_alive


def requested_keep_alive(instance: Instance, rules: Rules) -> float:
    """How long an instance is to be kept: as its last request said, else as ever."""
    said = instance.keep_alive
    return keep_alive(instance.model, rules) if said is None else said


def kept_for(instance: Instance, rules: Rules) -> float:
    """How long an instance may idle."""
    if instance.model.pinned:
        return FOREVER
    keep = requested_keep_alive(instance, rules)
    # Unloaded after use is not unloaded before it: somebody loaded it by hand.
    return keep if keep or instance.served else UNUSED_SECONDS


def hung_at(instance: Instance, rules: Rules) -> float:
    """When an instance is killed that changes its tier, or works for nobody, for so long."""
    if isinstance(instance.state, Loading):
        alive_at = instance.state.alive_at or instance.state.since
        return alive_at + rules.load_timeout
    if isinstance(instance.state, Suspending | Waking):
        return instance.state.since + rules.load_timeout
    abandoned = instance.abandoned_since
    forsaken = FOREVER if abandoned is None else abandoned + rules.hung_after
    running = instance.running
    if not running or not all(request.answered for request in running):
        return forsaken
    overdue = max(request.deadline for request in running) + rules.hung_after
    return min(forsaken, overdue)
