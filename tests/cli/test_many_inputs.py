"""`sire predict` with many inputs: several run at a time, which only the clock can tell."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Any]:
    """Writes inputs into files of their own; returns them as options, an -i FILE for each."""

    def write(rows: Any) -> list[Any]:
        words = []
        for number, row in enumerate(rows):
            file = tmp_path / f"{number:03}.json"
            file.write_text(row if isinstance(row, str) else json.dumps(row))
            words += ["-i", file]
        return words

    return write


def row(number: int) -> list[list[int]]:
    return [[number, 1, 1, 1]]


def firsts(output: bytes) -> list[float]:
    return [json.loads(line)[0][0] for line in output.splitlines()]


def test_many_answers_come_in_the_order_of_their_inputs(
    home: Home, register: Callable[..., Any], files: Callable[..., Any], tmp_path: Path
) -> None:
    register("m", 2, "Scale", "--input", "float32[-1,4]", "--batch-size", "8")
    words = files(map(row, range(150)))
    expected = [2 * number for number in range(150)]
    assert firsts(home.sire("predict", "m", *words).stdout) == expected
    home.sire("predict", "m", *words, "-o", tmp_path / "all.json")
    assert firsts((tmp_path / "all.json").read_bytes()) == expected
    home.sire("predict", "m", *words, "-o", f"{tmp_path}/out/")
    assert firsts((tmp_path / "out" / "149.json").read_bytes()) == [298]


@pytest.mark.parametrize(
    ("bad", "code"), [("[1, NaN]", 10), ([[1, 0, 0, 0]], 5), ([[2, 0, 0, 0]], 5), ("", 10)]
)
def test_the_first_bad_input_ends_the_command_after_the_answers_before_it(
    home: Home, register: Callable[..., Any], files: Callable[..., Any], bad: Any, code: int
) -> None:
    register("m", 2, "Moody", "--input", "float32[-1,4]")
    words = files([*map(row, range(10, 50)), bad, *map(row, range(50, 90))])
    done = home.sire("predict", "m", *words, code=code)
    assert firsts(done.stdout) == [2 * number for number in range(10, 50)]
    assert done.stderr.count(b"sire: error:") == 1
    wait_until(lambda: home.json("ps") == [] or home.json("ps")[0]["queued"] == 0)


def test_a_missing_file_is_told_after_the_answers_before_it(
    home: Home, register: Callable[..., Any], files: Callable[..., Any]
) -> None:
    register("m")
    words = files(map(row, range(40)))
    done = home.sire("predict", "m", *words, "-i", "nowhere.json", *words[:1], words[1], code=3)
    assert firsts(done.stdout) == [2 * number for number in range(40)]
    assert b"nowhere.json" in done.stderr


def test_stdin_may_be_one_of_many(
    home: Home, register: Callable[..., Any], files: Callable[..., Any]
) -> None:
    register("m")
    words = files(map(row, range(3)))
    done = home.sire("predict", "m", *words, "-i", "-", stdin=b"[[9, 1, 1, 1]]")
    assert firsts(done.stdout) == [0, 2, 4, 18]


@pytest.mark.own_daemon
def test_a_queue_that_is_too_short_fails_no_input(
    home: Home, register: Callable[..., Any], files: Callable[..., Any]
) -> None:
    home.configure("[queue]\nper_model = 1\n")
    register("m")
    done = home.sire("predict", "m", *files(map(row, range(100))))
    assert firsts(done.stdout) == [2 * number for number in range(100)]


def test_the_timeout_is_for_each_of_many_inputs(
    home: Home, register: Callable[..., Any], files: Callable[..., Any]
) -> None:
    register("m", 1, "Moody")
    home.sire("load", "m")
    slow = files([row(-1)] * 5)  # one second each
    assert firsts(home.sire("predict", "m", *slow, "--timeout", "4.5s").stdout) == [-1.0] * 5
    hanging = files([row(10), row(3), row(11)])
    done = home.sire("predict", "m", *hanging, "--timeout", "4s", code=7)
    assert firsts(done.stdout) == [10.0]


def test_an_interrupt_withdraws_whatever_is_under_way(
    home: Home, register: Callable[..., Any], files: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    process = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "predict", "m", *files([row(5)] * 100)],
        env=home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: home.json("ps")[0]["queued"] > 10)
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    gate.open()
    wait_until(lambda: all(one["queued"] == 0 for one in home.json("ps")))


@pytest.mark.own_daemon
def test_a_daemon_that_is_killed_ends_the_command_at_once(
    home: Home, register: Callable[..., Any], files: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    process = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "predict", "m", *files([row(5)] * 100)],
        env=home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: home.json("ps")[0]["queued"] > 10)
    os.kill(home.pid(), signal.SIGKILL)
    assert process.wait(90) == 6
    assert process.stderr is not None
    assert b"went away" in process.stderr.read()


def test_one_input_pays_for_no_pipeline(
    home: Home, register: Callable[..., Any], files: Callable[..., Any]
) -> None:
    register("m")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sire_cli", "predict", "m", *files([row(1)])],
        env=home.environment,
        capture_output=True,
        check=True,
    )
    assert b"sire.client.connection" in done.stderr
    assert b"sire.client.pipeline.pipeline" not in done.stderr
