"""What the parts of the brain share."""

from dataclasses import dataclass

from sire.errors import ModelNotFound
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.request import Request
from sired.scheduler.handling.admission import Queues
from sired.scheduler.instructions import Fail, Instruction
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.loading import Loader
from sired.scheduler.memory.pools import Pools
from sired.scheduler.rules import Rules
from sired.scheduler.timer import Timer


@dataclass(slots=True)
class State:
    """Everything that is known, and what is to be done about the event at hand.

    Attributes:
        models: every registered model, by name.
        queues: what has no answer yet.
        fleet: the instances and the ledger.
        loader: the loads that wait for memory.
        pools: how many instances models have.
        out: the instructions of this event so far.
    """

    models: dict[str, Model]
    queues: Queues
    fleet: Fleet
    loader: Loader
    pools: Pools
    timer: Timer
    rules: Rules
    out: list[Instruction]

    def model_of(self, request: Request) -> Model:
        """The model a request is for; it may have been removed while an instance of it runs it."""
        model = self.models.get(request.model)
        if model is None:
            by = request.lease.instance if request.instance is None and request.lease else None
            model = self.fleet.instances[by or request.instance or 0].model
        return model

    def loadable_model(self, name: str, asked_by: int, now: float) -> Model | None:
        """The same, unless it could not be loaded a moment ago; who asked is told why."""
        model = self.model(name, asked_by)
        if model is None or any(instance.accepting for instance in self.fleet.of(model)):
            return model
        if error := model.backoff.error_now(name, now):
            self.out.append(Fail(asked_by, error))
            return None
        return model

    def model(self, name: str, asked_by: int) -> Model | None:
        """The model of that name; who asked is told if there is none."""
        model = self.models.get(name)
        if model is None:
            error = ModelNotFound(
                f"No model {name!r} is registered.", hint="See: sire ls", model=name
            )
            self.out.append(Fail(asked_by, error))
        return model
