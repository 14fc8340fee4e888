"""The records of models, devices and services."""

import asyncio
import os
import socket
from typing import Literal

import msgspec

from sire.errors import DeviceNotFound, shown
from sire.paths import find_paths
from sire.protocol.devices import DeviceInfo, DeviceList
from sire.protocol.replies import ModelInfo
from sired.gateway.call import Call
from sired.gateway.times import iso

NODE = socket.gethostname()
DISK, DRAM = "disk", "dram"
Status = Literal["available", "downloading", "moving", "serving"]
_LOADED = frozenset({"ready", "busy", "leased"})
_MOVING = frozenset({"loading", "waking", "suspending"})
_KINDS = {"text-generation": "llm", "embeddings": "embedding", "ollama": "llm"}


class Requirements(msgspec.Struct, frozen=True):
    """What a model needs, in bytes."""

    min_memory: int
    min_vram: int
    gpu_arch: tuple[str, ...] = ()


class Metadata(msgspec.Struct, frozen=True):
    """What is known of a model besides its files; times are of ISO 8601."""

    created_at: str
    updated_at: str
    requirements: Requirements
    description: str = ""
    tags: tuple[str, ...] = ()


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A model, with the fields that hosts and nodes have for it.

    Attributes:
        locations: devices that hold its weights, as NODE:disk, NODE:dram or NODE:gpu0; also named
            ``stored_locations``.
        services: the URL of each device on which it answers; also ``available_services``.
        size: of its weights, in bytes; also ``model_size``.
        integrity_hash: fingerprint of its content; also ``model_hash``.
    """

    model_name: str
    model_type: str
    size: int
    model_size: int
    model_hash: str
    integrity_hash: str
    locations: tuple[str, ...]
    stored_locations: tuple[str, ...]
    services: dict[str, str]
    available_services: dict[str, str]
    status: Status
    service_port: int | None
    last_accessed: str | None
    local_path: str | None
    metadata: Metadata


class ModelRecords(msgspec.Struct, frozen=True):
    """``GET /models``."""

    models: tuple[ModelRecord, ...]
    total_count: int


class Space(msgspec.Struct, frozen=True):
    """Bytes."""

    total: int
    used: int
    available: int


def device_name(device: str) -> str:
    """A device of sire in the words of a node: gpu0 for cuda:0, dram for cpu."""
    return DRAM if device == "cpu" else device.replace("cuda:", "gpu")


def own_device(name: str) -> str:
    """The device of sire, or the tier, for a name like gpu0, or NODE:gpu0.

    Raises:
        DeviceNotFound: it is on another node.
    """
    node, _, device = name.rpartition(":")
    if name.startswith("cuda:"):
        return name
    if node not in {"", NODE, "localhost", "127.0.0.1"}:
        raise DeviceNotFound(
            f"{shown(name)} is not a device of this node, which is {NODE}.",
            hint="Devices are named like disk, dram and gpu0.",
        )
    return device.replace("gpu", "cuda:", 1) if device.startswith("gpu") else device


def places(info: ModelInfo) -> tuple[str, ...]:
    """The devices that hold a model's weights: the disk always does."""
    holding = (
        DRAM if one.state == "asleep" else device_name(one.device)
        for one in info.instances
        if one.state in _LOADED | {"asleep"}
    )
    return tuple(dict.fromkeys((DISK, *holding)))


def services(info: ModelInfo, base_url: str) -> dict[str, str]:
    """The URL of a model on each device on which it is loaded."""
    url = f"{base_url.rstrip('/')}/models/{info.model.name}"
    loaded = [one for one in info.instances if one.state in _LOADED]
    return {f"{NODE}:{device_name(one.device)}": url for one in loaded}


def record(call: Call, info: ModelInfo, last_used: float | None) -> ModelRecord:
    """The record of a model."""
    spec = info.model
    located = tuple(f"{NODE}:{place}" for place in places(info))
    served = services(info, str(call.request.base_url))
    on_gpu = spec.device.startswith("cuda")
    needs = Requirements(0 if on_gpu else info.footprint_bytes, info.footprint_bytes * on_gpu)
    may_manage = call.key is None or call.key.scope == "manage"
    return ModelRecord(
        model_name=spec.name,
        model_type=_KINDS.get(str(spec.args.get("task", spec.runtime)), spec.runtime),
        size=spec.weight_bytes,
        model_size=spec.weight_bytes,
        model_hash=spec.fingerprint,
        integrity_hash=spec.fingerprint,
        locations=located,
        stored_locations=located,
        services=served,
        available_services=served,
        status=status(info),
        service_port=call.request.base_url.port if served else None,
        last_accessed=None if last_used is None else iso(last_used),
        local_path=spec.path if may_manage and spec.path else None,
        metadata=Metadata(iso(spec.registered_at), iso(spec.registered_at), needs),
    )


def status(info: ModelInfo) -> Status:
    """What a model does now."""
    if info.state in _LOADED:
        return "serving"
    return "moving" if info.state in _MOVING else "available"


async def storage(found: DeviceList) -> dict[str, Space]:
    """The space of the disk that has sire's data, of main memory and of each GPU."""
    return {
        DISK: await asyncio.to_thread(_disk),
        **{device_name(one.name): _space(one) for one in found.devices},
    }


def _disk() -> Space:
    path = find_paths().data
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return Space(total, total - free, free)


def _space(device: DeviceInfo) -> Space:
    used = device.used_bytes + device.foreign_bytes
    return Space(device.total_bytes, used, max(0, device.total_bytes - used))
