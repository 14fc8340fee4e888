"""The paths that tell of models, and those that load and unload them."""

from typing import Any

from starlette.responses import Response

from sire.errors import InvalidInput
from sire.protocol.replies import ModelInfo
from sired.gateway.call import Call
from sired.gateway.errors import json_response
from sired.gateway.keys import require_manage
from sired.gateway.oip import models


async def _shown(call: Call) -> ModelInfo:
    path = call.request.path_params
    return await models.show(call.models, path["name"], path.get("version", ""))


async def metadata(call: Call) -> Response:
    """The inputs and outputs of a model."""
    return json_response(models.metadata(await _shown(call)))


async def config(call: Call) -> Response:
    """The configuration of a model."""
    return json_response(models.config(await _shown(call)))


async def ready(call: Call) -> Response:
    """Whether a request would be answered."""
    info = await _shown(call)
    is_ready = models.is_ready(info)
    return json_response({"name": info.model.name, "ready": is_ready}, 200 if is_ready else 503)


async def statistics(call: Call) -> Response:
    """Counts and times of a model's requests."""
    return json_response(await models.statistics(call.models, await _shown(call)))


async def index(call: Call) -> Response:
    """All models, or those that are loaded (``ready``)."""
    only_loaded = bool(_object(call).get("ready"))
    return json_response(await models.index(call.models, only_loaded=only_loaded))


async def load(call: Call) -> Response:
    """Load a registered model.

    Raises:
        InvalidInput: the request has a configuration or files, which would register code.
        SireError: the model cannot be loaded.
    """
    models.refuse_parameters(_object(call).get("parameters") or ())
    require_manage(call.key)
    await call.models.load(call.request.path_params["name"])
    return json_response({})


async def unload(call: Call) -> Response:
    """Unload a model."""
    require_manage(call.key)
    await models.unload(call.models, call.request.path_params["name"])
    return json_response({})


def _object(call: Call) -> dict[str, Any]:
    body = call.json()
    if not isinstance(body, dict):
        raise InvalidInput("The body is not a JSON object.")
    return body
