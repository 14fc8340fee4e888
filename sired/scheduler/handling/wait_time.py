"""How long a request will wait, from what requests and loads of its model took so far."""

from sired.scheduler.entities.instance import Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet

# How much a new measurement counts against all earlier ones.
NEWS = 0.2


def average(old: float | None, new: float) -> float:
    """The exponential moving average of what was measured."""
    return new if old is None else old + NEWS * (new - old)


def wait(model: Model, ahead: int, fleet: Fleet) -> float | None:
    """Seconds until a request is begun that has so many others of its model before it.

    Those that workers have been handed count as well. None while nothing has been measured; what
    a load has to wait for memory cannot be known and is left out; nor can the end of a lease.
    """
    ready = [i for i in fleet.of(model) if isinstance(i.state, Ready) and i.accepting]
    if ready and all(instance.lease for instance in ready):
        return None
    ready = [instance for instance in ready if instance.lease is None]
    before = ahead + sum(len(instance.in_flight) + instance.direct_busy for instance in ready)
    if model.service_seconds is None:
        return 0.0 if ready and not before else None
    if ready:
        return model.service_seconds * before / len(ready) / model.concurrency
    wakes = any(instance.asleep for instance in fleet.of(model))
    history = model.history
    begin = (wakes and history.wake_seconds) or history.load_seconds
    if not begin:
        return None
    return begin + model.service_seconds * before
