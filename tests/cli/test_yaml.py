"""Models said in a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon


@pytest.fixture
def write(zoo: Path, tmp_path: Path) -> Callable[..., Any]:
    def write(text: str) -> Path:
        (tmp_path / "x2.safetensors").write_bytes((zoo / "x2.safetensors").read_bytes())
        file = tmp_path / "model.yaml"
        file.write_text(text)
        return file

    return write


def test_a_model_is_registered_from_a_file_and_its_paths_start_there(
    home: Home, zoo: Path, write: Callable[..., Any]
) -> None:
    file = write(
        "model_id: m\nmodel_path: x2.safetensors\nmodel_type: pytorch\ndevice: cpu\n"
        'batch_size: 4\ninputs: ["float32[-1,4]"]\nmax_memory_mb: 500\nwarmup: false\n'
        f"model_class: {zoo}/classes.py:Scale\n"
        "config:\n  width: 4\n"
    )
    refused = home.sire("register", "--file", file, code=9).stderr.decode()
    assert f"names code that would run: the class '{zoo}/classes.py:Scale'" in refused
    assert "--trust" in refused
    home.sire("register", "--file", file, "--trust")
    model = home.json("show", "m")["model"]
    assert (model["batch_size"], model["max_memory"], model["device"]) == (4, 500_000_000, "cpu")
    assert model["args"] == {"width": 4}
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]").stdout
    assert json.loads(answer) == [[2, 4, 6, 8]]
    for text, said in (
        ("model_id: m\nmodle_path: x", "Did you mean model_path?"),
        ("model_id: m\ntrust: true", "--trust"),
        ("model_path: x", "no name"),
        ("model_id: m\nwarmup: true", "input.json"),
        ("model_id: m\nmax_memory_mb: much", "not a number of megabytes"),
        ("model_id: m\nmax_memory_mb: 1\nmax_memory: 2", "twice"),
        ("model_id: m\nbatch_size: 0", "whole number from 1"),
        ("model_id: m\nconfig: 3", "is not a table"),
        ("model_id: m\ninputs: 3", "not a list of inputs"),
    ):
        refused = _refused(home, write(text))
        assert said in refused
        assert "Traceback" not in refused
    beside = home.sire("register", "--file", file, "--device", "cpu", code=2).stderr
    assert b"--device cannot be combined with --file" in beside


def _refused(home: Home, file: Any) -> str:
    for code in (9, 2):
        try:
            return home.sire("register", "--file", file, code=code).stderr.decode()
        except AssertionError as problem:
            last = problem
    raise last
