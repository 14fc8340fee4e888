"""Which answers fit where, and what is said when they do not."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """Two files of the same name in different directories, and one of another name."""
    files = [tmp_path / name for name in ("a/x.json", "b/x.json", "b/y.json")]
    for number, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"[{number}, 0, 0, 0]")
    return files


def predict(
    home: Home, *inputs: Path, to: tuple[Any, ...], code: int = 0
) -> subprocess.CompletedProcess[bytes]:
    given = [word for file in inputs for word in ("-i", file)]
    return home.sire("predict", "m", *given, *to, code=code)


def test_inputs_of_the_same_name_do_not_overwrite_each_other_in_a_directory(
    home: Home, register: Callable[..., Any], inputs: list[Path], tmp_path: Path
) -> None:
    register("m", 2, "Scale")
    done = predict(home, *inputs, to=("-o", f"{tmp_path}/out/"), code=2)
    assert b"out/x.json" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_several_binary_answers_do_not_go_into_one_file(
    home: Home, register: Callable[..., Any], inputs: list[Path], tmp_path: Path
) -> None:
    register("m", 2, "Scale")
    done = predict(home, *inputs[1:], to=("-o", tmp_path / "all.npy"), code=2)
    assert b"-o DIR/" in done.stderr
    assert not (tmp_path / "all.npy").exists()


def test_an_ending_that_no_answer_can_have_is_a_usage_error(
    home: Home, inputs: list[Path], tmp_path: Path
) -> None:
    done = predict(home, inputs[0], to=("-o", tmp_path / "answer.gif"), code=2)
    assert b"--to" in done.stderr
    assert b"json, npy" in predict(home, inputs[0], to=("--to", "gif"), code=2).stderr


def test_a_failure_half_way_leaves_no_file(
    home: Home, register: Callable[..., Any], inputs: list[Path], tmp_path: Path
) -> None:
    register("m", 2, "Scale", "--input", "float32[-1,4]")
    inputs[2].write_text("[1]")
    predict(home, *inputs[1:], to=("-o", tmp_path / "all.json"), code=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_device_is_written_to_and_not_replaced(
    home: Home, register: Callable[..., Any], inputs: list[Path]
) -> None:
    register("m", 2, "Scale")
    predict(home, inputs[0], to=("-o", "/dev/null"))
    with open("/dev/null", "rb") as null:
        assert null.read() == b""


def test_no_binary_data_is_written_to_a_terminal(home: Home, inputs: list[Path]) -> None:
    master, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "sire_cli", "predict", "m", "-i", inputs[0], "--to", "npy"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env=home.environment,
    )
    os.close(terminal)
    os.close(master)
    assert done.returncode == 2
    assert b"-o FILE" in done.stderr


@pytest.mark.parametrize("columns", ["30", "60", "100"])
def test_rows_of_a_table_stay_lines_in_a_narrow_terminal(
    home: Home, register: Callable[..., Any], columns: str
) -> None:
    register("first", 2, "Scale")
    master, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "sire_cli", "ls"],
        stdout=terminal,
        env={**home.environment, "COLUMNS": columns, "TERM": "xterm"},
        check=True,
    )
    os.close(terminal)
    _title, row = os.read(master, 65536).decode().splitlines()
    os.close(master)
    assert row.split()[:2] == ["first", "python"]
    assert len(row) <= int(columns)


def test_the_json_of_a_list_has_every_field_of_every_model(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale")
    (model,) = home.json("ls")
    assert model["model"]["pinned"] is False
    assert model["model"]["keep_alive"] is None
    assert "id" not in model
    assert json.dumps(model)
