"""What the daemon does about jobs: takes them, tells of them, ends them, forgets them."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from sire.errors import (
    Cancelled,
    DaemonUnavailable,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    SireError,
    error_from,
)
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import (
    JobEnd,
    JobEnds,
    JobIds,
    JobList,
    JobReport,
    Prediction,
    Submitted,
)
from sire.spec import Job, Priority
from sired.config.settings import JobSettings
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.replies import ReplySink
from sired.daemon.jobs.runner import JobRunner, model_gone
from sired.daemon.jobs.waiters import JobWaiters
from sired.daemon.jobs.wall_clock import WallClock
from sired.server.front import Client
from sired.store.jobs.database_thread import JobDatabase
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import Draft, Lane
from sired.store.jobs.repository import JobRepository
from sired.store.registry import Registry

log = logging.getLogger(__name__)

# How soon after a job's end the old ones are looked through, and how often anyway.
TIDY_SOON, TIDY_SECONDS = 1.0, 60.0
# Nobody tells the daemon when somebody who waits goes away.
LONGEST_WAIT_SECONDS = 60.0

Answer = Callable[[Client, Any, tuple[Buffer, ...]], Coroutine[Any, Any, None]]


class JobService:
    """Every request about jobs, and their keeping.

    Attributes:
        answers: by kind of request, what answers it.
        feed: what runs the jobs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Path,
        front: ReplySink,
        conductor: Conductor,
        registry: Registry,
        settings: JobSettings,
    ) -> None:
        self._clock = WallClock()
        self._loop = loop
        self._database = JobDatabase(loop, directory)
        self._waits = JobWaiters()
        self.feed = JobRunner(loop, self._database, conductor, settings, self._ended)
        self._front = front
        self._registry = registry
        self._stopping = False
        self._tidying: asyncio.TimerHandle | None = None
        self.answers: dict[type[Any], Answer] = {
            requests.Submit: self._submit,
            requests.ListJobs: self._list,
            requests.ShowJob: self._show,
            requests.UnfinishedJobs: self._unfinished,
            requests.WaitJobs: self._wait,
            requests.JobResult: self._result,
            requests.CancelJobs: self._cancel,
            requests.RemoveJobs: self._remove,
        }

    @property
    def problems(self) -> tuple[str, ...]:
        """Why jobs cannot be kept at the moment, if so."""
        return (self._database.problem,) if self._database.problem else ()

    def start(self) -> None:
        """Take up the jobs that wait on disk."""
        self.feed.start()
        self._tidy_within(TIDY_SOON)

    def adopt(self, settings: JobSettings) -> None:
        """Go by these settings from now on."""
        self.feed.settings = settings
        self._tidy_within(TIDY_SOON)

    def stop(self) -> None:
        """Begin no more jobs; those that are running may finish."""
        self._stopping = True
        self.feed.stop()

    def close(self) -> None:
        """Put on disk what is on its way there, and close the database."""
        self._database.close()

    # Coming

    async def _submit(
        self, client: Client, request: requests.Submit, payload: tuple[Buffer, ...]
    ) -> None:
        if self._stopping:
            raise DaemonUnavailable("The daemon is shutting down.", hint="Try again in a moment.")
        self._registry.get(request.model)
        priority = request.priority or "normal"
        drafts = _drafts(request, priority, payload)
        ids = await self._database.call(lambda repository: repository.accept(drafts))
        self._front.reply(client, Submitted(id=client.request_id, jobs=tuple(ids)))
        self.feed.accepted(Lane(request.model, priority))
        if request.timeout is not None:
            self._tidy_within(request.timeout)

    # Looking

    async def _list(self, client: Client, request: requests.ListJobs, _: object) -> None:
        find = self._finder(request)
        jobs = await self._database.call(find)
        self._front.reply(client, JobList(id=client.request_id, jobs=self._as_seen(jobs)))

    def _finder(self, request: requests.ListJobs) -> Callable[[JobRepository], list[Job]]:
        state, model = request.state, request.model
        limit = -1 if request.limit is None else request.limit
        if state in {"queued", "running"}:
            only = self.feed.in_state(state)
            return lambda repository: repository.find(model=model, only=only, limit=limit)
        but = [*self.feed.in_state("queued"), *self.feed.running()] if state == "pending" else ()
        return lambda repository: repository.find(state=state, model=model, but=but, limit=limit)

    def _as_seen(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        return tuple(map(self.feed.as_seen, jobs))

    async def _show(self, client: Client, request: requests.ShowJob, _: object) -> None:
        def look(repository: JobRepository) -> tuple[Job, int]:
            (job,) = repository.get([request.job])
            return job, repository.ahead(request.job) if job.state == "pending" else 0

        job, ahead = await self._database.call(look)
        job = self.feed.as_seen(job)
        waits = job.state in {"pending", "queued"}
        report = JobReport(
            id=client.request_id,
            job=job,
            ahead=ahead if waits else None,
            wait_seconds=self.feed.expected_wait(job, ahead) if waits else None,
        )
        self._front.reply(client, report)

    async def _unfinished(self, client: Client, _: requests.UnfinishedJobs, __: object) -> None:
        ids = await self._database.call(lambda repository: repository.unfinished())
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(ids)))

    async def _wait(self, client: Client, request: requests.WaitJobs, _: object) -> None:
        with self._waits.waiter(request.jobs) as waiter:
            for job in await self._database.call(lambda repository: repository.get(request.jobs)):
                if job.state != "pending":
                    waiter.note(_end(job))
            ended = await waiter.some(min(request.patience, LONGEST_WAIT_SECONDS))
        self._front.reply(client, JobEnds(id=client.request_id, ended=ended))

    async def _result(self, client: Client, request: requests.JobResult, _: object) -> None:
        job, data = await self._database.call(lambda repository: repository.result(request.job))
        if data is None:
            raise _why_not(self.feed.as_seen(job))
        reply = Prediction(
            id=client.request_id,
            content_type=data.content_type,
            tensors=data.tensors,
            compute_seconds=job.compute_seconds or 0.0,
            queue_seconds=(job.started_at or job.created_at) - job.created_at,
        )
        self._front.reply(client, reply, data.frames)

    # Going

    async def _cancel(self, client: Client, request: requests.CancelJobs, _: object) -> None:
        def cancel(repository: JobRepository) -> list[str]:
            return repository.cancel_all() if request.all else repository.cancel(request.jobs)

        cancelled = await self._database.call(cancel)
        self._were_cancelled(cancelled)
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(cancelled)))

    async def _remove(self, client: Client, request: requests.RemoveJobs, _: object) -> None:
        def remove(repository: JobRepository) -> tuple[list[str], list[str]]:
            cancelled = repository.cancel(request.jobs)
            repository.remove(request.jobs)
            old = (
                [] if request.older_than is None else repository.remove_finished(request.older_than)
            )
            return cancelled, [*request.jobs, *old]

        cancelled, removed = await self._database.call(remove)
        self._were_cancelled(cancelled)
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(removed)))

    def _were_cancelled(self, jobs: Iterable[str]) -> None:
        jobs = list(jobs)
        self.feed.withdraw(jobs)
        for job in jobs:
            self._ended(JobEnd(job, "cancelled"))

    def model_removed(self, model: str) -> None:
        """Fail the jobs that wait for a model; to be called before the brain forgets it."""
        error, running = model_gone(model), self.feed.running()
        answer = self._database.call(
            lambda repository: repository.model_gone(model, error, running)
        )
        answer.add_done_callback(self._lost_their_model)

    def _lost_their_model(self, answer: "asyncio.Future[list[str]]") -> None:
        if answer.exception() is None:  # else the brain tells each of them when its turn comes
            self.feed.withdraw(answer.result())
            for job in answer.result():
                self._ended(JobEnd(job, "failed", ModelNotFound.code))

    def _ended(self, end: JobEnd) -> None:
        self._waits.ended(end)
        self._tidy_within(TIDY_SOON)

    def _tidy_within(self, seconds: float) -> None:
        due = self._loop.time() + seconds
        if self._tidying is not None:
            if self._tidying.when() <= due:
                return
            self._tidying.cancel()
        self._tidying = self._loop.call_at(due, self._tidy)

    def look_at_clock(self) -> None:
        """See whether the calendar was set, by which no job may be late or old."""
        if seconds := self._clock.set_by():
            log.warning("the clock was set by %+.1f s; the times of jobs go with it", seconds)
            self.feed.move_times(seconds)
            moved = self._database.call(lambda repository: repository.move_times(seconds))
            moved.add_done_callback(lambda done: done.exception())  # the desk has told of it

    def _tidy(self) -> None:
        """Fail what is overdue, forget what has been kept long enough."""
        self.look_at_clock()
        keep, live = self.feed.settings, self.feed.live()

        def tidy(repository: JobRepository) -> list[str]:
            forgotten = repository.tidy(keep.keep_for, keep.keep_count, keep.keep_bytes)
            if forgotten:
                log.info("%d old jobs were forgotten", forgotten)
            return repository.overdue(live)

        self._database.call(tidy).add_done_callback(self._were_overdue)
        self._tidying = None
        self._tidy_within(TIDY_SECONDS)

    def _were_overdue(self, answer: "asyncio.Future[list[str]]") -> None:
        for job in answer.result() if answer.exception() is None else ():
            self._ended(JobEnd(job, "failed", DeadlineExceeded.code))


def _drafts(
    request: requests.Submit, priority: Priority, payload: tuple[Buffer, ...]
) -> list[Draft]:
    announced = sum(one.frames for one in request.inputs)
    if announced != len(payload) or any(one.frames < 1 for one in request.inputs):
        raise InvalidInput(
            f"{announced} frames were announced for {len(request.inputs)} inputs, and "
            f"{len(payload)} came.",
            hint="Each input has at least one frame.",
        )
    deadline = None if request.timeout is None else time.time() + request.timeout
    frames = iter(payload)
    return [
        Draft(
            model=request.model,
            priority=priority,
            metadata=request.metadata,
            source=one.source,
            accept=request.accept,
            deadline_at=deadline,
            data=JobPayload(
                one.content_type, one.tensors, tuple(next(frames) for _ in range(one.frames))
            ),
        )
        for one in request.inputs
    ]


def _end(job: Job) -> JobEnd:
    return JobEnd(job.id, job.state, job.error.code if job.error else "")


def _why_not(job: Job) -> SireError:
    """Why a job has no answer."""
    if job.error is not None:
        error = job.error
        return error_from(error.code, error.message, error.hint, error.details)
    if job.state == "cancelled":
        return Cancelled(f"The job {job.id} was cancelled.")
    return DeadlineExceeded(
        f"The job {job.id} is {job.state}: there is no answer yet.",
        hint=f"Wait for it: sire job wait {job.id}",
        job=job.id,
    )
