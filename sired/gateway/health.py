"""Health and metrics: whether the gateway lives, and whether requests would be answered."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sire.protocol.replies import HealthReport, MetricsReport
from sire.protocol.requests import Health, Metrics
from sired.gateway.call import Call
from sired.gateway.errors import json_response
from sired.gateway.keys import require_all_models

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """Whether this process answers, whatever the daemon does."""
    await json_response({"status": "ok"})(scope, receive, send)


async def health(call: Call) -> Response:
    """The health of the daemon; 503 unless it takes requests."""
    report = await call.models.daemon.expect(HealthReport, Health())
    body = {
        "status": report.status,
        "version": report.version,
        "uptime_seconds": report.uptime_seconds,
        "models": report.models,
        "loaded": report.loaded,
        "queued": report.queued,
        "problems": report.problems,
    }
    return json_response(body, 503 if report.status == "draining" else 200)


async def ready(call: Call) -> Response:
    """Whether requests are answered without delay: the models that were named are loaded."""
    report = await call.models.daemon.expect(HealthReport, Health())
    waiting = await unloaded(call)
    is_ready = report.status == "ok" and not waiting
    body = {"status": report.status, "ready": is_ready, "not_loaded": waiting}
    return json_response(body, 200 if is_ready else 503)


async def unloaded(call: Call) -> list[str]:
    """The models that were named when the gateway started, and are not loaded now."""
    if not call.models.names:
        return []
    served = {"ready", "busy", "leased"}
    return [name for name, one in await call.models.listed() if one.state not in served]


async def metrics(call: Call) -> Response:
    """The daemon's metrics in the format of Prometheus.

    Raises:
        HttpError: the request's key is for some models only.
    """
    require_all_models(call.key)
    report = await call.models.daemon.expect(MetricsReport, Metrics())
    from sire.metrics import exposition  # noqa: PLC0415 (it takes a while to import)

    text = await asyncio.to_thread(exposition, report)
    return Response(text, headers={"content-type": _PROMETHEUS})
