"""Requests run together only where they are answered as if each had been alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Show
from tests.home import Home
from tests.waiting import wait_until

CLASSES = """
import torch
from torch.nn import functional

class Training(torch.nn.Module):
    "Normalises over the rows of a batch, as a norm does that was left in training mode."
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        both = torch.cat([x, x * 2])
        return functional.batch_norm(both, None, None, self.weight, training=True)[: len(x)]

class Quantised(Training):
    "Has one scale for all rows, as dynamic quantisation does."
    def forward(self, x):
        step = x.abs().max().clamp(min=1e-9) / 127
        return (x / step).round() * step * self.weight

class Instance(Training):
    "Normalises each row by itself."
    def forward(self, x):
        return functional.instance_norm(x[:, None])[:, 0] * self.weight

class Counting(Training):
    "Keeps state between requests."
    calls = 0
    def forward(self, x):
        self.calls += 1
        return x + self.calls
"""
EQUAL = [[1.0, 2, 3, 4]] * 8
DIFFERENT = [[1.0, 2, 3, 4], [5, 6, 7, 8], [500, 0, 1, -600], [0.001, 0.002, 0, 0]]
BATCHED = ("--batch-size", "8", "--batch-delay", "300ms")


def batch_norm(path: Path) -> None:
    """Write an ONNX graph that subtracts the mean over the batch and adds 7."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Add", ["d", "b"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
    bias = numpy_helper.from_array(np.full(4, 7, np.float32), "b")
    graph = helper.make_graph(nodes, "g", [x], [y], [bias])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def definition(tmp_path: Path) -> Callable[..., Any]:
    """The file and options of a model: an ONNX graph, or one of the classes."""

    def define(name: str) -> list[Any]:
        if name == "onnx":
            batch_norm(tmp_path / "m.onnx")
            return [tmp_path / "m.onnx"]
        (tmp_path / "nets.py").write_text(CLASSES)
        save_file({"weight": np.ones(4, np.float32)}, tmp_path / "m.safetensors")
        kind = f"{tmp_path}/nets.py:{name}"
        return [tmp_path / "m.safetensors", "--class", kind, "--input", "float32[-1,4]"]

    return define


@pytest.fixture
def ask(home: Home, tmp_path: Path) -> Callable[..., Any]:
    """A function that sends rows at once, each in a request of its own."""

    def send(inputs: list[Any]) -> list[list[list[float]]]:
        options = []
        for number, row in enumerate(inputs):
            (tmp_path / f"{number}.json").write_text(json.dumps([row]))
            options += ["-i", tmp_path / f"{number}.json"]
        return [
            json.loads(line) for line in home.sire("predict", "m", *options).stdout.splitlines()
        ]

    return send


@pytest.mark.parametrize("name", ["onnx", "Training", "Quantised", "Instance"])
def test_others_rows_never_change_an_answer_and_what_is_found_is_reported(
    home: Home, definition: Callable[..., Any], ask: Callable[..., Any], name: str
) -> None:
    home.register("m", *definition(name))
    alone = [ask([row])[0] for row in DIFFERENT]
    home.register("m", *definition(name), *BATCHED, "--replace")
    ask(EQUAL)
    np.testing.assert_allclose(ask(DIFFERENT), alone, rtol=1e-4, atol=1e-5)
    shown = home.sire("show", "m").stdout
    if name == "Instance":
        assert b"depend" not in shown
        return
    assert b"depend on the other rows" in shown
    assert b"run alone" in home.sire("logs", "m").stdout
    home.sire("unload", "m")
    assert b"depend on the other rows" in home.sire("show", "m").stdout
    home.register("m", *definition(name), *BATCHED, "--replace")
    assert b"depend on the other rows" not in home.sire("show", "m").stdout


def test_a_model_that_keeps_state_is_found_by_the_same_trial(
    home: Home, definition: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    home.register("m", *definition("Counting"), *BATCHED)
    ask(EQUAL)
    with home.connect() as connection:
        wait_until(lambda: connection.expect(ModelInfo, Show(name="m")).model.alone)
        assert "keeps state" in connection.expect(ModelInfo, Show(name="m")).model.alone


def test_state_between_requests_is_reported_without_batches(home: Home, tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(
        "class Counts:\n    calls = 0\n    def load(self, path): pass\n"
        "    def predict(self, x):\n        self.calls += 1\n        return self.calls\n"
    )
    home.register("m", tmp_path / "counts.py", "--runtime", "python")
    with home.connect() as connection:
        for calls in (1, 2, 3):
            assert json.loads(home.sire("predict", "m", "-i", "-", stdin=b"1").stdout) == calls
        wait_until(lambda: connection.expect(ModelInfo, Show(name="m")).model.notes)
        (note,) = connection.expect(ModelInfo, Show(name="m")).model.notes
        assert "keeps state between requests (calls)" in note
