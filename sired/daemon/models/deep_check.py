"""``sire health --deep``: performs the steps of a prediction and measures each of them.

1. The event loop completes an iteration.
2. The zygote forks a worker, which loads a built-in model and runs it once.
3. If a model is specified, it is loaded if necessary, and its worker answers a ping.
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

from sire.errors import DeadlineExceeded, SireError
from sire.protocol.content import JSON
from sire.protocol.replies import CheckStep
from sire.protocol.requests import Health
from sire.protocol.runs import RunModel, RunResult
from sire.spec import ModelSpec
from sired.daemon.services import Services
from sired.daemon.supervisor.one_shot import expect, one_shot
from sired.scheduler.events import LoadRequested
from sired.server.front import Client
from sired.workers.messages import DeviceGrant, LoadModel, ModelReady
from sired.workers.zygote.zygote import Zygote

LONGEST_SECONDS = 3600.0
_SPEC = ModelSpec(
    name="check", path=".", runtime="python", model_class="sired.workers.child.check:EchoModel"
)
_INPUT = b"[1]"
# The time limit of a zygote for importing everything.
DEFAULT_SECONDS = 120.0


async def deep_checks(services: Services, client: Client, request: Health) -> tuple[CheckStep, ...]:
    """Perform all steps; returns their durations in order.

    Raises:
        SireError: a step failed; the message names it.
        DeadlineExceeded: the steps took too long.
    """
    allowed = DEFAULT_SECONDS if request.timeout is None else request.timeout
    try:
        async with asyncio.timeout(allowed):
            steps = [
                await _timed("event loop", asyncio.sleep(0)),
                await _timed("worker", _worker(services, allowed)),
            ]
            if request.model is not None:
                steps.append(await _timed(request.model, _model(services, client, request.model)))
    except TimeoutError:
        raise DeadlineExceeded(f"The check did not finish within {allowed:g} s.") from None
    return tuple(steps)


async def _timed(step: str, work: Awaitable[None]) -> CheckStep:
    began = time.perf_counter()
    try:
        await work
    except SireError as error:
        error.message = f"The check of {step} failed: {error.message}"
        raise
    return CheckStep(step, time.perf_counter() - began)


async def _worker(services: Services, allowed: float) -> None:
    log = services.paths.logs / "check.log"
    # Larger values would overflow the system's clock.
    longest = min(allowed, LONGEST_SECONDS)
    await asyncio.to_thread(try_worker, services.zygote, log, longest)


def try_worker(zygote: Zygote, log: Path, allowed: float) -> None:
    """Have a new worker load and run the built-in model; blocks.

    Raises:
        LoadFailed: no process could be started, or it could not load.
        WorkerCrashed: it ended, or does not answer.
    """
    job = LoadModel(_SPEC, DeviceGrant("cpu", "cpu"))
    until = time.monotonic() + allowed
    with one_shot(zygote, job, log) as worker:
        expect(worker, ModelReady, until)
        worker.channel.try_send(RunModel(1, JSON, (), JSON), [_INPUT])
        expect(worker, RunResult, until)


async def _model(services: Services, client: Client, model: str) -> None:
    services.registry.get(model)
    deadline = services.operations.now() + services.timeout(None)
    try:
        done = await services.operations.run(
            client, model, lambda number: LoadRequested(number, model, None, deadline)
        )
        await services.supervisor.ping(done.instance or 0)
    finally:
        services.operations.cancel(client)
