"""What commands report: exit codes, messages, and where things are."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.client.autostart import daemon_runs
from sire.paths import find_paths
from tests.contract.tiny_graphs import write_graph
from tests.home import Home


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    file = tmp_path / "x.json"
    file.write_text("[1, 2, 3, 4]")
    return file


@pytest.mark.parametrize("arguments", [("-o", "/dev/full"), ("-o", "/proc/self/answer"), ()])
def test_output_that_cannot_be_written_has_an_exit_code_of_its_own(
    home: Home, register: Callable[..., Any], answer: Path, arguments: tuple[Any, ...]
) -> None:
    register("m", 2)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sire_cli", "predict", "m", "-i", answer, *arguments],
            env=home.environment,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 11
    assert done.stderr.startswith(b"sire: error: Cannot write")
    assert done.stderr.count(b"\n") == 1


def test_every_command_reports_a_full_disk_behind_its_output(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    for command in (["ls"], ["show", "m"], ["ls", "--json"], ["metrics"], ["devices"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "sire_cli", *command],
                env=home.environment,
                stdout=full,
                stderr=subprocess.PIPE,
            )
        assert (done.returncode, done.stderr) == (
            11,
            b"sire: error: Cannot write the output: No space left on device.\n",
        ), command


def test_the_result_of_a_job_is_kept_if_it_cannot_be_written(
    home: Home, register: Callable[..., Any], answer: Path
) -> None:
    register("m", 2)
    job = home.sire("submit", "m", "-i", answer).stdout.decode().strip()
    home.sire("job", "wait", job)
    home.sire("job", "result", job, "-o", "/dev/full", code=11)
    assert json.loads(home.sire("job", "result", job).stdout) == [2, 4, 6, 8]


def test_a_model_that_exists_already_has_the_exit_code_of_models(
    home: Home, register: Callable[..., Any], zoo: Path
) -> None:
    register("m", 2)
    given = (zoo / "x2.safetensors", "--class", f"{zoo}/classes.py:Scale")
    done = home.sire("register", "m", *given, code=9)
    assert b"already registered" in done.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("register", "m", "x", "--device", "cpu", "--device", "cuda:0"), "--device"),
        (("predict", "m", "-i", "x", "-o", "a", "--output", "b"), "--output"),
        (("job", "ls", "--limit=1", "-n", "2"), "--limit"),
    ],
)
def test_an_option_with_one_value_is_given_once(
    home: Home, command: tuple[str, ...], option: str
) -> None:
    done = home.sire(*command, code=2)
    assert done.stderr.startswith(
        f"sire: error: {option} must be given at most once (got 2 times).".encode()
    )


def test_a_model_s_priority_holds_for_its_jobs(
    home: Home, register: Callable[..., Any], answer: Path
) -> None:
    register("m", 2, "Scale", "--priority", "low")
    job = home.sire("submit", "m", "-i", answer).stdout.decode().strip()
    other = home.sire("submit", "m", "-i", answer, "--priority", "high").stdout.decode().strip()
    assert home.json("job", "show", job)["job"]["priority"] == "low"
    assert home.json("job", "show", other)["job"]["priority"] == "high"


def test_a_relative_home_is_that_of_the_caller_s_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "SIRE_HOME": "own"}
    paths = find_paths({"SIRE_HOME": str(tmp_path / "own")})

    def sire(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sire_cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert sire("ls").returncode == 0
    try:
        assert daemon_runs(paths)
        status = sire("daemon", "status").stdout.split()
        assert status[status.index("PID") + 1] == paths.lock.read_text().strip()
    finally:
        assert sire("daemon", "stop").returncode == 0
    assert not daemon_runs(paths)


def test_names_as_other_libraries_write_them_can_be_used(home: Home, zoo: Path) -> None:
    names = ["llama3.2:3b", "org/Model-7B", "org/model:q4_K_M"]
    for name in names:
        home.register(name, zoo / "x2.safetensors", "--class", f"{zoo}/classes.py:Scale")
        answer = home.sire("predict", name, "-i", "-", stdin=b"[1, 2, 3, 4]").stdout
        assert json.loads(answer) == [2, 4, 6, 8]
        home.sire("logs", name)
    assert [one["model"]["name"] for one in home.json("ls")] == sorted(names)
    home.sire("rm", "org/Model-7B")
    assert [one["model"]["name"] for one in home.json("ls")] == ["llama3.2:3b", "org/model:q4_K_M"]
    for bad in ("a//b", "../a", "a/../b", "/a", "a/", "a b", "é", ":a"):
        assert b"is not a valid model name" in home.sire("rm", bad, code=9).stderr


def test_inputs_and_outputs_of_an_onnx_model_are_known_before_it_is_loaded(
    home: Home, tmp_path: Path
) -> None:
    inputs = {"x": "float32[n,2]"}
    write_graph(tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], inputs, {"y": "float32[n,2]"})
    home.register("m", tmp_path / "m.onnx")
    shown = home.sire("show", "m").stdout.decode()
    assert "x:float32[-1,2]" in shown
    assert "y:float32[-1,2]" in shown
    assert home.json("ps") == []
    inputs["w"] = "float32[n,2]"
    write_graph(tmp_path / "n.onnx", [("Add", ["x", "w"], ["y"])], inputs, {"y": "float32[n,2]"})
    done = home.sire("register", "n", tmp_path / "n.onnx", "--input", "x:float32[-1,2]", code=9)
    assert b"but the model takes x:float32[-1,2], w:float32[-1,2]" in done.stderr
    fixed = {"x": "float32[3,2]"}
    write_graph(tmp_path / "f.onnx", [("Identity", ["x"], ["y"])], fixed, {"y": "float32[3,2]"})
    done = home.sire("register", "f", tmp_path / "f.onnx", "--batch-size", "8", code=9)
    assert b"cannot run in batches" in done.stderr
