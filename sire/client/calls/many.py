"""What ``ModelManager`` can do about many predictions at once."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing
from typing import Any, Literal

import msgspec

from sire.client.calls.jobs import answer_from
from sire.client.connection import Connection
from sire.client.pipeline.futures import FuturesPipeline
from sire.client.pipeline.in_order import outcomes_in_order
from sire.client.pipeline.pipeline import Outcome, Pipeline, PipelinedRequest, open_pipeline
from sire.errors import DaemonUnavailable, InvalidConfiguration, SireError
from sire.options.kinds import parse_keep_alive
from sire.paths import Paths
from sire.protocol.content import TREE
from sire.protocol.requests import Predict
from sire.spec import Priority
from sire.tensors import pack


class ManyCalls(ABC):
    """Predictions of which several are under way at once."""

    _background: FuturesPipeline

    @abstractmethod
    def _connection(self) -> AbstractContextManager[Connection]:
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
        """Run a model on many inputs; several are under way while you look at the answers.

        Inputs are taken as there is room for them: at most 32, or 64 MiB of them and their
        answers, are held at once, so that the iterable may be endless. An input that finds the
        daemon's queue full is sent again until there is a place. Leaving the loop, or closing the
        iterator, withdraws what is under way.

        Args:
            model_name: a registered model.
            inputs: the data of each prediction, as for ``predict``; arrays must not change until
                their answer is there.
            timeout: seconds for each input once those before it are answered; for the first,
                loading included.
            priority: high, normal or low; None for the model's.
            keep_alive: as for ``predict``.
            on_error: "raise" the error of an input in its turn, which ends the iteration; or
                "return" the ``SireError`` in the place of the answer, and go on.

        Returns:
            An iterator over the answers, in the order of the inputs. Nothing is asked before the
            first one is wanted.

        Raises:
            InvalidConfiguration: an argument is not what it can be.
            DaemonUnavailable: from the iterator, whatever ``on_error`` says: nothing runs on.
            SireError: from the iterator: whatever ``predict`` raises but ``QueueFull``, which is
                raised only if the queue was full for the whole ``timeout``.
        """
        if on_error not in {"raise", "return"}:
            raise InvalidConfiguration(
                f"on_error cannot be {on_error!r}.", hint="It can be: raise, return."
            )
        request = prediction(model_name, timeout, priority, keep_alive)
        return self._answers(request, inputs, go_on=on_error == "return")

    def submit_async(
        self,
        model_name: str,
        data: Any,
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
    ) -> "Future[Any]":
        """Run a model once, and do not wait: the answer comes to a future.

        Of what is submitted, 32 or 64 MiB at most are under way at once; the rest waits here. To
        cancel the future cancels the request, also while the model computes. Closing the manager
        cancels every future that has no answer. In asyncio: ``await asyncio.wrap_future(...)``.

        Args:
            model_name: a registered model.
            data: as for ``predict``; arrays must not change until the answer is there.
            timeout: seconds, once those before it have been answered.
            priority: high, normal or low; None for the model's.
            keep_alive: as for ``predict``.

        Returns:
            A future that gives what ``predict`` would return, or raise.

        Raises:
            InvalidInput: the data cannot be sent.
            DaemonUnavailable: the manager is closed.
        """
        request = prediction(model_name, timeout, priority, keep_alive)
        return self._background.submit(question(request, data))

    def _answers(
        self, request: Predict, inputs: Iterable[Any], *, go_on: bool
    ) -> Generator[Any, None, None]:
        with self._connection() as connection:
            pipeline = open_pipeline(connection)
        with closing(pipeline):
            for outcome in outcomes_in_order(pipeline, _questions(request, inputs)):
                answer = _answer(outcome)
                if isinstance(answer, SireError) and not (go_on and _of_one_input(answer)):
                    raise answer
                yield answer


def background(paths: Paths, *, autostart: bool) -> FuturesPipeline:
    """What ``submit_async`` submits to."""

    def connect(waker: int) -> Pipeline:
        return open_pipeline(Connection(paths, autostart=autostart), waker)

    return FuturesPipeline(connect, answer_from)


def prediction(
    model: str, timeout: float | None, priority: Priority | None, keep_alive: str | float | None
) -> Predict:
    """A request without its data, from the arguments of ``ModelManager``."""
    keep = parse_keep_alive(keep_alive)
    return Predict(model=model, timeout=timeout, priority=priority, keep_alive=keep)


def _questions(request: Predict, inputs: Iterable[Any]) -> Iterator[PipelinedRequest | SireError]:
    for data in inputs:
        try:
            asked = question(request, data)
        except SireError as error:
            yield error
        else:
            yield asked


def question(request: Predict, data: Any) -> PipelinedRequest:
    """A request with this data, to be answered with the like.

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


def _of_one_input(error: SireError) -> bool:
    return not isinstance(error, DaemonUnavailable)
