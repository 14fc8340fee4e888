"""Health and metrics: whether the gateway lives, and whether requests would be answered."""

import asyncio

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sire.protocol.replies import HealthReport, MetricsReport
from sire.protocol.requests import Health, Metrics
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.keys import require_all_models

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class HealthBody(msgspec.Struct, frozen=True):
    """``/health``."""

    status: str
    version: str
    uptime_seconds: float
    models: int
    loaded: int
    queued: int
    problems: tuple[str, ...]


class ReadyBody(msgspec.Struct, frozen=True):
    """``/health/ready``."""

    status: str
    ready: bool
    not_loaded: tuple[str, ...]


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """Whether this process answers, whatever the daemon does."""
    await json_response({"status": "ok"})(scope, receive, send)


@describe(returns=HealthBody, statuses=(200, 503))
async def health(call: Call) -> Response:
    """The health of the daemon; 503 unless it takes requests."""
    report = await call.models.daemon.expect(HealthReport, Health())
    body = HealthBody(
        report.status,
        report.version,
        report.uptime_seconds,
        report.models,
        report.loaded,
        report.queued,
        report.problems,
    )
    return json_response(body, 503 if report.status == "draining" else 200)


@describe(returns=ReadyBody, statuses=(200, 503))
async def ready(call: Call) -> Response:
    """Whether requests are answered without delay: the models that were named are loaded."""
    report = await call.models.daemon.expect(HealthReport, Health())
    waiting = await unloaded(call)
    is_ready = report.status == "ok" and not waiting
    body = ReadyBody(report.status, is_ready, tuple(waiting))
    return json_response(body, 200 if is_ready else 503)


async def unloaded(call: Call) -> list[str]:
    """The models that were named when the gateway started, and are not loaded now."""
    if not call.models.names:
        return []
    served = {"ready", "busy", "leased"}
    return [name for name, one in await call.models.listed() if one.state not in served]


@describe(returns=bytes)
async def metrics(call: Call) -> Response:
    """The metrics of the models that are served, and the daemon's, in Prometheus' format.

    Raises:
        HttpError: the request's key is for some models only.
    """
    require_all_models(call.key)
    report = await call.models.daemon.expect(MetricsReport, Metrics())
    if names := call.models.names:
        report = msgspec.structs.replace(
            report,
            instances=tuple(one for one in report.instances if one.model in names),
            models=tuple(one for one in report.models if one.model in names),
        )
    from sire.metrics import exposition  # noqa: PLC0415 (it takes a while to import)

    text = await asyncio.to_thread(exposition, report)
    return Response(text, headers={"content-type": _PROMETHEUS})
