"""Those who wait for jobs to end."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sire.protocol.replies import JobEnd

# After the first job that ends, others are waited for so long: one reply tells of many.
GATHER_SECONDS = 0.1


class JobWaiter:
    """Somebody who waits for some jobs."""

    def __init__(self, jobs: Iterable[str]) -> None:
        self.left = set(jobs)
        self.ended: dict[str, JobEnd] = {}
        self._some = asyncio.Event()
        self._all = asyncio.Event()

    def note(self, end: JobEnd) -> None:
        """One of the jobs has ended."""
        self.left.discard(end.job)
        self.ended[end.job] = end
        self._some.set()
        if not self.left:
            self._all.set()

    async def some(self, patience: float) -> tuple[JobEnd, ...]:
        """Wait until some of the jobs have ended, or for so many seconds; returns which."""
        for event, seconds in ((self._some, patience), (self._all, GATHER_SECONDS)):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
            if not self.ended:
                break
        return tuple(self.ended.values())


class JobWaiters:
    """Every waiter, by the jobs waited for."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[JobWaiter]] = {}

    @contextmanager
    def waiter(self, jobs: Iterable[str]) -> Iterator[JobWaiter]:
        """Somebody who waits for these jobs, for as long as the context lasts."""
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
        """Tell those who wait for this job."""
        for waiter in self._by_job.get(end.job, ()):
            waiter.note(end)
