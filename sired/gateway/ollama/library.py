"""``/api/tags``, ``/api/ps``, ``/api/show`` and ``/api/version``."""

import time
from typing import Any

import msgspec
from starlette.responses import Response

from sire.protocol.replies import InstanceInfo, ModelInfo
from sire.spec import ModelSpec
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.fields import read_fields
from sired.gateway.ollama.names import find
from sired.gateway.ollama.requests import ACCEPTED
from sired.gateway.times import iso

# The version of Ollama whose API is spoken; clients refuse older ones for what they need.
_VERSION = "0.12.0"
_DIGEST_LENGTH = 64
_YEAR = 365 * 86400.0


class NamedModel(msgspec.Struct, frozen=True):
    """``/api/show``."""

    model: str
    verbose: bool = False


async def tags(call: Call) -> Response:
    """All models and aliases that are served."""
    found = [_listed(name, info.model) for name, info in await call.models.listed()]
    return json_response({"models": found})


async def ps(call: Call) -> Response:
    """The models that are loaded."""
    loaded = [
        {**_listed(info.model.name, info.model), **_held(instance)}
        for info in await call.models.list()
        for instance in info.instances[:1]
    ]
    return json_response({"models": loaded})


@describe(NamedModel)
async def show(call: Call) -> Response:
    """One model.

    Raises:
        ModelNotFound: it is not registered, or not served.
    """
    body = call.json()
    if isinstance(body, dict) and "name" in body:  # as older clients write it
        body = {"model": body["name"]}
    info = await find(call.models, read_fields(body, NamedModel, ACCEPTED).model)
    return json_response(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(info.model),
            "model_info": {"general.architecture": info.model.runtime},
            "capabilities": [_capability(info)],
            "modified_at": iso(info.model.registered_at),
        }
    )


async def version(_: Call) -> Response:
    """The version of the API."""
    return json_response({"version": _VERSION})


def _listed(name: str, spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": iso(spec.registered_at),
        "size": spec.weight_bytes,
        "digest": spec.fingerprint.ljust(_DIGEST_LENGTH, "0"),
        "details": _details(spec),
    }


def _held(instance: InstanceInfo) -> dict[str, Any]:
    left = _YEAR if instance.expires_in_seconds is None else instance.expires_in_seconds
    on_gpu = instance.device.startswith("cuda")
    return {
        "size": instance.memory_bytes,
        "size_vram": instance.memory_bytes if on_gpu else 0,
        "expires_at": iso(time.time() + left),
    }


def _details(spec: ModelSpec) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": spec.format,
        "family": spec.runtime,
        "families": [spec.runtime],
        "parameter_size": "",
        "quantization_level": "",
    }


def _capability(info: ModelInfo) -> str:
    """Whether it generates text or answers with vectors, which may be known once it is loaded."""
    floats = any(one.dtype.startswith("float") for one in info.signature.outputs)
    return "embedding" if floats else "completion"
