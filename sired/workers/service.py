"""Whom a worker listens to: the daemon, and clients with a direct connection, in turns."""

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from sired.errors import SireError
from sired.protocol.content import Buffer, size_of
from sired.protocol.framing import LARGEST_HEADER
from sired.protocol.runs import RunModel, RunResult, WorkerError
from sired.transport.channel import Channel
from sired.transport.wakefulness import Wakefulness
from sired.workers.messages import (
    DirectFailed,
    FreeDram,
    Ping,
    Pong,
    RunBatch,
    Sleep,
    StopStream,
    TakeConnection,
    TakeTally,
    ToWorker,
    Wake,
)
from sired.workers.model import Reply, ServedModel, Turn
from sired.workers.tally import Tally

# A client's turn-around between an answer and its next request, and as much again.
SHORT_WAIT_SECONDS = 1e-3
# Decoding that takes less is done sooner than handed to another thread.
WORTH_A_THREAD_SECONDS = 1e-3
# Seconds; nobody has waited longer.
LONGEST_LATENCY = 1e6


class Direct:
    """A client that asks this worker itself."""

    def __init__(self, take: TakeConnection, descriptor: int) -> None:
        self.number = take.connection
        self.channel: Channel[RunModel] = Channel(
            socket.socket(fileno=descriptor),
            RunModel,
            steady=True,
            largest=take.largest_bytes + LARGEST_HEADER,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """Requests to run together, and the clients they are from; without, they are the daemon's."""

    turns: Sequence[Turn]
    clients: Sequence[Direct] = ()


class Service:
    """Answers everybody.

    As long as there is only the daemon, its channel is waited for. Then all of them are watched,
    and each is served one request a round: nobody waits for more than one of every other.

    A model that takes several requests at the same time is asked by as many threads.

    Where decoding takes long, what is next is decoded by a thread while the model runs.
    """

    def __init__(self, channel: Channel[ToWorker], model: ServedModel) -> None:
        self._channel = channel
        self._model = model
        self._at_hand: deque[Work] = deque()
        self._ahead: ThreadPoolExecutor | None = None
        self._direct: dict[int, Direct] = {}
        # Answers wanted in parts, until they are done or nobody wants the rest.
        self._streams: set[int] = set()
        self._tally: Tally | None = None
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._wakefulness = Wakefulness(SHORT_WAIT_SECONDS)
        self._sending = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        if model.concurrency > 1:  # then nobody connects directly
            self._threads = ThreadPoolExecutor(model.concurrency, thread_name_prefix="answer")

    def run(self) -> NoReturn:
        """Answer until the daemon closes its line.

        Raises:
            EOFError: it has.
        """
        while True:
            while not self._at_hand:
                self._listen()
            if self._model.decode_seconds > WORTH_A_THREAD_SECONDS:
                self._decode_ahead()
            if self._at_hand:
                self._do(self._at_hand.popleft())

    # What is to be done

    def _listen(self) -> None:
        """Wait for somebody to say something."""
        if self._direct:
            self._hear_from(self._wait())
        else:
            self._hear(*self._channel.receive())

    def _wait(self) -> list[int]:
        events = self._wakefulness.watch(lambda: self._poll.poll(0)) or self._poll.poll()
        self._wakefulness.end()
        return [descriptor for descriptor, _ in events]

    def _hear_from(self, ready: Sequence[int]) -> None:
        """Take a message of each of these, and of others that may run with them."""
        asking = self._take_from(ready)
        until = time.monotonic() + self._model.batch_delay
        while 0 < len(asking) < min(self._model.batch_size, len(self._direct)):
            left = until - time.monotonic()
            # Of an epoll object itself one cannot wait for less than a millisecond.
            if left <= 0 or not select.select([self._poll.fileno()], [], [], left)[0]:
                break
            asking += self._take_from([descriptor for descriptor, _ in self._poll.poll(0)])
        for first in range(0, len(asking), self._model.batch_size):
            clients, turns = zip(*asking[first : first + self._model.batch_size], strict=True)
            self._at_hand.append(Work(turns, clients))

    def _take_from(self, ready: Sequence[int]) -> list[tuple[Direct, Turn]]:
        """Hear the daemon if it is among these; returns what the others ask."""
        if self._channel.fileno() in ready and (message := self._channel.try_receive()):
            self._hear(*message)
        return [
            (direct, turn)
            for descriptor in ready
            if (direct := self._direct.get(descriptor)) and (turn := self._receive(direct))
        ]

    def _hear(self, message: ToWorker, frames: tuple[Buffer, ...]) -> None:
        """Take a message of the daemon."""
        match message:
            case RunModel():
                self._take_on(Turn(message, frames))
            case StopStream():
                self._streams.discard(message.request)
            case RunBatch():
                self._at_hand.append(Work(_turns(message, frames)))
            case Sleep() | Wake() | FreeDram():
                if isinstance(message, Sleep):
                    self._dismiss()
                self._channel.send(self._model.change_tier(message))
            case Ping():
                with self._sending:
                    self._channel.send(Pong())
            case TakeTally():
                self._tally = Tally(self._channel.take_descriptor())
            case TakeConnection():
                self._take(Direct(message, self._channel.take_descriptor()))

    def _take_on(self, turn: Turn) -> None:
        """Have a request of the daemon answered, by a thread or in its turn."""
        if turn.run.stream:
            self._streams.add(turn.run.request)
        if self._threads is not None:
            self._threads.submit(self._answer, turn)
        else:
            self._at_hand.append(Work((turn,)))

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

    def _do(self, work: Work) -> None:
        if work.clients:
            self._serve(work)
        elif work.turns[0].run.stream:
            self._stream(work.turns[0])
        else:
            for place, reply in self._replies(work):
                self._tell(work.turns[place].run, reply)

    def _answer(self, turn: Turn) -> None:
        """Answer the daemon from a thread."""
        if turn.run.stream:
            self._stream(turn)
            return
        self._tell(turn.run, self._model.answer(turn))

    def _tell(self, run: RunModel, reply: Reply) -> None:
        """Tell the daemon an answer, or that it cannot be told."""
        with self._sending:
            try:
                self._channel.send(*reply)
            except SireError as error:
                said = WorkerError(run.request, error.code, error.message, error.hint)
                self._channel.send(said)

    def _stream(self, turn: Turn) -> None:
        """Answer the daemon in parts."""
        request = turn.run.request
        for message, frames in self._model.stream(turn, lambda: self._goes_on(request)):
            with self._sending:
                self._channel.send(message, frames)
        self._streams.discard(request)

    def _goes_on(self, request: int) -> bool:
        """Whether the rest of an answer in parts is wanted."""
        if self._threads is None:  # nobody listens meanwhile
            while message := self._channel.try_receive():
                self._hear(*message)
        return request in self._streams

    def _serve(self, work: Work) -> None:
        """Answer clients that asked themselves, and count it for the daemon."""
        assert self._tally is not None
        tally, left = self._tally, len(work.turns)
        tally.begin([client.number for client in work.clients])
        for place, (message, frames) in self._replies(work):
            left -= 1
            self._count(tally, work.turns[place], message, size_of(frames))
            if left:
                tally.tell()
            else:  # who has the last answer finds nobody at work any more
                tally.end(time.monotonic(), message.peak_memory_bytes or self._model.peak())
            self._reply(work.clients[place], message, frames)

    def _replies(self, work: Work) -> Iterable[tuple[int, Reply]]:
        if len(work.turns) == 1:
            return ((0, self._model.answer(work.turns[0])),)
        return self._model.answer_together(work.turns)

    def _count(
        self, tally: Tally, turn: Turn, message: RunResult | WorkerError, given: int
    ) -> None:
        if isinstance(message, RunResult):
            seconds = message.compute_seconds
            tally.answer(_latency(turn, seconds), seconds, turn.size, given)
        elif not message.out_of_memory:  # of that the daemon will hear: it is asked again
            tally.answer(_latency(turn, 0.0), 0.0, turn.size)
            self._channel.send(DirectFailed(message.code, message.message))

    def _reply(
        self, direct: Direct, message: RunResult | WorkerError, frames: tuple[Buffer, ...]
    ) -> None:
        if isinstance(message, RunResult) and direct.channel.held():
            message = msgspec.structs.replace(message, input_held=True)
        try:
            sent = direct.channel.try_send(message, frames)
        except (OSError, SireError):
            sent = False
        if not sent:  # it reads no answers: whatever it is, it is no client of ours
            self._drop(direct)

    # Direct connections

    def _take(self, direct: Direct) -> None:
        self._direct[direct.channel.fileno()] = direct
        self._poll.register(direct.channel.fileno(), select.EPOLLIN)

    def _drop(self, direct: Direct) -> None:
        descriptor = direct.channel.fileno()
        if self._direct.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            direct.channel.hang_up()

    def _dismiss(self) -> None:
        """Have every client ask the daemon, which decides when the model is to be woken."""
        for direct in list(self._direct.values()):
            self._drop(direct)
        self._at_hand = deque(work for work in self._at_hand if not work.clients)

    def _receive(self, direct: Direct) -> Turn | None:
        try:
            received = direct.channel.try_receive()
        except (EOFError, OSError, SireError):  # it left, or talks nonsense
            self._drop(direct)
            return None
        if received is None:
            return None
        run, frames = received
        return Turn(run, frames, size=size_of(frames))


def _latency(turn: Turn, least: float) -> float:
    """Seconds since the client sent a request, as far as what it says can be true."""
    seconds = time.monotonic() - turn.run.sent
    return seconds if least <= seconds < LONGEST_LATENCY else least


def _turns(batch: RunBatch, frames: tuple[Buffer, ...]) -> list[Turn]:
    """The requests of a batch, each with its own frames."""
    turns, rest = [], frames
    for run, count in zip(batch.runs, batch.frames, strict=True):
        turns.append(Turn(run, rest[:count]))
        rest = rest[count:]
    return turns
