"""The methods of the service."""

from typing import Any

from google.protobuf.message import Message

from sire import __version__
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from sired.gateway.keys import require_manage
from sired.gateway.oip import models as described
from sired.gateway.oip.infer import infer
from sired.gateway.rpc.answers import response
from sired.gateway.rpc.calls import Caller, Handler
from sired.gateway.rpc.requests import InferMessage, read_request
from sired.gateway.rpc.schema import METHODS

_EXTENSIONS = ["model_configuration", "model_repository", "statistics"]
_SHARED_MEMORY = "The shared memory extensions are not supported: send the tensors."
# Methods of servers that speak more than the protocol.
REFUSED = {
    **{
        f"{kind}SharedMemory{action}": _SHARED_MEMORY
        for kind in ("System", "Cuda")
        for action in ("Status", "Register", "Unregister")
    },
    "TraceSetting": "The trace extension is not supported.",
    "LogSettings": "The logging extension is not supported: see sire logs.",
}


async def model_infer(caller: Caller, message: InferMessage) -> Message:
    """Run a model on tensors.

    Raises:
        SireError: the errors of a prediction.
    """
    name = caller.models.check(message.model_name)
    described.check_version(name, message.model_version)
    request, contents = read_request(message)
    return response(name, request, await infer(caller.models, name, request, contents))


async def _live(caller: Caller, message: Any) -> Message:  # noqa: ARG001
    return METHODS["ServerLive"].response(live=True)


async def _server_ready(caller: Caller, message: Any) -> Message:  # noqa: ARG001
    report = await caller.models.daemon.expect(HealthReport, Health())
    return METHODS["ServerReady"].response(ready=report.status == "ok")


async def _server(caller: Caller, message: Any) -> Message:  # noqa: ARG001
    return METHODS["ServerMetadata"].response(
        name="sire", version=__version__, extensions=_EXTENSIONS
    )


async def _ready(caller: Caller, message: Any) -> Message:
    info = await described.show(caller.models, message.name, message.version)
    return METHODS["ModelReady"].response(ready=described.is_ready(info))


async def _metadata(caller: Caller, message: Any) -> Message:
    info = await described.show(caller.models, message.name, message.version)
    return METHODS["ModelMetadata"].response(**described.metadata(info))


async def _config(caller: Caller, message: Any) -> Message:
    info = await described.show(caller.models, message.name, message.version)
    return METHODS["ModelConfig"].response(config=described.config(info))


async def _statistics(caller: Caller, message: Any) -> Message:
    info = await described.show(caller.models, message.name, message.version)
    found = await described.statistics(caller.models, info)
    return METHODS["ModelStatistics"].response(**found)


async def _index(caller: Caller, message: Any) -> Message:
    found = await described.index(caller.models, only_loaded=message.ready)
    return METHODS["RepositoryIndex"].response(models=found)


async def _load(caller: Caller, message: Any) -> Message:
    described.refuse_parameters(message.parameters)
    require_manage(caller.key)
    await caller.models.load(message.model_name)
    return METHODS["RepositoryModelLoad"].response()


async def _unload(caller: Caller, message: Any) -> Message:
    require_manage(caller.key)
    await described.unload(caller.models, message.model_name)
    return METHODS["RepositoryModelUnload"].response()


HANDLERS: dict[str, Handler] = {
    "ModelInfer": model_infer,
    "ServerLive": _live,
    "ServerReady": _server_ready,
    "ServerMetadata": _server,
    "ModelReady": _ready,
    "ModelMetadata": _metadata,
    "ModelConfig": _config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
}
