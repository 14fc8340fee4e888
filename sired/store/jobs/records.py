"""The records of jobs: what the repository takes and returns."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sire.errors import DeadlineExceeded, JobsUnavailable, SireError
from sire.spec import Job, JobError, JobState, Priority
from sire.units import format_duration
from sired.store.jobs.payloads import JobPayload

# The columns that ``job_of`` expects.
COLUMNS = ", ".join(Job.__struct_fields__)


class Draft(NamedTuple):
    """A job to be accepted; ``deadline_at`` is in seconds since the epoch."""

    model: str
    priority: Priority
    metadata: dict[str, str]
    source: str
    accept: str
    deadline_at: float | None
    data: JobPayload


class Lane(NamedTuple):
    """The jobs of one model and one priority, which run in the order of submission."""

    model: str
    priority: Priority


class QueuedJob(NamedTuple):
    """A job to run, and its input; None if its file was deleted."""

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
    """The job in a row of ``COLUMNS``."""
    values = dict(zip(Job.__struct_fields__, row, strict=True))
    values["metadata"] = msgspec.json.decode(str(values["metadata"]))
    if values["error"] is not None:
        values["error"] = msgspec.json.decode(str(values["error"]), type=JobError)
    return Job(**values)  # type: ignore[arg-type]


def reason_of(error: SireError) -> JobError:
    """An error as it is stored."""
    return JobError(error.code, error.message, error.hint, error.details)


def too_late(job: Job) -> DeadlineExceeded:
    """The error of a job that did not run before its deadline."""
    assert job.deadline_at is not None
    return DeadlineExceeded(
        f"The job did not run within {format_duration(job.deadline_at - job.created_at)}.",
        hint="Allow more time with --timeout, or see: sire ps",
        model=job.model,
    )


def lost(job: Job, what: str) -> JobsUnavailable:
    """The error of a job whose input or result is missing."""
    return JobsUnavailable(
        f"The {what} of the job {job.id} is missing in the spool directory.",
        hint="Submit it again.",
        job=job.id,
    )
