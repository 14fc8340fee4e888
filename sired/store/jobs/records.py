"""What goes into the book of jobs, and what comes out of it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sire.errors import DeadlineExceeded, JobsUnavailable, SireError
from sire.spec import Job, JobError, JobState, Priority
from sire.units import format_duration
from sired.store.jobs.payloads import JobPayload

# The columns of a row that ``job_of`` takes.
COLUMNS = ", ".join(Job.__struct_fields__)


class Draft(NamedTuple):
    """A job that is to be accepted."""

    model: str
    priority: Priority
    metadata: dict[str, str]
    source: str
    accept: str
    deadline_at: float | None
    data: JobPayload


class Lane(NamedTuple):
    """The jobs of one model and one priority; they are run in the order they came."""

    model: str
    priority: Priority


class QueuedJob(NamedTuple):
    """A job that is about to run, and its input; None where somebody removed its file."""

    job: Job
    data: JobPayload | None


class JobOutcome(NamedTuple):
    """How a job ended."""

    job: str
    state: JobState
    queued_at: float | None = None
    started_at: float | None = None
    result: JobPayload | None = None
    compute_seconds: float | None = None
    error: JobError | None = None


def job_of(row: Sequence[object]) -> Job:
    """The job that a row of ``COLUMNS`` tells of."""
    values = dict(zip(Job.__struct_fields__, row, strict=True))
    values["metadata"] = msgspec.json.decode(str(values["metadata"]))
    if values["error"] is not None:
        values["error"] = msgspec.json.decode(str(values["error"]), type=JobError)
    return Job(**values)  # type: ignore[arg-type]


def reason_of(error: SireError) -> JobError:
    """An error as it is kept."""
    return JobError(error.code, error.message, error.hint, error.details)


def too_late(job: Job) -> DeadlineExceeded:
    """Why a job failed that did not run before its deadline."""
    assert job.deadline_at is not None
    return DeadlineExceeded(
        f"The job's turn did not come within {format_duration(job.deadline_at - job.created_at)}.",
        hint="Allow more with --timeout, or look at: sire ps",
        model=job.model,
    )


def lost(job: Job, what: str) -> JobsUnavailable:
    """Why a job has no input or answer any more."""
    return JobsUnavailable(
        f"The {what} of the job {job.id} is gone from the spool directory.",
        hint="Submit it again.",
        job=job.id,
    )
