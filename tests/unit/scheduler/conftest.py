"""A brain with devices of round numbers, driven by hand."""

import itertools

import pytest

from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.instructions import Dispatch, Fail, StartWorker
from sired.scheduler.ledger import Account
from sired.scheduler.model import Model
from sired.scheduler.placement import BUILT_IN
from sired.scheduler.rules import Rules


class Driver:
    """Feeds events to a brain and remembers what it said; time passes only when told to."""

    def __init__(self, devices=(("cpu", "cpu", 100),), strategy="least-memory-used", **rules):
        accounts = [Account(name, kind, capacity) for name, kind, capacity in devices]
        self.strategy = BUILT_IN[strategy]
        self.brain = Brain(accounts, self.strategy, self.rules(**rules))
        self.now = 0.0
        self._tickets = itertools.count(1)

    @staticmethod
    def rules(**given):
        return Rules(**{"overhead": {"cpu": 0, "cuda": 0}, "file_factor": 1.0, **given})

    def add(self, name, weights, **attributes):
        model = Model(name, weights=weights, **attributes)
        self.tell(events.ModelAdded(model))
        return model

    def tell(self, event):
        return self.brain.handle(event, self.now)

    def request(self, model, timeout=60.0, **how):
        """Send a request; returns its number and what the brain said."""
        number = next(self._tickets)
        return number, self.tell(events.RequestArrived(number, model, self.now + timeout, **how))

    def wish(self, model, device=None, timeout=60.0):
        number = next(self._tickets)
        return number, self.tell(events.LoadWanted(number, model, device, self.now + timeout))

    def unload(self, model):
        number = next(self._tickets)
        return number, self.tell(events.UnloadWanted(number, model))

    def ready(self, instance, memory=None):
        if memory is None:
            memory = self.brain.fleet.ledger.charge(instance)
        return self.tell(events.WorkerReady(instance, memory))

    def finish(self, request, **how):
        instance = next(
            i for i in self.instances.values() if request in [r.id for r in i.in_flight]
        )
        return self.tell(events.RequestFinished(instance.id, request, **how))

    def gone(self, instance, error=None):
        from sired.errors import WorkerCrashed

        return self.tell(events.WorkerGone(instance, error or WorkerCrashed("it died")))

    def wait(self, seconds):
        self.now += seconds
        return self.tell(events.Woken())

    def load(self, name):
        """Bring a model to ready, the short way; returns its instance's number."""
        _, said = self.wish(name)
        (start,) = [do for do in said if isinstance(do, StartWorker)]
        self.ready(start.instance)
        return start.instance

    @property
    def instances(self):
        return self.brain.fleet.instances

    def loaded(self):
        return sorted(i.model.name for i in self.instances.values() if i.accepting)


@pytest.fixture
def driver():
    return Driver


def of_kind(kind, said):
    return [do for do in said if isinstance(do, kind)]


def failures(said):
    return {do.request: do.error for do in of_kind(Fail, said)}


def dispatched(said):
    return [do.request for do in of_kind(Dispatch, said)]
