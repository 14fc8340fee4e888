"""What the protocol tells of models, and how it loads and unloads them."""

from typing import Any

from starlette.responses import Response

from sire.errors import InvalidInput, ModelNotFound, shown
from sire.protocol.counts import ModelStats
from sire.protocol.replies import ModelInfo, StatsReport, Unloaded
from sire.protocol.requests import Stats, Unload
from sire.spec import ANY_SHAPE, TensorSpec
from sired.gateway.call import Call
from sired.gateway.errors import json_response
from sired.gateway.keys import require_manage
from sired.gateway.oip.answers import VERSION, output_names
from sired.gateway.oip.datatypes import datatype_of
from sired.gateway.oip.inference import input_names

_LOADED = frozenset({"ready", "busy", "leased"})
_PLATFORMS = {"onnx": "onnx_onnxv1"}
_NANOSECONDS = 1e9
_MILLISECONDS = 1e3


async def _shown(call: Call) -> ModelInfo:
    info = await call.models.show(call.request.path_params["name"])
    if (version := call.request.path_params.get("version", VERSION)) != VERSION:
        raise ModelNotFound(
            f"{info.model.name} has no version {version!r}.",
            hint=f"Its only version is {VERSION}.",
        )
    return info


def _tensors(specs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": datatype_of(spec.dtype),
            "shape": [-1] if spec.shape == ANY_SHAPE else spec.shape,
        }
        for spec, name in zip(specs, names, strict=True)
    ]


def _platform(info: ModelInfo) -> str:
    return _PLATFORMS.get(info.model.runtime, info.model.runtime)


async def metadata(call: Call) -> Response:
    """The inputs and outputs of a model, as far as they are known before it is loaded."""
    info = await _shown(call)
    outputs = info.signature.outputs
    body = {
        "name": info.model.name,
        "versions": [VERSION],
        "platform": _platform(info),
        "inputs": _tensors(info.signature.inputs, input_names(info.signature)),
        "outputs": _tensors(outputs, output_names(info.signature, len(outputs))),
    }
    return json_response(body)


async def config(call: Call) -> Response:
    """The configuration of a model, with the fields that clients read.

    ``max_batch_size`` is 0: shapes are given with all their axes.
    """
    info = await _shown(call)
    outputs = info.signature.outputs

    def described(specs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [
            {"name": one["name"], "data_type": _type(one["datatype"]), "dims": one["shape"]}
            for one in _tensors(specs, names)
        ]

    body = {
        "name": info.model.name,
        "platform": _platform(info),
        "backend": info.model.runtime,
        "max_batch_size": 0,
        "input": described(info.signature.inputs, input_names(info.signature)),
        "output": described(outputs, output_names(info.signature, len(outputs))),
    }
    return json_response(body)


def _type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


async def ready(call: Call) -> Response:
    """Whether a request would be answered: a model that is not loaded yet is loaded by it."""
    info = await _shown(call)
    is_ready = info.retry_seconds is None
    return json_response({"name": info.model.name, "ready": is_ready}, 200 if is_ready else 503)


async def statistics(call: Call) -> Response:
    """Counts and times of a model's requests."""
    info = await _shown(call)
    report = await call.models.daemon.expect(StatsReport, Stats(name=info.model.name))
    return json_response({"model_stats": [_statistics(one) for one in report.models]})


def _statistics(stats: ModelStats) -> dict[str, Any]:
    def times(count: int, seconds: float | None) -> dict[str, int]:
        return {"count": count, "ns": round(count * (seconds or 0.0) * _NANOSECONDS)}

    count = stats.inference_count
    return {
        "name": stats.model,
        "version": VERSION,
        "last_inference": round((stats.last_used_at or 0.0) * _MILLISECONDS),
        "inference_count": count,
        "execution_count": count,
        "inference_stats": {
            "success": times(count, stats.average_latency_seconds),
            "fail": times(sum(stats.errors.values()), None),
            "compute_infer": times(count, stats.average_compute_seconds),
        },
    }


async def index(call: Call) -> Response:
    """All models, or those that are loaded (``ready``)."""
    only_ready = bool(_object(call).get("ready"))
    found = []
    for info in await call.models.list():
        loaded = info.state in _LOADED
        if loaded or not only_ready:
            state = {"state": "READY"} if loaded else {"state": "UNAVAILABLE", "reason": info.state}
            found.append({"name": info.model.name, "version": VERSION, **state})
    return json_response(found)


async def load(call: Call) -> Response:
    """Load a registered model.

    Raises:
        InvalidInput: the request has a configuration or files, which would register code.
        SireError: the model cannot be loaded.
    """
    if given := [name for name in _object(call).get("parameters") or {} if name]:
        raise InvalidInput(
            f"The parameter {shown(given[0])} is not supported: models are not changed over HTTP.",
            hint="Register it again: sire register NAME PATH --replace",
        )
    require_manage(call.request.scope)
    await call.models.load(call.request.path_params["name"])
    return json_response({})


async def unload(call: Call) -> Response:
    """Unload a model; it stays registered, and the next request loads it."""
    name = call.models.check(call.request.path_params["name"])
    require_manage(call.request.scope)
    await call.models.daemon.expect(Unloaded, Unload(name=name))
    return json_response({})


def _object(call: Call) -> dict[str, Any]:
    body = call.json()
    if not isinstance(body, dict):
        raise InvalidInput("The body is not a JSON object.")
    return body
