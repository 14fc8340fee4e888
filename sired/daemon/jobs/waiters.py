"""Requests that wait for jobs to end."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sire.protocol.jobs import JobEnd

# After the first end, ends are collected for this long, so that one reply reports many.
GATHER_SECONDS = 0.1


class JobWaiter:
    """One request that waits for some jobs.

    Attributes:
        left: the ids of the jobs that have not ended.
        ended: how the others ended, by id.
    """

    def __init__(self, jobs: Iterable[str]) -> None:
        self.left = set(jobs)
        self.ended: dict[str, JobEnd] = {}
        self._some = asyncio.Event()
        self._all = asyncio.Event()

    def add(self, end: JobEnd) -> None:
        """Add the end of one of the jobs."""
        self.left.discard(end.job)
        self.ended[end.job] = end
        self._some.set()
        if not self.left:
            self._all.set()

    async def wait(self, patience: float) -> tuple[JobEnd, ...]:
        """Wait up to ``patience`` seconds until some of the jobs have ended; returns their ends."""
        for event, seconds in ((self._some, patience), (self._all, GATHER_SECONDS)):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
            if not self.ended:
                break
        return tuple(self.ended.values())


class JobWaiters:
    """All waiters, by the ids of the jobs they wait for."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[JobWaiter]] = {}

    @contextmanager
    def waiter(self, jobs: Iterable[str]) -> Iterator[JobWaiter]:
        """Register a waiter for these jobs until the context ends."""
        waiter = JobWaiter(jobs)
        wanted = frozenset(waiter.left)
        for job in wanted:
            self._by_job.setdefault(job, set()).add(waiter)
        try:
            yield waiter
        finally:
            for job in wanted:
                waiters = self._by_job[job]
                waiters.discard(waiter)
                if not waiters:
                    del self._by_job[job]

    def ended(self, end: JobEnd) -> None:
        """Pass the end of a job to its waiters."""
        for waiter in self._by_job.get(end.job, ()):
            waiter.add(end)
