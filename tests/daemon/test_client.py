"""The blocking client, against a daemon that is only a lock and a socket."""

import fcntl
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable, DeadlineExceeded, ModelNotFound
from sire.paths import Paths, find_paths, private_directory
from sire.protocol.framing import decode_request, encode, failure
from sire.protocol.replies import Done, Prediction, Reply
from sire.protocol.requests import Cancel, Health, Predict, Request, Show
from tests.waiting import wait_until


class StandIn(threading.Thread):
    """Holds the lock and replies to some requests.

    Health is done, Show finds nothing, Predict echoes; the model "slow" never answers.
    """

    def __init__(self, paths: Paths) -> None:
        super().__init__(daemon=True)
        self.paths = paths
        self.requests: list[Request] = []
        private_directory(paths.runtime)
        self.lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(f"ipc://{paths.socket}")
        self.arrived = threading.Event()
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopping.is_set():
            if self.socket.poll(10):
                self._answer(*self.socket.recv_multipart())
        self.socket.close(linger=0)
        self.context.term()
        os.close(self.lock)

    def _answer(self, peer: bytes, empty: bytes, header: bytes, *payload: bytes) -> None:
        request = decode_request(header)
        self.requests.append(request)
        self.arrived.set()
        reply: Reply
        match request:
            case Health() | Cancel():
                reply, payload = Done(id=request.id), ()
            case Show(name=name):
                reply, payload = failure(ModelNotFound(f"No {name}.", hint="Look."), request.id), ()
            case Predict(model="slow"):
                return
            case Predict():
                reply = Prediction(id=request.id, content_type=request.content_type)
        self.socket.send_multipart([peer, empty, encode(reply), *payload])

    def stop(self) -> None:
        self.stopping.set()
        self.join()


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="sire-") as home:
        yield find_paths({"SIRE_HOME": home})


@pytest.fixture
def daemon(paths: Paths) -> Iterator[StandIn]:
    stand_in = StandIn(paths)
    yield stand_in
    if stand_in.is_alive():
        stand_in.stop()


@pytest.fixture
def connection(paths: Paths) -> Iterator[Connection]:
    with Connection(paths, autostart=False) as connection:
        yield connection


def test_a_request_is_answered(daemon: StandIn, connection: Connection) -> None:
    assert connection.expect(Done, Health()).id == 1


def test_payload_frames_come_back_as_they_went(daemon: StandIn, connection: Connection) -> None:
    frames = [b"small", b"", b"x" * 1_000_000]
    reply, answer = connection.ask(Predict(model="echo", content_type="text/plain"), frames)
    assert isinstance(reply, Prediction)
    assert reply.content_type == "text/plain"
    assert [bytes(frame) for frame in answer] == frames


def test_a_failure_is_raised_as_the_typed_error_with_its_hint(
    daemon: StandIn, connection: Connection
) -> None:
    with pytest.raises(ModelNotFound, match="No resnet") as caught:
        connection.ask(Show(name="resnet"))
    assert caught.value.hint == "Look."


def test_without_a_daemon_and_without_autostart_the_error_says_how_to_start_one(
    connection: Connection,
) -> None:
    with pytest.raises(DaemonUnavailable) as caught:
        connection.ask(Health())
    assert "sire daemon start" in caught.value.hint


def test_the_environment_can_forbid_autostart(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIRE_NO_AUTOSTART", "1")
    with Connection(paths) as connection, pytest.raises(DaemonUnavailable):
        connection.ask(Health())


def test_a_socket_left_behind_by_a_dead_daemon_does_not_count_as_a_daemon(
    daemon: StandIn, paths: Paths
) -> None:
    daemon.stop()
    paths.socket.touch()
    assert not daemon_runs(paths)


def test_the_lock_tells_whether_a_daemon_runs(daemon: StandIn, paths: Paths) -> None:
    assert daemon_runs(paths)
    daemon.stop()
    assert not daemon_runs(paths)


def test_a_daemon_that_dies_while_we_wait_is_noticed_at_once(
    daemon: StandIn, connection: Connection
) -> None:
    def stop_when_asked() -> None:
        daemon.arrived.wait()
        daemon.stop()

    threading.Thread(target=stop_when_asked).start()
    began = time.monotonic()
    with pytest.raises(DaemonUnavailable, match="went away"):
        connection.ask(Predict(model="slow"))
    assert time.monotonic() - began < 30


def test_the_next_request_goes_to_the_daemon_that_came_after(
    daemon: StandIn, paths: Paths, connection: Connection
) -> None:
    connection.ask(Health())
    daemon.stop()
    with pytest.raises(DaemonUnavailable):
        connection.ask(Health())
    successor = StandIn(paths)
    try:
        connection.ask(Health())
        assert len(successor.requests) == 1
    finally:
        successor.stop()


def test_a_timeout_withdraws_the_request_and_its_late_answer_confuses_nobody(
    daemon: StandIn, connection: Connection
) -> None:
    connection.expect(Done, Health())  # connecting may take longer than the request waits
    with pytest.raises(DeadlineExceeded):
        connection.ask(Predict(model="slow"), timeout=0.05)
    wait_until(lambda: len(daemon.requests) == 3)
    _, slow, cancel = daemon.requests
    assert cancel == Cancel(id=3, request=slow.id)
    assert connection.expect(Done, Health()).id == 4


def test_an_interrupt_withdraws_the_request(daemon: StandIn, connection: Connection) -> None:
    def interrupt_when_asked() -> None:
        daemon.arrived.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_when_asked).start()
    with pytest.raises(KeyboardInterrupt):
        connection.ask(Predict(model="slow"))
    wait_until(lambda: isinstance(daemon.requests[-1], Cancel))


def test_a_socket_path_that_is_too_long_is_said_so(tmp_path: Path) -> None:
    long = find_paths({"SIRE_HOME": str(tmp_path / ("x" * 120))})
    with Connection(long) as connection, pytest.raises(DaemonUnavailable, match="107"):
        connection.ask(Health())
