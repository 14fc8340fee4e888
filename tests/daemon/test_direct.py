"""Clients that ask again talk to the worker itself; whatever happens to it, they are answered."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire import ModelManager
from sire.client.connection import Connection
from sire.client.direct.connection import DirectConnection, open_direct
from sire.errors import (
    DeadlineExceeded,
    InferenceError,
    InsufficientMemory,
    InvalidInput,
    WorkerCrashed,
)
from sire.protocol.content import JSON, TENSORS
from sire.protocol.counts import ModelStats
from sire.protocol.replies import StatsReport, Unloaded
from sire.protocol.requests import Predict, Stats, Unload
from sire.tensors import pack
from tests.conftest import Gate
from tests.daemon.asking import ask_until_direct, instances, under_way
from tests.home import Home
from tests.processes import has_ended
from tests.waiting import DEADLINE_SECONDS, wait_until

CLASSES = """
import os, signal
import torch


class Remembers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.last = None

    def forward(self, x):
        answer = x[:1] if self.last is None else self.last[:1].clone()
        self.last = x
        return answer


class Deadly(Remembers):
    def forward(self, x):
        if (x[:, 0] == 2).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * x
"""


def predict(
    connection: Connection, model: str, first: int, timeout: float = 90.0
) -> list[list[float]]:
    body = json.dumps([[first, 1, 1, 1]]).encode()
    request = Predict(model=model, timeout=timeout, content_type=JSON, accept=JSON)
    _reply, frames = connection.predict(request, [body])
    rows: list[list[float]] = json.loads(bytes(frames[0]))
    return rows


def connect_directly(home: Home, model: str) -> DirectConnection:
    """Connect to a worker, once it is through with what came over the daemon."""
    return wait_until(lambda: open_direct(home.paths, model))


def stats_of(connection: Connection, model: str) -> ModelStats:
    return connection.expect(StatsReport, Stats(name=model)).models[0]


@pytest.fixture
def stop_daemon(home: Home) -> Iterator[Callable[..., Any]]:
    """Stops the daemon's process in its tracks, as a debugger would, for the rest of the test."""
    yield lambda: os.kill(home.pid(), signal.SIGSTOP)
    os.kill(home.pid(), signal.SIGCONT)


@pytest.fixture
def moody(home: Home, register: Callable[..., Any]) -> Iterator[Connection]:
    """A connection that has a worker of the model ``moody`` to itself."""
    register("moody", 2, "Moody")
    with home.connect() as connection:
        ask_until_direct(connection, "moody", lambda: predict(connection, "moody", 0))
        yield connection


def test_who_asks_again_is_answered_without_the_daemon_and_counted_all_the_same(
    moody: Connection, home: Home
) -> None:
    before, (instance,) = stats_of(moody, "moody"), instances(moody)
    os.kill(home.pid(), signal.SIGSTOP)
    try:
        for _ in range(10):
            assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]
    finally:
        os.kill(home.pid(), signal.SIGCONT)
    stats = stats_of(moody, "moody")
    assert stats.inference_count == before.inference_count + 10
    assert stats.bytes_in >= before.bytes_in + 10 * len("[0]")
    assert stats.bytes_out >= before.bytes_out + 10 * len("[[0,2,2,2]]")
    assert stats.p50_latency_seconds is not None
    assert 0 < stats.p50_latency_seconds < 10
    assert instances(moody)[0].requests == instance.requests + 10
    assert instances(moody)[0].state == "ready"


def test_an_exception_of_the_model_is_told_and_counted_and_the_worker_goes_on(
    moody: Connection, stop_daemon: Callable[..., Any]
) -> None:
    stop_daemon()
    with pytest.raises(InferenceError, match="no ones, please"):
        predict(moody, "moody", 1)
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_bad_input_is_told_by_the_worker_itself(
    moody: Connection, stop_daemon: Callable[..., Any]
) -> None:
    stop_daemon()
    request = Predict(model="moody", content_type=JSON, accept=JSON)
    with pytest.raises(InvalidInput):
        moody.predict(request, [b"{no json"])
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_a_request_that_kills_its_worker_fails_with_its_last_words_and_the_next_finds_another(
    moody: Connection,
) -> None:
    (before,) = instances(moody)
    counted = stats_of(moody, "moody")
    with pytest.raises(WorkerCrashed) as caught:
        predict(moody, "moody", 2)
    assert "SIGKILL" in caught.value.message
    assert "about to go" in caught.value.message
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]
    assert instances(moody)[0].pid != before.pid
    stats = stats_of(moody, "moody")
    assert stats.crashes == counted.crashes + 1
    assert sum(stats.errors.values()) == sum(counted.errors.values()) + 1
    assert stats.errors["WorkerCrashed"] == counted.errors.get("WorkerCrashed", 0) + 1


def test_a_worker_killed_between_two_requests_is_replaced_unnoticed(moody: Connection) -> None:
    (before,) = instances(moody)
    pid = before.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid))
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_running_out_of_memory_is_left_to_the_daemon_which_tries_again_with_more_room(
    moody: Connection,
) -> None:
    (before,) = instances(moody)
    with pytest.raises(InsufficientMemory):
        predict(moody, "moody", 4)
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]
    wait_until(lambda: [one for one in instances(moody) if one.pid != before.pid])


@pytest.mark.own_daemon
def test_a_worker_that_hangs_is_killed_once_nobody_waits_for_it_any_more(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[daemon]\nhung_after = "0.3s"\n')
    register("moody", 2, "Moody")
    with home.connect() as connection:
        for _ in range(3):
            predict(connection, "moody", 0)
        (before,) = instances(connection)
        with pytest.raises(DeadlineExceeded):
            predict(connection, "moody", 3, timeout=0.3)
        wait_until(lambda: all(one.pid != before.pid for one in instances(connection)))
        assert predict(connection, "moody", 0) == [[0, 2, 2, 2]]


def test_unloading_waits_for_what_a_worker_is_at(moody: Connection, home: Home, gate: Gate) -> None:
    answers = []
    asking = threading.Thread(target=lambda: answers.append(predict(moody, "moody", 5)))
    asking.start()
    with home.connect() as other:
        wait_until(lambda: instances(other)[0].state == "busy")
        with under_way(other, Unload(name="moody")) as unloaded:
            gate.open()
            assert unloaded() == Unloaded(id=1, instances=1)
        asking.join(90)
        assert answers == [[[10, 2, 2, 2]]]
        assert instances(other) == ()


def test_a_client_that_leaves_in_the_middle_does_not_keep_its_worker_busy(
    moody: Connection, home: Home, gate: Gate
) -> None:
    direct = connect_directly(home, "moody")
    request = Predict(model="moody", timeout=0.05, content_type=JSON, accept=JSON)
    with pytest.raises(DeadlineExceeded):
        direct.ask(request, [b"[[5, 1, 1, 1]]"])
    direct.close()
    gate.open()
    wait_until(lambda: instances(moody)[0].state == "ready")
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


@pytest.mark.own_daemon
def test_models_that_do_not_fit_together_take_turns_under_clients_that_ask_directly(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[devices.small]\nkind = "cpu"\nmemory = "100MB"\n')
    for factor in (2, 3):
        register(f"x{factor}", factor, "Scale", "--max-memory", "80MB")
    wrong: list[int] = []
    enough = threading.Event()

    def keep_asking(factor: int) -> None:
        with home.connect() as connection:
            while not enough.is_set():
                if predict(connection, f"x{factor}", 1) != [[factor] * 4]:
                    wrong.append(factor)

    clients = [threading.Thread(target=keep_asking, args=(n,)) for n in (2, 2, 3)]
    for client in clients:
        client.start()
    with home.connect() as connection:

        def counted() -> list[ModelStats]:
            return [stats_of(connection, model) for model in ("x2", "x3")]

        try:
            wait_until(
                lambda: all(one.inference_count >= 3 and one.evictions > 1 for one in counted())
            )
        finally:
            enough.set()
            for client in clients:
                client.join()
        assert [one.errors for one in counted()] == [{}, {}]
    assert not wrong


@pytest.mark.own_daemon
def test_what_is_used_directly_is_not_the_least_recently_used(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[devices.small]\nkind = "cpu"\nmemory = "200MB"\n')
    for name in ("old", "used", "new"):
        register(name, 2, "Scale", "--max-memory", "80MB")
    with home.connect() as connection:
        for model in ("used", "used", "old"):
            predict(connection, model, 1)
        # The use of "old" is noted after its answer was sent: a direct request may be faster.
        wait_until(lambda: {one.state for one in instances(connection)} == {"ready"})
        for model in ("used", "used", "new"):
            predict(connection, model, 1)
        assert {one.model for one in instances(connection)} == {"used", "new"}


def test_a_lease_is_granted_once_those_who_ask_directly_have_been_answered(
    moody: Connection, home: Home, gate: Gate
) -> None:
    direct = connect_directly(home, "moody")
    asking = threading.Thread(
        target=lambda: direct.ask(
            Predict(model="moody", content_type=JSON, accept=JSON), [b"[[5, 1, 1, 1]]"]
        )
    )
    asking.start()
    wait_until(lambda: instances(moody)[0].state == "busy")
    with ModelManager(home=home.path) as manager:
        with pytest.raises(DeadlineExceeded), manager.acquire("moody", timeout=0.3):
            pass
        gate.open()
        asking.join(90)
        with manager.acquire("moody", timeout=90) as leased:
            assert leased.predict(np.zeros((1, 4), np.float32)) is not None
            assert open_direct(home.paths, "moody") is None


def test_a_model_registered_anew_answers_at_once(
    moody: Connection, register: Callable[..., Any]
) -> None:
    register("moody", 3, "Moody", "--replace")
    assert predict(moody, "moody", 0) == [[0, 3, 3, 3]]


@pytest.mark.own_daemon
def test_a_daemon_that_is_killed_is_followed_by_another(moody: Connection, home: Home) -> None:
    os.kill(home.pid(), signal.SIGKILL)
    time.sleep(0.2)  # longer than a connection trusts its daemon to be there
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_large_inputs_lie_in_memory_that_is_used_again_unless_the_model_keeps_them(
    home: Home, tmp_path: Path
) -> None:
    _register_one(home, tmp_path, "r", "Remembers")
    with ModelManager(home=home.path) as manager:
        before = np.zeros((2, 40_000), np.float32)
        manager.predict("r", before)
        for number in range(1, 12):
            data = np.full((2, 40_000), number, np.float32)
            assert np.array_equal(manager.predict("r", data), before[:1])
            before = data


def _register_one(home: Home, directory: Path, name: str, kind: str, *options: str) -> None:
    (directory / "classes.py").write_text(CLASSES)
    save_file({"weight": torch.ones(1)}, directory / "one.safetensors")
    reference = f"{directory / 'classes.py'}:{kind}"
    home.register(name, directory / "one.safetensors", "--class", reference, *options)


def test_a_model_that_computes_in_its_input_changes_no_callers_data(
    home: Home, register_torch: Callable[..., Any]
) -> None:
    register_torch("m", 3, "InPlace")
    data = np.ones((20_000, 4), np.float32)
    with ModelManager(home=home.path) as manager:
        for _ in range(5):
            assert np.array_equal(manager.predict("m", data), 3 * data)
    assert np.array_equal(data, np.ones((20_000, 4), np.float32))


def test_requests_of_many_clients_run_together_and_each_gets_its_own_answer(
    home: Home, register: Callable[..., Any], new_name: str
) -> None:
    register(new_name, 2, "Scale", "--batch-size", "8", "--input", "float32[-1,4]")
    wrong = []

    def keep_asking(number: int) -> None:
        with home.connect() as connection:
            for turn in range(100):
                first = 1000 * number + turn
                if predict(connection, new_name, first) != [[2 * first, 2, 2, 2]]:
                    wrong.append((number, turn))

    clients = [threading.Thread(target=keep_asking, args=(n,)) for n in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not wrong
    with home.connect() as connection:
        assert stats_of(connection, new_name).inference_count == 600


def test_of_several_that_run_together_only_the_one_that_kills_the_worker_fails(
    home: Home, tmp_path: Path
) -> None:
    batched = ("--batch-size", "8", "--input", "float32[-1,4]")
    _register_one(home, tmp_path, "deadly", "Deadly", *batched)
    killed, answers = [], []

    def keep_asking(number: int) -> None:
        with home.connect() as connection:
            for turn in range(40):
                try:
                    deadly = number == 0 and turn == 20
                    answers.append(predict(connection, "deadly", 2 if deadly else 0))
                except WorkerCrashed:
                    killed.append((number, turn))

    clients = [threading.Thread(target=keep_asking, args=(n,)) for n in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert killed == [(0, 20)]
    assert answers == [[[0, 2, 2, 2]]] * 159


def test_an_unknown_model_has_no_worker_to_talk_to(moody: Connection, home: Home) -> None:
    assert open_direct(home.paths, "nobody") is None


@pytest.mark.parametrize("words", [b"", b"x", bytes(100), b"\xff" * 5000])
def test_nonsense_at_the_door_is_shown_out_and_others_are_let_in(
    moody: Connection, home: Home, words: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(DEADLINE_SECONDS)
        stranger.connect(str(home.paths.direct_socket))
        stranger.send(words)
        if not words:
            stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(100) == b""
    connect_directly(home, "moody").close()


def test_who_only_stands_in_the_door_keeps_nobody_out(moody: Connection, home: Home) -> None:
    strangers = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(80)]
    for stranger in strangers:
        stranger.connect(str(home.paths.direct_socket))
    connect_directly(home, "moody").close()
    for stranger in strangers:
        stranger.close()


def test_nonsense_told_to_a_worker_ends_that_connection_and_no_other(
    moody: Connection, home: Home
) -> None:
    direct = connect_directly(home, "moody")
    line = direct._channel._line
    line.send(b"\x07" * 40)
    line.settimeout(DEADLINE_SECONDS)
    assert line.recv(100) == b""
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_a_client_that_reads_no_answers_holds_up_nobody(moody: Connection, home: Home) -> None:
    direct = connect_directly(home, "moody")
    request = pack(np.zeros((1, 4), np.float32))
    from sire.protocol.runs import RunModel

    run = RunModel(0, request.content_type, request.tensors, TENSORS)
    with pytest.raises(OSError):  # noqa: PT012 (whichever end notices first)
        while True:
            if not direct._channel.try_send(run, request.frames):
                time.sleep(0.01)
    assert predict(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_a_wrong_time_of_sending_harms_no_statistics(
    home: Home, register: Callable[..., Any], new_name: str
) -> None:
    register(new_name, 2)
    request = pack(np.zeros((1, 4), np.float32))
    from sire.protocol.runs import RunModel

    with home.connect() as connection:
        predict(connection, new_name, 0)
        direct = connect_directly(home, new_name)
        for sent in (float("nan"), float("inf"), -1e300, 1e300):
            run = RunModel(0, request.content_type, request.tensors, TENSORS, sent)
            direct._channel.send(run, request.frames)
            direct._channel.receive()
        latency = stats_of(connection, new_name).p99_latency_seconds
        assert latency is not None
        assert 0 <= latency < 1e6


def test_data_of_any_form_comes_back_as_over_the_daemon(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    with ModelManager(home=home.path) as manager:
        for data in (np.ones((1, 4), np.float32), [[1.0, 1, 1, 1]], (np.ones((1, 4)),)):
            first = manager.predict("m", data)
            for _ in range(3):
                assert np.array_equal(manager.predict("m", data), first)
