"""The daemon itself, as clients see it."""

import os
import platform
import time

import psutil

import sire
from sire.protocol.replies import CheckStep, HealthReport, TopReport
from sired.daemon.services import Services
from sired.daemon.views.devices import devices
from sired.daemon.views.instances import instances
from sired.daemon.views.statistics import stats

# The live view has room for a few of the jobs in progress, of which there may be many.
JOBS_SHOWN = 20

_PROCESS = psutil.Process()


def health(
    services: Services, message_id: str | int = "", checks: tuple[CheckStep, ...] = ()
) -> HealthReport:
    """The health of the daemon."""
    brain = services.brain
    warm = services.warm_up.ready and (bool(services.zygote.problem) or not services.zygote.ended)
    status = "draining" if services.draining else "ok" if warm else "starting"
    return HealthReport(
        id=message_id,
        status=status,
        version=sire.__version__,
        pid=os.getpid(),
        uptime_seconds=time.monotonic() - services.started,
        memory_bytes=_PROCESS.memory_info().rss,
        models=len(brain.models),
        instances=len(brain.fleet.instances),
        queued=brain.queues.waiting,
        socket=str(services.paths.socket),
        python=platform.python_version(),
        problems=services.problems,
        loaded=len({instance.model.name for instance in brain.fleet.instances.values()}),
        max_models=services.settings.limits.max_models,
        checks=checks,
        addresses=services.gateways.addresses,
    )


def top(services: Services, after: int, message_id: str | int = "") -> TopReport:
    """Everything the live view shows; of the events, those with numbers above ``after``."""
    return TopReport(
        id=message_id,
        health=health(services),
        devices=devices(services).devices,
        instances=instances(services).instances,
        stats=stats(services, None),
        events=services.event_log.after(after),
        jobs=tuple(services.jobs.runner.in_progress(JOBS_SHOWN)),
    )
