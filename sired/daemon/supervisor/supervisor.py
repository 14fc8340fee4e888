"""The workers by the number of their instance: starts them, exchanges messages, ends them.

Starting blocks while the zygote is still importing, so it happens in a thread. Everything else
happens in the event loop.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from sire.errors import Cancelled, LoadFailed, SireError, WorkerCrashed
from sire.protocol.content import Buffer
from sire.protocol.runs import RunModel, WorkerError
from sired.daemon.host.log_setup import of_worker
from sired.daemon.supervisor.standby import Standby
from sired.daemon.supervisor.worker import ToWorker, Worker
from sired.runtimes.discovery import is_out_of_process
from sired.store.file_states import FileState
from sired.workers.descendants import end_orphans
from sired.workers.log_files import trim_all
from sired.workers.messages import (
    DeviceGrant,
    FromWorker,
    LoadModel,
    ModelReady,
    Ping,
    Pong,
    RunBatch,
    TakeConnection,
    TakeCounters,
)
from sired.workers.process import WorkerProcess, start_worker
from sired.workers.zygote.zygote import Zygote

log = logging.getLogger(__name__)

STARTER_THREADS = 4
# The pause between two checks of the logs while a worker prints much.
TRIM_AGAIN_SECONDS = 0.1

Received = Callable[[int, FromWorker, tuple[Buffer, ...]], None]
Gone = Callable[[int, SireError], None]


class WorkerSupervisor:
    """All workers.

    Args:
        loop: the event loop to watch them in.
        zygote: where workers are forked from.
        received: called with each message from a worker.
        gone: called once a worker's process has ended, with an error that states how it ended.
        standby: the number of standby workers each device is to have.
        standby_log: the file their output goes to.

    Attributes:
        standby: the workers that have no model yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        zygote: Zygote,
        received: Received,
        gone: Gone,
        standby: Mapping[DeviceGrant, int],
        standby_log: Path,
    ) -> None:
        self._loop = loop
        self._zygote = zygote
        self._received = received
        self._gone = gone
        self._workers: dict[int, Worker] = {}
        self._starters = ThreadPoolExecutor(STARTER_THREADS, thread_name_prefix="start-worker")
        self._checkers = ThreadPoolExecutor(STARTER_THREADS, thread_name_prefix="check-files")
        self._cleaner = ThreadPoolExecutor(1, thread_name_prefix="clean-up")
        self._trimming = False
        self._closed = False
        self.standby = Standby(loop, zygote, self._starters, standby, standby_log)

    def __len__(self) -> int:
        return len(self._workers)

    def pid(self, instance: int) -> int | None:
        """The process id of a worker; None until it has started."""
        worker = self._workers.get(instance)
        return worker.process.pid if worker and worker.process else None

    def start(
        self,
        instance: int,
        job: LoadModel,
        log_path: Path,
        check: Callable[[], tuple[FileState, ...]] = tuple,
    ) -> None:
        """Have a standby worker, or else a new one, load a model for an instance.

        Args:
            instance: its number.
            job: what to load.
            log_path: the file that its output goes to.
            check: called first, in a thread; returns the states of the model's files, or raises
                the error that the instance ends with.
        """
        out_of_process = is_out_of_process(job.spec.runtime)
        on_gpu = job.device.kind == "cuda"
        self._workers[instance] = Worker(job.spec.name, out_of_process, on_gpu)
        checking = self._loop.run_in_executor(self._checkers, check)
        checking.add_done_callback(lambda done: self._checked(instance, job, log_path, done))

    def _checked(
        self,
        instance: int,
        job: LoadModel,
        log_path: Path,
        done: "asyncio.Future[tuple[FileState, ...]]",
    ) -> None:
        worker = self._workers[instance]
        if problem := done.exception():
            self._not_started(instance, problem)
            return
        if worker.ending:
            self._not_started(instance, Cancelled(f"The load of {worker.model} was cancelled."))
            return
        job = msgspec.structs.replace(job, files=done.result())
        # What holds the model opens a context of its own: that of a standby worker would be idle.
        if not worker.out_of_process and (process := self.standby.take(job.device.name)):
            process.take_over(job, log_path)
            self._begin(instance, worker, process)
            return
        starting = self._loop.run_in_executor(
            self._starters, start_worker, self._zygote, job, log_path
        )
        starting.add_done_callback(lambda done: self._started(instance, done))

    def _started(self, instance: int, done: "asyncio.Future[WorkerProcess]") -> None:
        if problem := done.exception():
            self._not_started(instance, problem)
        else:
            self._begin(instance, self._workers[instance], done.result())

    def _not_started(self, instance: int, problem: BaseException) -> None:
        """Report an instance without a process as gone."""
        worker = self._workers.pop(instance)
        if isinstance(problem, SireError):
            self._gone(instance, problem)
            return
        log.error("its process could not be started: %s", problem, extra=of_worker(worker.model))
        hint = "See: sire daemon logs"
        error = LoadFailed(f"No process could be started for {worker.model}: {problem}", hint=hint)
        self._gone(instance, error)

    def _begin(self, instance: int, worker: Worker, process: WorkerProcess) -> None:
        """Start to watch a process and to read its messages."""
        worker.process = process
        self._loop.add_reader(worker.process.pidfd, self._ended, instance)
        if worker.ending:
            self.stop(instance, kill=worker.kill)
        else:
            self._loop.add_reader(worker.process.channel.fileno(), self._receive, instance)

    def send(self, instance: int, message: ToWorker, payload: tuple[Buffer, ...]) -> None:
        """Send a message to a worker; that a worker has died is reported through ``gone``."""
        worker = self._workers[instance]
        if worker.unsent or not self._try_send(instance, worker, message, payload):
            worker.unsent.append((message, payload))
            assert worker.process is not None
            self._loop.add_writer(worker.process.channel.fileno(), self._send_queued, instance)

    async def ping(self, instance: int) -> None:
        """Wait until a worker has handled everything sent to it so far, and replies.

        Raises:
            WorkerCrashed: the worker has ended, or ends before it replies.
        """
        worker = self._workers.get(instance)
        if worker is None or worker.process is None or worker.ending:
            raise WorkerCrashed("its process has ended.")
        pong: asyncio.Future[None] = self._loop.create_future()
        worker.pings.append(pong)
        self.send(instance, Ping(), ())
        await pong

    def pass_descriptor(
        self, instance: int, message: TakeCounters | TakeConnection, descriptor: int
    ) -> bool:
        """Pass a descriptor to a worker; False if the worker cannot take one now.

        Raises:
            OSError: the worker is gone.
        """
        worker = self._workers[instance]
        if worker.process is None or worker.ending or worker.unsent:
            return False
        return worker.process.channel.try_pass(message, descriptor)

    def _try_send(
        self, instance: int, worker: Worker, message: ToWorker, payload: tuple[Buffer, ...]
    ) -> bool:
        assert worker.process is not None
        try:
            return worker.process.channel.try_send(message, payload)
        except OSError:
            return True  # the pidfd reports that the process has ended
        except SireError as error:
            self._loop.call_soon(self._not_sent, instance, message, error)
            return True

    def _not_sent(self, instance: int, message: ToWorker, error: SireError) -> None:
        """Answer the requests of a message that could not be sent with an error."""
        runs = message.runs if isinstance(message, RunBatch) else (message,)
        for run in runs:
            if instance in self._workers and isinstance(run, RunModel):
                answer = WorkerError(run.request, error.code, error.message, error.hint)
                self._received(instance, answer, ())

    def _send_queued(self, instance: int) -> None:
        worker = self._workers[instance]
        while worker.unsent and self._try_send(instance, worker, *worker.unsent[0]):
            worker.unsent.popleft()
        if not worker.unsent and worker.process is not None:
            self._loop.remove_writer(worker.process.channel.fileno())

    def _receive(self, instance: int) -> None:
        """Take one message from a worker; the event loop calls again while there are more."""
        worker = self._workers.get(instance)
        if worker is None or worker.process is None or worker.ending:
            return
        try:
            received = worker.process.channel.try_receive()
        except EOFError:
            self._loop.remove_reader(worker.process.channel.fileno())
        except SireError as error:
            log.error(  # noqa: TRY400
                "its message could not be read: %s", error, extra=of_worker(worker.model)
            )
            worker.unreadable = error
            self.stop(instance, kill=True)
        else:
            if received is not None and isinstance(received[0], Pong):
                worker.answer_pings()
            elif received is not None:
                self._received(instance, *received)
                if isinstance(received[0], ModelReady):
                    self.standby.fill()

    def _receive_remaining(self, worker: Worker, instance: int) -> None:
        """Take the messages that a worker sent before it ended."""
        while worker.process is not None and not worker.ending:
            try:
                received = worker.process.channel.try_receive()
            except (EOFError, SireError):
                return
            if received is None:
                return
            if not isinstance(received[0], Pong):
                self._received(instance, *received)

    def stop(self, instance: int, *, kill: bool) -> None:
        """End a worker: close its channel, upon which it exits, or kill it at once."""
        worker = self._workers.get(instance)
        if worker is None:
            return
        worker.ending, worker.kill = True, worker.kill or kill
        if worker.process is None:
            return
        self._unwatch_channel(worker.process)
        if kill and not worker.out_of_process:
            worker.process.kill()
        else:
            worker.process.terminate()
            self._loop.call_later(worker.exit_grace, self._kill_if_running, instance)

    def _kill_if_running(self, instance: int) -> None:
        worker = self._workers.get(instance)
        if worker is not None and worker.process is not None:
            log.warning(
                "its process did not exit in time and is killed", extra=of_worker(worker.model)
            )
            worker.process.kill()

    def _unwatch_channel(self, process: WorkerProcess) -> None:
        descriptor = process.channel.fileno()
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)

    def _ended(self, instance: int) -> None:
        """Handle the end of a worker's process: read its last messages, report how it ended."""
        self._receive_remaining(self._workers[instance], instance)
        worker = self._workers.pop(instance)
        process = worker.process
        assert process is not None
        self._loop.remove_reader(process.pidfd)
        self._unwatch_channel(process)
        error = worker.how_it_ended()
        worker.answer_pings(error)
        process.close()
        if not self._closed:
            self._loop.run_in_executor(self._cleaner, end_orphans)
        self._gone(instance, error)
        self.standby.fill()

    def trim_logs(self, *others: Path) -> None:
        """Trim the logs of workers, and these others, so that they do not fill the disk."""
        if self._trimming or self._closed:
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
        """Kill the remaining workers; calls after this one, from timers, have no effect."""
        self._closed = True
        self.standby.close()
        for worker in self._workers.values():
            if worker.process is not None:
                worker.process.kill()
        self._starters.shutdown(wait=False, cancel_futures=True)
        self._checkers.shutdown(wait=False, cancel_futures=True)
        self._cleaner.shutdown()
