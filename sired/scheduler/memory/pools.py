"""Pools: when further instances of one model are started.

1. The first instance of a model is loaded like any other model, and may evict.
2. Further instances only use free memory for which no load waits; they evict nothing.
3. While the model is loaded and has fewer instances than its minimum, one more is started.
4. Up to the maximum, one more is started when the requests in the model's queue would occupy the
   present instances for longer than a load takes, or when all instances are leased. Only one
   instance loads at a time.
5. Beyond the minimum, an instance ends once it has been idle for ``shrink_after`` seconds (see
   ``Fleet.expiry``).
6. Shrinking a pool explicitly ends idle instances even below the minimum, which applies again once
   the queue requires more.
7. A further instance that cannot be loaded fails no request: the present instances go on, and the
   load is retried later.
"""

from dataclasses import dataclass

from sired.scheduler.entities.instance import Instance, Loading, Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.loading import Loader

# Seconds without a further attempt after there was no room, and after a load failed.
NO_ROOM_SECONDS = 1.0
FAILED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The instances of one model.

    Attributes:
        available: number of instances that are loaded and free.
        in_use: number of instances that are leased or busy.
        total: number of instances that are loaded or loading.
        max_instances: the maximum number of instances.
    """

    available: int
    in_use: int
    total: int
    max_instances: int


def count(model: Model, fleet: Fleet) -> Pool:
    """Count a model's instances, except those that are ending."""
    there = [instance for instance in fleet.of(model) if instance.accepting]
    loading = sum(isinstance(instance.state, Loading) for instance in there)
    idle = sum(instance.idle for instance in there)
    return Pool(idle, len(there) - loading - idle, len(there), fleet.max_instances(model))


class Pools:
    """Starts further instances of models."""

    def __init__(self, fleet: Fleet, loader: Loader) -> None:
        self._fleet = fleet
        self._loader = loader
        self._not_before: dict[Model, float] = {}
        self._shrunk: set[Model] = set()

    def grow(self, model: Model, now: float) -> None:
        """Start further instances if they are required and there is room."""
        while self._needs_more(model) and self._not_before.get(model, now) <= now:
            self._not_before.pop(model, None)
            if self._loader.add_to_pool(model, now):
                self._shrunk.discard(model)
            else:
                self._not_before[model] = now + NO_ROOM_SECONDS

    def shrunk(self, model: Model) -> None:
        """Suspend the minimum of a model that was shrunk, until its queue requires more."""
        self._shrunk.add(model)

    def failed(self, instance: Instance, now: float) -> bool:
        """Handle a failed load; return whether other instances of its model go on serving."""
        model = instance.model
        others = [other for other in self._fleet.of(model) if other is not instance]
        if not any(isinstance(other.state, Ready) and other.accepting for other in others):
            return False
        self._not_before[model] = now + FAILED_SECONDS
        return True

    def forget(self, model: Model) -> None:
        """Forget a model: it is no longer registered."""
        self._not_before.pop(model, None)
        self._shrunk.discard(model)

    def _needs_more(self, model: Model) -> bool:
        if model.max_instances == 1:
            return False
        there = [instance for instance in self._fleet.of(model) if instance.accepting]
        ready = [instance for instance in there if isinstance(instance.state, Ready)]
        if not ready:
            self._shrunk.discard(model)
        if not ready or len(there) >= self._fleet.max_instances(model):
            return False
        if len(there) < model.min_instances and model not in self._shrunk:
            return True
        if any(isinstance(instance.state, Loading) for instance in there):
            return False
        unleased = sum(instance.lease is None for instance in ready)
        if not unleased:
            return model.needed
        if any(instance.idle for instance in ready):  # requests wait for their batch to fill
            return False
        return _takes_longer_than_a_load(model, unleased)


def _takes_longer_than_a_load(model: Model, ready: int) -> bool:
    load_seconds = model.history.load_seconds
    if model.service_seconds is None or not load_seconds:
        return False
    return len(model.queue) * model.service_seconds / ready > load_seconds
