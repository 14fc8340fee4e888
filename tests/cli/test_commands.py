"""The command line as a user meets it: answers, words, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until


@pytest.mark.own_daemon
def test_a_model_is_registered_used_shown_and_removed(
    home: Home, register_torch: Callable[..., Any]
) -> None:
    register_torch("m", 3)
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4.5]]")
    assert json.loads(answer.stdout) == [[3, 6, 9, 13.5]]
    assert answer.stderr == b""
    (model,) = home.json("ls")
    assert (model["model"]["name"], model["state"]) == ("m", "ready")
    (instance,) = home.json("ps")
    assert instance["model"] == "m"
    assert instance["memory_bytes"] > 1_000_000
    assert home.json("stats", "m")["inference_count"] == 1
    assert home.json("show", "m")["model"]["format"] == "safetensors"
    assert home.json("devices")["devices"][0]["name"] == "cpu"
    assert home.json("health")["status"] in {"ok", "starting"}
    assert home.json("top", "--once")["stats"]["totals"]["loads"] == 1
    for table in ("ls", "ps", "stats", "devices", "health", "config"):
        assert b"\x1b" not in home.sire(table).stdout
    home.sire("rm", "m")
    assert home.json("ls") == []


def test_load_unload_and_reload(home: Home, register: Callable[..., Any], new_name: str) -> None:
    register(new_name)
    home.sire("load", new_name, "--device", "cpu")
    (first,) = home.json("ps")
    home.sire("reload", new_name)
    (second,) = home.json("ps")
    assert first["pid"] != second["pid"]
    home.sire("unload", new_name)
    assert home.json("ps") == []
    assert home.json("stats", new_name)["loads"] == 2


def test_several_inputs_are_answered_in_order_to_lines_files_and_directories(
    home: Home, register: Callable[..., Any], tmp_path: Path
) -> None:
    register("m", 2)
    for number in (1, 2):
        (tmp_path / f"in{number}.json").write_text(f"[{number}, 0, 0, 0]")
    np.save(tmp_path / "in3.npy", np.full(4, 3, np.float32))
    inputs = [word for n in ("in1.json", "in2.json", "in3.npy") for word in ("-i", tmp_path / n)]
    lines = home.sire("predict", "m", *inputs).stdout.splitlines()
    assert [json.loads(line)[0] for line in lines] == [2, 4, 6]
    home.sire("predict", "m", *inputs, "-o", f"{tmp_path}/out/", "--to", "npy")
    assert np.load(tmp_path / "out" / "in2.npy").tolist() == [4, 0, 0, 0]
    home.sire("predict", "m", *inputs, "-o", tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().startswith("2.0\n0.0\n")


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("nan.json", b"[NaN]", 10, "not valid JSON"),
        ("empty.json", b"", 10, "is empty"),
        ("ragged.json", b"[[1], [2, 3]]", 10, "not equally long"),
        ("broken.png", b"\x89PNG\r\n\x1a\nxxx", 10, "cannot be read as PNG"),
        ("wrong.npy", b"\x93NUMPYxx", 10, "cannot be read as npy"),
        ("shape.json", b"[[1, 2, 3]]", 10, "float32[N, 4]"),
        ("words.json", b'"words"', 10, "float32[N, 4]"),
        ("fine.json", b"[[1, 2, 3, 4]]", 0, ""),
    ],
)
def test_bad_input_is_exit_code_10_and_one_clear_line(
    home: Home,
    register: Callable[..., Any],
    tmp_path: Path,
    name: str,
    content: bytes,
    code: int,
    said: str,
) -> None:
    register("m", 2, "Scale", "--input", "float32[-1,4]")
    (tmp_path / name).write_bytes(content)
    done = home.sire("predict", "m", "-i", tmp_path / name, code=code)
    assert said in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert done.stderr.count(b"\n") <= 2


@pytest.mark.own_daemon
def test_every_kind_of_failure_has_its_exit_code(
    home: Home, register: Callable[..., Any], zoo: Path, tmp_path: Path, gate: Gate
) -> None:
    register("m", 2, "Moody")
    predict = ("predict", "m", "-i", "-")
    home.sire("predict", "nobody", "-i", "-", stdin=b"[1]", code=3)
    home.sire("predict", "m", "-i", tmp_path / "missing.json", code=3)
    home.sire("predict", "m", "-i", tmp_path, code=10)
    home.sire("load", "m", "--device", "cuda:9", code=3)
    home.sire(*predict, stdin=b"[1, 0, 0, 0]", code=5)
    home.sire(*predict, stdin=b"[2, 0, 0, 0]", code=5)
    home.sire(*predict, "--timeout", "200ms", stdin=b"[5, 0, 0, 0]", code=7)
    home.sire("predict", "m", code=2)
    home.sire("frobnicate", code=2)
    home.sire("predict", "m", "-i", "-", "--to", "poem", stdin=b"[1]", code=2)
    named = f"{zoo}/classes.py:Scale"
    home.sire("register", "m", zoo / "x1.safetensors", "--class", named, code=9)  # it is there
    home.sire("register", "n", zoo / "x1.safetensors", code=9)  # no class
    (zoo / "notes.txt").write_text("no model")
    home.sire("register", "n", zoo / "notes.txt", code=9)
    home.sire("register", "n", tmp_path / "missing", code=3)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    options = ("--class", f"{zoo}/classes.py:Scale")
    refused = home.sire("register", "pickled", tmp_path / "module.pt", *options, code=9)
    assert b"--trust" in refused.stderr
    with zipfile.ZipFile(tmp_path / "program.pt2", "w") as program:
        program.writestr("program/archive_format", "pt2")
    refused = home.sire("register", "program", tmp_path / "program.pt2", code=9)
    assert b"--trust" in refused.stderr
    home.sire("register", "program", tmp_path / "program.pt2", "--trust")
    home.sire("register", "huge", zoo / "x1.safetensors", *options, "--max-memory", "900TiB")
    too_large = home.sire("load", "huge", code=4)
    assert b"900 TiB" in too_large.stderr
    home.sire("daemon", "stop")
    home.sire("ls", "--no-autostart", code=6)
    home.sire("ls", env={"SIRE_NO_AUTOSTART": "1"}, code=6)


@pytest.mark.own_daemon
def test_any_command_starts_the_daemon_and_two_at_once_both_succeed(home: Home) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "sire_cli", "ls", "--json"],
            env=home.environment,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    assert [process.communicate(timeout=90)[0] for process in running] == [b"[]\n"] * 4
    assert [process.returncode for process in running] == [0] * 4


@pytest.mark.own_daemon
def test_registered_models_survive_a_killed_daemon(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    home.sire("load", "m")
    os.kill(home.pid(), signal.SIGKILL)
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[1, 1, 1, 1]")
    assert json.loads(answer.stdout) == [2, 2, 2, 2]


@pytest.mark.own_daemon
def test_a_damaged_registry_file_is_told_by_name_and_stops_nothing(
    home: Home, register: Callable[..., Any]
) -> None:
    register("good")
    register("bad")
    home.sire("daemon", "stop")
    (home.paths.models / "bad.toml").write_text("path = ")
    assert b"bad.toml" in home.sire("ls").stderr
    home.sire("load", "good")
    assert b"damaged" in home.sire("load", "bad", code=3).stderr


@pytest.mark.own_daemon
def test_the_daemon_is_started_stopped_and_restarted_by_hand(home: Home) -> None:
    home.sire("daemon", "status", code=6)
    home.sire("daemon", "start")
    first = home.pid()
    assert home.json("daemon", "status")["pid"] == first
    home.sire("daemon", "restart")
    assert home.pid() != first
    assert b"is ready" in home.sire("daemon", "logs").stdout
    home.sire("daemon", "stop")
    assert not home.paths.socket.exists()
    home.sire("daemon", "stop")


@pytest.mark.own_daemon
def test_a_hangup_reads_the_configuration_again(home: Home) -> None:
    home.sire("daemon", "start")
    home.configure('[defaults]\ntimeout = "7s"\n')
    os.kill(home.pid(), signal.SIGHUP)
    wait_until(lambda: b"7s" in home.sire("config").stdout)
    home.configure("nonsense")
    os.kill(home.pid(), signal.SIGHUP)
    assert b"7s" in home.sire("config").stdout


@pytest.mark.own_daemon
def test_a_wrong_configuration_says_what_and_where(home: Home) -> None:
    home.configure("[placement]\nstratgey = 'spread'\n")
    done = home.sire("ls", code=6)
    assert b"placement.strategy" in done.stderr
    home.configure("[placement]\nstrategy = 'sprad'\n")
    assert b"spread" in home.sire("ls", code=6).stderr
    home.configure("[placement]\neviction = 'lfu'\n")
    assert b"There are: cost, lru." in home.sire("ls", code=6).stderr


def test_an_interrupt_is_exit_code_130_and_withdraws_the_request(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    process = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "predict", "m", "-i", "-"],
        env=home.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"[5, 0, 0, 0]")
    process.stdin.close()
    wait_until(lambda: home.json("ps")[0]["state"] == "busy")
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130
    assert b"Traceback" not in process.stderr.read()


def test_logs_hold_what_the_model_printed(home: Home, register: Callable[..., Any]) -> None:
    register("m", 2, "Moody")
    home.sire("predict", "m", "-i", "-", stdin=b"[2, 0, 0, 0]", code=5)
    assert b"about to go" in home.sire("logs", "m").stdout
    assert home.sire("logs", "m", "-n", "1").stdout.count(b"\n") == 1
    home.sire("logs", "nobody", code=3)


def test_debug_shows_the_traceback_and_nothing_else_does(home: Home) -> None:
    assert b"Traceback" not in home.sire("show", "nobody", code=3).stderr
    assert b"Traceback" in home.sire("--debug", "show", "nobody", code=3).stderr


def test_what_the_reader_does_not_want_is_no_error(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    line = f"{sys.executable} -m sire_cli ls | head -n 0"
    done = subprocess.run(line, shell=True, env=home.environment, capture_output=True)  # noqa: S602
    assert done.stderr == b""


def test_systemd_units_are_written_and_removed(home: Home, tmp_path: Path) -> None:
    where = {"XDG_CONFIG_HOME": str(tmp_path), "PATH": "/nowhere"}
    home.sire("daemon", "install", env=where)
    service = (tmp_path / "systemd" / "user" / "sired.service").read_text()
    assert "Type=notify" in service
    assert "Requires=sired.socket" in service
    # With either of these, nvidia-modprobe cannot make the device files of a GPU after a boot.
    assert not re.search("NoNewPrivileges|Restrict|LockPersonality", service)
    assert f"{sys.executable} -P -m sired" in service
    listens = (tmp_path / "systemd" / "user" / "sired.socket").read_text()
    assert "ListenStream=%t/sire/sired.sock" in listens
    home.sire("daemon", "uninstall", env=where)
    assert not list((tmp_path / "systemd" / "user").iterdir())
