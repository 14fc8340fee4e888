"""Moving, loading and unloading registered models; what one node cannot do is refused by name."""

from typing import Any

import msgspec
from starlette.responses import Response

from sire.errors import InvalidInput, shown
from sire.protocol.devices import DeviceList
from sire.protocol.jobs import CancelJobs
from sire.protocol.replies import ModelInfo, Unloaded
from sire.protocol.requests import Devices, Load, Move, Unload
from sired.gateway.call import Call, Handler
from sired.gateway.describe import describe
from sired.gateway.errors import HttpError, json_response
from sired.gateway.fields import Accepted, read_fields
from sired.gateway.jobs.endpoints import find_job, status_of_job
from sired.gateway.keys import require_manage
from sired.gateway.nodes.reading import Locations, ServeStatus
from sired.gateway.nodes.records import DISK, DRAM, NODE, device_name, own_device, places


class CopyRequest(msgspec.Struct, frozen=True):
    """``POST /models/M/locations``."""

    device: str


class MoveRequest(msgspec.Struct, frozen=True):
    """``POST /models/M/move``.

    Attributes:
        keep_source: whether the copy on ``from_device`` stays; the one on the disk always does.
    """

    from_device: str
    to_device: str
    keep_source: bool = False


class ServeRequest(msgspec.Struct, frozen=True):
    """``POST /models/M/serve``.

    Attributes:
        port: that of the gateway, on which all models answer.
        device: None for any.
        config: empty; options of a model are given at its registration.
    """

    port: int | None = None
    device: str | None = None
    config: dict[str, Any] = {}


class CancelledJob(msgspec.Struct, frozen=True):
    """``POST /jobs/ID/cancel``."""

    job_id: str
    status: str


_NOTHING = Accepted()


def _refused_device(name: str, what: str) -> HttpError:
    return HttpError(
        501,
        f"{what} is not possible over HTTP.",
        hint=f"The files of a model stay on the disk. Unregister it by: sire rm {name}",
    )


async def _info(call: Call) -> ModelInfo:
    require_manage(call.key)
    return await call.models.show(call.request.path_params["name"])


async def _to(call: Call, name: str, wanted: str) -> Response:
    """Have a model on a device, or in main memory."""
    device = own_device(wanted)
    if device == DISK:
        await call.models.daemon.expect(Unloaded, Unload(name=name))
    elif device == DRAM and not await _has_gpus(call):
        await call.models.daemon.ask(Load(name=name, device="cpu"))
    else:
        await call.models.daemon.ask(Move(name=name, to=device))
    found = places(await call.models.show(name))
    return json_response(Locations(name, tuple(f"{NODE}:{place}" for place in found)))


async def _has_gpus(call: Call) -> bool:
    found = await call.models.daemon.expect(DeviceList, Devices())
    return any(one.kind == "cuda" for one in found.devices)


@describe(CopyRequest, Locations)
async def add_location(call: Call) -> Response:
    """Load a model on a device, or have it sleep in main memory (dram).

    Raises:
        DeviceNotFound: there is no such device.
        SireError: it cannot be loaded there.
    """
    info = await _info(call)
    wanted = read_fields(call.json(), CopyRequest, _NOTHING)
    return await _to(call, info.model.name, wanted.device)


@describe(returns=Locations)
async def remove_location(call: Call) -> Response:
    """Unload a model from a device; it stays on the disk and registered.

    Raises:
        HttpError: it is not there, or the device is the disk.
    """
    return await _remove(call, call.request.path_params["device"])


@describe(returns=Locations, query=("device",))
async def delete_model(call: Call) -> Response:
    """Unload a model from the device that the query names.

    Raises:
        HttpError: it is not there, or no device is named, so that the model would be removed.
    """
    return await _remove(call, call.request.query_params.get("device", DISK))


async def _remove(call: Call, wanted: str) -> Response:
    info = await _info(call)
    name, device = info.model.name, device_name(own_device(wanted))
    if device == DISK:
        raise _refused_device(name, "Deleting a model, or its copy on the disk,")
    if device not in places(info):
        raise HttpError(404, f"{name} is not on {shown(wanted)}.")
    return await _to(call, name, DISK)


@describe(MoveRequest, Locations)
async def move(call: Call) -> Response:
    """Move a model between the disk, main memory (dram) and devices.

    Raises:
        InvalidInput: it is not on the first device.
        HttpError: it would have to be on two devices.
    """
    info = await _info(call)
    wanted = read_fields(call.json(), MoveRequest, _NOTHING)
    source = device_name(own_device(wanted.from_device))
    if source not in places(info):
        raise InvalidInput(
            f"{info.model.name} is not on {shown(wanted.from_device)}.",
            hint=f"It is on: {', '.join(places(info))}.",
        )
    if wanted.keep_source and source != DISK:
        raise HttpError(501, "A copy on a second device is not supported: a move frees the first.")
    return await _to(call, info.model.name, wanted.to_device)


@describe(ServeRequest, ServeStatus)
async def serve(call: Call) -> Response:
    """Load a model, which then answers on the gateway's own port.

    Raises:
        HttpError: another port or options are wanted.
        SireError: it cannot be loaded.
    """
    info = await _info(call)
    wanted = read_fields(call.json(), ServeRequest, _NOTHING)
    own = call.request.base_url.port
    if wanted.port not in {None, own} or wanted.config:
        raise HttpError(
            501,
            f"Over HTTP a model is served on port {own} and with the options of its registration.",
            hint=f"On the machine itself: sire serve {info.model.name} --listen HOST:PORT",
        )
    name = info.model.name
    device = None if wanted.device is None else own_device(wanted.device)
    await call.models.daemon.ask(Load(name=name, device="cpu" if device == DRAM else device))
    url = f"{str(call.request.base_url).rstrip('/')}/models/{name}"
    loaded = await call.models.show(name)
    found = {f"{NODE}:{place}": url for place in places(loaded) if place != DISK}
    return json_response(ServeStatus(name, "serving", found))


@describe(returns=Locations)
async def stop_serving(call: Call) -> Response:
    """Unload a model; it stays registered, and the next request loads it."""
    return await _to(call, (await _info(call)).model.name, DISK)


@describe(returns=CancelledJob)
async def cancel_job(call: Call) -> Response:
    """Cancel a job, if it has not ended.

    Raises:
        JobNotFound: there is none of this id.
    """
    job = await find_job(call)
    await call.models.daemon.ask(CancelJobs(jobs=(job.id,)))
    return json_response(CancelledJob(job.id, status_of_job(await find_job(call))))


def refusal_of(status: int, message: str, hint: str) -> Handler:
    """A handler that refuses, by name, what cannot be done over HTTP, or not on one node."""

    async def refuse(call: Call) -> Response:  # noqa: ARG001
        raise HttpError(status, message, hint=hint)

    refuse.__doc__ = message
    return refuse
