"""What happens to a model's process happens to it alone."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire.client.connection import Connection
from sire.errors import (
    DeadlineExceeded,
    InferenceError,
    InsufficientMemory,
    InvalidModel,
    WorkerCrashed,
)
from sire.protocol.content import Payload
from sire.protocol.replies import Prediction, Unloaded
from sire.protocol.requests import Load, Predict, Register, Unload
from sire.spec import ModelSpec
from sire.tensors import pack, unpack
from tests.conftest import Gate
from tests.daemon.asking import ask, counted, instances
from tests.home import Home
from tests.processes import has_ended
from tests.waiting import wait_until


@pytest.fixture
def moody(home: Home, register: Callable[..., Any]) -> Iterator[Connection]:
    register("moody", 2, "Moody")
    with home.connect() as connection:
        yield connection


def test_a_killed_worker_fails_its_request_with_its_last_words_and_the_next_finds_a_fresh_one(
    moody: Connection,
) -> None:
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]
    (before,) = instances(moody)
    crashes = counted(moody, "moody").crashes
    with pytest.raises(WorkerCrashed) as caught:
        ask(moody, "moody", 2)
    assert "SIGKILL" in caught.value.message
    assert "about to go" in caught.value.message
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]
    (after,) = instances(moody)
    assert after.pid != before.pid
    assert counted(moody, "moody").crashes == crashes + 1


def test_a_worker_killed_from_outside_is_replaced(moody: Connection) -> None:
    ask(moody, "moody", 0)
    (instance,) = instances(moody)
    assert instance.pid is not None
    os.kill(instance.pid, signal.SIGKILL)
    wait_until(lambda: not instances(moody))
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_an_exception_of_the_model_is_told_in_one_line_and_its_process_stays(
    moody: Connection, home: Home
) -> None:
    ask(moody, "moody", 0)
    (before,) = instances(moody)
    with pytest.raises(InferenceError) as caught:
        ask(moody, "moody", 1)
    assert "ValueError: no ones, please" in caught.value.message
    assert "\n" not in caught.value.message
    assert instances(moody)[0].pid == before.pid
    assert b"Traceback" in home.sire("logs", "moody").stdout


def test_a_model_that_calls_exit_does_not_end_its_process(moody: Connection) -> None:
    with pytest.raises(InferenceError):
        ask(moody, "moody", 6)
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_running_out_of_memory_is_tried_again_and_then_said(moody: Connection) -> None:
    loads = counted(moody, "moody").loads
    with pytest.raises(InsufficientMemory):
        ask(moody, "moody", 4)
    assert counted(moody, "moody").loads == loads + 2
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]


def test_a_request_for_more_than_the_machine_has_fails_at_once_and_ends_nothing(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "wide.py").write_text(
        "import numpy as np\n"
        "class Wide:\n"
        "    def load(self, path): pass\n"
        "    def predict(self, rows): return np.zeros((int(rows[0][0]), 1))[:1]\n"
    )
    home.register("wide", tmp_path / "wide.py")
    with home.connect() as connection:
        assert ask(connection, "wide", 1) == [[0]]
        (before,) = instances(connection)
        with pytest.raises(InsufficientMemory, match="PiB") as caught:
            ask(connection, "wide", 1 << 52)
        assert "more than there can ever be" in caught.value.hint
        (after,) = instances(connection)
        assert after.pid == before.pid
        assert counted(connection, "wide").loads == 1


def test_a_request_that_takes_too_long_is_answered_in_time(moody: Connection, gate: Gate) -> None:
    ask(moody, "moody", 0)
    with pytest.raises(DeadlineExceeded):
        ask(moody, "moody", 5, timeout=0.2)
    gate.open()
    assert ask(moody, "moody", 0) == [[0, 2, 2, 2]]


@pytest.mark.own_daemon
def test_a_worker_that_hangs_is_killed_and_others_do_not_notice(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[daemon]\nhung_after = "300ms"\n')
    register("hangs", 2, "Moody")
    register("other", 3)
    with home.connect() as connection:
        ask(connection, "hangs", 0)
        with pytest.raises(DeadlineExceeded):
            ask(connection, "hangs", 3, timeout=0.2)
        assert ask(connection, "other", 1) == [[3, 3, 3, 3]]
        wait_until(lambda: "hangs" not in {i.model for i in instances(connection)})
        assert ask(connection, "hangs", 0) == [[0, 2, 2, 2]]


@pytest.mark.own_daemon
def test_a_daemon_that_is_killed_leaves_no_worker_behind_not_even_a_busy_one(
    moody: Connection, home: Home
) -> None:
    ask(moody, "moody", 0)
    (instance,) = instances(moody)

    def spin() -> None:
        with home.connect(autostart=False) as connection, pytest.raises(Exception):  # noqa: B017
            ask(connection, "moody", 3)

    spinning = threading.Thread(target=spin)
    spinning.start()
    wait_until(lambda: instances(moody)[0].state == "busy")
    os.kill(home.pid(), signal.SIGKILL)
    spinning.join(90)
    wait_until(lambda: not os.path.exists(f"/proc/{instance.pid}"))
    with home.connect() as connection:
        assert ask(connection, "moody", 0) == [[0, 2, 2, 2]]


def test_a_load_that_fails_tells_why_and_takes_nothing(
    home: Home, zoo: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "m.safetensors"
    save_file({"weight": torch.ones(4)}, weights)
    home.register("m", weights, "--class", f"{zoo}/classes.py:Scale")
    save_file({"weight": torch.ones(5)}, weights)
    with home.connect() as connection:
        with pytest.raises(InvalidModel, match="weight"):
            connection.ask(Load(name="m"))
        wait_until(lambda: not instances(connection))


@pytest.mark.parametrize("kind", ["Scale", "InPlace"])
def test_requests_and_answers_of_all_sizes_pass_through(
    home: Home, register_torch: Callable[..., Any], kind: str
) -> None:
    register_torch("m", 2, kind)
    with home.connect() as connection:
        for rows in (0, 1, 4_000, 200_000):
            data = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
            sent = pack(data)
            request = Predict(
                model="m",
                content_type=sent.content_type,
                tensors=sent.tensors,
                accept=sent.content_type,
            )
            reply, frames = connection.ask(request, sent.frames)
            assert isinstance(reply, Prediction)
            answer = unpack(Payload(reply.content_type, tuple(frames), reply.tensors))
            assert np.array_equal(answer, data * 2)


def test_unloading_returns_once_the_process_is_gone(moody: Connection) -> None:
    ask(moody, "moody", 0)
    (instance,) = instances(moody)
    assert moody.expect(Unloaded, Unload(name="moody")).instances == 1
    assert not os.path.exists(f"/proc/{instance.pid}/exe") or instances(moody) == ()


def test_a_registered_class_that_disappears_is_a_clear_error(
    home: Home, tmp_path: Path, zoo: Path
) -> None:
    classes = tmp_path / "gone.py"
    classes.write_text((zoo / "classes.py").read_text())
    spec = ModelSpec(name="m", path=str(zoo / "x2.safetensors"), model_class=f"{classes}:Scale")
    with home.connect() as connection:
        connection.ask(Register(model=spec))
        classes.unlink()
        with pytest.raises(InvalidModel, match=r"gone\.py"):
            connection.ask(Load(name="m"))


@pytest.mark.own_daemon
def test_a_daemon_whose_directory_was_removed_ends_and_takes_its_workers_along(
    moody: Connection, home: Home
) -> None:
    ask(moody, "moody", 0)
    (instance,) = instances(moody)
    pid = home.pid()
    home.paths.lock.unlink()
    wait_until(lambda: has_ended(pid))
    wait_until(lambda: not os.path.exists(f"/proc/{instance.pid}"))
