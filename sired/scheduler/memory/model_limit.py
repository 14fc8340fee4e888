"""At most so many models in memory at once (``max_models``), however much memory there is.

A load of a model that has no process yet needs a place among them. If there is none:

1. It waits for models that are ending already, if they suffice for it and those due before it.
2. Else the idle model that was used longest ago goes, with all of its instances; those that sleep
   are in memory, too, and as idle as others.
3. Else a busy one goes once it has had its turn (see ``loads``).

A model with an instance that is pinned, leased or loading stays.
"""

from collections.abc import Mapping

from sire.errors import InsufficientMemory
from sired.scheduler.entities.instance import Asleep, Instance, Ready, last_used
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.memory.placer import MakeRoom, Placer

Loaded = Mapping[Model, list[Instance]]


def make_place(
    load: PendingLoad, loaded: Loaded, missing: int, most: int, placer: Placer, now: float
) -> MakeRoom:
    """Say which instances are to go so that ``missing`` models fewer of ``most`` are loaded.

    Raises:
        InsufficientMemory: all places are taken by pinned models.
    """
    if sum(model.pinned for model in loaded) >= most:
        raise InsufficientMemory(
            f"{load.model.name} cannot be loaded: {most} models may be in memory at once, "
            "and as many are pinned.",
            hint="Unpin a model, or raise the setting limits.max_models.",
            model=load.model.name,
        )
    missing -= sum(all(i.ending for i in instances) for instances in loaded.values())
    candidates = [there for there in loaded.values() if all(map(_may_go, there))]
    idle = sorted((c for c in candidates if all(i.idle or i.asleep for i in c)), key=_last_used)
    stop = [i for instances in idle[: max(0, missing)] for i in instances]
    missing -= len(idle)
    if missing <= 0:
        return MakeRoom("", 0, harm=1, stop=_ids(stop))
    busy = [(placer.turns_end(load, there, now), there) for there in candidates]
    busy = sorted((pair for pair in busy if pair[1] not in idle), key=lambda pair: pair[0])
    drain = [i for end, instances in busy[:missing] if end <= now for i in instances]
    waiting = [end for end, _ in busy[:missing] if end > now]
    return MakeRoom(
        "", 0, harm=2, stop=_ids(stop), drain=_ids(drain), retry_at=min(waiting, default=None)
    )


def _may_go(instance: Instance) -> bool:
    free = instance.lease is None and not instance.model.pinned
    awake = isinstance(instance.state, Ready) and instance.accepting
    return free and (awake or isinstance(instance.state, Asleep))


def _last_used(instances: list[Instance]) -> float:
    return max(map(last_used, instances))


def _ids(instances: list[Instance]) -> tuple[int, ...]:
    return tuple(instance.id for instance in instances)
