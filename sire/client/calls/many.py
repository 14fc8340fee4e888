"""Methods of ``ModelManager`` for many predictions at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing
from typing import Any, Literal

import msgspec

from sire.client.calls.jobs import answer_from
from sire.client.daemon_client import DaemonClient
from sire.client.pipeline.base import Outcome, PipelinedRequest, RequestPipeline
from sire.client.pipeline.futures import FuturesPipeline
from sire.client.pipeline.in_order import outcomes_in_order
from sire.client.pipeline.opening import open_pipeline
from sire.errors import DaemonUnavailable, InvalidConfiguration, SireError
from sire.options.kinds import parse_keep_alive
from sire.protocol.content import TREE
from sire.protocol.requests import Predict
from sire.spec import Priority
from sire.tensors import pack


class ManyCalls(ABC):
    """Predictions of which several are in flight at once."""

    _background: FuturesPipeline

    @abstractmethod
    def _connection(self) -> AbstractContextManager[DaemonClient]:
        """A connection to the daemon."""

    def predict_many(
        self,
        model_name: str,
        inputs: Iterable[Any],
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
        on_error: Literal["raise", "return"] = "raise",
    ) -> Generator[Any, None, None]:
        """Run a model on many inputs, several of them in flight at once.

        Inputs are read as there is room: at most 32 inputs, or 64 MiB of inputs and answers, are
        held at once, so that the iterable may be endless. An input that finds the daemon's queue
        full is sent again until it is accepted. Leaving the loop, or closing the iterator, cancels
        the requests in flight.

        Args:
            model_name: a registered model.
            inputs: the data of each prediction, as for ``predict``; arrays must not change until
                their answer arrives.
            timeout: seconds for each input, counted from the answer to the one before it; for the
                first, including loading. None for the daemon's default.
            priority: high, normal or low; None for the model's.
            keep_alive: how long the model stays loaded afterwards, as for ``predict``.
            on_error: "raise" the error of an input in its turn, which ends the iteration; or
                "return" the ``SireError`` in place of the answer, and continue.

        Returns:
            An iterator over the answers, in the order of the inputs. No request is sent before the
            first answer is requested.

        Raises:
            InvalidConfiguration: ``on_error`` or ``keep_alive`` is not valid.
            DaemonUnavailable: from the iterator, also with ``on_error="return"``.
            SireError: from the iterator: the errors of ``predict``. ``QueueFull`` is raised only if
                the queue was full for the whole ``timeout``.
        """
        if on_error not in {"raise", "return"}:
            raise InvalidConfiguration(
                f"on_error: {on_error!r} is not valid.", hint="Use raise or return."
            )
        request = predict_request(model_name, timeout, priority, keep_alive)
        return self._answers(request, inputs, continue_on_error=on_error == "return")

    def submit_async(
        self,
        model_name: str,
        data: Any,
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
    ) -> "Future[Any]":
        """Run a model once without waiting; the answer is the result of a future.

        At most 32 requests, or 64 MiB, are in flight at once; the others wait in this process.
        Cancelling the future cancels the request, also while the model computes. Closing the
        manager cancels every future without an answer. In asyncio: ``await
        asyncio.wrap_future(...)``.

        Args:
            model_name: a registered model.
            data: as for ``predict``; arrays must not change until the answer arrives.
            timeout: seconds, counted from the answers to earlier requests; None for the daemon's
                default.
            priority: high, normal or low; None for the model's.
            keep_alive: how long the model stays loaded afterwards, as for ``predict``.

        Returns:
            A future with the result, or the exception, of ``predict``.

        Raises:
            InvalidInput: the data cannot be sent.
            DaemonUnavailable: the manager is closed.
        """
        request = predict_request(model_name, timeout, priority, keep_alive)
        return self._background.submit(pack_request(request, data))

    def _answers(
        self, request: Predict, inputs: Iterable[Any], *, continue_on_error: bool
    ) -> Generator[Any, None, None]:
        with self._connection() as connection:
            pipeline = open_pipeline(connection, timeout=request.timeout)
        with closing(pipeline):
            for outcome in outcomes_in_order(pipeline, _requests(request, inputs)):
                answer = _answer(outcome)
                if isinstance(answer, SireError) and not (
                    continue_on_error and _concerns_one_input(answer)
                ):
                    raise answer
                yield answer


def futures_pipeline(client: Callable[[], DaemonClient]) -> FuturesPipeline:
    """The pipeline of ``submit_async``; it connects when the first request is submitted."""

    def connect(waker: int, timeout: float | None) -> RequestPipeline:
        return open_pipeline(client(), waker, timeout)

    return FuturesPipeline(connect, answer_from)


def predict_request(
    model: str, timeout: float | None, priority: Priority | None, keep_alive: str | float | None
) -> Predict:
    """A request without its data, from the arguments of ``ModelManager``."""
    keep = parse_keep_alive(keep_alive)
    return Predict(model=model, timeout=timeout, priority=priority, keep_alive=keep)


def _requests(request: Predict, inputs: Iterable[Any]) -> Iterator[PipelinedRequest | SireError]:
    for data in inputs:
        try:
            packed = pack_request(request, data)
        except SireError as error:
            yield error
        else:
            yield packed


def pack_request(request: Predict, data: Any) -> PipelinedRequest:
    """A request with this data, whose answer is Python data as well.

    Raises:
        InvalidInput: the data cannot be sent.
    """
    payload = pack(data)
    request = msgspec.structs.replace(
        request, content_type=payload.content_type, tensors=payload.tensors, accept=TREE
    )
    return PipelinedRequest(request, payload.frames)


def _answer(outcome: Outcome) -> Any:
    return outcome if isinstance(outcome, SireError) else answer_from(*outcome)


def _concerns_one_input(error: SireError) -> bool:
    return not isinstance(error, DaemonUnavailable)
