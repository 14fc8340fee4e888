"""Durable predictions: stored on disk, run when their turn comes, removed when they are old."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from sire.errors import DeadlineExceeded, ModelNotFound
from sire.protocol.jobs import JobEnd
from sire.spec import Job
from sired.config.settings import JobSettings
from sired.daemon.engine.operations import Operations
from sired.daemon.engine.predictions import Predictions
from sired.daemon.jobs.runner import JobRunner, model_gone
from sired.daemon.jobs.waiters import JobWaiters
from sired.daemon.jobs.wall_clock import WallClock
from sired.scheduler.brain import Brain
from sired.store.jobs.database_thread import JobDatabase
from sired.store.jobs.repository import JobRepository

log = logging.getLogger(__name__)

# Seconds from a job's end to the next search for old jobs, and between two such searches.
TIDY_SOON, TIDY_SECONDS = 1.0, 60.0


class JobService:
    """The jobs, and the parts that store and run them.

    Attributes:
        database: the jobs on disk.
        runner: runs them.
        waiters: the requests that wait for jobs to end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Path,
        brain: Brain,
        operations: Operations,
        predictions: Predictions,
        settings: JobSettings,
    ) -> None:
        self.database = JobDatabase(loop, directory)
        self.waiters = JobWaiters()
        self.runner = JobRunner(
            loop, self.database, brain, operations, predictions, settings, self._ended
        )
        self._clock = WallClock()
        self._loop = loop
        self._settings = settings
        self._tidying: asyncio.TimerHandle | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why jobs cannot be stored at the moment; empty if they can."""
        return (self.database.problem,) if self.database.problem else ()

    def start(self) -> None:
        """Start to run the jobs that wait on disk."""
        self.runner.start()
        self.tidy_within(TIDY_SOON)

    def adopt(self, settings: JobSettings) -> None:
        """Apply new settings."""
        self._settings = settings
        self.runner.adopt(settings)
        self.tidy_within(TIDY_SOON)

    def stop(self) -> None:
        """Start no more jobs; running ones may finish."""
        self.runner.stop()

    def close(self) -> None:
        """Finish writing, and close the database."""
        self.database.close()

    def cancelled(self, jobs: Iterable[str]) -> None:
        """Withdraw these jobs, which have been marked as cancelled on disk."""
        jobs = list(jobs)
        self.runner.withdraw(jobs)
        for job in jobs:
            log.info("job %s cancelled", job)
            self._ended(JobEnd(job, "cancelled"))

    def model_removed(self, model: str) -> None:
        """Fail the jobs that wait for a model; call it before the brain forgets the model."""
        error, running = model_gone(model), self.runner.running()
        failed = self.database.call(lambda repository: repository.model_gone(model, error, running))
        failed.add_done_callback(self._model_gone)

    def _model_gone(self, failed: "asyncio.Future[list[str]]") -> None:
        if failed.exception() is None:  # otherwise the brain fails each when its turn comes
            self.runner.withdraw(failed.result())
            for job in failed.result():
                self._ended(JobEnd(job, "failed", ModelNotFound.code))

    def _ended(self, end: JobEnd) -> None:
        self.waiters.ended(end)
        self.tidy_within(TIDY_SOON)

    # Time

    def check_clock(self) -> None:
        """Shift the times of jobs if the system clock was set, so that none becomes late by it."""
        if seconds := self._clock.read_jump():
            log.warning(
                "the system clock was set by %+.1f s; the times of jobs are shifted", seconds
            )
            self.runner.move_times(seconds)
            moved = self.database.call(lambda repository: repository.move_times(seconds))
            moved.add_done_callback(lambda done: done.exception())  # the database has logged it

    def tidy_within(self, seconds: float) -> None:
        """Search for overdue and old jobs within N seconds."""
        due = self._loop.time() + seconds
        if self._tidying is not None:
            if self._tidying.when() <= due:
                return
            self._tidying.cancel()
        self._tidying = self._loop.call_at(due, self._tidy)

    def _tidy(self) -> None:
        """Fail overdue jobs, and remove finished ones that have been kept long enough."""
        self.check_clock()
        keep, live = self._settings, self.runner.live()

        def tidy(repository: JobRepository) -> list[str]:
            removed = repository.tidy(keep.keep_for, keep.keep_count, keep.keep_bytes)
            if removed:
                log.info("removed %d old jobs", removed)
            return repository.overdue(live)

        self.database.call(tidy).add_done_callback(self._report_overdue)
        self._tidying = None
        self.tidy_within(TIDY_SECONDS)

    def _report_overdue(self, overdue: "asyncio.Future[list[str]]") -> None:
        for job in overdue.result() if overdue.exception() is None else ():
            self._ended(JobEnd(job, "failed", DeadlineExceeded.code))


def end_of(job: Job) -> JobEnd:
    """How a finished job ended."""
    return JobEnd(job.id, job.state, job.error.code if job.error else "")
