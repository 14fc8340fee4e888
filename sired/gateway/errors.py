"""Errors as HTTP responses: the status of each type, and the body that sire's own paths have."""

import math
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from sire.errors import (
    AccessDenied,
    Cancelled,
    DaemonUnavailable,
    DeadlineExceeded,
    DeviceNotFound,
    InferenceError,
    InsufficientMemory,
    InvalidConfiguration,
    InvalidInput,
    InvalidModel,
    JobNotFound,
    JobsUnavailable,
    LoadFailed,
    ModelExists,
    ModelNotFound,
    ProtocolError,
    QueueFull,
    ServiceExists,
    ServiceFailed,
    ServiceNotFound,
    SireError,
    UntrustedModel,
    WorkerCrashed,
)
from sired.gateway.describe import describe


class ModelLoading(SireError):
    """The model of a request is not loaded yet; its load goes on.

    ``details`` has its ``state``, its ``progress`` (the part of its files that has been read, 0 to
    1) and its ``eta`` (seconds until it is expected to be loaded), None where they are not known.
    """


class ErrorInfo(msgspec.Struct, frozen=True):
    """An error: its code, what happened, what to do next, and the figures."""

    code: str
    message: str
    hint: str
    details: dict[str, Any]


class LoadState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the load of a model is; see ModelLoading."""

    state: str | None = None
    progress: float | None = None
    eta: float | None = None


class ErrorBody(LoadState, frozen=True, kw_only=True):
    """An error, as sire's own paths report it."""

    error: ErrorInfo


class TextErrorBody(LoadState, frozen=True, kw_only=True):
    """An error, as the Open Inference Protocol and Ollama report it."""

    error: str


# Each error type's status. A client may repeat a request that was answered with 429 or 503.
_STATUS: dict[type[SireError], int] = {
    InvalidInput: 400,
    InvalidConfiguration: 400,
    AccessDenied: 403,
    UntrustedModel: 403,
    ModelNotFound: 404,
    JobNotFound: 404,
    ServiceNotFound: 404,
    DeviceNotFound: 404,
    ModelExists: 409,
    ServiceExists: 409,
    InvalidModel: 422,
    QueueFull: 429,
    InferenceError: 500,
    LoadFailed: 500,
    ServiceFailed: 500,
    WorkerCrashed: 502,
    ProtocolError: 502,
    Cancelled: 503,
    DaemonUnavailable: 503,
    JobsUnavailable: 503,
    ModelLoading: 503,
    DeadlineExceeded: 504,
    InsufficientMemory: 507,
}
_INTERNAL = 500
_RETRY = frozenset({429, 503})
_LONGEST_RETRY_SECONDS = 60


class HttpError(SireError):
    """A request that is refused before any model is involved.

    Attributes:
        status: the status of the response.
        headers: of the response, besides those that each error has.
    """

    def __init__(
        self, status: int, message: str, *, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}


def status_of(error: SireError) -> int:
    """The status of the response to an error."""
    return error.status if isinstance(error, HttpError) else _STATUS.get(type(error), _INTERNAL)


def code_of(error: SireError) -> str:
    """The code of an error: its type's, or the name of the status, like NotFound."""
    if isinstance(error, HttpError):
        return HTTPStatus(error.status).phrase.title().replace(" ", "")
    return error.code


def headers_of(error: SireError) -> dict[str, str]:
    """The headers of the response to an error: when to try again, where that may help."""
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    if status_of(error) in _RETRY and "retry-after" not in headers:
        known = (error.details.get(name) for name in ("wait_seconds", "retry_seconds", "eta"))
        wait = next(filter(None, known), 1)
        headers["retry-after"] = str(min(math.ceil(float(wait)), _LONGEST_RETRY_SECONDS))
    return headers


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A response of JSON."""
    content = msgspec.json.encode(value, enc_hook=str)
    return Response(content, status, headers, "application/json")


def refusal(body: dict[str, Any], error: SireError) -> Response:
    """The response to an error with a dialect's body, and with the state of a load."""
    if isinstance(error, ModelLoading):
        body = body | {name: error.details[name] for name in ("state", "progress", "eta")}
    return json_response(body, status_of(error), headers_of(error))


@describe(returns=ErrorBody)
def error_response(error: SireError) -> Response:
    """The response of sire's own paths to an error: its code, message, hint and figures."""
    body = {
        "error": {
            "code": code_of(error),
            "message": error.message,
            "hint": error.hint,
            "details": error.details,
        }
    }
    return refusal(body, error)
