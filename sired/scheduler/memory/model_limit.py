"""The limit on the number of models in memory (``max_models``), however much memory is free.

A load of a model that has no process yet needs a slot. If no slot is free:

1. It waits for models that are ending already, if they free enough slots for it and for the loads
   that are due earlier.
2. Otherwise the idle model that was used least recently is evicted with all of its instances.
   Models that sleep are in memory, too, and count as idle.
3. Otherwise a busy model is evicted once its turn is over (see ``room``).

A model with an instance that is pinned, leased or loading is not evicted.
"""

from collections.abc import Mapping

from sire.errors import InsufficientMemory
from sired.scheduler.entities.instance import Asleep, Instance, Ready, last_used
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.memory.room import MakeRoom, RoomPlanner, ids

InstancesByModel = Mapping[Model, list[Instance]]


def free_slots(
    load: PendingLoad,
    by_model: InstancesByModel,
    missing: int,
    limit: int,
    planner: RoomPlanner,
    now: float,
) -> MakeRoom:
    """Select the instances to end so that ``missing`` fewer models are in memory.

    Args:
        load: the load that needs a slot.
        by_model: the instances of every model that has a process.
        missing: number of slots that the load and those before it lack.
        limit: the maximum number of models in memory.
        planner: knows when turns end.
        now: the current time.

    Raises:
        InsufficientMemory: pinned models occupy all slots.
    """
    if sum(model.pinned for model in by_model) >= limit:
        raise InsufficientMemory(
            f"{load.model.name} cannot be loaded: the maximum of {limit} models in memory at once "
            "is reached, and all of them are pinned.",
            hint="Unpin a model, or raise the setting limits.max_models.",
            model=load.model.name,
        )
    missing -= sum(all(i.ending for i in instances) for instances in by_model.values())
    candidates = [there for there in by_model.values() if all(map(_evictable, there))]
    idle = sorted((c for c in candidates if all(i.idle or i.asleep for i in c)), key=_last_used)
    stop = [i for instances in idle[: max(0, missing)] for i in instances]
    missing -= len(idle)
    if missing <= 0:
        return MakeRoom("", 0, disruption=1, stop=ids(stop))
    busy = [(planner.turns_end(load, there, now), there) for there in candidates]
    busy = sorted((pair for pair in busy if pair[1] not in idle), key=lambda pair: pair[0])
    drain = [i for end, instances in busy[:missing] if end <= now for i in instances]
    retry_at = min((end for end, _ in busy[:missing] if end > now), default=None)
    return MakeRoom("", 0, disruption=2, stop=ids(stop), drain=ids(drain), retry_at=retry_at)


def _evictable(instance: Instance) -> bool:
    free = instance.lease is None and not instance.model.pinned
    awake = isinstance(instance.state, Ready) and instance.accepting
    return free and (awake or isinstance(instance.state, Asleep))


def _last_used(instances: list[Instance]) -> float:
    return max(map(last_used, instances))
