"""The state that the handlers share."""

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
    """The scheduler's state, and the instructions of the current event.

    Attributes:
        models: every registered model, by name.
        queues: everything that has no answer yet.
        fleet: the instances and the ledger.
        loader: the loads that wait for memory.
        pools: starts further instances of models.
        timer: the earliest time at which something is due.
        rules: limits and delays.
        out: the instructions of the current event so far.
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
        """The model of a request, even if it was removed while its instance runs the request."""
        model = self.models.get(request.model)
        if model is None:
            leased = request.lease.instance if request.lease else None
            model = self.fleet.instances[request.instance or leased or 0].model
        return model

    def loadable_model(self, name: str, number: int, now: float) -> Model | None:
        """The model of that name, if it is loaded or may be loaded now.

        Otherwise fail the request or operation ``number``: the model does not exist, or it failed
        to load and its backoff has not ended.
        """
        model = self.registered_model(name, number)
        if model is None or any(instance.accepting for instance in self.fleet.of(model)):
            return model
        if error := model.backoff.error_now(name, now):
            self.out.append(Fail(number, error))
            return None
        return model

    def registered_model(self, name: str, number: int) -> Model | None:
        """The model of that name; without one, fail the request or operation ``number``."""
        model = self.models.get(name)
        if model is None:
            error = ModelNotFound(
                f"No model {name!r} is registered.", hint="See: sire ls", model=name
            )
            self.out.append(Fail(number, error))
        return model
