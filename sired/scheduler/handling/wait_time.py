"""Estimates how long a request will wait, from how long requests and loads took so far."""

from sired.scheduler.entities.instance import Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fleet import Fleet

# The weight of a new measurement in the moving average.
WEIGHT = 0.2


def average(old: float | None, new: float) -> float:
    """The exponential moving average after a new measurement; ``old`` is None before the first."""
    return new if old is None else old + WEIGHT * (new - old)


def wait(model: Model, ahead: int, fleet: Fleet) -> float | None:
    """Seconds until a request begins that has ``ahead`` others in front of it in the queue.

    Requests that were dispatched already count as well. The time that a load waits for memory
    cannot be known and is left out. None while nothing has been measured, and while every instance
    is leased.
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
    start = (wakes and history.wake_seconds) or history.load_seconds
    if not start:
        return None
    return start + model.service_seconds * before
