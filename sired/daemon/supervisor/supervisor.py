"""The workers at their instances' numbers: starting and ending them, talking to them.

Starting blocks (the zygote may still be importing), so it happens in a thread; everything else
happens in the event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sire.errors import LoadFailed, SireError, WorkerCrashed
from sire.protocol.content import Buffer
from sire.protocol.runs import RunModel, WorkerError
from sired.daemon.host.log_setup import of_worker
from sired.daemon.supervisor.standby import Standby
from sired.runtimes.discovery import is_out_of_process
from sired.workers.descendants import end_orphans
from sired.workers.log_files import trim_all
from sired.workers.messages import (
    ChangeTier,
    DeviceGrant,
    FromWorker,
    LoadModel,
    ModelReady,
    Ping,
    Pong,
    RunBatch,
    StopStream,
    TakeConnection,
    TakeCounters,
)
from sired.workers.process import WorkerProcess, start_worker
from sired.workers.zygote.zygote import Zygote

log = logging.getLogger(__name__)

# How long a worker whose line was closed may take to go before it is killed.
EXIT_GRACE_SECONDS = 2.0
# The same for one whose model is held outside of it, by a program that may have things to put in
# order, or by a server. It is never killed at once: what is outside would stay.
OUTSIDE_GRACE_SECONDS = 10.0
STARTING_AT_ONCE = 4
# While somebody prints much, logs are looked at as often as this.
TRIM_AGAIN_SECONDS = 0.1

Order = RunModel | RunBatch | ChangeTier | StopStream | Ping
Heard = Callable[[int, FromWorker, tuple[Buffer, ...]], None]
Gone = Callable[[int, SireError], None]


@dataclass(slots=True)
class Worker:
    """One worker; ``process`` is None until it has been started."""

    model: str
    outside: bool
    process: WorkerProcess | None = None
    ending: bool = False
    broken: SireError | None = None
    kill: bool = False
    unsent: deque[tuple[Order, tuple[Buffer, ...]]] = field(default_factory=deque)
    pinged: "list[asyncio.Future[None]]" = field(default_factory=list)


class WorkerSupervisor:
    """All workers.

    Args:
        loop: the event loop to listen in.
        zygote: where workers are forked from.
        heard: called with what a worker says.
        gone: called once a worker's process has ended, with how it ended.
        stand_by: how many workers are to stand by on which device.
        stand_by_log: where these print.

    Attributes:
        standby: the workers that have no model yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        zygote: Zygote,
        heard: Heard,
        gone: Gone,
        stand_by: Mapping[DeviceGrant, int],
        stand_by_log: Path,
    ) -> None:
        self._loop = loop
        self._zygote = zygote
        self._heard = heard
        self._gone = gone
        self._workers: dict[int, Worker] = {}
        self._starters = ThreadPoolExecutor(STARTING_AT_ONCE, thread_name_prefix="start-worker")
        self._cleaner = ThreadPoolExecutor(1, thread_name_prefix="clean-up")
        self._trimming = False
        self.standby = Standby(loop, zygote, self._starters, stand_by, stand_by_log)

    def __len__(self) -> int:
        return len(self._workers)

    def pid(self, instance: int) -> int | None:
        """The process id of a worker, once it has one."""
        worker = self._workers.get(instance)
        return worker.process.pid if worker and worker.process else None

    def start(self, instance: int, job: LoadModel, log_path: Path) -> None:
        """Have a worker load a model for an instance: one that stands by, or else a new one."""
        outside = is_out_of_process(job.spec.runtime)
        worker = self._workers[instance] = Worker(job.spec.name, outside)
        if process := self.standby.take(job.device.name):
            process.take_over(job, log_path)
            self._begin(instance, worker, process)
            return
        starting = self._loop.run_in_executor(
            self._starters, start_worker, self._zygote, job, log_path
        )
        starting.add_done_callback(lambda done: self._started(instance, done))

    def _started(self, instance: int, done: "asyncio.Future[WorkerProcess]") -> None:
        worker = self._workers[instance]
        if problem := done.exception():
            del self._workers[instance]
            log.error("it could not be started: %s", problem, extra=of_worker(worker.model))
            hint = "See: sire daemon logs"
            error = LoadFailed(
                f"No process could be started for {worker.model}: {problem}", hint=hint
            )
            self._gone(instance, error)
            return
        self._begin(instance, worker, done.result())

    def _begin(self, instance: int, worker: Worker, process: WorkerProcess) -> None:
        """Watch and hear a process from now on."""
        worker.process = process
        self._loop.add_reader(worker.process.pidfd, self._ended, instance)
        if worker.ending:
            self.stop(instance, kill=worker.kill)
        else:
            self._loop.add_reader(worker.process.channel.fileno(), self._listen, instance)

    def send(self, instance: int, message: Order, payload: tuple[Buffer, ...]) -> None:
        """Tell a worker what to do; a worker that has died says so through ``gone``."""
        worker = self._workers[instance]
        if worker.unsent or not self._try_send(instance, worker, message, payload):
            worker.unsent.append((message, payload))
            assert worker.process is not None
            self._loop.add_writer(worker.process.channel.fileno(), self._send_rest, instance)

    async def ping(self, instance: int) -> None:
        """Wait until a worker has done what it was told before, and says so.

        Raises:
            WorkerCrashed: it ends first, or has ended.
        """
        worker = self._workers.get(instance)
        if worker is None or worker.process is None or worker.ending:
            raise WorkerCrashed("its process has just ended.")
        pong: asyncio.Future[None] = self._loop.create_future()
        worker.pinged.append(pong)
        self.send(instance, Ping(), ())
        await pong

    def pass_on(
        self, instance: int, message: TakeCounters | TakeConnection, descriptor: int
    ) -> bool:
        """Pass a descriptor to a worker; False if it takes nothing now.

        Raises:
            OSError: it is gone.
        """
        worker = self._workers[instance]
        if worker.process is None or worker.ending or worker.unsent:
            return False
        return worker.process.channel.try_pass(message, descriptor)

    def _try_send(
        self, instance: int, worker: Worker, message: Order, payload: tuple[Buffer, ...]
    ) -> bool:
        assert worker.process is not None
        try:
            return worker.process.channel.try_send(message, payload)
        except OSError:
            return True  # its end is noticed through its pidfd
        except SireError as error:
            self._loop.call_soon(self._not_sent, instance, message, error)
            return True

    def _not_sent(self, instance: int, message: Order, error: SireError) -> None:
        """Answer in the worker's stead what could not be brought to it."""
        runs = message.runs if isinstance(message, RunBatch) else (message,)
        for run in runs:
            if instance in self._workers and isinstance(run, RunModel):
                said = WorkerError(run.request, error.code, error.message, error.hint)
                self._heard(instance, said, ())

    def _send_rest(self, instance: int) -> None:
        worker = self._workers[instance]
        while worker.unsent and self._try_send(instance, worker, *worker.unsent[0]):
            worker.unsent.popleft()
        if not worker.unsent and worker.process is not None:
            self._loop.remove_writer(worker.process.channel.fileno())

    def _listen(self, instance: int) -> None:
        """Take one message of a worker; the loop calls again while there are more."""
        worker = self._workers.get(instance)
        if worker is None or worker.process is None or worker.ending:
            return
        try:
            received = worker.process.channel.try_receive()
        except EOFError:
            self._loop.remove_reader(worker.process.channel.fileno())
        except SireError as error:
            log.error("it cannot be heard: %s", error, extra=of_worker(worker.model))  # noqa: TRY400
            worker.broken = error
            self.stop(instance, kill=True)
        else:
            if received is not None and isinstance(received[0], Pong):
                _settle(worker.pinged, None)
            elif received is not None:
                self._heard(instance, *received)
                if isinstance(received[0], ModelReady):
                    self.standby.fill()

    def _hear_the_rest(self, worker: Worker, instance: int) -> None:
        """Take what a worker said before it ended."""
        while worker.process is not None and not worker.ending:
            try:
                received = worker.process.channel.try_receive()
            except (EOFError, SireError):
                return
            if received is None:
                return
            if not isinstance(received[0], Pong):
                self._heard(instance, *received)

    def stop(self, instance: int, *, kill: bool) -> None:
        """End a worker: its line is closed, which it takes as its end, or it is killed at once."""
        worker = self._workers.get(instance)
        if worker is None:
            return
        worker.ending, worker.kill = True, worker.kill or kill
        if worker.process is None:
            return
        self._forget_channel(worker.process)
        if kill and not worker.outside:
            worker.process.kill()
        else:
            worker.process.terminate()
            grace = OUTSIDE_GRACE_SECONDS if worker.outside else EXIT_GRACE_SECONDS
            self._loop.call_later(grace, self._kill_if_there, instance)

    def _kill_if_there(self, instance: int) -> None:
        worker = self._workers.get(instance)
        if worker is not None and worker.process is not None:
            log.warning("it does not exit and is killed", extra=of_worker(worker.model))
            worker.process.kill()

    def _forget_channel(self, process: WorkerProcess) -> None:
        descriptor = process.channel.fileno()
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)

    def _ended(self, instance: int) -> None:
        """A worker's process is gone: hear its last words, tell how it ended."""
        self._hear_the_rest(self._workers[instance], instance)
        worker = self._workers.pop(instance)
        process = worker.process
        assert process is not None
        self._loop.remove_reader(process.pidfd)
        self._forget_channel(process)
        error = _how_it_ended(worker, process)
        _settle(worker.pinged, error)
        process.close()
        self._loop.run_in_executor(self._cleaner, end_orphans)
        self._gone(instance, error)
        self.standby.fill()

    def trim_logs(self, *others: Path) -> None:
        """See that what workers print, and these other logs, fill no disk."""
        if self._trimming:
            return
        self._trimming = True
        started = (worker.process for worker in self._workers.values())
        processes = [process for process in (*started, *self.standby.workers) if process]
        logs = {*others, *(process.log for process in processes)}
        trimming = self._loop.run_in_executor(self._cleaner, trim_all, logs)
        trimming.add_done_callback(partial(self._trimmed, others))

    def _trimmed(self, others: tuple[Path, ...], done: "asyncio.Future[bool]") -> None:
        self._trimming = False
        if not done.cancelled() and done.exception() is None and done.result():
            self._loop.call_later(TRIM_AGAIN_SECONDS, self.trim_logs, *others)

    def close(self) -> None:
        """Kill what is left."""
        self.standby.close()
        for worker in self._workers.values():
            if worker.process is not None:
                worker.process.kill()
        self._starters.shutdown(wait=False, cancel_futures=True)
        self._cleaner.shutdown()


def _settle(pinged: "list[asyncio.Future[None]]", error: SireError | None) -> None:
    """Tell those who wait for a pong that it came, or will not."""
    while pinged:
        waiting = pinged.pop()
        if waiting.done():  # nobody waits any longer
            continue
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)


def _how_it_ended(worker: Worker, process: WorkerProcess) -> WorkerCrashed:
    model = worker.model
    if (broken := worker.broken) is not None:
        said = f"What {model} answered could not be read, so its process was ended: "
        return WorkerCrashed(said + broken.message, hint=broken.hint, model=model, pid=process.pid)
    lines = process.last_lines()
    said = "".join(f"\n  {line}" for line in lines) if lines else " It printed nothing."
    return WorkerCrashed(
        f"The process of {model} ended ({process.exit_status()}).{said}",
        hint=f"See: sire logs {model}",
        model=model,
        pid=process.pid,
        last_lines=lines,
    )
