"""Several instances of one model: when another is started.

1. The first instance of a model is loaded like any other load, and may evict.
2. Further ones only take memory that is free and that no load waits for; they evict nobody.
3. As long as the model is loaded and there are fewer than its least number, one more is started.
4. Up to its greatest number one more is started when those that wait in its queue would keep the
   present instances busy for longer than a load takes, or when all instances are leased. One
   loads at a time.
5. Beyond the least number, an instance ends once it was idle for ``shrink_after`` (see
   ``Fleet.expiry``).
6. Who shrinks a pool by hand ends what is idle even below the least number, which holds again
   when the queue wants more.
7. A further instance that cannot be loaded fails no request: those there are go on, and it is
   tried again later.
"""

from dataclasses import dataclass

from sired.scheduler.entities.instance import Instance, Loading, Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.loading import Loader

# How long nothing is tried after there was no room, and after a load failed.
NO_ROOM_SECONDS = 1.0
FAILED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The instances of one model.

    Attributes:
        available: loaded, and free for anybody.
        in_use: leased, or at work.
        total: loaded or loading.
        max_instances: how many there may be.
    """

    available: int
    in_use: int
    total: int
    max_instances: int


def count(model: Model, fleet: Fleet) -> Pool:
    """Count a model's instances, but for those that are ending."""
    there = [instance for instance in fleet.of(model) if instance.accepting]
    loading = sum(isinstance(instance.state, Loading) for instance in there)
    idle = sum(instance.idle for instance in there)
    return Pool(idle, len(there) - loading - idle, len(there), fleet.max_instances(model))


class Pools:
    """Grows the pools of models."""

    def __init__(self, fleet: Fleet, loader: Loader) -> None:
        self._fleet = fleet
        self._loader = loader
        self._not_before: dict[Model, float] = {}
        self._shrunk: set[Model] = set()

    def grow(self, model: Model, now: float) -> None:
        """Start further instances, if they are wanted and there is room."""
        while self._wants_more(model) and self._not_before.get(model, now) <= now:
            self._not_before.pop(model, None)
            if self._loader.add_to_pool(model, now):
                self._shrunk.discard(model)
            else:
                self._not_before[model] = now + NO_ROOM_SECONDS

    def shrunk(self, model: Model) -> None:
        """Somebody wanted fewer than its least number: so it stays until its queue wants more."""
        self._shrunk.add(model)

    def failed(self, instance: Instance, now: float) -> bool:
        """Whether a load that failed was one of several instances; others go on serving then."""
        model = instance.model
        others = [other for other in self._fleet.of(model) if other is not instance]
        if not any(isinstance(other.state, Ready) and other.accepting for other in others):
            return False
        self._not_before[model] = now + FAILED_SECONDS
        return True

    def forget(self, model: Model) -> None:
        """A model is registered no longer."""
        self._not_before.pop(model, None)
        self._shrunk.discard(model)

    def _wants_more(self, model: Model) -> bool:
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
        for_all = sum(instance.lease is None for instance in ready)
        if not for_all:
            return model.needed
        if any(instance.idle for instance in ready):  # requests wait for others to run with
            return False
        return _takes_longer_than_a_load(model, for_all)


def _takes_longer_than_a_load(model: Model, ready: int) -> bool:
    load_seconds = model.history.load_seconds
    if model.service_seconds is None or not load_seconds:
        return False
    return len(model.queue) * model.service_seconds / ready > load_seconds
