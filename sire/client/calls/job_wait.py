"""Waiting for jobs, for the command line and ``ModelManager``."""

import time
from collections.abc import Iterable, Iterator

from sire.client.daemon_client import DaemonClient
from sire.errors import DeadlineExceeded
from sire.protocol.jobs import JobEnd, JobEnds, WaitJobs
from sire.units import FOREVER, format_duration

# Jobs in one request, and the time after which the daemon replies even if none has ended.
_JOBS_AT_ONCE = 500
_PATIENCE_SECONDS = 5.0


def wait_for_jobs(
    connection: DaemonClient, jobs: Iterable[str], timeout: float | None = None
) -> Iterator[JobEnd]:
    """Wait for jobs, and yield each one when it has ended.

    Raises:
        JobNotFound: no job has one of these ids.
        DeadlineExceeded: some have not ended within ``timeout`` seconds.
    """
    waited = dict.fromkeys(jobs)
    deadline = time.monotonic() + (FOREVER if timeout is None else timeout)
    while waited:
        some = tuple(waited)[:_JOBS_AT_ONCE]
        left = deadline - time.monotonic()
        request = WaitJobs(jobs=some, patience=max(0.0, min(left, _PATIENCE_SECONDS)))
        ended = connection.expect(JobEnds, request).ended
        for end in ended:
            waited.pop(end.job, None)
            yield end
        if not ended and time.monotonic() >= deadline:
            raise _not_in_time(tuple(waited), timeout or 0.0)


def _not_in_time(jobs: tuple[str, ...], waited: float) -> DeadlineExceeded:
    what = f"The job {jobs[0]} has" if len(jobs) == 1 else f"{len(jobs)} jobs have"
    return DeadlineExceeded(
        f"{what} not ended after {format_duration(waited)}.",
        hint="They continue. Wait again, or see: sire job ls",
        jobs=list(jobs),
    )
