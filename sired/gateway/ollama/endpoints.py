"""The paths, and errors as Ollama's clients read them."""

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sire.errors import SireError
from sired.gateway.call import Call, Endpoint, Handler
from sired.gateway.describe import describe
from sired.gateway.errors import HttpError, TextErrorBody, refusal
from sired.gateway.generation.generators import Generators
from sired.gateway.ollama import embeddings, library
from sired.gateway.ollama.generation import TextEndpoints
from sired.gateway.served import ServedModels

_MANAGING = ("pull", "push", "create", "copy", "delete")


def routes(models: ServedModels, generators: Generators) -> list[BaseRoute]:
    """The paths."""
    texts = TextEndpoints(generators)
    return [
        _route(models, ["POST"], "generate", texts.generate),
        _route(models, ["POST"], "chat", texts.chat),
        _route(models, ["POST"], "embed", embeddings.embed),
        _route(models, ["POST"], "embeddings", embeddings.embed_one),
        _route(models, ["GET"], "tags", library.tags),
        _route(models, ["GET"], "ps", library.ps),
        _route(models, ["POST"], "show", library.show),
        _route(models, ["GET"], "version", library.version),
        *(_route(models, ["POST", "DELETE"], one, _refuse) for one in _MANAGING),
    ]


def _route(models: ServedModels, methods: list[str], name: str, handle: Handler) -> Route:
    return Route(f"/api/{name}", Endpoint(models, handle, error_response), methods=methods)


@describe(returns=TextErrorBody)
def error_response(error: SireError) -> Response:
    """The response to an error."""
    return refusal({"error": str(error)}, error)


async def _refuse(call: Call) -> Response:
    """Managing models is not possible over HTTP."""
    raise HttpError(
        501,
        f"{call.request.url.path} is not supported: models are registered on the machine itself.",
        hint="Use: sire register, sire rm",
    )
