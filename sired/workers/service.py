"""Whom a worker listens to: the daemon, and clients with a direct connection, in turns."""

import select
import socket
import time
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from sired.errors import SireError
from sired.protocol.content import Buffer
from sired.protocol.runs import RunModel, RunResult
from sired.transport.channel import Channel
from sired.transport.wakefulness import Wakefulness
from sired.workers.messages import (
    DirectFailed,
    FreeDram,
    RunBatch,
    Sleep,
    TakeConnection,
    TakeTally,
    ToWorker,
    Wake,
)
from sired.workers.model import Reply, ServedModel, Turn
from sired.workers.tally import Tally

# A client's turn-around between an answer and its next request, and as much again.
SHORT_WAIT_SECONDS = 1e-3
# Seconds; nobody has waited longer.
LONGEST_LATENCY = 1e6


class Direct:
    """A client that asks this worker itself."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.channel: Channel[RunModel] = Channel(socket.socket(fileno=descriptor), RunModel)


class Service:
    """Answers everybody.

    As long as there is only the daemon, its channel is waited for. Then all of them are watched,
    and each is served one request a round: nobody waits for more than one of every other.
    """

    def __init__(self, channel: Channel[ToWorker], model: ServedModel) -> None:
        self._channel = channel
        self._model = model
        self._direct: dict[int, Direct] = {}
        self._tally: Tally | None = None
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._wakefulness = Wakefulness(SHORT_WAIT_SECONDS)

    def run(self) -> NoReturn:
        """Answer until the daemon closes its line.

        Raises:
            EOFError: it has.
        """
        while True:
            if self._direct:
                self._round()
            else:
                self._hear(*self._channel.receive())

    # The daemon

    def _hear(self, message: ToWorker, frames: tuple[Buffer, ...]) -> None:
        match message:
            case RunModel():
                self._channel.send(*self._model.answer(Turn(message, frames)))
            case RunBatch():
                for _, reply in self._model.answer_together(_turns(message, frames)):
                    self._channel.send(*reply)
            case Sleep() | Wake() | FreeDram():
                if isinstance(message, Sleep):  # the daemon decides when it is woken
                    for direct in list(self._direct.values()):
                        self._drop(direct)
                self._channel.send(self._model.change_tier(message))
            case TakeTally():
                self._tally = Tally(self._channel.take_descriptor())
            case TakeConnection():
                self._take(Direct(message.connection, self._channel.take_descriptor()))

    # Direct connections

    def _take(self, direct: Direct) -> None:
        self._direct[direct.channel.fileno()] = direct
        self._poll.register(direct.channel.fileno(), select.EPOLLIN)

    def _drop(self, direct: Direct) -> None:
        descriptor = direct.channel.fileno()
        if self._direct.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            direct.channel.hang_up()

    def _round(self) -> None:
        ready = self._wait()
        if self._channel.fileno() in ready and (message := self._channel.try_receive()):
            self._hear(*message)
        readable = [self._direct[one] for one in ready if one in self._direct]
        for first in range(0, len(readable), self._model.batch_size):
            self._serve(readable[first : first + self._model.batch_size])

    def _wait(self) -> list[int]:
        """Who has something to say."""
        until = self._wakefulness.begin()
        events: list[tuple[int, int]] = []
        while not events and time.perf_counter() < until:
            events = self._poll.poll(0)
        events = events or self._poll.poll()
        self._wakefulness.end()
        return [descriptor for descriptor, _ in events]

    def _serve(self, readable: Sequence[Direct]) -> None:
        """Answer a request of each of these."""
        asking = [(direct, turn) for direct in readable if (turn := self._receive(direct))]
        if not asking:
            return
        assert self._tally is not None
        self._tally.begin([direct.number for direct, _ in asking])
        if len(asking) == 1:
            self._reply(*asking[0], self._model.answer(asking[0][1]))
        else:
            for place, reply in self._model.answer_together([turn for _, turn in asking]):
                self._reply(*asking[place], reply)
        self._tally.end(time.monotonic(), self._model.peak())

    def _receive(self, direct: Direct) -> Turn | None:
        try:
            received = direct.channel.try_receive()
        except (EOFError, OSError, SireError):  # it left, or talks nonsense
            self._drop(direct)
            return None
        return Turn(*received) if received is not None else None

    def _reply(self, direct: Direct, turn: Turn, reply: Reply) -> None:
        message, frames = reply
        assert self._tally is not None
        if isinstance(message, RunResult):
            if direct.channel.held():
                message = msgspec.structs.replace(message, input_held=True)
            self._tally.answer(_latency(turn, message.compute_seconds), message.compute_seconds)
        elif not message.out_of_memory:  # of that the daemon will hear: it is asked again
            self._tally.answer(_latency(turn, 0.0), 0.0)
            self._channel.send(DirectFailed(message.code, message.message))
        try:
            sent = direct.channel.try_send(message, frames)
        except OSError:
            sent = False
        if not sent:  # it reads no answers: whatever it is, it is no client of ours
            self._drop(direct)


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
