"""A connection on which predictions are durable jobs, so that endpoints answer lines of a batch."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Sequence

import msgspec

from sire.client.aio.connection import AsyncConnection
from sire.client.link import Answer
from sire.errors import DaemonUnavailable, InvalidInput, SireError
from sire.protocol.content import Buffer
from sire.protocol.jobs import (
    JobEnds,
    JobInput,
    JobResult,
    RemoveJobs,
    Submit,
    Submitted,
    WaitJobs,
)
from sire.protocol.requests import Predict, Request, TakeSlot

_PATIENCE_SECONDS = 30.0
# A daemon that was killed is started again by the next request.
_RETRY_SECONDS = 0.5
_KEY_LENGTH = 48


class JobConnection(AsyncConnection):
    """Submits each prediction of one line as a job of low priority, and waits for its result.

    A line that is run again, because the gateway was killed, finds the jobs that it submitted by
    their keys. While there is no daemon, requests wait for the next one.

    Args:
        shared: the connection that is used.
        batch: the id of the batch.
        number: of the line.
    """

    def __init__(self, shared: AsyncConnection, batch: str, number: int) -> None:
        super().__init__(autostart=False)
        self._shared = shared
        self._batch = batch
        self._number = number
        self._calls = 0
        self._jobs: list[str] = []

    async def largest(self) -> int:
        """See ``AsyncConnection.largest``."""
        while True:
            try:
                return await self._shared.largest()
            except DaemonUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)

    async def ask(self, request: Request, payload: Sequence[Buffer] = ()) -> Answer:
        """See ``AsyncConnection.ask``; slots are of low priority, too."""
        if isinstance(request, TakeSlot):
            request = msgspec.structs.replace(request, priority="low")
        while True:
            try:
                return await self._shared.ask(request, payload)
            except DaemonUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)

    async def predict(self, request: Predict, payload: Sequence[Buffer] = ()) -> Answer:
        """See ``AsyncConnection.predict``."""
        self._calls += 1
        name = f"{self._batch} {self._number} {self._calls} {request.model}"
        submit = Submit(
            model=request.model,
            inputs=(
                JobInput(
                    request.content_type,
                    request.tensors,
                    len(payload),
                    f"{self._batch} line {self._number}",
                ),
            ),
            accept=request.accept,
            priority="low",
            metadata={"batch": self._batch},
            key=hashlib.sha256(name.encode()).hexdigest()[:_KEY_LENGTH],
        )
        reply, _ = await self.ask(submit, payload)
        assert isinstance(reply, Submitted)
        (job,) = reply.jobs
        self._jobs.append(job)
        waiting = WaitJobs(jobs=(job,), patience=_PATIENCE_SECONDS)
        while not (await self.expect(JobEnds, waiting)).ended:
            pass
        return await self.ask(JobResult(job=job))

    async def stream(
        self, request: Predict, payload: Sequence[Buffer] = ()
    ) -> AsyncGenerator[Answer, None]:
        """Refuse to stream.

        Raises:
            InvalidInput: always.
        """
        del request, payload
        raise InvalidInput("Requests of a batch cannot be streamed.", param="stream")
        yield  # it is a generator

    async def forget(self) -> None:
        """Remove the jobs, which are cancelled if they have not ended."""
        for job in self._jobs:
            with contextlib.suppress(SireError):  # it was removed meanwhile
                await self.ask(RemoveJobs(jobs=(job,)))
