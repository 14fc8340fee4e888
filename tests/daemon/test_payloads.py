"""Large payloads stay in memory of the client, and no client can harm the daemon with them."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sire.client.aio.connection import AsyncConnection
from sire.client.connection import Connection
from sire.client.direct.connection import open_direct
from sire.client.link import Link
from sire.client.payloads import SMALLEST, PayloadSender
from sire.errors import InvalidInput, ProtocolError, error_from
from sire.protocol.direct import PayloadFollows
from sire.protocol.jobs import Submit, Submitted
from sire.protocol.message import PayloadReference
from sire.protocol.replies import Failure, Prediction
from sire.protocol.requests import Predict
from sire.transport import sealed, sealed_frames
from sire.transport.sealed_frames import SealedMemory
from tests.conftest import Gate
from tests.daemon.test_jobs import result, wait
from tests.daemon.test_queued_bytes import memory_of
from tests.home import Home
from tests.waiting import wait_until

LARGE = b"[5, 1, 1, 1]" + b" " * 4_000_000


@pytest.fixture
def link(home: Home, register: Callable[..., Any]) -> Iterator[Link]:
    register("m", 2, "Moody")
    home.sire("load", "m")
    with home.connect() as connection:
        link = connection.open_link()
        yield link
        link.close()


def passed_to(pid: int) -> int:
    """How many descriptors of payloads a process has."""
    directory = Path(f"/proc/{pid}/fd")
    targets = []
    for entry in directory.iterdir():
        try:
            targets.append(os.readlink(entry))
        except FileNotFoundError:  # closed meanwhile
            continue
    return sum(target.startswith("/memfd:") for target in targets)


def test_inputs_that_wait_lie_in_the_clients_memory_which_goes_with_their_answers(
    home: Home, link: Link, gate: Gate
) -> None:
    daemon = home.pid()
    before, kept = memory_of(daemon, "VmRSS"), passed_to(daemon)
    for number in range(8):
        assert link.send(Predict(id=number, model="m", timeout=60.0), [LARGE])
    wait_until(lambda: passed_to(daemon) >= kept + 8)
    assert memory_of(daemon, "VmRSS") < before + len(LARGE)
    gate.open()
    for number in range(8):
        assert not isinstance(link.receive(number, 60.0)[0], Failure)
    wait_until(lambda: passed_to(daemon) <= kept)


def test_a_client_for_event_loops_passes_them_as_well(home: Home, link: Link, gate: Gate) -> None:
    daemon = home.pid()
    before, kept = memory_of(daemon, "VmRSS"), passed_to(daemon)

    async def run() -> None:
        connection = AsyncConnection(home.paths)
        request = Predict(model="m", timeout=60.0)
        asked = [asyncio.ensure_future(connection.ask(request, [LARGE])) for _ in range(4)]
        await asyncio.to_thread(wait_until, lambda: passed_to(daemon) >= kept + 4)
        assert memory_of(daemon, "VmRSS") < before + len(LARGE)
        gate.open()
        for _, frames in await asyncio.gather(*asked):
            assert json.loads(bytes(frames[0])) == [10, 2, 2, 2]
        connection.close()

    asyncio.run(run())
    wait_until(lambda: passed_to(daemon) <= kept)


def test_a_caller_that_must_not_wait_opens_no_connection(home: Home, link: Link) -> None:
    sender = PayloadSender(home.paths)
    assert sender.put([LARGE], 0.0) is None
    assert sender.open()
    assert sender.put([LARGE], 0.0) is not None
    sender.close()


KILLED = """
import os, sys
from sire.client.connection import Connection
from sire.protocol.requests import Predict

link = Connection(autostart=False).open_link()
for number in range(4):
    link.send(Predict(id=number, model="m", timeout=60.0), [b"[5, 1, 1, 1]" + b" " * 4_000_000])
print("sent", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_client_passed_goes_with_it(home: Home, link: Link, gate: Gate) -> None:
    assert link.send(Predict(id=0, model="m", timeout=60.0), [LARGE])
    daemon = home.pid()
    wait_until(lambda: home.json("ps")[0]["state"] == "busy")
    kept = passed_to(daemon)
    command = [sys.executable, "-c", KILLED]
    client = subprocess.Popen(
        command, env=home.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    wait_until(lambda: passed_to(daemon) >= kept + 4)
    client.kill()
    client.communicate()
    wait_until(lambda: passed_to(daemon) <= kept)
    gate.open()
    assert not isinstance(link.receive(0, 60.0)[0], Failure)


def test_jobs_are_submitted_with_payloads_in_memory(home: Home, link: Link, gate: Gate) -> None:
    gate.open()
    with home.connect() as connection:
        (job,) = connection.expect(Submitted, Submit(model="m"), [LARGE]).jobs
        assert wait(connection, [job])[job].state == "complete"
        assert result(connection, job) == [10.0, 2.0, 2.0, 2.0]


def refusal(link: Link, payload: PayloadReference | None, frames: tuple[bytes, ...] = ()) -> Any:
    """The error of a request that refers to a payload."""
    request = Predict(id=77, model="m", timeout=60.0, payload=payload)
    assert link.send(request, frames)
    reply, _ = link.receive(77, 60.0)
    assert isinstance(reply, Failure)
    return error_from(reply.code, reply.message, reply.hint, reply.details)


@contextmanager
def payloads_of(home: Home) -> Iterator[PayloadSender]:
    payloads = PayloadSender(home.paths)
    yield payloads
    payloads.close()


def test_payloads_that_are_not_there_or_belong_to_nobody_are_refused_by_name(
    home: Home, link: Link
) -> None:
    with payloads_of(home) as payloads:
        reference = payloads.put([b"[1]"], 60.0)
        assert reference is not None
        missing = PayloadReference(reference.connection, reference.number + 1)
        for wrong in (missing, reference, PayloadReference(0, 1)):  # the first was dropped
            error = refusal(link, wrong)
            assert isinstance(error, ProtocolError)
            assert f"Payload {wrong.number} was not passed" in str(error)
        assert "refers to another" in str(refusal(link, reference, (b"[1]",)))


@pytest.mark.settings('[daemon]\nmax_message = "3MB"\n')
def test_the_limit_on_messages_holds_for_memory(home: Home, link: Link, gate: Gate) -> None:
    with payloads_of(home) as payloads:
        reference = payloads.put([LARGE], 60.0)
        error = refusal(link, reference)
    assert isinstance(error, InvalidInput)
    assert error.details == {"size": len(LARGE), "limit": 3_000_000}


def test_memory_that_its_client_could_change_is_refused_by_name_and_others_are_served(
    home: Home, link: Link, gate: Gate
) -> None:
    gate.open()
    with payloads_of(home) as payloads:
        first = payloads.put([b"[1]"], 60.0)
        assert first is not None
        assert payloads._channel is not None
        careless = SealedMemory(sealed.allocate(5000), (5000,))
        assert payloads._channel.try_send_sealed(PayloadFollows(9), careless)
        error = refusal(link, PayloadReference(first.connection, 9))
    assert isinstance(error, ProtocolError)
    assert "F_SEAL_WRITE" in str(error)
    assert link.send(Predict(id=1, model="m", timeout=60.0), [LARGE])
    assert not isinstance(link.receive(1, 60.0)[0], Failure)


def test_payloads_that_nobody_refers_to_take_no_descriptor_of_the_daemon(
    home: Home, link: Link, gate: Gate
) -> None:
    gate.open()
    daemon = home.pid()
    with payloads_of(home) as payloads:
        assert payloads.put([b"[1]"], 60.0) is not None
        before = len(os.listdir(f"/proc/{daemon}/fd"))
        memory = sealed_frames.write([b"[1]"])
        sent = 0
        assert payloads._channel is not None
        while sent < 10_000 and payloads._channel.try_send_sealed(PayloadFollows(sent), memory):
            sent += 1
        assert sent > 50
        wait_until(lambda: len(os.listdir(f"/proc/{daemon}/fd")) <= before + 5)
        assert link.send(Predict(id=1, model="m", timeout=60.0), [LARGE])
        assert not isinstance(link.receive(1, 60.0)[0], Failure)


@pytest.mark.own_daemon
def test_with_few_descriptors_payloads_are_copied_and_connections_refused_and_all_are_served(
    home: Home, link: Link, gate: Gate
) -> None:
    daemon = home.pid()
    _, hard = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (160, hard))
    doors = [PayloadSender(home.paths) for _ in range(40)]
    try:
        granted = sum(one.put([b"[1]"], 60.0) is not None for one in doors)
        assert 0 < granted <= 10
        for one in doors:
            one.close()
        for number in range(30):
            assert link.send(Predict(id=number, model="m", timeout=60.0), [LARGE])
        wait_until(lambda: home.json("ps")[0]["queued"] >= 29)
        assert passed_to(daemon) <= 40
        gate.open()
        for number in range(30):
            reply, _ = link.receive(number, 60.0)
            assert isinstance(reply, Prediction), reply
    finally:
        for one in doors:
            one.close()


@pytest.mark.own_daemon
def test_a_burst_of_direct_connections_leaves_descriptors_for_loads(
    home: Home, link: Link, register: Callable[..., Any]
) -> None:
    daemon = home.pid()
    register("another", 2, "Moody")
    _, hard = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (160, hard))
    with ExitStack() as opened:
        granted = 0
        for _ in range(300):
            if (direct := open_direct(home.paths, "m")) is not None:
                granted += 1
                opened.callback(direct.close)
        assert 0 < granted < 100
        assert link.send(Predict(id=1, model="another", timeout=60.0), [b"[0, 1, 1, 1]"])
        assert isinstance(link.receive(1, 60.0)[0], Prediction)


def test_a_client_without_a_second_socket_sends_its_payload_as_ever(
    home: Home, link: Link, gate: Gate
) -> None:
    gate.open()
    home.paths.direct_socket.rename(hidden := home.paths.direct_socket.with_suffix(".away"))
    try:
        with Connection(home.paths, autostart=False) as connection:
            reply, _ = connection.ask(Predict(model="m", timeout=60.0), [LARGE])
            assert isinstance(reply, Prediction)
    finally:
        hidden.rename(home.paths.direct_socket)


def test_hundreds_of_large_inputs_follow_one_another(home: Home, link: Link, gate: Gate) -> None:
    gate.open()
    body = b"[5, 1, 1, 1]" + b" " * SMALLEST
    for number in range(200):
        assert link.send(Predict(id=number, model="m", timeout=60.0), [body])
        assert isinstance(link.receive(number, 60.0)[0], Prediction)
