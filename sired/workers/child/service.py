"""Whom a worker listens to: the daemon, and clients with a direct connection, in turns."""

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NoReturn

from sire.errors import SireError
from sire.protocol.content import Buffer, size_of
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.transport.busy_polling import BusyPolling
from sire.transport.channel import Channel
from sired.workers.child.clients import Clients, DirectClient
from sired.workers.child.served_model import Reply, ServedModel, WorkerRequest
from sired.workers.child.setup import leave
from sired.workers.child.work import RequestGroup, of_clients, of_daemon
from sired.workers.messages import (
    DirectFailed,
    FreeDram,
    Ping,
    Pong,
    RunBatch,
    Sleep,
    StopStream,
    TakeConnection,
    TakeCounters,
    ToWorker,
    Wake,
)
from sired.workers.shared_counters import SharedCounters

log = logging.getLogger("sired.worker")

# A client's turn-around between an answer and its next request, and as much again.
SHORT_WAIT_SECONDS = 1e-3
# Decoding that takes less is done sooner than handed to another thread.
WORTH_A_THREAD_SECONDS = 1e-3
# While a model takes less nobody else listens.
WORTH_LISTENING_SECONDS = 300e-6
# After so long without a request of the daemon's, none is expected at any moment.
RECENT_SECONDS = 1.0
# How much one measurement counts against all earlier ones.
_NEWS = 0.2
# Seconds; nobody has waited longer.
LONGEST_LATENCY = 1e6


class Service:
    """Answers everybody.

    As long as there is only the daemon, its channel is waited for. Then all of them are watched,
    and each is served one request a round: nobody waits for more than one of every other.

    A model that takes several requests at the same time is asked by as many threads. One of them
    listens; once it has something to do the next one listens, unless it is done as soon as that.
    The frameworks let go of Python's lock while they compute, each thread on its part of the cores:
    that is more answers a second than one after the other on all cores, and each takes longer.

    Where decoding takes long, what is next is decoded by a thread while the model runs.
    """

    def __init__(self, channel: Channel[ToWorker], model: ServedModel) -> None:
        self._channel = channel
        self._model = model
        self._at_hand: deque[RequestGroup] = deque()
        self._ahead: ThreadPoolExecutor | None = None
        # Answers wanted in parts, until they are done or nobody wants the rest.
        self._streams: set[int] = set()
        self._shared_counters: SharedCounters | None = None
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._clients = Clients(self._poll)
        self._busy_polling = BusyPolling(SHORT_WAIT_SECONDS)
        # Threads beside the main one. Where they do nothing but wait, there is one more to listen:
        # to who wants no more of an answer, for instance.
        self._others = 0 if model.concurrency == 1 else model.concurrency - 1 + model.out_of_process
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._called = self._at_work = 0
        # What a work takes lately that has all cores.
        self._seconds = 0.0
        self._daemon_asked = 0.0
        self._listening = threading.RLock()
        # Held for what several threads count, and for what they say to the daemon.
        self._counting, self._sending = threading.Lock(), threading.Lock()
        self._rest = threading.Condition(self._counting)

    def run(self) -> NoReturn:
        """Answer until the daemon closes its line.

        Raises:
            EOFError: it has.
        """
        for number in range(self._others):
            name = f"answer-{number}"
            threading.Thread(target=self._answer_beside, name=name, daemon=True).start()
        while True:
            self._take_turn(main=True)

    def _answer_beside(self) -> NoReturn:
        """The same in another thread, while there is enough for several to do."""
        try:
            while True:
                self._calls.get()
                while self._enough_for_several():
                    self._take_turn()
                with self._counting:
                    self._called -= 1
        except (EOFError, ConnectionError):  # the daemon is gone
            leave()
        except BaseException:
            log.exception("a thread failed; what it was at cannot be answered")
        leave(1)

    def _take_turn(self, *, main: bool = False) -> None:
        """Do what is at hand, or else listen until something is, and do that."""
        if (work := self._next()) is None:
            with self._listening:
                while (work := self._next()) is None:
                    self._listen()
        several = self._enough_for_several()
        if main and several:
            self._call_others()
        self._do(work, 1 if main and not several else self._model.concurrency)

    def _enough_for_several(self) -> bool:
        """Whether another thread is to listen while one is at work.

        To wake one, and to take turns with it for Python's lock, takes as long as a small model;
        and a single client asks for nothing before it has its answer. Only the main thread ever has
        all cores: where several have had them, each with threads of its own, OpenMP lets those fall
        asleep at once.
        """
        if not self._others or self._model.out_of_process:
            return bool(self._others)
        recently = time.monotonic() - self._daemon_asked < RECENT_SECONDS
        return (len(self._clients) > 1 or recently) and self._seconds > WORTH_LISTENING_SECONDS

    def _call_others(self) -> None:
        with self._counting:
            missing, self._called = self._others - self._called, self._others
        for _ in range(missing):
            self._calls.put(None)

    def _next(self) -> RequestGroup | None:
        """What is to be done next; None if nothing is, or as many are at work as may be."""
        if not self._at_hand:
            return None
        slow_to_decode = self._model.decode_seconds > WORTH_A_THREAD_SECONDS
        if slow_to_decode and self._model.concurrency == 1:
            self._decode_ahead()
        with self._counting:
            if not self._at_hand or self._at_work == self._model.concurrency:
                return None
            self._at_work += 1
            return self._at_hand.popleft()

    # What is to be done

    def _listen(self) -> None:
        """Wait for somebody to say something."""
        if self._clients or self._at_work:
            self._hear_from(self._wait())
        else:
            self._hear(*self._channel.receive())

    def _wait(self) -> list[int]:
        # While others are at work they need what staying awake would take: Python's lock.
        events = None if self._at_work else self._busy_polling.poll(lambda: self._poll.poll(0))
        events = events or self._poll.poll()
        self._busy_polling.end()
        return [descriptor for descriptor, _ in events]

    def _hear_from(self, ready: Sequence[int]) -> None:
        """Take a message of each of these, and of others that may run with them."""
        asking = self._take_from(ready)
        if asking and self._model.batch_delay:
            self._wait_for_others(asking)
        self._at_hand.extend(of_clients(asking, self._model.batch_size))

    def _wait_for_others(self, asking: list[tuple[DirectClient, WorkerRequest]]) -> None:
        """Add what others ask, until they fill a batch or these have waited long enough."""
        until = time.monotonic() + self._model.batch_delay
        while len(asking) < min(self._model.batch_size, len(self._clients)):
            left = until - time.monotonic()
            # Of an epoll object itself one cannot wait for less than a millisecond.
            if left <= 0 or not select.select([self._poll.fileno()], [], [], left)[0]:
                return
            asking += self._take_from([descriptor for descriptor, _ in self._poll.poll(0)])

    def _take_from(self, ready: Sequence[int]) -> list[tuple[DirectClient, WorkerRequest]]:
        """Hear the daemon if it is among these; returns what the others ask."""
        if self._channel.fileno() in ready and (message := self._channel.try_receive()):
            self._hear(*message)
        return self._clients.asking(ready)

    def _hear(self, message: ToWorker, frames: tuple[Buffer, ...]) -> None:
        """Take a message of the daemon."""
        match message:
            case RunModel():
                self._daemon_asked = time.monotonic()
                if message.stream:
                    self._streams.add(message.request)
                self._at_hand.append(RequestGroup((WorkerRequest(message, frames),)))
            case StopStream():
                self._streams.discard(message.request)
            case RunBatch():
                self._daemon_asked = time.monotonic()
                self._at_hand.append(of_daemon(message, frames))
            case Sleep() | Wake() | FreeDram():
                if isinstance(message, Sleep):
                    self._dismiss()
                said = self._model.change_tier(message)
                with self._sending:
                    self._channel.send(said)
            case Ping():
                with self._sending:
                    self._channel.send(Pong())
            case TakeCounters():
                self._shared_counters = SharedCounters(self._channel.take_descriptor())
            case TakeConnection():
                self._clients.take(DirectClient(message, self._channel.take_descriptor()))

    def _decode_ahead(self) -> None:
        """Have what comes after the next decoded while that is done."""
        if len(self._at_hand) == 1:
            self._hear_from([descriptor for descriptor, _ in self._poll.poll(0)])
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="decode-ahead")
        for turn in self._at_hand[1].turns if len(self._at_hand) > 1 else ():
            if turn.decoded is None:
                turn.decoded = self._ahead.submit(self._model.decode, turn)

    # Doing it

    def _do(self, work: RequestGroup, among: int) -> None:
        """Do it, on one of so many parts of the cores."""
        self._model.share_cores(among)
        began = time.perf_counter()
        try:
            self._answer(work)
        finally:
            seconds = (time.perf_counter() - began) / among
            with self._counting:
                self._seconds += _NEWS * (seconds - self._seconds)
                self._at_work -= 1
                if not self._at_work:
                    self._rest.notify_all()

    def _answer(self, work: RequestGroup) -> None:
        if work.clients:
            self._serve(work)
        elif work.turns[0].run.stream:
            self._stream(work.turns[0])
        else:
            for place, reply in self._replies(work):
                self._tell(work.turns[place].run, reply)

    def _tell(self, run: RunModel, reply: Reply) -> None:
        """Tell the daemon an answer, or that it cannot be told."""
        with self._sending:
            try:
                self._channel.send(*reply)
            except SireError as error:
                said = WorkerError(run.request, error.code, error.message, error.hint)
                self._channel.send(said)

    def _stream(self, turn: WorkerRequest) -> None:
        """Answer the daemon in parts."""
        request = turn.run.request
        for message, frames in self._model.stream(turn, lambda: self._goes_on(request)):
            with self._sending:
                self._channel.send(message, frames)
        self._streams.discard(request)

    def _goes_on(self, request: int) -> bool:
        """Whether the rest of an answer in parts is wanted."""
        if self._listening.acquire(blocking=False):  # nobody else listens meanwhile
            try:
                while message := self._channel.try_receive():
                    self._hear(*message)
            finally:
                self._listening.release()
        return request in self._streams

    def _serve(self, work: RequestGroup) -> None:
        """Answer clients that asked themselves, and count it for the daemon."""
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
                    counters.tell()
                else:  # who has the last answer finds nobody at work for him any more
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
        elif not message.out_of_memory:  # of that the daemon will hear: it is asked again
            counters.answer(_latency(turn, 0.0), 0.0, turn.size)
            with self._sending:
                self._channel.send(DirectFailed(message.code, message.message))

    def _dismiss(self) -> None:
        """Have every client ask the daemon, which decides when the model is to be woken."""
        self._clients.drop_all()
        with self._counting:
            self._at_hand = deque(work for work in self._at_hand if not work.clients)
            self._rest.wait_for(lambda: not self._at_work)


def _latency(turn: WorkerRequest, least: float) -> float:
    """Seconds since the client sent a request, as far as what it says can be true."""
    seconds = time.monotonic() - turn.run.sent
    return seconds if least <= seconds < LONGEST_LATENCY else least
