"""Clients that vanish, crowd, flood or do not listen take nothing from the others."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from sire.client.connection import Connection
from sire.protocol.framing import encode
from sire.protocol.requests import Predict
from tests.faults.conftest import House, new_house, predict
from tests.waiting import wait_until

FLOOD = """
import sys, zmq
from sire.protocol.framing import encode
from sire.protocol.requests import Health, Predict

place, kind, reads = sys.argv[1:]
socket = zmq.Context().socket(zmq.DEALER)
socket.set(zmq.LINGER, 0)
socket.connect("ipc://" + place)
number = 0
while True:
    number += 1
    if kind == "predict":
        frames = [encode(Predict(id=number, model="m")), b'{"x": 1}']
    elif kind == "health":
        frames = [encode(Health(id=number))]
    else:
        frames = [b"rubbish" * 10]
    socket.send_multipart([b"", *frames])
    while reads == "reads" and socket.poll(0):
        socket.recv_multipart()
    if number == 1:
        print("flooding", flush=True)
"""


SAY = """
import zmq
from sire.protocol.framing import encode
from sire.protocol.requests import Predict

context, answered = zmq.Context(), 0
for number in range(1000):
    socket = context.socket(zmq.REQ)
    socket.connect("ipc://{place}")
    socket.send_multipart([encode(Predict(id=number, model="m")), b'{{"x": 1}}'])
    answered += socket.poll(90000) and socket.recv_multipart()[1] == b'{{"x":1}}'
    socket.close()
print(answered, "answered")
"""


@pytest.fixture(scope="module")
def busy() -> Iterator[House]:
    house = new_house()
    for name in ("m", "other"):
        house.register_faulty(name)
        house.predict(name)
    wait_until(lambda: house.json("health")["status"] == "ok")
    yield house
    house.end()


@pytest.fixture
def flood(busy: House) -> Iterator[Callable[..., Any]]:
    """Starts clients that ask without end, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: str, reads: str = "reads") -> subprocess.Popen[bytes]:
        place = str(busy.paths.socket)
        process = subprocess.Popen(
            [sys.executable, "-c", FLOOD, place, kind, reads],
            stdout=subprocess.PIPE,
            env=busy.environment,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"flooding\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def seconds(connection: Connection, model: str, count: int) -> list[float]:
    """Seconds that each of ``count`` requests took; all of them are answered."""
    taken = []
    for number in range(count):
        began = time.perf_counter()
        assert predict(connection, model, x=number) == {"x": number}
        taken.append(time.perf_counter() - began)
    return taken


@pytest.mark.parametrize(
    ("kind", "reads"),
    [("predict", "reads"), ("predict", "never"), ("health", "never"), ("rubbish", "never")],
)
def test_who_floods_the_daemon_slows_another_by_no_more_than_its_share(
    busy: House, flood: Callable[..., Any], kind: str, reads: str
) -> None:
    with busy.connect() as connection:
        alone = statistics.median(seconds(connection, "other", 30))
        memory = busy.daemon().memory_info().rss
        flood(kind, reads)
        # Some machines have two processors for all: the flood, the daemon, its workers, ourselves,
        # and other programs for a while. The flood goes on for as long as we do.
        wait_until(
            lambda: statistics.median(seconds(connection, "other", 15)) < max(10 * alone, 1.0)
        )
        assert busy.daemon().memory_info().rss - memory < 200 << 20


def test_thousands_of_connections_that_say_nothing_are_no_burden(busy: House) -> None:
    with contextlib.ExitStack() as stack, busy.connect() as connection:
        alone = statistics.median(seconds(connection, "other", 30))
        for _ in range(2000):
            line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            line.connect(str(busy.paths.socket))
        wait_until(lambda: descriptors(busy) > 2000)
        wait_until(
            lambda: statistics.median(seconds(connection, "other", 30)) < max(10 * alone, 1.0)
        )
        assert busy.predict("other", x=1) == {"x": 1}  # and there is room for one more
    wait_until(lambda: descriptors(busy) < 200)


def test_a_thousand_clients_that_come_and_go_are_all_answered_and_forgotten(busy: House) -> None:
    asking = SAY.format(place=busy.paths.socket)
    said = subprocess.run([sys.executable, "-c", asking], env=busy.environment, capture_output=True)
    assert said.stdout == b"1000 answered\n", said.stderr
    wait_until(lambda: descriptors(busy) < 200)


def test_clients_that_leave_in_the_middle_of_a_request_leave_nothing_behind(busy: House) -> None:
    context = zmq.Context()
    for _ in range(100):
        client = context.socket(zmq.DEALER)
        client.set(zmq.LINGER, 50)
        client.connect(f"ipc://{busy.paths.socket}")
        frames = [encode(Predict(id=1, model="m")), b'{"do": "sleep", "seconds": 0.01}']
        client.send_multipart([b"", *frames])
        client.close()
    context.term()
    assert busy.predict("other", x=1) == {"x": 1}
    assert busy.predict("m", x=1) == {"x": 1}
    wait_until(lambda: busy.json("health")["queued"] == 0)
    wait_until(lambda: descriptors(busy) < 200)


def descriptors(house: House) -> int:
    return len(os.listdir(f"/proc/{house.pid()}/fd"))
