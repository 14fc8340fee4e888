"""Runs the batches: those that are created, and those that a gateway before has left unfinished."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sire.atomic import sweep
from sire.client.aio.connection import AsyncConnection
from sire.errors import DeadlineExceeded, SireError
from sire.paths import Paths, find_paths, private_directory
from sired.gateway.batches.files import FileStore, append_durably
from sired.gateway.batches.job_connection import JobConnection
from sired.gateway.batches.line import Answered, Line, LineRunner
from sired.gateway.batches.store import Batch, BatchCounts, BatchStore, Status
from sired.gateway.errors import HttpError
from sired.gateway.programs.forwarding import Forwarder

log = logging.getLogger(__name__)

# Lines of one batch that are answered at the same time; jobs of a model run together in batches.
_AT_ONCE = 32
# Whether a batch is cancelled, perhaps through another gateway, is seen this often.
_LOOK_SECONDS = 0.5


class BatchRunner:
    """All batches of a home.

    A batch is run by one gateway, which holds its lock file. It is taken over by the next one that
    starts, or that is asked about it.

    Args:
        forwarder: passes requests on to programs.
        paths: of the daemon; by default those of the environment.

    Attributes:
        files: the files, and ``batches`` the batches, on disk.
    """

    def __init__(self, forwarder: Forwarder, paths: Paths | None = None) -> None:
        paths = paths or find_paths()
        for directory in (paths.batches, paths.batches / "files"):
            sweep(private_directory(directory))
        self.files = FileStore(paths.batches / "files")
        self.batches = BatchStore(paths.batches)
        self._forwarder = forwarder
        self._daemon = AsyncConnection(paths)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._counts: dict[str, list[int]] = {}

    def start(self) -> None:
        """Go on with the batches that are unfinished."""
        for batch in self.batches.all():
            if batch.unfinished:
                self.run(batch)

    async def stop(self) -> None:
        """Stop; the next gateway goes on."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._daemon.close()

    def run(self, batch: Batch) -> None:
        """Run a batch, unless it is being run."""
        if batch.id not in self._running:
            task = asyncio.create_task(self._run(batch))
            self._running[batch.id] = task
            task.add_done_callback(lambda _: self._running.pop(batch.id, None))

    async def counts(self, batch: Batch) -> BatchCounts:
        """How far a batch is."""
        if (found := self._counts.get(batch.id)) is not None:
            return BatchCounts(batch.total, *found)
        if not batch.unfinished:
            return self._final(batch)
        return await asyncio.to_thread(self.batches.counts, batch)

    def _final(self, batch: Batch) -> BatchCounts:
        completed, failed = (
            self.files.content_of(name).read_bytes().count(b"\n")
            if name and self.files.content_of(name).exists()
            else 0
            for name in (batch.output_file_id, batch.error_file_id)
        )
        return BatchCounts(batch.total, completed, failed)

    async def _run(self, batch: Batch) -> None:
        with self.batches.held(batch.id) as held:
            if not held:
                return
            try:
                batch = self.batches.get(batch.id)
                if batch.unfinished:
                    await self._finish(batch, await self._answered(batch))
            except (OSError, SireError):
                log.exception("the batch %s is interrupted", batch.id)
            finally:
                self._counts.pop(batch.id, None)

    async def _answered(self, batch: Batch) -> Status:
        """Answer what has not been answered, and return how that ended."""
        done, good, bad = await asyncio.to_thread(self.batches.answered, batch.id)
        self._counts[batch.id] = [good, bad]
        lines = _Lines(self, batch, LineRunner(batch, self._daemon, self._forwarder), done)
        working = asyncio.ensure_future(lines.run())
        try:
            status = await self._ended(batch, working)
        finally:
            await _end(working)  # a gateway that stops leaves the jobs to the next one
        if status != "completed":
            await lines.forget()
        if status == "expired":
            await lines.expire()
        return status

    async def _ended(self, batch: Batch, working: "asyncio.Future[None]") -> Status:
        """Wait until all lines are answered, or the batch is cancelled or expires."""
        while not working.done():
            if self.batches.get(batch.id).status == "cancelling":
                return "cancelled"
            if time.time() >= batch.expires_at:
                return "expired"
            await asyncio.wait((working,), timeout=_LOOK_SECONDS)
        working.result()
        return "completed"

    async def record(self, batch: Batch, answered: Answered) -> None:
        """Write the answer to a line, durably."""
        path = self.batches.errors(batch.id) if answered.failed else self.batches.output(batch.id)
        await asyncio.to_thread(append_durably, path, answered.text)
        self._counts[batch.id][answered.failed] += 1

    def job_connection(self, batch: Batch, number: int) -> JobConnection:
        """The connection of one line."""
        return JobConnection(self._daemon, batch.id, number)

    async def _finish(self, batch: Batch, status: Status) -> None:
        """Make files of the answers, and record the end. After a crash this is done again."""

        def finish() -> None:
            taken = [
                self._taken(batch, path, kind)
                for path, kind in (
                    (self.batches.output(batch.id), "output"),
                    (self.batches.errors(batch.id), "error"),
                )
            ]
            now = int(time.time())
            self.batches.update(
                batch.id,
                lambda one: msgspec.structs.replace(
                    one,
                    status=status,
                    output_file_id=taken[0],
                    error_file_id=taken[1],
                    times={**one.times, "finalizing": now, status: now},
                ),
            )

        await asyncio.to_thread(finish)

    def _taken(self, batch: Batch, path: Path, kind: str) -> str | None:
        name = f"file-{batch.id.removeprefix('batch_')}{kind}"
        if not path.exists() and not self.files.content_of(name).exists():
            return None
        return self.files.take(path, name, f"{batch.id}_{kind}.jsonl", batch.owner).id


class _Lines:
    """The lines of a batch, of which some are answered at the same time."""

    def __init__(
        self, runner: BatchRunner, batch: Batch, answering: LineRunner, done: set[int]
    ) -> None:
        self._runner = runner
        self._batch = batch
        self._answering = answering
        self._done = done
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._connections: dict[int, JobConnection] = {}

    async def run(self) -> None:
        """Answer all that have not been answered."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, content in self._unanswered():
                    line = self._answering.read(content)
                    if number in self._done:
                        continue
                    await self._room.acquire()
                    group.create_task(self._one(number, line))
        except* OSError as problems:
            raise problems.exceptions[0] from None

    async def forget(self) -> None:
        """Cancel the jobs of the lines that were being answered."""
        for daemon in self._connections.values():
            await daemon.forget()

    async def expire(self) -> None:
        """Record that the others were not answered in time."""
        late = DeadlineExceeded("The batch expired before this request was answered.")
        for number, content in self._unanswered():
            if number not in self._done:
                named = self._answering.read(content)
                name = named.custom_id if isinstance(named, Line) else None
                await self._runner.record(self._batch, self._answering.failed(number, late, name))

    def _unanswered(self) -> Iterator[tuple[int, bytes]]:
        with self._runner.files.content_of(self._batch.input_file_id).open("rb") as file:
            for number, content in enumerate(file):
                if content.strip():
                    yield number, content

    async def _one(self, number: int, line: Line | SireError) -> None:
        daemon = self._connections[number] = self._runner.job_connection(self._batch, number)
        try:
            answered = await self._answering.run(number, line, daemon)
            await self._runner.record(self._batch, answered)
            self._done.add(number)
            await daemon.forget()
            del self._connections[number]
        finally:
            self._room.release()


async def _end(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, SireError, OSError):
        await task


def refuse_if_used(runner: BatchRunner, name: str) -> None:
    """Refuse to delete a file that a batch still reads.

    Raises:
        HttpError: one does.
    """
    for batch in runner.batches.all():
        if batch.unfinished and batch.input_file_id == name:
            raise HttpError(
                409, f"The file is the input of {batch.id}.", hint="Cancel the batch first."
            )
