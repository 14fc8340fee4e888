"""A worker's turns: what is next is decoded while the model runs, where that takes long."""

import socket
import threading
from typing import Any

import pytest

from sire.protocol.runs import RunModel, RunResult
from sire.transport.channel import Channel
from sired.workers.child.requests import WorkerRequest
from sired.workers.child.service import Service
from sired.workers.messages import FromWorker, ToWorker

PATIENCE_SECONDS = 20


class Waiting:
    """Stands in for a model that is done with a request only when the next has been decoded."""

    batch_size = 1
    concurrency = 1
    out_of_process = False
    batch_delay = 0.0

    def __init__(self, decode_seconds: float, last: int) -> None:
        self.decode_seconds = decode_seconds
        self.together: list[bool] = []
        self._last = last
        self._decoded = {number: threading.Event() for number in range(last + 1)}

    def share_cores(self, among: int) -> None:
        pass

    def finding(self) -> None:
        pass

    def decode(self, turn: WorkerRequest) -> None:
        self._decoded[turn.run.request].set()

    def answer(self, turn: WorkerRequest) -> tuple[RunResult, tuple[()]]:
        number = turn.run.request
        if turn.decoded is None:
            self.decode(turn)
        if self.decode_seconds and number < self._last:
            self.together.append(self._decoded[number + 1].wait(PATIENCE_SECONDS))
        elif number < self._last:
            self.together.append(self._decoded[number + 1].is_set())
        return RunResult(number, "text/plain", (), 0.0, 0), ()


def serve(model: Any, requests: int) -> list[Any]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon: Channel[FromWorker] = Channel(ours, FromWorker)
    for number in range(requests):
        daemon.send(RunModel(number, "text/plain", (), "text/plain"), [b"x"])
    service = Service(Channel(theirs, ToWorker), model)
    serving = threading.Thread(target=lambda: pytest.raises(EOFError, service.run))  # noqa: RUF061
    serving.start()
    answers = [daemon.receive()[0] for _ in range(requests)]
    daemon.close()
    serving.join()
    return answers


def test_where_decoding_takes_long_the_next_is_decoded_while_the_model_runs() -> None:
    model = Waiting(decode_seconds=0.1, last=3)
    answers = serve(model, 4)
    assert [answer.request for answer in answers] == [0, 1, 2, 3]
    assert model.together == [True, True, True]


def test_where_it_takes_no_time_each_is_decoded_in_its_turn() -> None:
    model = Waiting(decode_seconds=0.0, last=3)
    assert len(serve(model, 4)) == 4
    assert model.together == [False, False, False]
