"""The main loop of a worker: serves the daemon and direct clients in turns."""

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import NoReturn

from sire.errors import Cancelled, SireError
from sire.protocol.content import Buffer, size_of
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.transport.busy_polling import BusyPolling
from sire.transport.channel import Channel
from sired.runtimes.wanted import running
from sired.workers.child.clients import Clients, DirectClient
from sired.workers.child.requests import Reply, WorkerRequest
from sired.workers.child.served_model import ServedModel
from sired.workers.child.setup import exit_process
from sired.workers.child.work import RequestGroup, of_clients, of_daemon
from sired.workers.messages import (
    DirectFailed,
    FreeDram,
    Ping,
    Pong,
    RunBatch,
    Sleep,
    StopRun,
    TakeConnection,
    TakeCounters,
    ToWorker,
    Wake,
)
from sired.workers.shared_counters import SharedCounters

log = logging.getLogger("sired.worker")

# Twice the time that a client takes between a reply and its next request.
SHORT_WAIT_SECONDS = 1e-3
# Faster decoding is not worth a separate thread.
DECODE_AHEAD_SECONDS = 1e-3
# Requests of faster models are not worth another thread that receives.
SEVERAL_THREADS_SECONDS = 300e-6
# After this time without a request from the daemon, none is expected soon.
RECENT_SECONDS = 1.0
# The weight of a new measurement in the moving average.
_SMOOTHING = 0.2
# Seconds; larger values are not plausible.
LONGEST_LATENCY = 1e6


class Service:
    """Serves all clients of a worker.

    Without direct clients it waits for the daemon's channel. Otherwise it polls all connections,
    and serves each of them one request per round.

    A model with concurrency is run by as many threads. One of them receives; once it has something
    to do, the next one receives, unless the model is faster than that. Frameworks release Python's
    lock while they compute, each thread on its share of the cores: throughput is higher than with
    one request at a time on all cores, but each request takes longer.

    If decoding is slow, the next request is decoded in a thread while the model runs.
    """

    def __init__(self, channel: Channel[ToWorker], model: ServedModel) -> None:
        self._channel = channel
        self._model = model
        self._pending: deque[RequestGroup] = deque()
        self._ahead: ThreadPoolExecutor | None = None
        # The daemon's requests, until they are answered or not wanted any more.
        self._wanted: set[int] = set()
        self._shared_counters: SharedCounters | None = None
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._clients = Clients(self._poll)
        self._busy_polling = BusyPolling(SHORT_WAIT_SECONDS)
        # Threads besides the main one. If they only wait for another process, there is one more
        # that receives, for instance cancellations.
        self._others = 0 if model.concurrency == 1 else model.concurrency - 1 + model.out_of_process
        self._wake_ups: SimpleQueue[None] = SimpleQueue()
        self._woken = self._active = 0
        # Moving average of the time of a request group on all cores.
        self._seconds = 0.0
        self._daemon_asked = 0.0
        self._receiving = threading.RLock()
        # Held to update shared counts, and to send to the daemon.
        self._counting, self._sending = threading.Lock(), threading.Lock()
        self._idle = threading.Condition(self._counting)

    def run(self) -> NoReturn:
        """Serve until the daemon closes its connection.

        Raises:
            EOFError: it is closed.
        """
        for number in range(self._others):
            name = f"answer-{number}"
            threading.Thread(target=self._run_thread, name=name, daemon=True).start()
        while True:
            self._take_turn(main=True)

    def _run_thread(self) -> NoReturn:
        """The loop of another thread, which runs while several threads are useful."""
        try:
            while True:
                self._wake_ups.get()
                while self._several_useful():
                    self._take_turn()
                with self._counting:
                    self._woken -= 1
        except (EOFError, ConnectionError):  # the daemon has ended
            exit_process()
        except BaseException:
            log.exception("a thread failed, so its requests cannot be answered")
        exit_process(1)

    def _take_turn(self, *, main: bool = False) -> None:
        """Run the next pending group; receive until there is one."""
        if (work := self._next()) is None:
            with self._receiving:
                while (work := self._next()) is None:
                    self._receive()
        several = self._several_useful()
        if main and several:
            self._wake_others()
        self._run(work, 1 if main and not several else self._model.concurrency)

    def _several_useful(self) -> bool:
        """Whether another thread should receive while one computes.

        Waking a thread, and sharing Python's lock with it, takes as long as running a small model;
        and a single client sends nothing before it has its reply. Only the main thread ever
        computes on all cores: if several threads have, each with its own OpenMP threads, OpenMP
        puts those to sleep at once.
        """
        if not self._others or self._model.out_of_process:
            return bool(self._others)
        recently = time.monotonic() - self._daemon_asked < RECENT_SECONDS
        return (len(self._clients) > 1 or recently) and self._seconds > SEVERAL_THREADS_SECONDS

    def _wake_others(self) -> None:
        with self._counting:
            missing, self._woken = self._others - self._woken, self._others
        for _ in range(missing):
            self._wake_ups.put(None)

    def _next(self) -> RequestGroup | None:
        """The next pending group; None if there is none, or all threads that may compute do."""
        if not self._pending:
            return None
        slow_to_decode = self._model.decode_seconds > DECODE_AHEAD_SECONDS
        if slow_to_decode and self._model.concurrency == 1:
            self._decode_ahead()
        with self._counting:
            if not self._pending or self._active == self._model.concurrency:
                return None
            self._active += 1
            return self._pending.popleft()

    # Receiving

    def _receive(self) -> None:
        """Wait for messages."""
        if self._clients or self._active:
            self._receive_from(self._wait())
        else:
            self._handle(*self._channel.receive())

    def _wait(self) -> list[int]:
        # Busy-polling would take Python's lock from threads that compute.
        events = None if self._active else self._busy_polling.poll(lambda: self._poll.poll(0))
        events = events or self._poll.poll()
        self._busy_polling.end()
        return [descriptor for descriptor, _ in events]

    def _receive_from(self, ready: Sequence[int]) -> None:
        """Receive a message from each ready connection, and from others for a batch."""
        received = self._take_from(ready)
        if received and self._model.batch_delay:
            self._wait_for_batch(received)
        self._pending.extend(of_clients(received, self._model.batch_size))

    def _wait_for_batch(self, received: list[tuple[DirectClient, WorkerRequest]]) -> None:
        """Add requests of other clients, until a batch is full or the batch delay is over."""
        until = time.monotonic() + self._model.batch_delay
        while len(received) < min(self._model.batch_size, len(self._clients)):
            left = until - time.monotonic()
            # epoll itself cannot wait for less than a millisecond.
            if left <= 0 or not select.select([self._poll.fileno()], [], [], left)[0]:
                return
            received += self._take_from([descriptor for descriptor, _ in self._poll.poll(0)])

    def _take_from(self, ready: Sequence[int]) -> list[tuple[DirectClient, WorkerRequest]]:
        """Handle a message of the daemon, if any; returns the requests of direct clients."""
        if self._channel.fileno() in ready and (message := self._channel.try_receive()):
            self._handle(*message)
        return self._clients.receive(ready)

    def _handle(self, message: ToWorker, frames: tuple[Buffer, ...]) -> None:
        """Handle a message of the daemon."""
        match message:
            case RunModel():
                self._daemon_asked = time.monotonic()
                self._wanted.add(message.request)
                self._pending.append(RequestGroup((WorkerRequest(message, frames),)))
            case StopRun():
                self._wanted.discard(message.request)
            case RunBatch():
                self._daemon_asked = time.monotonic()
                self._wanted.update(run.request for run in message.runs)
                self._pending.append(of_daemon(message, frames))
            case Sleep() | Wake() | FreeDram():
                if isinstance(message, Sleep):
                    self._drop_clients()
                reply = self._model.change_tier(message)
                with self._sending:
                    self._channel.send(reply)
            case Ping():
                with self._sending:
                    self._channel.send(Pong())
            case TakeCounters():
                self._shared_counters = SharedCounters(self._channel.take_descriptor())
            case TakeConnection():
                self._clients.take(DirectClient(message, self._channel.take_descriptor()))

    def _decode_ahead(self) -> None:
        """Have the group after the next one decoded while the next one runs."""
        if len(self._pending) == 1:
            self._receive_from([descriptor for descriptor, _ in self._poll.poll(0)])
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="decode-ahead")
        for turn in self._pending[1].turns if len(self._pending) > 1 else ():
            if turn.decoded is None:
                turn.decoded = self._ahead.submit(self._model.decode, turn)

    # Running

    def _run(self, work: RequestGroup, among: int) -> None:
        """Run a group on one of ``among`` equal shares of the cores."""
        self._model.share_cores(among)
        began = time.perf_counter()
        try:
            self._answer(work)
            if (found := self._model.finding()) is not None:
                with self._sending:
                    self._channel.send(found)
        finally:
            seconds = (time.perf_counter() - began) / among
            with self._counting:
                self._seconds += _SMOOTHING * (seconds - self._seconds)
                self._active -= 1
                if not self._active:
                    self._idle.notify_all()

    def _answer(self, work: RequestGroup) -> None:
        with running(partial(self._is_wanted, work)):
            if work.clients:
                self._serve(work)
            elif not self._any_wanted(work):
                self._reject(work)
            elif work.turns[0].run.stream:
                self._stream(work)
            else:
                for place, reply in self._replies(work):
                    run = work.turns[place].run
                    self._wanted.discard(run.request)
                    self._send_reply(run, reply)

    def _send_reply(self, run: RunModel, reply: Reply) -> None:
        """Send a reply to the daemon, or the error of a reply that cannot be sent."""
        with self._sending:
            try:
                self._channel.send(*reply)
            except SireError as error:
                failure = WorkerError(run.request, error.code, error.message, error.hint)
                self._channel.send(failure)

    def _stream(self, work: RequestGroup) -> None:
        """Send a streamed output to the daemon."""
        (turn,) = work.turns
        for message, frames in self._model.stream(turn, partial(self._is_wanted, work)):
            with self._sending:
                self._channel.send(message, frames)
        self._wanted.discard(turn.run.request)

    def _is_wanted(self, work: RequestGroup) -> bool:
        """Whether any answer to a group that is running is still wanted."""
        if work.clients:
            return any(client.connected() for client in work.clients)
        if self._receiving.acquire(blocking=False):  # no other thread receives
            try:
                while message := self._channel.try_receive():
                    self._handle(*message)
            finally:
                self._receiving.release()
        return self._any_wanted(work)

    def _any_wanted(self, work: RequestGroup) -> bool:
        return any(turn.run.request in self._wanted for turn in work.turns)

    def _reject(self, work: RequestGroup) -> None:
        """Answer requests that were cancelled before they ran."""
        for turn in work.turns:
            request = turn.run.request
            failure = WorkerError(request, Cancelled.code, "The request was cancelled.")
            self._send_reply(turn.run, (failure, ()))

    def _serve(self, work: RequestGroup) -> None:
        """Reply to direct clients, and count their requests for the daemon."""
        assert self._shared_counters is not None
        counters, left = self._shared_counters, len(work.turns)
        running = [client.number for client in work.clients]
        with self._counting:
            counters.begin(running)
        for place, (message, frames) in self._replies(work):
            left -= 1
            with self._counting:
                self._count(counters, work.turns[place], message, size_of(frames))
                if left:
                    counters.publish()
                else:  # before the last reply, so that the client finds no request in progress
                    peak = message.peak_memory_bytes or self._model.peak()
                    counters.end(running, time.monotonic(), peak)
            self._clients.reply(work.clients[place], message, frames)

    def _replies(self, work: RequestGroup) -> Iterable[tuple[int, Reply]]:
        if len(work.turns) == 1:
            return ((0, self._model.answer(work.turns[0])),)
        return self._model.answer_together(work.turns)

    def _count(
        self,
        counters: SharedCounters,
        turn: WorkerRequest,
        message: RunResult | WorkerError,
        given: int,
    ) -> None:
        if isinstance(message, RunResult):
            seconds = message.compute_seconds
            counters.answer(_latency(turn, seconds), seconds, turn.size, given)
        elif not message.out_of_memory:  # such requests are sent to the daemon again
            latency = _latency(turn, 0.0)
            counters.answer(latency, 0.0, turn.size)
            if message.code != Cancelled.code:
                with self._sending:
                    self._channel.send(DirectFailed(message.code, message.message, latency))

    def _drop_clients(self) -> None:
        """Disconnect direct clients; the daemon decides when the model is woken for them."""
        self._clients.drop_all()
        with self._counting:
            self._pending = deque(work for work in self._pending if not work.clients)
            self._idle.wait_for(lambda: not self._active)


def _latency(turn: WorkerRequest, least: float) -> float:
    """Seconds since the client sent a request; ``least`` if its timestamp is not plausible."""
    seconds = time.monotonic() - turn.run.sent
    return seconds if least <= seconds < LONGEST_LATENCY else least
