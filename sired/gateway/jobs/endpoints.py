"""``/api/submit``, ``/api/job/ID``, ``/api/stats`` and ``/api/health``."""

from typing import Any, Literal

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sire.errors import JobNotFound, shown
from sire.protocol.devices import DeviceList
from sire.protocol.jobs import (
    CountJobs,
    JobCounts,
    JobReport,
    JobResult,
    ShowJob,
    Submit,
    Submitted,
)
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Devices
from sire.spec import Job, Priority
from sired.gateway import health
from sired.gateway.call import Call, Endpoint, Handler
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.fields import Accepted, read_fields
from sired.gateway.jobs.prompts import answer_of, input_of
from sired.gateway.ollama.endpoints import error_response
from sired.gateway.ollama.names import choose
from sired.gateway.served import ServedModels
from sired.gateway.times import iso

Status = Literal["pending", "queued", "running", "complete", "failed"]
STATUSES: tuple[Status, ...] = ("pending", "queued", "running", "complete", "failed")


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``/api/submit``.

    Attributes:
        prompt: the input of the model.
        priority: None for the model's own.
        images: pictures beside the prompt, in base64.
        metadata: anything that is kept with the job.
    """

    model: str
    prompt: str
    priority: Priority | None = None
    images: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


class SubmittedJob(msgspec.Struct, frozen=True):
    """A job that is on disk."""

    job_id: str
    status: Literal["submitted"] = "submitted"


class JobStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``/api/job/ID``; times are of ISO 8601."""

    job_id: str
    status: Status
    model: str
    submitted_at: str
    completed_at: str | None = None
    result: Any = None
    error: str | None = None


class QueueStats(msgspec.Struct, frozen=True):
    """Jobs in all, and by their status."""

    total_jobs: int
    by_status: dict[Status, int]


class Memory(msgspec.Struct, frozen=True):
    """Bytes."""

    total: int
    used: int
    free: int


class Resources(msgspec.Struct, frozen=True):
    """The memory of all GPUs together, and the models that are loaded."""

    vram: Memory
    loaded_models: tuple[str, ...]


class ServerStats(msgspec.Struct, frozen=True):
    """``/api/stats``."""

    running: bool
    queue: QueueStats
    resources: Resources


def routes(models: ServedModels) -> list[BaseRoute]:
    """The paths."""
    return [
        _route(models, "POST", "/api/submit", submit),
        _route(models, "GET", "/api/job/{job}", show),
        _route(models, "GET", "/api/stats", stats),
        _route(models, "GET", "/api/health", health.health),
    ]


def _route(models: ServedModels, method: str, path: str, handle: Handler) -> Route:
    return Route(path, Endpoint(models, handle, error_response), methods=[method])


@describe(SubmitRequest, SubmittedJob)
async def submit(call: Call) -> Response:
    """Submit a job, which survives the daemon.

    Raises:
        InvalidInput: the body is not valid, or the model takes no images.
    """
    wanted = read_fields(call.json(), SubmitRequest, Accepted())
    info = await choose(call, wanted.model)
    request = Submit(
        model=info.model.name,
        priority=wanted.priority,
        metadata={name: _text(value) for name, value in wanted.metadata.items()},
    )
    body = msgspec.json.encode(input_of(info, wanted.prompt, wanted.images))
    reply, _ = await call.models.daemon.ask(request, [body])
    assert isinstance(reply, Submitted)
    return json_response(SubmittedJob(reply.jobs[0]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@describe(returns=JobStatus)
async def show(call: Call) -> Response:
    """The status of a job, and its result once it has one.

    Raises:
        JobNotFound: there is none of this id, or it is of a model that is not served.
    """
    job = await find_job(call)
    result = None
    if job.state == "complete":
        reply, frames = await call.models.daemon.ask(JobResult(job=job.id))
        result = answer_of(reply, frames)
    return json_response(
        JobStatus(
            job_id=job.id,
            status=status_of_job(job),
            model=job.model,
            submitted_at=iso(job.created_at),
            completed_at=None if job.finished_at is None else iso(job.finished_at),
            result=result,
            error=_error(job),
        )
    )


async def find_job(call: Call) -> Job:
    """The job that a path names.

    Raises:
        JobNotFound: there is none of this id, or it is of a model that is not served.
    """
    wanted = call.request.path_params["job"]
    job = (await call.models.daemon.expect(JobReport, ShowJob(job=wanted))).job
    if call.models.names and job.model not in call.models.names:
        raise JobNotFound(f"The job {shown(wanted)} does not exist.", job=wanted)
    return job


def status_of_job(job: Job) -> Status:
    """The status of a job; one that was cancelled has failed."""
    return "failed" if job.state == "cancelled" else job.state


def _error(job: Job) -> str | None:
    if job.state == "cancelled":
        return "The job was cancelled."
    return None if job.error is None else job.error.message


@describe(returns=ServerStats)
async def stats(call: Call) -> Response:
    """The number of jobs by status, the memory of the GPUs, and the models that are loaded."""
    daemon = call.models.daemon
    counts = (await daemon.expect(JobCounts, CountJobs(models=call.models.names))).by_state
    by_status = dict.fromkeys(STATUSES, 0)
    for state, count in counts.items():
        by_status["failed" if state == "cancelled" else state] += count
    known = await call.models.list()
    return json_response(
        ServerStats(
            running=True,
            queue=QueueStats(sum(by_status.values()), by_status),
            resources=Resources(
                vram=vram(await daemon.expect(DeviceList, Devices())),
                loaded_models=tuple(one.model.name for one in known if is_loaded(one)),
            ),
        )
    )


def is_loaded(info: ModelInfo) -> bool:
    """Whether a model is on a device."""
    return info.state in {"ready", "busy", "leased"}


def vram(found: DeviceList) -> Memory:
    """The memory of all GPUs together."""
    gpus = [one for one in found.devices if one.kind == "cuda"]
    total = sum(one.total_bytes for one in gpus)
    used = sum(one.used_bytes + one.foreign_bytes for one in gpus)
    return Memory(total, used, max(0, total - used))
