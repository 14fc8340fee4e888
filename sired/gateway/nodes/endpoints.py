"""The paths."""

from starlette.routing import BaseRoute, Route

from sired.gateway.call import Endpoint, Handler
from sired.gateway.nodes import changing, reading
from sired.gateway.served import ServedModels

_MODEL = "/models/{name:path}"
_REGISTER = changing.refusal_of(
    403,
    "Registering a model is not possible over HTTP.",
    "On the machine itself: sire register NAME PATH",
)
_DOWNLOAD = changing.refusal_of(
    501, "Downloading a model is not possible over HTTP.", "On the machine itself: sire register"
)
_TARGETS = changing.refusal_of(
    501,
    "Services on other nodes are not supported: this is one node.",
    "Load the model on this one: POST /models/NAME/serve",
)
_CREATE = changing.refusal_of(
    501,
    "Management jobs are not supported: loads, moves and unloads are answered when they are done.",
    "Submit a prediction as a job: POST /api/submit",
)


def routes(models: ServedModels) -> list[BaseRoute]:
    """The paths; ``/models/NAME`` comes last, since a name may have slashes."""
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/models", reading.list_models),
        ("GET", "/status", reading.host_status),
        ("GET", "/nodes", reading.nodes),
        ("GET", "/storage", reading.node_storage),
        ("POST", "/jobs/{job}/create", _CREATE),
        ("POST", "/jobs/{job}/cancel", changing.cancel_job),
        ("GET", "/jobs/{job}/status", reading.job_status),
        ("POST", f"{_MODEL}/register", _REGISTER),
        ("POST", f"{_MODEL}/download", _DOWNLOAD),
        ("POST", f"{_MODEL}/move", changing.move),
        ("GET", f"{_MODEL}/locations", reading.locations),
        ("POST", f"{_MODEL}/locations", changing.add_location),
        ("DELETE", f"{_MODEL}/locations/{{device}}", changing.remove_location),
        ("GET", f"{_MODEL}/services", reading.list_services),
        ("POST", f"{_MODEL}/services", _TARGETS),
        ("DELETE", f"{_MODEL}/services/{{node}}", _TARGETS),
        ("GET", f"{_MODEL}/serve/status", reading.serve_status),
        ("POST", f"{_MODEL}/serve", changing.serve),
        ("DELETE", f"{_MODEL}/serve", changing.stop_serving),
        ("GET", _MODEL, reading.show_model),
        ("DELETE", _MODEL, changing.delete_model),
    ]
    return [
        Route(path, Endpoint(models, handle), methods=[method]) for method, path, handle in table
    ]
