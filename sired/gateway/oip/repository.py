"""The paths that tell of models, and those that load and unload them."""

from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from sire.errors import InvalidInput, error_text
from sire.protocol.replies import ModelInfo
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.keys import require_manage
from sired.gateway.oip import models

_Kind = TypeVar("_Kind")


class IndexRequest(msgspec.Struct, frozen=True):
    """``/v2/repository/index``. ``ready`` asks for the models that are loaded only."""

    ready: bool = False


class LoadRequest(msgspec.Struct, frozen=True):
    """Loading and unloading; parameters of a load are refused."""

    parameters: dict[str, Any] | None = None


async def _shown(call: Call) -> ModelInfo:
    path = call.request.path_params
    return await models.show(call.models, path["name"], path.get("version", ""))


async def metadata(call: Call) -> Response:
    """The inputs and outputs of a model."""
    return json_response(models.metadata(await _shown(call)))


async def config(call: Call) -> Response:
    """The configuration of a model."""
    return json_response(models.config(await _shown(call)))


@describe(statuses=(200, 503))
async def ready(call: Call) -> Response:
    """Whether a request would be answered."""
    info = await _shown(call)
    is_ready = models.is_ready(info)
    return json_response({"name": info.model.name, "ready": is_ready}, 200 if is_ready else 503)


async def statistics(call: Call) -> Response:
    """Counts and times of a model's requests."""
    return json_response(await models.statistics(call.models, await _shown(call)))


@describe(IndexRequest)
async def index(call: Call) -> Response:
    """All models, or those that are loaded (``ready``)."""
    only_loaded = _read(call, IndexRequest).ready
    return json_response(await models.index(call.models, only_loaded=only_loaded))


@describe(LoadRequest)
async def load(call: Call) -> Response:
    """Load a registered model.

    Raises:
        InvalidInput: the request has a configuration or files, which would register code.
        SireError: the model cannot be loaded.
    """
    models.refuse_parameters(_read(call, LoadRequest).parameters or ())
    require_manage(call.key)
    await call.models.load(call.request.path_params["name"])
    return json_response({})


@describe(LoadRequest)
async def unload(call: Call) -> Response:
    """Unload a model."""
    require_manage(call.key)
    await models.unload(call.models, call.request.path_params["name"])
    return json_response({})


def _read(call: Call, kind: type[_Kind]) -> _Kind:
    """The body; unknown fields have no effect.

    Raises:
        InvalidInput: it is not of this kind.
    """
    try:
        return msgspec.convert(call.json(), kind)
    except msgspec.ValidationError as problem:
        raise InvalidInput(f"The request is not valid: {error_text(problem)}.") from None
