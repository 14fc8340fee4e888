"""A worker as the daemon holds it: a real process, forked from a real zygote."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sire.protocol.content import JSON, TENSORS
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.spec import ModelSpec, TensorSpec
from sire.transport.channel import Message
from sired.workers.messages import DeviceGrant, LoadModel, ModelReady
from sired.workers.process import WorkerProcess, start_worker
from sired.workers.zygote.zygote import Zygote
from tests.processes import has_ended
from tests.waiting import DEADLINE_SECONDS, wait_until

pytestmark = pytest.mark.xdist_group("zygote")

CLASSES = '''
import os, subprocess, sys, time
import torch


class Scale(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight


class Spins(Scale):
    def forward(self, x):
        while True:
            pass


class Speaks(Scale):
    def forward(self, x):
        print("thinking", flush=True)
        print("half a line", end="")
        return x


class Curious(Scale):
    """Which of these are imported: torch, zmq, the daemon, the client."""

    def forward(self, x):
        names = ("torch", "zmq", "sired.daemon.lifecycle", "sire.client.connection")
        return torch.tensor([float(name in sys.modules) for name in names])


class Helped(Scale):
    """Starts a process and answers with its number."""

    def forward(self, x):
        return torch.tensor([subprocess.Popen(["sleep", "600"]).pid])


class Hungry(Scale):
    """Needs 100 MiB for a moment."""

    def forward(self, x):
        torch.ones(100, 1024, 256).sum()
        return x


class Unlogged(Scale):
    """Closes what it could print to."""

    def forward(self, x):
        sys.stdout.close()
        return x
'''


@pytest.fixture(scope="module")
def worker_zygote() -> Iterator[Zygote]:
    zygote = Zygote(["pytorch"])
    zygote.warm()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def worker_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from safetensors.torch import save_file

    directory = tmp_path_factory.mktemp("models")
    (directory / "classes.py").write_text(CLASSES)
    save_file({"weight": torch.full((4,), 2.0)}, directory / "two.safetensors")
    (directory / "ones.json").write_text("[1, 1, 1, 1]")
    return directory


@pytest.fixture
def worker_log(tmp_path: Path) -> Path:
    return tmp_path / "m.log"


@pytest.fixture
def start(
    worker_zygote: Zygote, worker_files: Path, worker_log: Path
) -> Iterator[Callable[..., Any]]:
    """Start a worker for one of the classes; it is killed in the end."""
    started = []

    def _start(kind: str = "Scale", cores: tuple[Any, ...] = (), **options: Any) -> WorkerProcess:
        spec = ModelSpec(
            name="m",
            path=str(worker_files / "two.safetensors"),
            runtime="pytorch",
            format="safetensors",
            model_class=f"{worker_files / 'classes.py'}:{kind}",
            **options,
        )
        job = LoadModel(spec, DeviceGrant("cpu0", "cpu", cores=tuple(cores)))
        started.append(start_worker(worker_zygote, job, worker_log))
        return started[-1]

    yield _start
    for worker in started:
        if worker.pidfd >= 0:
            worker.kill()
            assert ended(worker)
            worker.close()


def ended(worker: WorkerProcess, seconds: float = DEADLINE_SECONDS) -> bool:
    poller = select.poll()
    poller.register(worker.pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def hear(worker: WorkerProcess, seconds: float = DEADLINE_SECONDS) -> Message[Any]:
    poller = select.poll()
    poller.register(worker.channel.fileno(), select.POLLIN)
    assert poller.poll(seconds * 1000), "the worker says nothing"
    received = worker.channel.try_receive()
    assert received is not None
    return received


def ready(worker: WorkerProcess) -> ModelReady:
    message, _ = hear(worker)
    assert isinstance(message, ModelReady), message
    return message


def ask(worker: WorkerProcess, numbers: Sequence[float] = (1, 1, 1, 1)) -> Message[RunResult]:
    body = json.dumps(list(numbers)).encode()
    assert worker.channel.try_send(RunModel(1, JSON, (), JSON), [body])
    return hear(worker)


def answer(worker: WorkerProcess, numbers: Sequence[float] = (1, 1, 1, 1)) -> list[float]:
    _, (frame,) = ask(worker, numbers)
    given: list[float] = json.loads(bytes(frame))
    return given


def test_a_model_answers_small_and_large_payloads(start: Callable[..., Any]) -> None:
    worker = start()
    assert ready(worker).memory_bytes > 0
    assert answer(worker, [1, 2, 3, 4]) == [2, 4, 6, 8]
    array = np.arange(600_000 // 4, dtype=np.float32).reshape(-1, 4)
    tensor = TensorSpec("", "float32", array.shape)
    worker.channel.try_send(RunModel(2, TENSORS, (tensor,), TENSORS), [array])
    result, (frame,) = hear(worker)
    assert result.request == 2
    assert np.array_equal(
        np.frombuffer(frame, np.float32).reshape(result.tensors[0].shape), 2 * array
    )


def test_a_killed_worker_is_told_by_its_pidfd_its_line_and_its_last_lines(
    start: Callable[..., Any],
) -> None:
    worker = start("Speaks")
    ready(worker)
    ask(worker)
    os.kill(worker.pid, signal.SIGKILL)
    assert ended(worker)
    with pytest.raises(EOFError):
        worker.channel.try_receive()
    assert worker.exit_status() == "killed by SIGKILL"
    assert "thinking" in worker.last_lines()


def test_only_what_this_worker_printed_are_its_last_lines(
    start: Callable[..., Any], worker_log: Path
) -> None:
    worker_log.write_text("somebody before\n")
    worker = start("Speaks")
    ready(worker)
    ask(worker)
    assert "thinking" in worker.last_lines()
    assert "somebody before" not in worker.last_lines()


def test_a_model_that_cannot_be_loaded_is_a_typed_error_and_the_process_ends(
    start: Callable[..., Any],
) -> None:
    worker = start(args={"width": 5})
    error, _ = hear(worker)
    assert isinstance(error, WorkerError)
    assert (error.request, error.code) == (None, "InvalidModel")
    assert ended(worker)


@pytest.mark.parametrize("kind", ["Scale", "Unlogged"])
def test_closing_the_line_ends_a_worker(start: Callable[..., Any], kind: str) -> None:
    worker = start(kind)
    ready(worker)
    ask(worker)
    worker.terminate()
    assert ended(worker)
    assert worker.exit_status() == "exit code 0"


def test_closing_the_line_ends_a_worker_that_never_stops_computing(
    start: Callable[..., Any],
) -> None:
    worker = start("Spins")
    ready(worker)
    worker.channel.try_send(RunModel(1, JSON, (), JSON), [b"[1, 1, 1, 1]"])
    spent = psutil.Process(worker.pid).cpu_times().user
    wait_until(lambda: psutil.Process(worker.pid).cpu_times().user > spent + 0.1)
    worker.terminate()
    assert ended(worker)


def test_a_worker_has_a_session_a_name_and_the_cores_it_was_given(
    start: Callable[..., Any],
) -> None:
    core = min(os.sched_getaffinity(0))
    worker = start(cores=(core,))
    ready(worker)
    assert os.getsid(worker.pid) == worker.pid
    assert psutil.Process(worker.pid).name() == "sired:m"
    assert os.sched_getaffinity(worker.pid) == {core}
    os.kill(worker.pid, signal.SIGINT)
    assert answer(worker) == [2, 2, 2, 2]


def test_what_a_model_started_ends_with_its_worker(start: Callable[..., Any]) -> None:
    worker = start("Helped")
    ready(worker)
    (pid,) = answer(worker)
    helper = int(pid)
    assert not has_ended(helper)
    worker.terminate()
    assert ended(worker)
    worker.close()
    wait_until(lambda: has_ended(helper))


def test_workers_do_not_import_what_the_daemon_is_made_of(start: Callable[..., Any]) -> None:
    import zmq  # noqa: F401

    import sire.client.connection  # noqa: F401

    worker = start("Curious")
    ready(worker)
    assert answer(worker) == [1, 0, 0, 0]


def test_a_warm_up_counts_as_an_inference(start: Callable[..., Any], worker_files: Path) -> None:
    cold = ready(start("Hungry")).memory_bytes
    warm = ready(start("Hungry", warmup=str(worker_files / "ones.json"))).memory_bytes
    assert warm - cold == pytest.approx(100 * 1024 * 1024, rel=0.15)


def test_the_peak_of_an_inference_is_told_with_its_result(start: Callable[..., Any]) -> None:
    worker = start("Hungry")
    held = ready(worker).memory_bytes
    result, _ = ask(worker)
    assert result.peak_memory_bytes - held == pytest.approx(100 * 1024 * 1024, rel=0.15)


def test_the_zygote_has_one_thread_and_none_of_the_daemons_descriptors(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    with (tmp_path / "lock").open("w"), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        worker = start()
        ready(worker)
        zygote = psutil.Process(worker.pid).parent()
        assert zygote is not None
        for process in (zygote, psutil.Process(worker.pid)):
            assert str(tmp_path / "lock") not in {file.path for file in process.open_files()}
            assert process.net_connections("inet") == []
        wait_until(lambda: zygote.open_files() == [])  # it reads about its memory when it idles
    assert zygote.num_threads() == 1


def test_many_may_be_started_at_once(start: Callable[..., Any]) -> None:
    workers = []
    threads = [threading.Thread(target=lambda: workers.append(start())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({worker.pid for worker in workers}) == 4
    for worker in workers:
        ready(worker)
        assert answer(worker) == [2, 2, 2, 2]


def test_workers_outlive_the_zygote_and_the_next_start_brings_another(
    start: Callable[..., Any],
) -> None:
    worker = start()
    ready(worker)
    zygote = os.pidfd_open(psutil.Process(worker.pid).ppid())
    signal.pidfd_send_signal(zygote, signal.SIGKILL)
    assert select.select([zygote], [], [], DEADLINE_SECONDS)[0]
    os.close(zygote)
    assert answer(worker) == [2, 2, 2, 2]
    other = start()
    ready(other)
    assert answer(other) == [2, 2, 2, 2]
    worker.terminate()
    assert ended(worker)
    assert worker.exit_status() == "exit code unknown"


DAEMON = """
import sys
from pathlib import Path
from sire.spec import ModelSpec
from sired.workers.messages import DeviceGrant, LoadModel
from sired.workers.process import start_worker
from sired.workers.zygote.zygote import Zygote

zygote = Zygote()
zygote.warm()
spec = ModelSpec("m", sys.argv[1], "pytorch", "safetensors", sys.argv[2])
worker = start_worker(zygote, LoadModel(spec, DeviceGrant("cpu0", "cpu")), Path(sys.argv[3]))
print(worker.pid, flush=True)
sys.stdin.read()
"""


def test_workers_do_not_run_the_daemons_script_again(
    worker_files: Path, worker_log: Path, tmp_path: Path
) -> None:
    script = tmp_path / "daemon.py"
    script.write_text("print('here', flush=True)\n" + DAEMON)
    weights, kind = worker_files / "two.safetensors", f"{worker_files / 'classes.py'}:Scale"
    arguments = [sys.executable, str(script), str(weights), kind, str(worker_log)]
    done = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.split().count(b"here") == 1
    assert done.stderr == b""


def test_nothing_is_left_of_a_daemon_that_is_killed(worker_files: Path, worker_log: Path) -> None:
    weights, kind = worker_files / "two.safetensors", f"{worker_files / 'classes.py'}:Scale"
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(weights), kind, str(worker_log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout is not None
    worker = psutil.Process(int(daemon.stdout.readline()))
    processes = [worker, *psutil.Process(daemon.pid).children()]
    daemon.kill()
    daemon.communicate()
    _, left = psutil.wait_procs(processes, timeout=DEADLINE_SECONDS)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
