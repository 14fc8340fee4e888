"""What sire knows about the memory of models is true, whichever file or device they share."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sire.errors import SireError
from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load, Predict
from tests.home import Home
from tests.waiting import wait_until

MIB = 1 << 20
CLASSES = """
import time
from pathlib import Path
import numpy as np

class Small:
    def load(self, path): pass
    def predict(self, data): return 1

class Big:
    def __init__(self, mb=100): self.mb = mb
    def estimate(self, path): return self.mb << 20
    def load(self, path): self.a = np.ones(self.mb << 17)
    def predict(self, data): return float(self.a.sum())

class Grows:
    def load(self, path): pass
    def predict(self, data): return float(np.ones(int(data) << 17).sum())

class Slow:
    def load(self, path): pass
    def predict(self, data):
        time.sleep(0.2)
        return 1
"""
LIMITED = pytest.mark.settings('[devices.cpu]\nmemory = "240MiB"\n')


@pytest.fixture
def classes(tmp_path: Path) -> Callable[..., Any]:
    path = tmp_path / "classes.py"
    path.write_text(CLASSES)

    def register(home: Home, name: str, kind: str, *options: str) -> None:
        home.register(name, path, "--runtime", "python", "--class", f"{path}:{kind}", *options)

    return register


def ask(home: Home, name: str, value: Any) -> Any:
    with home.connect() as connection:
        _, frames = connection.ask(Predict(model=name), [json.dumps(value).encode()])
    return json.loads(bytes(frames[0]))


def footprint(home: Home, name: str) -> tuple[int, str]:
    shown = home.json("show", name)
    return shown["footprint_bytes"], shown["footprint_source"]


@LIMITED
def test_classes_and_arguments_over_one_file_have_their_own_needs(
    home: Home, classes: Callable[..., Any]
) -> None:
    classes(home, "small", "Small")
    ask(home, "small", 1)
    home.sire("unload", "small")
    assert footprint(home, "small")[1] == "learned"
    names = [f"big{mb}" for mb in (100, 101, 102)]
    for mb, name in zip((100, 101, 102), names, strict=True):
        classes(home, name, "Big", "--arg", f"mb={mb}")
        need, source = footprint(home, name)
        assert source == "estimated"
        assert mb * MIB <= need <= (mb + 40) * MIB
    failures = []

    def run(name: str) -> None:
        try:
            for _ in range(5):
                assert ask(home, name, 1) == float(int(name[3:]) << 17)
        except (AssertionError, SireError) as problem:
            failures.append(problem)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    device = home.json("devices")["devices"][0]
    assert device["used_bytes"] <= device["capacity_bytes"]
    home.sire("unload", names[0])
    assert footprint(home, names[0])[1] == "learned"


@LIMITED
def test_a_model_is_not_refused_for_what_a_trial_of_sire_took(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _write_outer_product(path)
    home.register("m", path)
    row = np.ones((1, 512), np.float32).tolist()
    needs = []
    for _ in range(2):
        assert np.ravel(ask(home, "m", row)) == pytest.approx([512 * 512 * 60])
        home.sire("unload", "m")
        needs.append(footprint(home, "m")[0])
    # One row takes twice 60 MiB; the trial has three rows.
    assert max(needs) < 180 * MIB
    assert needs[1] == pytest.approx(needs[0], rel=0.1)


def _write_outer_product(path: Path) -> None:
    """[N,512] to the sum of an outer product that takes 60 MiB for each row."""
    value, node = helper.make_tensor_value_info, helper.make_node
    nodes = [
        node("Unsqueeze", ["x", "a2"], ["c"]),
        node("Unsqueeze", ["x", "a1"], ["r"]),
        node("Mul", ["c", "r"], ["o"]),
        node("Unsqueeze", ["o", "a3"], ["p"]),
        node("Mul", ["p", "k"], ["q"]),
        node("ReduceSum", ["q", "ax"], ["y"], keepdims=0),
    ]
    constants = {
        "a2": np.array([2]),
        "a1": np.array([1]),
        "a3": np.array([3]),
        "k": np.ones((1, 1, 1, 60), np.float32),
        "ax": np.array([1, 2, 3]),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["N", 512])],
        [value("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


@LIMITED
def test_a_model_that_answered_with_more_than_the_device_has_is_loaded_there_again(
    home: Home, classes: Callable[..., Any]
) -> None:
    classes(home, "grows", "Grows")
    assert ask(home, "grows", 300) == float(300 << 17)
    home.sire("unload", "grows")
    assert footprint(home, "grows") == (240 * MIB, "learned")
    assert ask(home, "grows", 1) == float(1 << 17)


@LIMITED
def test_replace_and_a_declaration_override_what_was_learned(
    home: Home, classes: Callable[..., Any]
) -> None:
    classes(home, "grows", "Grows")
    ask(home, "grows", 150)
    home.sire("unload", "grows")
    assert footprint(home, "grows")[1] == "learned"
    classes(home, "grows", "Grows", "--replace", "--max-memory", "50MiB")
    assert footprint(home, "grows") == (50 * MIB, "declared")
    classes(home, "grows", "Grows", "--replace")
    assert footprint(home, "grows")[1] == "estimated"


def test_a_peak_above_the_declaration_is_reported_and_reserved(
    home: Home, classes: Callable[..., Any]
) -> None:
    classes(home, "grows", "Grows", "--max-memory", "50MiB")
    assert ask(home, "grows", 100) == float(100 << 17)
    problems = home.json("health")["problems"]
    assert any("grows took" in one and "its max_memory of 50 MiB" in one for one in problems)
    home.sire("unload", "grows")
    need, source = footprint(home, "grows")
    assert source == "learned"
    assert need > 100 * MIB


def test_a_declaration_limits_the_process(home: Home, classes: Callable[..., Any]) -> None:
    classes(home, "grows", "Grows", "--max-memory", "50MiB")
    failed = home.sire("predict", "grows", "-i", "-", stdin=b"2000", code=4).stderr.decode()
    assert "grows ran out of memory" in failed
    assert ask(home, "grows", 10) == float(10 << 17)


@pytest.mark.own_daemon
def test_the_first_load_of_a_daemon_does_not_count_the_wait_for_the_fork_server(
    home: Home, classes: Callable[..., Any]
) -> None:
    classes(home, "slow", "Slow", "--instances", "1..2")
    with home.connect() as connection:
        began = time.monotonic()
        loaded = connection.expect(InstanceInfo, Load(name="slow"))
        waited = time.monotonic() - began
        assert loaded.load_seconds is not None
        assert loaded.load_seconds < waited / 2
    threads = [threading.Thread(target=ask, args=(home, "slow", 1)) for _ in range(24)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(home.json("ps")) == 2)
    for thread in threads:
        thread.join()
