"""Handlers of requests about jobs."""

import time
from collections.abc import Callable, Iterable

from sire.errors import Cancelled, DeadlineExceeded, InvalidInput, SireError, error_from
from sire.protocol.content import Buffer
from sire.protocol.jobs import (
    CancelJobs,
    CountJobs,
    JobCounts,
    JobEnds,
    JobIds,
    JobList,
    JobReport,
    JobResult,
    ListJobs,
    RemoveJobs,
    ShowJob,
    Submit,
    Submitted,
    UnfinishedJobs,
    WaitJobs,
)
from sire.protocol.replies import Prediction
from sire.spec import Job, Priority
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.jobs.service import end_of
from sired.daemon.services import Services
from sired.server.front import Client
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import Draft, Lane
from sired.store.jobs.repository import JobRepository

# A client that disconnects while it waits is not noticed before its wait ends.
LONGEST_WAIT_SECONDS = 60.0


class JobHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        self._jobs, self._front = services.jobs, services.front
        table.add_slow(Submit, self._submit)
        table.add_slow(ListJobs, self._list)
        table.add_slow(ShowJob, self._show)
        table.add_slow(UnfinishedJobs, self._unfinished)
        table.add_slow(CountJobs, self._count)
        table.add_slow(WaitJobs, self._wait)
        table.add_slow(JobResult, self._result)
        table.add_slow(CancelJobs, self._cancel)
        table.add_slow(RemoveJobs, self._remove)

    async def _submit(self, client: Client, request: Submit, payload: tuple[Buffer, ...]) -> None:
        self._services.refuse_when_draining()
        priority = request.priority or self._services.registry.get(request.model).priority
        drafts = _drafts(request, priority, payload)
        ids = await self._jobs.database.call(
            lambda repository: repository.accept(drafts, request.key)
        )
        self._front.reply(client, Submitted(id=client.request_id, jobs=tuple(ids)))
        self._jobs.runner.accepted(Lane(request.model, priority))
        if request.timeout is not None:
            self._jobs.tidy_within(request.timeout)

    async def _list(self, client: Client, request: ListJobs, _: object) -> None:
        jobs = await self._jobs.database.call(self._query(request))
        self._front.reply(client, JobList(id=client.request_id, jobs=self._as_seen(jobs)))

    def _query(self, request: ListJobs) -> Callable[[JobRepository], list[Job]]:
        runner, state, model = self._jobs.runner, request.state, request.model
        limit = -1 if request.limit is None else request.limit
        if state in {"queued", "running"}:
            only = runner.in_state(state)
            return lambda repository: repository.find(model=model, only=only, limit=limit)
        but = [*runner.in_state("queued"), *runner.running()] if state == "pending" else ()
        return lambda repository: repository.find(
            state=state, model=model, exclude=but, limit=limit
        )

    def _as_seen(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        return tuple(map(self._jobs.runner.as_seen, jobs))

    async def _show(self, client: Client, request: ShowJob, _: object) -> None:
        def look(repository: JobRepository) -> tuple[Job, int]:
            (job,) = repository.get([request.job])
            return job, repository.ahead(request.job) if job.state == "pending" else 0

        job, ahead = await self._jobs.database.call(look)
        job = self._jobs.runner.as_seen(job)
        waits = job.state in {"pending", "queued"}
        report = JobReport(
            id=client.request_id,
            job=job,
            ahead=ahead if waits else None,
            wait_seconds=self._jobs.runner.expected_wait(job, ahead) if waits else None,
        )
        self._front.reply(client, report)

    async def _unfinished(self, client: Client, _: UnfinishedJobs, __: object) -> None:
        ids = await self._jobs.database.call(lambda repository: repository.unfinished())
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(ids)))

    async def _count(self, client: Client, request: CountJobs, _: object) -> None:
        live = self._jobs.runner.count_live(request.models)
        counts = await self._jobs.database.call(lambda repository: repository.count(request.models))
        # Those that end meanwhile have another state on disk already.
        counts["pending"] = max(0, counts.get("pending", 0) - sum(live.values()))
        by_state = {state: count for state, count in {**counts, **live}.items() if count}
        self._front.reply(client, JobCounts(id=client.request_id, by_state=by_state))

    async def _wait(self, client: Client, request: WaitJobs, _: object) -> None:
        with self._jobs.waiters.waiter(request.jobs) as waiter:
            jobs = await self._jobs.database.call(lambda repository: repository.get(request.jobs))
            for job in jobs:
                if job.state != "pending":
                    waiter.add(end_of(job))
            ended = await waiter.wait(min(request.patience, LONGEST_WAIT_SECONDS))
        self._front.reply(client, JobEnds(id=client.request_id, ended=ended))

    async def _result(self, client: Client, request: JobResult, _: object) -> None:
        job, data = await self._jobs.database.call(
            lambda repository: repository.result(request.job)
        )
        if data is None:
            raise _why_no_result(self._jobs.runner.as_seen(job))
        reply = Prediction(
            id=client.request_id,
            content_type=data.content_type,
            tensors=data.tensors,
            compute_seconds=job.compute_seconds or 0.0,
            queue_seconds=(job.started_at or job.created_at) - job.created_at,
            model=job.model,
        )
        self._front.reply(client, reply, data.frames)

    async def _cancel(self, client: Client, request: CancelJobs, _: object) -> None:
        def cancel(repository: JobRepository) -> list[str]:
            return repository.cancel_all() if request.all else repository.cancel(request.jobs)

        cancelled = await self._jobs.database.call(cancel)
        self._jobs.cancelled(cancelled)
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(cancelled)))

    async def _remove(self, client: Client, request: RemoveJobs, _: object) -> None:
        age = request.older_than

        def remove(repository: JobRepository) -> tuple[list[str], list[str]]:
            cancelled = repository.cancel(request.jobs)
            repository.remove(request.jobs)
            old = [] if age is None else repository.remove_finished(age)
            return cancelled, [*request.jobs, *old]

        cancelled, removed = await self._jobs.database.call(remove)
        self._jobs.cancelled(cancelled)
        self._front.reply(client, JobIds(id=client.request_id, jobs=tuple(removed)))


def _drafts(request: Submit, priority: Priority, payload: tuple[Buffer, ...]) -> list[Draft]:
    announced = sum(one.frames for one in request.inputs)
    if announced != len(payload) or any(one.frames < 1 for one in request.inputs):
        raise InvalidInput(
            f"The header announces {announced} frames for {len(request.inputs)} inputs, but "
            f"{len(payload)} arrived.",
            hint="Each input needs at least one frame.",
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


def _why_no_result(job: Job) -> SireError:
    if job.error is not None:
        error = job.error
        return error_from(error.code, error.message, error.hint, error.details)
    if job.state == "cancelled":
        return Cancelled(f"The job {job.id} was cancelled.")
    return DeadlineExceeded(
        f"The job {job.id} is {job.state}: it has no result yet.",
        hint=f"Wait for it: sire job wait {job.id}",
        job=job.id,
    )
