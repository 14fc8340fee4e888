"""Aliases: which model a request for one of them gets.

1. A model *can serve* unless it is not registered, has failed and may not be loaded again yet, or
   needs memory that cannot be freed for it now. One that is loaded can.
2. The models with a weight that can serve come first, then those with the weight 0. If none can,
   the first one that is registered gets the request, and its error is the answer.
3. Among several, the routing of the alias decides. With "failover" it is the first.
4. "round-robin" with weights is stride scheduling: each request moves its model on by the inverse
   of its weight, and the model that is furthest behind is next. A model that could not serve for a
   while does not catch up on what it has missed.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from sire.errors import InvalidConfiguration, InvalidInput, ModelExists, ModelNotFound, shown
from sire.nearest import did_you_mean
from sire.protocol import jobs, requests
from sire.protocol.aliases import FAILOVER, MOST_MODELS, Alias, AliasState, WeightedModel
from sire.protocol.message import Message
from sire.spec import LONGEST_NAME, check_name
from sired.daemon.plugins import find_router
from sired.scheduler.brain import Brain
from sired.scheduler.entities.model import Model
from sired.scheduler.policies.routing import Choice, Router, least_loaded
from sired.store.aliases import AliasFile
from sired.store.registry import Registry

# How far a request moves a model of weight 1 on.
_STRIDE = 1 << 20
_SMALLEST_WEIGHT = 1e-3

# The field with a model's name, by kind of request. Each of these begins work of its own, and so
# counts for the routing; the next ones read; the last ones are about one model, so that an alias of
# several is of no use to them.
_CHOOSING: Mapping[type[Message], str] = {
    requests.Predict: "model",
    requests.TakeSlot: "model",
    requests.Acquire: "name",
    requests.Load: "name",
    jobs.Submit: "model",
}
_READING: Mapping[type[Message], str] = {
    requests.Show: "name",
    requests.Health: "model",
    requests.PoolStats: "name",
    requests.Stats: "name",
}
_OF_ONE: Mapping[type[Message], str] = {
    requests.Unload: "name",
    requests.Move: "name",
    requests.Reload: "name",
    requests.Pin: "name",
    requests.Shrink: "name",
    requests.Verify: "name",
    requests.History: "name",
    jobs.ListJobs: "model",
}


@dataclass(slots=True)
class _Known:
    """An alias, its router, and how far each of its models has been moved on."""

    alias: Alias
    router: Router | None
    moved: dict[str, int] = field(default_factory=dict)


class Aliases:
    """All aliases.

    Args:
        file: keeps them.
        registry: has the models.
        brain: knows their state.
    """

    def __init__(self, file: AliasFile, registry: Registry, brain: Brain) -> None:
        self._file = file
        self._registry = registry
        self._brain = brain
        self._known: dict[str, _Known] = {}
        self._problems: list[str] = []
        for alias in file.read().values():
            self._read(alias)

    def _read(self, alias: Alias) -> None:
        router = None
        if alias.name in self._registry.models:
            self._problems.append(f"{alias.name} is a model, so that the alias has no effect")
        if alias.routing != FAILOVER:
            try:
                router = find_router(alias.routing)
            except InvalidConfiguration as problem:
                self._problems.append(f"the alias {alias.name}: {problem.message}")
                router = least_loaded
        self._known[alias.name] = _Known(alias, router)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with them, as ``sire health`` reports it."""
        return (*filter(None, [self._file.problem]), *self._problems)

    def of(self, name: str) -> Alias | None:
        """The alias of that name; None if there is none, or a model has the name."""
        known = self._known.get(name)
        return known.alias if known and name not in self._registry.models else None

    def states(self) -> tuple[AliasState, ...]:
        """All aliases by name, and what they stand for now."""
        return tuple(self.state(known.alias) for _, known in sorted(self._known.items()))

    def state(self, alias: Alias) -> AliasState:
        """An alias, and what it stands for now."""
        problems = {one.model: self._problem(one.model) for one in alias.models}
        try:
            serves = self.current(alias.name)
        except ModelNotFound:
            serves = None
        return AliasState(alias, serves, {name: why for name, why in problems.items() if why})

    # Changing them

    def set(self, alias: Alias) -> AliasState:
        """Define an alias, on disk first.

        Raises:
            ModelExists: a model has its name.
            InvalidModel: it is not a valid name.
            InvalidInput: it has no models, one of them twice, or none with a weight.
            InvalidConfiguration: there is no such routing.
            SireError: the file cannot be written.
        """
        for name in (alias.name, *(one.model for one in alias.models)):
            check_name(name)
        self._registry.check_free(alias.name)
        self._check_models(alias)
        router = None if alias.routing == FAILOVER else find_router(alias.routing)
        aliases = {name: known.alias for name, known in self._known.items()}
        self._file.write({**aliases, alias.name: alias})
        self._known[alias.name] = _Known(alias, router)
        return self.state(alias)

    def _check_models(self, alias: Alias) -> None:
        names = [one.model for one in alias.models]
        if not 1 <= len(names) <= MOST_MODELS or len(set(names)) < len(names):
            raise InvalidInput(
                f"The alias {alias.name} needs 1 to {MOST_MODELS} models, each of them once."
            )
        if not any(one.weight for one in alias.models):
            raise InvalidInput(f"All models of the alias {alias.name} have the weight 0.")
        for name in names:
            if name == alias.name or name in self._known:
                raise InvalidInput(
                    f"{name} is an alias itself.", hint="An alias stands for models only."
                )

    def remove(self, name: str) -> Alias:
        """Remove an alias, and return what it was.

        Raises:
            ModelNotFound: there is none of that name.
            SireError: the file cannot be written.
        """
        known = self._known.get(name)
        if known is None:
            raise ModelNotFound(
                f"There is no alias {shown(name)}.",
                hint=f"{did_you_mean(name[:LONGEST_NAME], self._known)}See: sire alias ls",
                model=name[:LONGEST_NAME],
            )
        left = {other: one.alias for other, one in self._known.items() if other != name}
        self._file.write(left)
        return self._known.pop(name).alias

    def check_free(self, name: str) -> None:
        """Ensure that a model may have a name.

        Raises:
            ModelExists: an alias has it.
        """
        if known := self._known.get(name):
            models = ", ".join(one.model for one in known.alias.models)
            raise ModelExists(
                f"{name} is an alias of {models}.",
                hint=f"Choose another name, or remove the alias: sire alias rm {name}",
                model=name,
            )

    # Using them

    def applied(self, request: Message) -> Message:
        """A request with the name of a model in place of an alias.

        Raises:
            ModelNotFound: none of the alias's models is registered.
            InvalidInput: the request is about one model, and the alias has several.
        """
        if not self._known:
            return request
        kind = type(request)
        where = _CHOOSING.get(kind) or _READING.get(kind) or _OF_ONE.get(kind)
        name = getattr(request, where) if where else None
        if where is None or name is None or (alias := self.of(name)) is None:
            return request
        if kind in _OF_ONE and len(alias.models) > 1:
            models = ", ".join(one.model for one in alias.models)
            raise InvalidInput(
                f"{name} is an alias of several models.", hint=f"Name one of them: {models}"
            )
        model = self.choose(name) if kind in _CHOOSING else self.current(name)
        return msgspec.structs.replace(request, **{where: model})

    def choose(self, name: str, but: tuple[str, ...] = ()) -> str:
        """The model for one request, which counts for the next choice.

        Args:
            name: of an alias, or of a model, which is returned.
            but: models that have failed with this request.

        Raises:
            ModelNotFound: none of the models can be used.
        """
        if self.of(name) is None:
            return name
        chosen = self._choice(self._known[name], but)
        moved = self._known[name].moved
        step = int(_STRIDE / max(chosen.weight, _SMALLEST_WEIGHT))
        moved[chosen.model] = moved.get(chosen.model, 0) + step
        return chosen.model

    def current(self, name: str) -> str:
        """The model that a request would get now.

        Raises:
            ModelNotFound: none of the models can be used.
        """
        return name if self.of(name) is None else self._choice(self._known[name], ()).model

    def single(self, name: str) -> str | None:
        """The model that all requests for a name get for now; None if they are spread."""
        alias = self.of(name)
        if alias is None:
            return name
        if len(alias.models) > 1 and alias.routing != FAILOVER:
            return None
        first = alias.models[0].model
        return None if self._problem(first) else first

    def _choice(self, known: _Known, but: tuple[str, ...]) -> WeightedModel:
        left = [one for one in known.alias.models if one.model not in but]
        able = [one for one in left if not self._problem(one.model)]
        if known.router is not None:
            able = [one for one in able if one.weight] or able
        if not able and not but:
            able = [one for one in left if one.model in self._registry.models][:1]
        if not able:
            raise _none(known.alias, but)
        if known.router is None:
            return able[0]
        moved = known.moved
        behind = min(moved.get(one.model, 0) for one in able)
        for one in known.alias.models:  # those that could not serve do not catch up
            moved[one.model] = max(moved.get(one.model, 0), behind)
        if len(able) == 1:
            return able[0]
        choices = [
            self._as_choice(number, one, moved[one.model]) for number, one in enumerate(able, 1)
        ]
        return able[known.router(choices).instance - 1]

    def _as_choice(self, number: int, one: WeightedModel, moved: int) -> Choice:
        model = self._brain.models[one.model]
        instances = self._brain.fleet.of(model)
        waiting = len(model.queue) + sum(len(each.in_flight) for each in instances)
        device = instances[0].device if instances else ""
        return Choice(number, device, waiting, moved, max(one.weight, _SMALLEST_WEIGHT), one.model)

    def _problem(self, name: str) -> str:
        """Why a model cannot serve now; "" if it can."""
        if name not in self._registry.models or name not in self._brain.models:
            return "it is not registered"
        model, now = self._brain.models[name], time.monotonic()
        if any(instance.accepting for instance in self._brain.fleet.of(model)):
            return ""
        if model.backoff.until > now:
            error = model.backoff.error
            return error.message if error else f"its process crashed {model.backoff.crashes} times"
        return self._memory_problem(model, now)

    def _memory_problem(self, model: Model, now: float) -> str:
        if self._brain.fleet.of(model):  # it is being loaded, or wakes
            return ""
        fits = {one.fits for one in self._brain.fit_by_device(model, now)}
        if fits & {"now", "after-eviction"}:
            return ""
        if "not-now" in fits:
            return "its memory cannot be freed now"
        return "it needs more memory than there is"


def _none(alias: Alias, but: Iterable[str]) -> ModelNotFound:
    models = ", ".join(one.model for one in alias.models)
    if but:
        return ModelNotFound(f"No other model of the alias {alias.name} can serve: {models}.")
    return ModelNotFound(
        f"None of the models of the alias {alias.name} is registered: {models}.",
        hint="Register one of them, or set the alias anew: sire alias set",
        model=alias.name,
    )
