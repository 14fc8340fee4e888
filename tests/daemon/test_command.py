"""Models that programs serve, through the whole house: registered, loaded, measured, ended."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sire import ModelManager
from sire.errors import InvalidInput, WorkerCrashed
from tests.contract.runtime_cases import PROGRAM
from tests.home import Home
from tests.processes import has_ended
from tests.waiting import DEADLINE_SECONDS, wait_until

MIB = 1 << 20


@pytest.fixture
def serve(home: Home) -> Callable[..., Any]:
    """Register a program under a name."""

    def _serve(name: str = "m", *options: Any) -> None:
        cmd = PROGRAM + " {port}"
        home.register(name, "--cmd", cmd, "--health", "/health", *options)

    return _serve


def ask(home: Home, name: str = "m", code: int = 0, **operation: Any) -> Any:
    done = home.sire("predict", name, "-i", "-", stdin=json.dumps(operation).encode(), code=code)
    return json.loads(done.stdout) if code == 0 else done.stderr.decode()


def test_a_program_is_registered_loaded_asked_and_unloaded(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    said = ask(home, hello="world")
    assert said["directory"] == os.getcwd()
    program = psutil.Process(said["pid"])
    (instance,) = home.json("ps")
    assert psutil.Process(instance["pid"]) in program.parents()
    assert "serving on" in home.sire("logs", "m").stdout.decode()
    home.sire("unload", "m")
    assert has_ended(program.pid)


def test_what_python_callers_send_comes_back_as_arrays(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve()
    with ModelManager(home=home.path) as manager:
        answer = manager.predict("m", np.ones((2, 4), np.float32))
        assert np.array_equal(answer, np.full((2, 4), 2.0))
        with pytest.raises(InvalidInput, match="422: rows have four numbers"):
            manager.predict("m", np.ones((2, 5), np.float32))


def test_python_callers_register_programs_by_keywords(home: Home) -> None:
    with ModelManager(home=home.path) as manager:
        info = manager.register_model("m", None, cmd=PROGRAM + " {port}", health="/health")
        assert info.model.runtime == "command"
        assert np.array_equal(manager.predict("m", [[1, 2, 3, 4]]), [[2, 4, 6, 8]])


def test_declared_inputs_are_held_against_every_request_and_shown(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--input", "float32[-1,4]")
    assert "float32[-1,4]" in home.sire("show", "m").stdout.decode()
    said = home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3]]", code=10).stderr.decode()
    assert "float32[N, 4]" in said
    done = home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    assert json.loads(done.stdout) == [[2, 4, 6, 8]]


def test_its_memory_is_the_process_trees_and_follows_it(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    ask(home)
    (before,) = home.json("ps")
    ask(home, do="allocate", bytes=50 * MIB)

    def grown() -> bool:
        ask(home)  # what is held is told with an answer
        (now,) = home.json("ps")
        return bool(now["memory_bytes"] - before["memory_bytes"] > 49 * MIB)

    wait_until(grown)


def test_a_program_that_dies_over_a_request_fails_it_and_the_next_finds_a_fresh_one(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    first = ask(home)["pid"]
    said = ask(home, do="die", code=5)
    assert "goodbye, cruel world" in said
    assert "killed by SIGKILL" in said
    assert ask(home)["pid"] != first


def test_a_program_that_dies_idle_is_started_again_when_it_is_wanted(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    first = ask(home)["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not home.json("ps"))
    assert ask(home)["pid"] != first


def test_a_program_that_cannot_start_says_why(home: Home) -> None:
    home.register("m", "--cmd", "sh -c 'echo no such weights; exit 3' {port}")
    said = home.sire("predict", "m", "-i", "-", stdin=b"{}", code=9).stderr.decode()
    assert "exit code 3" in said
    assert "no such weights" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cmd", "serve"], "{port}"),
        (["--cmd", "serve {path} {port}"], "{path}"),
        (["--cmd", "serve {port}", "--batch-size", "4"], "--batch-size"),
        ([], "--cmd"),
    ],
)
def test_what_cannot_be_a_program_is_refused_when_it_is_registered(
    home: Home, options: list[str], says: str
) -> None:
    assert says in home.sire("register", "m", *options, code=9).stderr.decode()


@pytest.mark.own_daemon
def test_nothing_of_it_outlives_a_killed_daemon(home: Home, serve: Callable[..., Any]) -> None:
    serve("m", "--arg", "endpoint=/do")
    program, child = ask(home)["pid"], ask(home, do="start")["pid"]
    os.kill(home.pid(), signal.SIGKILL)
    wait_until(lambda: has_ended(program) and has_ended(child))


@pytest.mark.own_daemon
def test_evicting_it_ends_it_before_its_memory_is_given_away(
    home: Home, serve: Callable[..., Any], register: Callable[..., Any]
) -> None:
    home.configure('[devices.cpu]\nkind = "cpu"\nmemory = "100MiB"\n')
    serve("m", "--arg", "endpoint=/do", "--max-memory", "80MiB")
    program = ask(home)["pid"]
    register("other", 2, "Scale", "--max-memory", "80MiB")
    home.sire("predict", "other", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    assert has_ended(program)


def test_a_crash_is_told_to_python_callers_with_what_was_printed(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    with ModelManager(home=home.path) as manager:
        with pytest.raises(WorkerCrashed, match="goodbye, cruel world"):
            manager.predict("m", {"do": "die"})


def test_a_crash_among_several_fails_those_and_no_others(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do", "--concurrency", "3")
    with ModelManager(home=home.path) as manager:
        operations = [{"do": "wait", "seconds": 600}, {"do": "wait", "seconds": 600}, {"do": "die"}]
        first, second, third = [manager.submit_async("m", operation) for operation in operations]
        fourth = manager.submit_async("m", {"do": "wait", "seconds": 0.01})
        for future in (first, second, third):
            assert isinstance(future.exception(DEADLINE_SECONDS), WorkerCrashed)
        assert fourth.result(DEADLINE_SECONDS)["waited"] == pytest.approx(0.01)


@pytest.mark.own_daemon
def test_stopping_the_daemon_ends_it_in_order(
    home: Home, serve: Callable[..., Any], tmp_path: Path
) -> None:
    words = tmp_path / "words"
    serve("m", "--arg", "endpoint=/do", "--arg", f'env={{"LAST_WORDS": "{words}"}}')
    program = ask(home)["pid"]
    home.sire("daemon", "stop")
    assert words.read_text() == "ended in order"
    assert has_ended(program)


def test_it_ends_although_its_worker_was_killed_and_nobody_looks_after_it(
    home: Home, serve: Callable[..., Any]
) -> None:
    serve("m", "--arg", "endpoint=/do")
    program = psutil.Process(ask(home)["pid"])
    (instance,) = home.json("ps")
    os.kill(home.pid(), signal.SIGSTOP)
    try:
        os.kill(instance["pid"], signal.SIGKILL)
        wait_until(lambda: has_ended(program.pid))
    finally:
        os.kill(home.pid(), signal.SIGCONT)


def test_a_warm_up_is_asked_before_it_is_ready(
    home: Home, serve: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "first.json").write_text("[[1, 2, 3]]")
    serve("m", "--warmup", tmp_path / "first.json")
    assert "422" in home.sire("load", "m", code=10).stderr.decode()
    (tmp_path / "first.json").write_text("[[1, 2, 3, 4]]")
    home.sire("load", "m")
