"""What programs alone have: a start, a port, a health, HTTP errors, children, an end."""

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sire.errors import (
    InferenceError,
    InvalidInput,
    InvalidModel,
    LoadFailed,
    QueueFull,
    WorkerCrashed,
)
from sire.protocol.content import JSON, PNG, TEXT, TREE, Payload
from sire.tensors import pack, unpack
from sired.runtimes import granted_gpu
from sired.runtimes.discovery import find_runtime
from sired.runtimes.granted_gpu import GrantedGpu
from tests.contract.runtime_cases import PROGRAM
from tests.waiting import wait_until


@pytest.fixture
def load() -> Iterator[Any]:
    """Start the program with some options; it is ended after the test."""
    runtimes = []

    def _load(cmd: Any = PROGRAM + " {port}", health: str = "/health", **options: Any) -> Any:
        runtime = find_runtime("command")
        runtimes.append(runtime)
        return runtime, runtime.load("", cmd=cmd, health=health, **options)

    yield _load
    for runtime in runtimes:
        runtime.unload()


def told(answer: Payload) -> Any:
    return json.loads(bytes(answer.frames[0]))


def ask(loaded: Any, **fields: Any) -> Any:
    runtime, model = loaded
    return told(runtime.forward(model, Payload(JSON, (json.dumps(fields).encode(),)), JSON))


def test_json_and_pictures_go_through_byte_for_byte(load: Callable[..., Any]) -> None:
    runtime, model = load(endpoint="/echo")
    for kind, content in ((JSON, b'{"a": 1.50, "b":[1,null]}'), (PNG, b"\x89PNG\r\n\x1a\nrest")):
        answer = runtime.forward(model, Payload(kind, (memoryview(content),)), kind)
        assert (answer.content_type, bytes(answer.frames[0])) == (kind, content)


def test_how_a_program_ended_is_left_for_others_to_read(load: Callable[..., Any]) -> None:
    """The worker watches it as well, and says how it ended."""
    runtime, model = load()
    pid = runtime.processes(model)[0]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="killed by SIGKILL"):
        ask((runtime, model))
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_status == signal.SIGKILL


def test_what_python_callers_send_goes_as_json_and_comes_back_as_arrays_and_plain_data(
    load: Callable[..., Any],
) -> None:
    runtime, model = load(endpoint="/echo")
    data = {"x": np.array([1.5, 2], np.float32), "n": 3, "f": 0.7, "l": (None, True)}
    answer = unpack(runtime.forward(model, pack(data), TREE))
    assert answer["x"].tolist() == [1.5, 2.0]
    assert (answer["n"], answer["f"], answer["l"]) == (3, 0.7, [None, True])


def test_an_answer_does_not_wait_for_an_acknowledgement(load: Callable[..., Any]) -> None:
    loaded = load(endpoint="/do")

    def seconds() -> float:
        began = time.monotonic()
        ask(loaded)
        return time.monotonic() - began

    # An acknowledgement is delayed by 40 ms; a busy machine delays all of them, but not for ever.
    wait_until(lambda: statistics.median(seconds() for _ in range(20)) < 0.04)


def test_text_of_any_kind_is_plain_text(load: Callable[..., Any]) -> None:
    runtime, model = load(endpoint="/do")
    answer = runtime.forward(model, Payload(JSON, (b'{"do": "text"}',)), TEXT)
    assert (answer.content_type, bytes(answer.frames[0])) == (TEXT, b"just words\n")


@pytest.mark.parametrize(
    ("status", "says", "kind"),
    [
        (400, "no such key", InvalidInput),
        (404, "not here", InvalidInput),
        (429, "too many", QueueFull),
        (500, "boom", InferenceError),
        (503, "busy", InferenceError),
        (500, "CUDA out of memory", MemoryError),
    ],
)
def test_an_error_of_the_server_is_one_of_ours_with_its_words(
    load: Callable[..., Any], status: int, says: str, kind: type[Exception]
) -> None:
    loaded = load(endpoint="/do")
    with pytest.raises(kind, match=f"{status}: {says}"):
        ask(loaded, do="fail", status=status, says=says)


def test_all_requests_of_a_thread_go_over_one_connection_that_is_opened_anew_when_closed(
    load: Callable[..., Any],
) -> None:
    loaded = load(endpoint="/do")
    assert ask(loaded)["connections"] == ask(loaded)["connections"] == 1
    with pytest.raises(InferenceError, match="did not answer"):
        ask(loaded, do="hang up")
    assert ask(loaded)["connections"] == 2


def test_it_is_healthy_when_its_health_path_says_so_and_not_before(
    load: Callable[..., Any],
) -> None:
    began = time.monotonic()
    load(env={"READY_AFTER": "0.5"})
    assert time.monotonic() - began >= 0.5


def test_without_a_health_path_it_is_ready_once_it_accepts_connections(
    load: Callable[..., Any],
) -> None:
    runtime, model = load(health="")
    assert np.array_equal(runtime.predict(model, np.ones((1, 4))), [[2, 2, 2, 2]])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second GPU of this machine, of which a quarter was granted."""
    for name in ("CUDA_VISIBLE_DEVICES", "SIRE_GPU_INDEX", "SIRE_GPU_FRACTION", "SIRE_GPU_BYTES"):
        monkeypatch.setenv(name, "")  # restored afterwards
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "x")
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH")
    granted_gpu.announce("GPU-7", 1, 20 * 1024**3 + 1, 80 * 1024**3)


def test_a_gpu_is_announced_with_the_fraction_rounded_down(gpu: None) -> None:
    assert granted_gpu.granted_gpu() == GrantedGpu("GPU-7", "1", "0.25", 80 * 1024**3)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"  # what the user set stays
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    granted_gpu.announce("GPU-7", 1, 1, 80 * 1024**3)
    assert granted_gpu.granted_gpu().fraction == "0.01"
    granted_gpu.announce("MIG-3", 1, 0, 0)
    assert granted_gpu.granted_gpu().environment == {"CUDA_VISIBLE_DEVICES": "MIG-3"}
    granted_gpu.announce_none()
    assert granted_gpu.granted_gpu().environment == {"CUDA_VISIBLE_DEVICES": ""}


def test_a_program_that_reads_the_visible_devices_as_numbers_finds_its_gpu(
    load: Callable[..., Any], gpu: None
) -> None:
    """As vLLM does: ``int(os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0])``."""
    answer = ask(load(device="cuda:0", endpoint="/do"), env=["CUDA_VISIBLE_DEVICES"])
    assert int(answer["env"]["CUDA_VISIBLE_DEVICES"].split(",")[0]) == 1
    answer = ask(load(device="cpu", endpoint="/do"), env=["CUDA_VISIBLE_DEVICES"])
    assert answer["env"] == {"CUDA_VISIBLE_DEVICES": ""}


def test_the_command_is_given_path_port_device_and_gpu_without_a_shell(
    load: Callable[..., Any], tmp_path: Path, gpu: None
) -> None:
    file = tmp_path / "two words; $HOME"
    file.write_text('{"factor": 2}')
    runtime = find_runtime("command")
    model = runtime.load(
        str(file),
        device="cuda:0",
        cmd=PROGRAM + " {port} {path} {device} '{gpu} {index} {fraction} {other}'",
        endpoint="/do",
        env={"AT": "port {port}"},
        directory=str(tmp_path),
    )
    try:
        said = ask((runtime, model), env=["AT"])
    finally:
        runtime.unload()
    port, *rest = said["argv"]
    assert rest == [str(file), "cuda:0", "GPU-7 1 0.25 {other}"]
    assert said["env"] == {"AT": f"port {port}"}
    assert said["directory"] == str(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cmd": "serve"}, "the port to serve on"),
        ({"cmd": ""}, "empty"),
        ({"cmd": "serve 'half {port}"}, "No closing quotation"),
        ({"cmd": "serve {path} {port}"}, "the model has no path"),
        ({"cmd": "serve {port}", "health": "health"}, "health='health' is not a valid path"),
        ({"cmd": "serve {port}", "helth": "/"}, "helth"),
        ({"cmd": "serve {port}", "stall": "long"}, "stall"),
        ({"cmd": "/no/such/program {port}"}, "/no/such/program: No such file"),
        ({"cmd": "true {port}", "directory": "/no/such/place"}, "/no/such/place: No such file"),
    ],
)
def test_a_command_that_cannot_be_run_is_said_to_be_invalid(
    options: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidModel, match=says):
        find_runtime("command").load("", **options)


def test_a_program_that_ends_at_once_fails_the_load_with_how_it_ended(
    load: Callable[..., Any],
) -> None:
    with pytest.raises(LoadFailed, match=r"before it served \(exit code 3\)"):
        load(cmd="sh -c 'exit 3' {port}")


def test_a_program_that_does_nothing_and_does_not_serve_has_stalled(
    load: Callable[..., Any],
) -> None:
    with pytest.raises(LoadFailed, match=r"idle for 0.3 s .* GET /health"):
        load(env={"NEVER_SERVES": "1"}, stall=0.3)


def test_a_program_that_goes_on_printing_has_not_stalled(
    load: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    talks = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done; exec " + PROGRAM + " $0"
    load(cmd=f'sh -c "{talks}" {{port}}', stall=3)


def test_a_program_that_died_over_a_request_is_a_crash_with_how_it_ended(
    load: Callable[..., Any],
) -> None:
    loaded = load(endpoint="/do")
    with pytest.raises(WorkerCrashed, match=r"killed by SIGKILL"):
        ask(loaded, do="die")


def test_unloading_ends_it_in_order_with_all_it_started(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    loaded = load(endpoint="/do", env={"LAST_WORDS": str(tmp_path / "words")})
    child = psutil.Process(ask(loaded, do="start")["pid"])
    runtime, model = loaded
    program = psutil.Process(runtime.processes(model)[0])
    assert child.pid in runtime.processes(model)
    runtime.unload()
    assert (tmp_path / "words").read_text() == "ended in order"
    assert not program.is_running()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_one_that_was_stopped_is_killed(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sired.runtimes.command.process.GRACE_SECONDS", 0.2)
    runtime, model = load()
    (pid,) = runtime.processes(model)
    os.kill(pid, signal.SIGSTOP)  # it cannot even hear that it is to end
    runtime.unload()
    assert not psutil.pid_exists(pid)


def test_its_footprint_is_that_of_the_program_and_grows_with_it(load: Callable[..., Any]) -> None:
    loaded = load(endpoint="/do")
    runtime, model = loaded
    before = runtime.get_memory_footprint(model)
    assert 1 << 20 < before < 1 << 30
    ask(loaded, do="allocate", bytes=20 << 20)
    assert runtime.get_memory_footprint(model) - before > 19 << 20
