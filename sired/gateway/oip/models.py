"""What the protocol tells of models, and how it loads and unloads them, over HTTP and gRPC."""

from collections.abc import Iterable
from typing import Any

from sire.errors import InvalidInput, ModelNotFound, shown
from sire.protocol.counts import ModelStats
from sire.protocol.replies import ModelInfo, StatsReport, Unloaded
from sire.protocol.requests import Stats, Unload
from sire.spec import ANY_SHAPE, TensorSpec
from sired.gateway.oip.datatypes import datatype_of
from sired.gateway.oip.inference import input_names
from sired.gateway.oip.outputs import output_names
from sired.gateway.served import ServedModels

# The only version of each model.
VERSION = "1"
_LOADED = frozenset({"ready", "busy", "leased"})
_PLATFORMS = {"onnx": "onnx_onnxv1"}
_NANOSECONDS = 1e9
_MILLISECONDS = 1e3


def check_version(name: str, version: str) -> None:
    """Refuse versions that models do not have; "" stands for the only one.

    Raises:
        ModelNotFound: it is another.
    """
    if version not in {"", VERSION}:
        raise ModelNotFound(
            f"{name} has no version {version!r}.", hint=f"Its only version is {VERSION}."
        )


async def show(models: ServedModels, name: str, version: str) -> ModelInfo:
    """One model and its state.

    Raises:
        ModelNotFound: it is not registered, not served, or has no such version.
    """
    info = await models.show(name)
    check_version(name, version)
    return info


def metadata(info: ModelInfo) -> dict[str, Any]:
    """The inputs and outputs of a model, as far as they are known before it is loaded."""
    outputs = info.signature.outputs
    return {
        "name": info.model.name,
        "versions": [VERSION],
        "platform": _platform(info),
        "inputs": _tensors(info.signature.inputs, input_names(info.signature)),
        "outputs": _tensors(outputs, output_names(info.signature, len(outputs))),
    }


def config(info: ModelInfo) -> dict[str, Any]:
    """The configuration of a model, with the fields that clients read.

    ``max_batch_size`` is 0: shapes are given with all their axes.
    """
    about = metadata(info)

    def described(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"name": one["name"], "data_type": _type(one["datatype"]), "dims": one["shape"]}
            for one in tensors
        ]

    return {
        "name": about["name"],
        "platform": about["platform"],
        "backend": info.model.runtime,
        "max_batch_size": 0,
        "input": described(about["inputs"]),
        "output": described(about["outputs"]),
    }


def is_ready(info: ModelInfo) -> bool:
    """Whether a request would be answered: a model that is not loaded yet is loaded by it."""
    return info.retry_seconds is None


async def statistics(models: ServedModels, info: ModelInfo) -> dict[str, Any]:
    """Counts and times of a model's requests."""
    report = await models.daemon.expect(StatsReport, Stats(name=info.model.name))
    return {"model_stats": [_statistics(one) for one in report.models]}


async def index(models: ServedModels, *, only_loaded: bool) -> list[dict[str, str]]:
    """All models and aliases, or those that are loaded."""
    found = []
    for name, info in await models.listed():
        loaded = info.state in _LOADED
        if loaded or not only_loaded:
            state = {"state": "READY"} if loaded else {"state": "UNAVAILABLE", "reason": info.state}
            found.append({"name": name, "version": VERSION, **state})
    return found


def refuse_parameters(given: Iterable[str]) -> None:
    """Refuse parameters of a load, a configuration or files, which would register code.

    Raises:
        InvalidInput: there is one.
    """
    for name in given:
        raise InvalidInput(
            f"The parameter {shown(name)} is not supported: clients do not change models.",
            hint="Register it again: sire register NAME PATH --replace",
        )


async def unload(models: ServedModels, name: str) -> None:
    """Unload a model; it stays registered, and the next request loads it.

    Raises:
        ModelNotFound: it is not registered, or not served.
    """
    await models.daemon.expect(Unloaded, Unload(name=models.check(name)))


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


def _type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


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
