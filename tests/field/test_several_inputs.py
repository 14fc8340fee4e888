"""Models with a signal and settings: constants, named files, and signatures that fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.contract.tiny_graphs import write_graph
from tests.home import Home


@pytest.fixture
def gain(tmp_path: Path) -> Path:
    write_graph(
        tmp_path / "g.onnx",
        [("Mul", ["x", "gain"], ["y"]), ("Add", ["y", "zero"], ["z"])],
        {"x": "float32[n]", "gain": "float32[k]"},
        {"z": "float32[n]"},
        [numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )
    (tmp_path / "x.json").write_text("[1.5, 2]")
    np.save(tmp_path / "gain.npy", np.array([4.0]))
    return tmp_path


def test_named_inputs_are_one_request(home: Home, gain: Path) -> None:
    home.register("g", gain / "g.onnx", "--input", "gain:float32[1]=3")

    def ask(*arguments: Any, **options: Any) -> list[float]:
        numbers: list[float] = json.loads(home.sire("predict", "g", *arguments, **options).stdout)
        return numbers

    assert ask("-i", gain / "x.json") == [4.5, 6]
    assert ask("-i", f"x={gain}/x.json") == [4.5, 6]
    assert ask("-i", f"x={gain}/x.json", "-i", "gain=[10]") == [15, 20]
    assert ask("-i", f"x={gain}/x.json", "-i", f"gain={gain}/gain.npy") == [6, 8]
    assert ask("-i", "x=-", "-i", "gain=[2]", stdin=b"[1]") == [2]
    assert b"gain:float32[1]=3" in home.sire("show", "g").stdout
    job = home.sire("submit", "g", "-i", "x=[1]", "-i", "gain=[5]").stdout.decode().strip()
    home.sire("job", "wait", job)
    assert json.loads(home.sire("job", "result", job).stdout) == [5]
    for wrong, code in (
        (["-i", "x=[1]", "-i", gain / "x.json"], 2),
        (["-i", "x=[1]", "-i", "x=[1]"], 2),
        (["-i", "x=[1]", "-i", "gian=[1]"], 10),
        (["-i", f"x={gain}/nothing.json"], 3),
    ):
        home.sire("predict", "g", *wrong, code=code)


def test_a_file_whose_name_has_an_equals_sign_is_a_file(
    home: Home, echo: Callable[..., Any], gain: Path
) -> None:
    (gain / "x=1.json").write_text("[7]")
    assert echo("-i", gain / "x=1.json") == [7]


def test_a_signature_with_missing_inputs_is_rejected_when_it_is_registered(
    home: Home, gain: Path
) -> None:
    declared = ("register", "g", gain / "g.onnx", "--input", "x:float32[-1]")
    error = home.sire(*declared, code=9).stderr.decode()
    assert "the model takes x:float32[-1], gain:float32[-1]" in error
    assert "gain:float32[]=3" in error
    home.sire(*declared, "--input", "gain:float32[1]=3")
    assert json.loads(home.sire("predict", "g", "-i", "-", stdin=b"[1, 2]").stdout) == [3, 6]


def test_an_image_and_a_table_reach_the_inputs_that_they_are_for(
    home: Home, tmp_path: Path
) -> None:
    write_graph(
        tmp_path / "m.onnx",
        [("Identity", ["city"], ["where"]), ("Add", ["price", "price"], ["twice"])],
        {"city": "string[n,1]", "price": "float32[n]"},
        {"where": "string[n,1]", "twice": "float32[n]"},
    )
    (tmp_path / "t.csv").write_text("price,city\n1.5,Paris\n2,Lyon\n")
    home.register("m", tmp_path / "m.onnx")
    answer = json.loads(home.sire("predict", "m", "-i", tmp_path / "t.csv").stdout)
    assert answer == {"where": [["Paris"], ["Lyon"]], "twice": [3, 4]}
    write_graph(
        tmp_path / "p.onnx",
        [("Mul", ["image", "scale"], ["y"])],
        {"scale": "float32[k]", "image": "float32[n,3,h,w]"},
        {"y": "float32[n,3,h,w]"},
    )
    Image.new("RGB", (2, 1), (255, 0, 51)).save(tmp_path / "p.png")
    home.register("p", tmp_path / "p.onnx", "--input", "scale:float32[1]=2")
    answer = json.loads(home.sire("predict", "p", "-i", tmp_path / "p.png").stdout)
    assert np.allclose(answer, [[[[2.0, 2.0]], [[0.0, 0.0]], [[0.4, 0.4]]]])
