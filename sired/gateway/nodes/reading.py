"""What hosts and nodes tell of their models, copies, services and space."""

from typing import Any

import msgspec
from starlette.responses import Response

from sire.protocol.devices import DeviceList
from sire.protocol.replies import HealthReport, StatsReport
from sire.protocol.requests import Devices, Health, Stats
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.jobs.endpoints import JobStatus, show
from sired.gateway.nodes.records import (
    NODE,
    ModelRecord,
    ModelRecords,
    Space,
    places,
    record,
    services,
    status,
    storage,
)


class Locations(msgspec.Struct, frozen=True):
    """The devices that hold a model."""

    model_name: str
    locations: tuple[str, ...]


class NodeServices(msgspec.Struct, frozen=True):
    """The URL of a model on each device on which it answers."""

    model_name: str
    services: dict[str, str]


class ServeStatus(msgspec.Struct, frozen=True):
    """Whether a model answers on this node."""

    model_name: str
    status: str
    services: dict[str, str]


class Node(msgspec.Struct, frozen=True):
    """A node: its devices, its space, and what it does."""

    name: str
    status: str
    capabilities: dict[str, Any]
    storage: dict[str, Space]
    load: dict[str, int]


class Nodes(msgspec.Struct, frozen=True):
    """``GET /nodes``."""

    nodes: tuple[Node, ...]


class HostStatus(msgspec.Struct, frozen=True):
    """``GET /status``: space by device, services by model, and the health of each node."""

    storage: dict[str, dict[str, Space]]
    services: dict[str, dict[str, str]]
    nodes: dict[str, str]


async def _last_used(call: Call, name: str | None = None) -> dict[str, float | None]:
    report = await call.models.daemon.expect(StatsReport, Stats(name=name))
    return {one.model: one.last_used_at for one in report.models}


@describe(returns=ModelRecords)
async def list_models(call: Call) -> Response:
    """All models that are served."""
    used = await _last_used(call)
    found = await call.models.list()
    records = tuple(record(call, one, used.get(one.model.name)) for one in found)
    return json_response(ModelRecords(records, len(records)))


@describe(returns=ModelRecord)
async def show_model(call: Call) -> Response:
    """One model."""
    info = await call.models.show(call.request.path_params["name"])
    name = info.model.name
    return json_response(record(call, info, (await _last_used(call, name)).get(name)))


@describe(returns=Locations)
async def locations(call: Call) -> Response:
    """The devices that hold a model."""
    info = await call.models.show(call.request.path_params["name"])
    return json_response(
        Locations(info.model.name, tuple(f"{NODE}:{place}" for place in places(info)))
    )


@describe(returns=NodeServices)
async def list_services(call: Call) -> Response:
    """The devices on which a model answers."""
    info = await call.models.show(call.request.path_params["name"])
    return json_response(NodeServices(info.model.name, services(info, str(call.request.base_url))))


@describe(returns=ServeStatus)
async def serve_status(call: Call) -> Response:
    """Whether a model answers on this node; a request loads it if it does not yet."""
    info = await call.models.show(call.request.path_params["name"])
    found = services(info, str(call.request.base_url))
    return json_response(ServeStatus(info.model.name, status(info), found))


@describe(returns=dict[str, Space])
async def node_storage(call: Call) -> Response:
    """The space of the disk, of main memory and of each GPU, in bytes."""
    return json_response(await storage(await call.models.daemon.expect(DeviceList, Devices())))


@describe(returns=Nodes)
async def nodes(call: Call) -> Response:
    """This node: its devices, its space, and what it does."""
    devices = await call.models.daemon.expect(DeviceList, Devices())
    report = await call.models.daemon.expect(HealthReport, Health())
    node = Node(
        name=NODE,
        status=_health(report),
        capabilities={
            "devices": [{"name": one.name, "hardware": one.hardware} for one in devices.devices]
        },
        storage=await storage(devices),
        load={"loaded_models": report.loaded, "queued_requests": report.queued},
    )
    return json_response(Nodes((node,)))


def _health(report: HealthReport) -> str:
    return "healthy" if report.status == "ok" else report.status


@describe(returns=HostStatus)
async def host_status(call: Call) -> Response:
    """Space, services and the health of this node."""
    devices = await call.models.daemon.expect(DeviceList, Devices())
    report = await call.models.daemon.expect(HealthReport, Health())
    url = str(call.request.base_url)
    served = {one.model.name: services(one, url) for one in await call.models.list()}
    return json_response(
        HostStatus(
            storage={NODE: await storage(devices)},
            services={name: found for name, found in served.items() if found},
            nodes={NODE: _health(report)},
        )
    )


@describe(returns=JobStatus)
async def job_status(call: Call) -> Response:
    """The status of a job, as ``/api/job/ID`` tells it."""
    return await show(call)
