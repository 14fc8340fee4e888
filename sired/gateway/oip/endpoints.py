"""The paths of the protocol."""

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sire import __version__
from sire.errors import InvalidInput, SireError
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from sired.gateway.call import Call, Endpoint, Handler
from sired.gateway.describe import describe
from sired.gateway.errors import TextErrorBody, json_response, refusal
from sired.gateway.oip import repository
from sired.gateway.oip.answers import response
from sired.gateway.oip.body import read_request
from sired.gateway.oip.infer import infer as run
from sired.gateway.oip.inference import InferRequest
from sired.gateway.oip.models import check_version
from sired.gateway.served import ServedModels

_MODEL = "/v2/models/{name:path}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def routes(models: ServedModels) -> list[BaseRoute]:
    """The paths, those of inference first."""
    of_model = {
        "/infer": ("POST", infer),
        "/ready": ("GET", repository.ready),
        "/config": ("GET", repository.config),
        "/stats": ("GET", repository.statistics),
        "": ("GET", repository.metadata),
    }
    found: list[BaseRoute] = [
        _route(models, method, f"{path}{end}", handle)
        for end, (method, handle) in of_model.items()
        for path in (_VERSION, _MODEL)
    ]
    inference, others = found[:2], found[2:]
    return [
        *inference,
        _route(models, "GET", "/v2", server),
        _route(models, "GET", "/v2/health/live", live),
        _route(models, "GET", "/v2/health/ready", server_ready),
        _route(models, "POST", "/v2/repository/index", repository.index),
        _route(models, "POST", "/v2/repository/models/{name:path}/load", repository.load),
        _route(models, "POST", "/v2/repository/models/{name:path}/unload", repository.unload),
        *others,
    ]


def _route(models: ServedModels, method: str, path: str, handle: Handler) -> Route:
    return Route(path, Endpoint(models, handle, error_response), methods=[method])


@describe(returns=TextErrorBody)
def error_response(error: SireError) -> Response:
    """An error as clients of the protocol read it: one text."""
    return refusal({"error": str(error)}, error)


@describe(InferRequest)
async def infer(call: Call) -> Response:
    """Run a model on tensors.

    Raises:
        SireError: the errors of a prediction.
    """
    headers = call.request.headers
    if encoding := headers.get("content-encoding"):
        raise InvalidInput(
            f"The body is compressed ({encoding}), which is not supported.",
            hint="Send it as it is.",
        )
    path = call.request.path_params
    name = call.models.check(path["name"])
    check_version(name, path.get("version", ""))
    request, contents = read_request(call.body, headers.get("inference-header-content-length"))
    return response(name, request, await run(call.models, name, request, contents))


async def server(call: Call) -> Response:  # noqa: ARG001
    """The name, version and extensions of this server."""
    return json_response({"name": "sire", "version": __version__, "extensions": _EXTENSIONS})


async def live(call: Call) -> Response:  # noqa: ARG001
    """Whether this process answers."""
    return json_response({"live": True})


@describe(statuses=(200, 503))
async def server_ready(call: Call) -> Response:
    """Whether the daemon takes requests."""
    report = await call.models.daemon.expect(HealthReport, Health())
    ready = report.status == "ok"
    return json_response({"ready": ready}, 200 if ready else 503)
