"""One request over a direct connection, as messages: what is sent, and what an answer means."""

from sire.errors import DeadlineExceeded, SireError, error_from
from sire.protocol.replies import Prediction
from sire.protocol.requests import Predict
from sire.protocol.runs import RunModel, RunResult, WorkerError

# Requests with more may have a header over the daemon's limit: there they always get its error.
MOST_TENSORS = 4096
# A healthy daemon answers at once; one that does not must not delay the request.
OPENING_SECONDS = 1.0


class ConnectionLost(Exception):
    """The request has no answer, and the connection cannot be used any more.

    Attributes:
        connection: its number if the request was sent, and so may have crashed the worker.
    """

    def __init__(self, connection: int | None = None) -> None:
        super().__init__()
        self.connection = connection


def run_of(request: Predict, sent: float) -> RunModel:
    """The message for a request that is sent at ``sent``, on the monotonic clock."""
    return RunModel(0, request.content_type, request.tensors, request.accept, sent)


def prediction_of(answer: RunResult, latency: float, model: str) -> Prediction:
    """The header of a model's answer, ``latency`` seconds after its request was sent."""
    return Prediction(
        content_type=answer.content_type,
        tensors=answer.tensors,
        compute_seconds=answer.compute_seconds,
        queue_seconds=max(0.0, latency - answer.compute_seconds),
        model=model,
    )


def failure_of(answer: WorkerError) -> ConnectionLost | SireError:
    """The exception for an error; the daemon makes room after one for lack of memory."""
    if answer.out_of_memory:
        return ConnectionLost()
    return error_from(answer.code, answer.message, answer.hint, answer.details)


def too_late(model: str, timeout: float) -> DeadlineExceeded:
    """The error of a request without an answer after ``timeout`` seconds."""
    return DeadlineExceeded(
        f"{model} did not answer within {timeout:g} s.",
        hint="Increase it with --timeout.",
        model=model,
    )
