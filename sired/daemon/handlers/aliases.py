"""Handlers of requests about aliases, and predictions that are asked of one."""

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

from sire.errors import (
    DeviceNotFound,
    InsufficientMemory,
    InvalidModel,
    LoadFailed,
    ModelNotFound,
    SireError,
    UntrustedModel,
)
from sire.protocol.aliases import (
    AliasList,
    AliasState,
    ListAliases,
    RemoveAlias,
    Resolve,
    SetAlias,
)
from sire.protocol.content import Buffer
from sire.protocol.message import Message
from sire.protocol.requests import Predict
from sired.daemon import views
from sired.daemon.handlers.predictions import PredictionHandlers
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.services import Services
from sired.server.front import Client

# The errors of a model that cannot be loaded, whatever its input is.
_CANNOT_SERVE = (
    DeviceNotFound,
    InsufficientMemory,
    InvalidModel,
    LoadFailed,
    ModelNotFound,
    UntrustedModel,
)


class AliasHandlers:
    """One method per kind of request."""

    def __init__(
        self, services: Services, table: HandlerTable, predictions: PredictionHandlers
    ) -> None:
        self._services = services
        self._predictions = predictions
        table.add(SetAlias, self._set)
        table.add(RemoveAlias, self._remove)
        table.add(ListAliases, self._list)
        table.add(Resolve, self._resolve)

    def predict(
        self, client: Client, asked: Predict, chosen: Predict, payload: tuple[Buffer, ...]
    ) -> None:
        """Begin a prediction of a model that was chosen for an alias.

        Args:
            client: where the answer goes.
            asked: the request, which names the alias.
            chosen: the same request with the model's name.
            payload: the input's frames.

        Raises:
            SireError: it fails at once.
        """
        timeout = self._services.timeout(asked.timeout)
        attempt = _Attempt(self, asked, payload, time.monotonic() + timeout, (chosen.model,))
        self._predictions.predict(client, chosen, payload, attempt)

    def predict_with_other(self, client: Client, attempt: "_Attempt", error: SireError) -> None:
        """Have another model answer after one could not be loaded; without one, report that."""
        services, asked, tried = self._services, attempt.asked, attempt.tried
        try:
            model = services.aliases.choose(asked.model, tried)
        except ModelNotFound:
            services.front.fail(client, error)
            return
        left = max(0.0, attempt.deadline - time.monotonic())
        request = msgspec.structs.replace(asked, model=model, timeout=left)
        again = _Attempt(self, asked, attempt.payload, attempt.deadline, (*tried, model))
        try:
            self._predictions.predict(client, request, attempt.payload, again)
        except SireError as refused:
            services.front.fail(client, refused)

    def after_failure(self, client: Client, attempt: "_Attempt", error: SireError) -> None:
        """Take the error of an attempt, while the brain acts: what follows has to wait."""
        if attempt.answering or not isinstance(error, _CANNOT_SERVE):
            self._services.front.fail(client, error)
        else:
            asyncio.get_running_loop().call_soon(self.predict_with_other, client, attempt, error)

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...]) -> None:
        """Pass on an answer, or a part of one."""
        self._services.front.reply(client, message, payload)

    def _set(self, client: Client, request: SetAlias, _: tuple[Buffer, ...]) -> None:
        before = self._services.aliases.of(request.alias.name)
        state = self._services.aliases.set(request.alias)
        if before is not None:
            self._disconnect(tuple(one.model for one in before.models))
        self._reply(client, (state,))

    def _remove(self, client: Client, request: RemoveAlias, _: tuple[Buffer, ...]) -> None:
        removed = self._services.aliases.remove(request.name)
        self._disconnect(tuple(one.model for one in removed.models))
        self._services.front.done(client)

    def _disconnect(self, models: tuple[str, ...]) -> None:
        """Close direct connections, some of which may have been opened by the alias."""
        services = self._services
        for model in filter(None, map(services.models.get, models)):
            for instance in services.fleet.of(model):
                services.direct.close(instance.id)

    def _list(self, client: Client, _: ListAliases, __: tuple[Buffer, ...]) -> None:
        self._reply(client, self._services.aliases.states())

    def _reply(self, client: Client, states: tuple[AliasState, ...]) -> None:
        self._services.front.reply(client, AliasList(id=client.request_id, aliases=states))

    def _resolve(self, client: Client, request: Resolve, _: tuple[Buffer, ...]) -> None:
        services = self._services
        model = services.aliases.choose(request.name, request.but)
        services.front.reply(client, views.model(services, model, client.request_id))


@dataclass(slots=True)
class _Attempt:
    """One model's try at a prediction that was asked of an alias: takes its answer.

    Attributes:
        deadline: when the request is due, on the monotonic clock.
        tried: the models that have tried, the latest last.
        answering: whether a part of the answer has been sent.
    """

    handlers: AliasHandlers
    asked: Predict
    payload: tuple[Buffer, ...]
    deadline: float
    tried: tuple[str, ...]
    answering: bool = field(default=False)

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Pass on an answer, or a part of one."""
        self.answering = True
        self.handlers.reply(client, message, payload)

    def fail(self, client: Client, error: SireError) -> None:
        """Pass on an error, or have another model try."""
        self.handlers.after_failure(client, self, error)

    def started(self, client: Client) -> None:
        """Do nothing: clients are not notified."""
