"""Requests and replies about jobs."""

from typing import Annotated

import msgspec

from sire.protocol.message import Count, Message, PayloadReference
from sire.spec import Job, JobState, Priority, Seconds, TensorSpec

SubmissionKey = Annotated[str, msgspec.Meta(max_length=64)]


class JobInput(msgspec.Struct, frozen=True):
    """The input of one job to submit.

    Attributes:
        content_type: type of its payload frames; ``tensors`` as for Predict.
        frames: number of payload frames that belong to it.
        source: a name for people, such as its file's.
    """

    content_type: str = "application/json"
    tensors: tuple[TensorSpec, ...] = ()
    frames: int = 1
    source: str = ""


class Submit(Message, frozen=True, tag="submit"):
    """Submit a job for each input; reply: Submitted, once they are on disk.

    The payload has the frames of all inputs in order. Either all of them are accepted, or none.

    Attributes:
        accept: content type of the results.
        priority: None for the model's.
        metadata: text that the client wants to find with the jobs later.
        timeout: seconds from now after which a job that has not ended fails; None for no limit.
        key: chosen by the client for this submission, at most 64 characters. One that was used
            before is answered with the jobs of then, so that a client whose daemon died before it
            replied may ask the next one. The keys of the latest 50,000 jobs are kept.
        payload: where the payload is, if it does not follow.
    """

    model: str
    inputs: tuple[JobInput, ...] = (JobInput(),)
    accept: str = "application/json"
    priority: Priority | None = None
    metadata: dict[str, str] = {}
    timeout: Seconds | None = None
    key: SubmissionKey = ""
    payload: PayloadReference | None = None


class ListJobs(Message, frozen=True, tag="list_jobs"):
    """List at most ``limit`` jobs, the latest first; reply: JobList."""

    state: JobState | None = None
    model: str | None = None
    limit: Count | None = None


class ShowJob(Message, frozen=True, tag="show_job"):
    """Get one job; reply: JobReport."""

    job: str


class UnfinishedJobs(Message, frozen=True, tag="unfinished_jobs"):
    """List the ids of all jobs that have not ended; reply: JobIds."""


class CountJobs(Message, frozen=True, tag="count_jobs"):
    """Count jobs by state; reply: JobCounts. ``models`` are the only ones; empty for all."""

    models: tuple[str, ...] = ()


class WaitJobs(Message, frozen=True, tag="wait_jobs"):
    """Wait until one of these jobs has ended; reply: JobEnds, with those that have.

    After ``patience`` seconds the reply is empty.
    """

    jobs: tuple[str, ...]
    patience: Seconds = 10.0


class JobResult(Message, frozen=True, tag="job_result"):
    """Get the result of a job; reply: Prediction with a payload, or the error it failed with."""

    job: str


class CancelJobs(Message, frozen=True, tag="cancel_jobs"):
    """Cancel these jobs, or all; reply: JobIds of those that had not ended."""

    jobs: tuple[str, ...] = ()
    all: bool = False


class RemoveJobs(Message, frozen=True, tag="remove_jobs"):
    """Remove jobs and their results; reply: JobIds of those removed.

    Attributes:
        jobs: jobs to remove, which are cancelled first if they have not ended.
        older_than: seconds; all jobs that ended longer ago are removed as well.
    """

    jobs: tuple[str, ...] = ()
    older_than: Seconds | None = None


class Submitted(Message, frozen=True, tag="submitted"):
    """The ids of accepted jobs, in the order sent; they are on disk and survive the daemon."""

    jobs: tuple[str, ...]


class JobProgress(msgspec.Struct, frozen=True):
    """A running or queued job, and the seconds since it is."""

    job: str
    model: str
    state: JobState
    seconds: float
    source: str = ""


class JobList(Message, frozen=True, tag="jobs"):
    """Jobs, the latest first."""

    jobs: tuple[Job, ...]


class JobReport(Message, frozen=True, tag="job"):
    """One job; if it waits, ``ahead`` is the number of jobs of its model before it.

    ``wait_seconds`` is the estimated time until it starts; None if it is unknown.
    """

    job: Job
    ahead: int | None = None
    wait_seconds: float | None = None


class JobIds(Message, frozen=True, tag="job_ids"):
    """Ids of jobs."""

    jobs: tuple[str, ...]


class JobCounts(Message, frozen=True, tag="job_counts"):
    """The number of jobs in each state that any is in."""

    by_state: dict[JobState, int]


class JobEnd(msgspec.Struct, frozen=True):
    """The end of a job: complete, failed (``error`` is its code) or cancelled."""

    job: str
    state: JobState
    error: str = ""


class JobEnds(Message, frozen=True, tag="job_ends"):
    """The jobs that have ended, of those named in the request."""

    ended: tuple[JobEnd, ...]
