"""The paths, the list of models, and errors as OpenAI's clients read them."""

from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sire.errors import ModelNotFound, QueueFull, SireError
from sire.protocol.replies import ModelInfo
from sired.gateway.call import Call, Endpoint, Handler
from sired.gateway.describe import describe
from sired.gateway.errors import (
    HttpError,
    LoadState,
    code_of,
    json_response,
    refusal,
    status_of,
)
from sired.gateway.generation.generators import Generators
from sired.gateway.openai.completions import Completions
from sired.gateway.openai.embeddings import embed
from sired.gateway.openai.images import generate
from sired.gateway.openai.rerank import rerank
from sired.gateway.openai.transcriptions import transcribe
from sired.gateway.programs.by_model import ProgramOr
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels

_CODES: dict[type[SireError], str] = {
    ModelNotFound: "model_not_found",
    QueueFull: "rate_limit_exceeded",
}
_SERVER_ERROR = 500


def routes(models: ServedModels, forwarder: Forwarder, generators: Generators) -> list[BaseRoute]:
    """The paths. Programs get all that names them, on these paths and on others."""
    completions = Completions(generators)
    return [
        _route(models, "POST", "/v1/chat/completions", ProgramOr(forwarder, completions.chat)),
        _route(models, "POST", "/v1/completions", ProgramOr(forwarder, completions.complete)),
        _route(models, "POST", "/v1/embeddings", ProgramOr(forwarder, embed)),
        _route(models, "POST", "/v1/rerank", ProgramOr(forwarder, rerank)),
        _route(models, "POST", "/v1/audio/transcriptions", ProgramOr(forwarder, transcribe)),
        _route(models, "POST", "/v1/images/generations", ProgramOr(forwarder, generate)),
        _route(models, "GET", "/v1/models", list_models),
        _route(models, "GET", "/v1/models/{name:path}", show_model),
        _route(models, "POST", "/v1/{path:path}", ProgramOr(forwarder, _only_programs)),
    ]


def _route(models: ServedModels, method: str, path: str, handle: Handler) -> Route:
    return Route(path, Endpoint(models, handle, error_response), methods=[method])


class OpenAIErrorInfo(msgspec.Struct, frozen=True):
    """An error."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIErrorBody(LoadState, frozen=True, kw_only=True):
    """An error, as OpenAI's clients read it."""

    error: OpenAIErrorInfo


class OpenAIModel(msgspec.Struct, frozen=True):
    """A model."""

    id: str
    object: str
    created: int
    owned_by: str


class OpenAIModels(msgspec.Struct, frozen=True):
    """The models."""

    object: str
    data: tuple[OpenAIModel, ...]


def error_body(error: SireError) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    status = status_of(error)
    kind = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    described = {
        "message": str(error),
        "type": "requests" if isinstance(error, QueueFull) else kind,
        "param": error.details.get("param"),
        "code": _CODES.get(type(error), code_of(error)),
    }
    return {"error": described}


@describe(returns=OpenAIErrorBody)
def error_response(error: SireError) -> Response:
    """The response to an error."""
    return refusal(error_body(error), error)


async def _only_programs(call: Call) -> Response:
    """Pass a request on to the program of the model that its body names."""
    raise HttpError(
        404,
        f"There is no path {call.request.url.path} for models that sire runs itself.",
        hint="Requests that name a model of --cmd are passed on to its program.",
    )


@describe(returns=OpenAIModels)
async def list_models(call: Call) -> Response:
    """All models and aliases that are served."""
    found = [_described(name, info) for name, info in await call.models.listed()]
    return json_response({"object": "list", "data": found})


@describe(returns=OpenAIModel)
async def show_model(call: Call) -> Response:
    """One model, or the one that an alias stands for now."""
    name = call.request.path_params["name"]
    return json_response(_described(name, await call.models.show(name)))


def _described(name: str, info: ModelInfo) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": info.model.runtime,
        "root": info.model.name,
    }
