"""Moves jobs from the disk to the brain, a few at a time, and their results back to the disk.

1. Jobs wait on disk, in lanes: one for each model and priority. 100,000 of them cost no memory.
2. Up to WINDOW jobs of each lane are in the brain's queue, which treats them like any request, and
   up to MAX_LIVE jobs of all lanes together. Lanes take turns.
3. A job that the brain rejects with QueueFull has not failed: it is offered again. So is a job
   whose time was spent waiting for others, with twice the time.
4. On disk a job stays pending until its outcome is written. A job that was queued or running when
   the daemon ended, however it ended, is pending when the next daemon starts, and runs again.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from sire.errors import (
    Cancelled,
    DaemonUnavailable,
    DeadlineExceeded,
    JobsUnavailable,
    ModelNotFound,
    QueueFull,
    SireError,
)
from sire.protocol.content import Buffer
from sire.protocol.jobs import JobEnd, JobProgress
from sire.protocol.message import Message
from sire.protocol.replies import Prediction
from sire.protocol.requests import Predict
from sire.spec import Job, JobError, JobState
from sire.units import FOREVER
from sired.config.settings import JobSettings
from sired.daemon.engine.operations import Operations, asked_by_job
from sired.daemon.engine.predictions import Predictions
from sired.scheduler.brain import Brain
from sired.server.front import Client
from sired.store.jobs.database_thread import JobDatabase
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import JobOutcome, Lane, QueuedJob, lost, reason_of, too_late

log = logging.getLogger(__name__)

WINDOW = 32
MAX_LIVE = 512
# Seconds before a retry when the queue is full, and when the disk has failed.
QUEUE_RETRY_SECONDS = 0.2
DISK_RETRY_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _LaneState:
    """The jobs read from a lane, and whether it has more on disk."""

    key: Lane
    live: set[str] = field(default_factory=set)
    more: bool = False
    reading: bool = False

    @property
    def refillable(self) -> bool:
        return self.more and not self.reading and len(self.live) <= WINDOW // 2


@dataclass(slots=True, eq=False)
class _LiveJob:
    """A job that was read from the disk and has no outcome there yet.

    Attributes:
        taken: the job and its input.
        allowed: seconds it may take, the next time it is offered to the brain.
    """

    taken: QueuedJob
    lane: _LaneState
    queued_at: float | None = None
    started_at: float | None = None
    allowed: float = 0.0

    @property
    def state(self) -> JobState:
        if self.started_at is not None:
            return "running"
        return "pending" if self.queued_at is None else "queued"

    def in_state_since(self, now: float) -> float:
        """When it started to run or to wait in a queue; ``now`` if it has done neither."""
        return self.started_at or self.queued_at or now

    def progress(self, now: float) -> JobProgress:
        """The job as the live view shows it."""
        job, seconds = self.taken.job, max(0.0, now - self.in_state_since(now))
        return JobProgress(job.id, job.model, self.state, seconds, job.source)


class JobRunner:
    """Runs jobs.

    Args:
        loop: the event loop.
        database: the jobs on disk.
        brain: estimates how long a job will wait.
        operations: withdraws the predictions of jobs.
        predictions: runs the jobs.
        settings: how long a job may take.
        ended: called when a job has ended and its outcome has been written.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        database: JobDatabase,
        brain: Brain,
        operations: Operations,
        predictions: Predictions,
        settings: JobSettings,
        ended: Callable[[JobEnd], None],
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._database = database
        self._brain = brain
        self._operations = operations
        self._predictions = predictions
        self._ended = ended
        self._lanes: dict[Lane, _LaneState] = {}
        self._refillable: dict[_LaneState, None] = {}
        self._live: dict[str, _LiveJob] = {}
        self._being_read = 0
        self._stopping = False

    def adopt(self, settings: JobSettings) -> None:
        """Apply new settings, to jobs offered from now on."""
        self._settings = settings

    # From the disk to the brain

    def start(self) -> None:
        """Start to run the jobs that wait on disk."""
        if not self._stopping:
            self._database.call(lambda repository: repository.lanes()).add_done_callback(
                self._lanes_read
            )

    def _lanes_read(self, answer: "asyncio.Future[list[Lane]]") -> None:
        if answer.exception() is not None:
            self._loop.call_later(DISK_RETRY_SECONDS, self.start)
            return
        for key in answer.result():
            self.accepted(key)

    def accepted(self, key: Lane) -> None:
        """Read a lane to which jobs were added."""
        lane = self._lanes.setdefault(key, _LaneState(key))
        lane.more = True
        self._feed(lane)

    def stop(self) -> None:
        """Read no more jobs from the disk and withdraw queued ones; running jobs may finish."""
        self._stopping = True
        self.withdraw([job for job, live in self._live.items() if live.state != "running"])

    def _feed(self, lane: _LaneState) -> None:
        if lane.refillable:
            self._refillable[lane] = None
        while self._refillable and (room := MAX_LIVE - len(self._live) - self._being_read) > 0:
            lane = next(iter(self._refillable))
            del self._refillable[lane]
            self._read(lane, min(room, WINDOW - len(lane.live)))

    def _read(self, lane: _LaneState, count: int) -> None:
        if self._stopping:
            return
        lane.reading = True
        self._being_read += count
        key, live = lane.key, tuple(lane.live)
        answer = self._database.call(lambda repository: repository.take(key, live, count))
        answer.add_done_callback(partial(self._jobs_read, lane, count))

    def _jobs_read(
        self, lane: _LaneState, count: int, answer: "asyncio.Future[list[QueuedJob]]"
    ) -> None:
        lane.reading = False
        self._being_read -= count
        if answer.exception() is not None:
            self._loop.call_later(DISK_RETRY_SECONDS, self._feed, lane)
            return
        taken = answer.result()
        lane.more = len(taken) == count
        for one in taken:
            lane.live.add(one.job.id)
            self._live[one.job.id] = live = _LiveJob(one, lane)
            self._offer(live)
        self._feed(lane)

    def _offer(self, live: _LiveJob) -> None:
        """Offer a job to the brain."""
        job, data = live.taken.job, live.taken.data
        if self._stopping or self._live.get(job.id) is not live:
            return
        live.queued_at, live.started_at = time.time(), None
        left = self._left(job)
        if data is None or left <= 0:
            error = lost(job, "input") if data is None else too_late(job)
            self.fail(asked_by_job(job.id), error)
            return
        predict = Predict(
            model=job.model,
            content_type=data.content_type,
            tensors=data.tensors,
            accept=job.accept,
            priority=job.priority,
        )
        live.allowed = max(live.allowed, self._settings.timeout)
        allowed = min(left, live.allowed)
        self._predictions.predict(asked_by_job(job.id), predict, data.frames, allowed, self)

    def _left(self, job: Job) -> float:
        return FOREVER if job.deadline_at is None else job.deadline_at - time.time()

    # From the brain to the disk: a ReplySink

    def started(self, client: Client) -> None:
        """Record that a worker has started a job."""
        live = self._live.get(str(client.request_id))
        if live is not None and live.started_at is None:
            live.started_at = time.time()

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Take a job's result."""
        live = self._live.get(str(client.request_id))
        if live is not None and isinstance(message, Prediction):
            result = JobPayload(message.content_type, message.tensors, payload)
            self._end(live, "complete", result=result, compute_seconds=message.compute_seconds)

    def fail(self, client: Client, error: SireError) -> None:
        """Take a job's error: offer the job again, or end it."""
        live = self._live.get(str(client.request_id))
        if live is None or isinstance(error, DaemonUnavailable):
            return  # it was cancelled, or the daemon is stopping and the next daemon runs it
        if isinstance(error, QueueFull):
            live.queued_at = None
            self._loop.call_later(QUEUE_RETRY_SECONDS, self._offer, live)
        elif isinstance(error, DeadlineExceeded) and self._mostly_waited(live):
            live.allowed *= 2
            self._loop.call_soon(self._offer, live)
        else:
            if isinstance(error, Cancelled):  # by the brain, because its model was removed
                error = model_gone(live.taken.job.model)
            self._end(live, "failed", error=reason_of(error))

    def _mostly_waited(self, live: _LiveJob) -> bool:
        """Whether the job spent most of its time waiting for others."""
        ran = 0.0 if live.started_at is None else time.time() - live.started_at
        return self._left(live.taken.job) > 0 and ran < live.allowed / 2

    def _end(
        self,
        live: _LiveJob,
        state: JobState,
        *,
        result: JobPayload | None = None,
        compute_seconds: float | None = None,
        error: JobError | None = None,
    ) -> None:
        outcome = JobOutcome(
            live.taken.job.id,
            state,
            live.queued_at,
            live.started_at,
            result,
            compute_seconds,
            error,
        )
        self._store(live, outcome)

    def _store(self, live: _LiveJob, outcome: JobOutcome) -> None:
        answer = self._database.call(lambda repository: repository.finish(outcome))
        answer.add_done_callback(partial(self._stored, live, outcome))

    def _stored(self, live: _LiveJob, outcome: JobOutcome, answer: "asyncio.Future[bool]") -> None:
        if isinstance(answer.exception(), JobsUnavailable):
            # The disk is full or gone: the outcome is kept in memory until it can be written.
            self._loop.call_later(DISK_RETRY_SECONDS, self._store, live, outcome)
            return
        job = live.taken.job.id
        self._drop(job)
        if answer.exception() is None and answer.result():
            _log_end(live, outcome)
            self._ended(JobEnd(job, outcome.state, outcome.error.code if outcome.error else ""))

    def _drop(self, job: str) -> bool:
        live = self._live.pop(job, None)
        if live is None:
            return False
        live.lane.live.discard(job)
        self._feed(live.lane)
        return True

    # Queries and changes

    def withdraw(self, jobs: Iterable[str]) -> None:
        """Forget these jobs and withdraw their predictions."""
        for job in jobs:
            if self._drop(job):
                self._operations.cancel(asked_by_job(job))

    def move_times(self, seconds: float) -> None:
        """Shift the times of jobs after the system clock was set forward by N seconds."""
        for live in self._live.values():
            job, data = live.taken
            moved = msgspec.structs.replace(
                job,
                created_at=job.created_at + seconds,
                deadline_at=None if job.deadline_at is None else job.deadline_at + seconds,
            )
            live.taken = QueuedJob(moved, data)
            live.queued_at = None if live.queued_at is None else live.queued_at + seconds
            live.started_at = None if live.started_at is None else live.started_at + seconds

    def running(self) -> list[str]:
        """The ids of the jobs that are running."""
        return [job for job, live in self._live.items() if live.state == "running"]

    def in_progress(self, limit: int) -> list[JobProgress]:
        """Up to N jobs: the running ones, longest first, then the queued ones."""
        now = time.time()
        shown = [live for live in self._live.values() if live.state != "pending"]
        shown.sort(key=lambda live: (live.state != "running", live.in_state_since(now)))
        return [live.progress(now) for live in shown[:limit]]

    def live(self) -> list[str]:
        """The ids of the jobs that are in memory."""
        return list(self._live)

    def in_state(self, state: JobState) -> list[str]:
        """The ids of the live jobs in a state: pending, queued or running."""
        return [job for job, live in self._live.items() if live.state == state]

    def count_live(self, models: Collection[str]) -> dict[JobState, int]:
        """Number of jobs that are queued or running, of these models; of all if there are none."""
        states: Iterable[JobState] = (
            live.state
            for live in self._live.values()
            if live.state != "pending" and (not models or live.taken.job.model in models)
        )
        return dict(Counter(states))

    def expected_wait(self, job: Job, ahead: int) -> float | None:
        """Seconds until a job starts that has ``ahead`` jobs of its model ahead of it.

        Jobs in the brain's queue are ordered there among other requests, the rest after them.

        Returns:
            None if the time is unknown.
        """
        if job.state == "queued":
            return self._operations.expected_wait(asked_by_job(job.id))
        model = self._brain.models.get(job.model)
        if model is None:
            return None
        here = sum(live.taken.job.model == job.model for live in self._live.values())
        return self._brain.expected_wait(model, max(0, ahead - here))

    def as_seen(self, job: Job) -> Job:
        """A job with its current state: that it is queued or running is not recorded on disk."""
        live = self._live.get(job.id)
        if live is None or job.state != "pending":
            return job
        return msgspec.structs.replace(
            job, state=live.state, queued_at=live.queued_at, started_at=live.started_at
        )


def _log_end(live: _LiveJob, outcome: JobOutcome) -> None:
    job = live.taken.job
    seconds = time.time() - job.created_at
    state = f"failed ({outcome.error.code})" if outcome.error else outcome.state
    extra = {"model": job.model}
    log.info("job %s of %s %s after %.0f ms", job.id, job.model, state, seconds * 1000, extra=extra)


def model_gone(model: str) -> ModelNotFound:
    """The error of a job whose model was removed."""
    return ModelNotFound(
        f"{model} was removed before the job ran.", hint="See: sire ls", model=model
    )
