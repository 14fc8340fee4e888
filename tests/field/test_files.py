"""What happens to a model's files while it is loaded, and between its loads."""

import json
import os
import shutil
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from sire.protocol.requests import Predict
from tests.contract import tiny_models
from tests.contract.tiny_graphs import write_graph
from tests.home import Home
from tests.waiting import wait_until

SIZE = 1 << 20
CLASSES = """
import numpy as np
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1 << 20))

    def forward(self, x):
        return self.w[::65537].double().sum() * x

class Mapped:
    def load(self, path):
        self.array = np.memmap(path, np.float32, "r")

    def predict(self, data):
        return np.float64(self.array[::65537].astype(np.float64).sum()) * data
"""


def weights(seed: int) -> "torch.Tensor":
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


def truth(seed: int) -> float:
    return float(weights(seed)[::65537].double().sum())


def write_safetensors(path: Path, seed: int) -> None:
    # The headers differ in length, so that a mixture is garbage.
    save_file({"w": weights(seed)}, path, metadata={"note": "x" * seed * 40})


def write_pt(path: Path, seed: int) -> None:
    torch.save({"w": weights(seed)}, path)


def write_raw(path: Path, seed: int) -> None:
    weights(seed).numpy().tofile(path)


def write_onnx(path: Path, seed: int) -> None:
    """A graph whose weights are in a file of their own, which is written last."""
    value = helper.make_tensor_value_info
    data = numpy_helper.from_array(weights(seed)[::65537].double().numpy(), "w")
    big = numpy_helper.from_array(weights(seed).numpy(), "b")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["w"], ["s"], keepdims=0),
            helper.make_node("Mul", ["s", "x"], ["y"]),
            helper.make_node("ReduceSum", ["b"], ["all"], keepdims=0),
        ],
        "g",
        [value("x", TensorProto.DOUBLE, [1])],
        [value("y", TensorProto.DOUBLE, [1]), value("all", TensorProto.FLOAT, [])],
        [data, big],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)


KINDS = {
    "safetensors": ("m.safetensors", "m.safetensors", write_safetensors, "Net", ()),
    "torch.save": ("m.pt", "m.pt", write_pt, "Net", ()),
    "numpy": ("m.raw", "m.raw", write_raw, "Mapped", ("--runtime", "python")),
    "onnx": ("m.onnx", "w.bin", write_onnx, None, ()),
}


def ask(home: Home, name: str, body: bytes) -> Any:
    with home.connect() as connection:
        _, frames = connection.ask(Predict(model=name), [body])
    return json.loads(bytes(frames[0]))


class Registered:
    """A model of one kind in a directory, with a copy of its next version beside it."""

    def __init__(self, home: Home, directory: Path, kind: str) -> None:
        name, self.weights, self._write, class_name, options = KINDS[kind]
        (directory / "classes.py").write_text(CLASSES)
        (directory / "next").mkdir()
        self._home, self.directory = home, directory
        self.path = directory / name
        self._write(self.path, 1)
        self._write(directory / "next" / name, 2)
        class_option = ("--class", f"{directory}/classes.py:{class_name}") if class_name else ()
        home.register("m", self.path, *class_option, *options)

    def answer(self) -> Any:
        found = ask(self._home, "m", b"[1.0]")
        return found["y"][0] if isinstance(found, dict) else np.ravel(found)[0]

    def overwrite(self) -> None:
        """Write the next version over the files, byte by byte, as ``cp`` does."""
        for file in (self.directory / "next").iterdir():
            shutil.copyfile(file, self.directory / file.name)

    def restore(self) -> None:
        self._write(self.path, 1)


@pytest.fixture(params=list(KINDS))
def registered(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Registered:
    return Registered(home, tmp_path, request.param)


def test_a_loaded_model_answers_as_before_while_its_files_are_overwritten_and_truncated(
    home: Home, registered: Registered
) -> None:
    assert registered.answer() == pytest.approx(truth(1), rel=1e-6)
    registered.overwrite()
    assert registered.answer() == pytest.approx(truth(1), rel=1e-6)
    assert str(registered.directory / registered.weights) in home.json("show", "m")["changed_files"]
    os.truncate(registered.directory / registered.weights, 100)
    assert registered.answer() == pytest.approx(truth(1), rel=1e-6)

    registered.overwrite()
    loaded = home.sire("reload", "m")
    assert f"{registered.weights} has changed since m was registered" in loaded.stderr.decode()
    assert registered.answer() == pytest.approx(truth(2), rel=1e-6)
    shown = home.json("show", "m")
    assert shown["changed_files"] == []
    assert shown["files_taken_anew_at"] > shown["model"]["registered_at"]


def test_files_that_another_process_has_open_for_writing_are_copied(
    home: Home, registered: Registered
) -> None:
    with (registered.directory / registered.weights).open("r+b") as file:
        assert registered.answer() == pytest.approx(truth(1), rel=1e-6)
        file.truncate(0)
        file.flush()
        assert registered.answer() == pytest.approx(truth(1), rel=1e-6)
    registered.restore()


def test_a_load_waits_for_a_copy_under_way(home: Home, registered: Registered) -> None:
    target = registered.directory / registered.weights
    content = (registered.directory / "next" / registered.weights).read_bytes()
    if registered.path != target:
        shutil.copyfile(registered.directory / "next" / registered.path.name, registered.path)
    answers = []
    with target.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        asking = threading.Thread(target=lambda: answers.append(registered.answer()))
        asking.start()
        wait_until(lambda: home.json("ps"))  # its load has begun
        file.write(content[len(content) // 2 :])
    asking.join()
    assert answers == [pytest.approx(truth(2), rel=1e-6)]


def test_a_file_that_stays_half_copied_is_named(home: Home, tmp_path: Path) -> None:
    registered = Registered(home, tmp_path, "safetensors")
    content = registered.path.read_bytes()
    registered.path.write_bytes(content[: len(content) // 2])
    failed = home.sire("predict", "m", "-i", "-", stdin=b"[1.0]", code=9).stderr.decode()
    assert str(registered.path) in failed
    assert "truncated" in failed


def test_external_data_that_is_cut_short_is_named(home: Home, tmp_path: Path) -> None:
    write_onnx(tmp_path / "m.onnx", 1)
    home.register("m", tmp_path / "m.onnx")
    os.truncate(tmp_path / "w.bin", 1000)
    for command in (("load", "m"), ("register", "n", tmp_path / "m.onnx")):
        refused = home.sire(*command, code=9).stderr.decode()
        assert f"{tmp_path}/w.bin is truncated: m.onnx has weights in its first" in refused
        assert "and it has 1000." in refused


def test_shards_of_a_directory(home: Home, tmp_path: Path) -> None:
    for name, factor in (("m", 1), ("n", 3)):
        _classifier(tmp_path / name, factor)
    model = shutil.copytree(tmp_path / "m", tmp_path / "used")
    assert len(list(model.glob("*.safetensors"))) > 1
    home.register("m", model)
    home.register("n", tmp_path / "n")

    def answer(name: str) -> Any:
        return ask(home, name, b'"some words"')

    expected = {name: answer(name) for name in ("m", "n")}
    assert expected["m"] != expected["n"]
    for file in sorted((tmp_path / "n").iterdir()):
        shutil.copyfile(file, model / file.name)
        assert answer("m") == expected["m"]
    home.sire("unload", "m")
    assert answer("m") == expected["n"]


def _classifier(directory: Path, factor: int) -> None:
    """A tiny classifier in several files; its weights are multiplied by ``factor``."""
    tiny_models.text_classifier(directory)
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(directory)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="20KB")


PROGRAM = """
import mmap, struct, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

with open(sys.argv[2], "rb") as file:
    WEIGHTS = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"%.1f" % struct.unpack("d", WEIGHTS[-8:])[0])

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_program_that_has_mapped_its_file_is_started_again_when_that_changes(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "serve.py").write_text(PROGRAM)
    path = tmp_path / "weights"
    path.write_bytes(bytes(100_000) + struct.pack("d", 1.0))
    command = f"{sys.executable} {tmp_path}/serve.py {{port}} {{path}}"
    home.register("p", path, "--cmd", command, "--health", "/health")
    assert ask(home, "p", b"[1]") == 1.0
    (first,) = home.json("ps")
    path.write_bytes(bytes(10) + struct.pack("d", 2.0))
    wait_until(lambda: not psutil.pid_exists(first["pid"]))
    assert f"{path} is being changed" in home.sire("logs", "p").stdout.decode()
    assert ask(home, "p", b"[1]") == 2.0


def test_a_trusted_file_that_changed_is_refused_until_it_is_trusted_again(
    home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "whole.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    home.register("w", path, "--trust")
    home.sire("load", "w")
    home.sire("unload", "w")
    os.utime(path)  # the same content, which was hashed
    home.sire("load", "w")
    home.sire("unload", "w")
    torch.save(torch.nn.Linear(2, 3), path)
    refused = home.sire("load", "w", code=9).stderr.decode()
    assert f"{path} changed since w was trusted" in refused
    assert "sire verify w --trust" in refused
    assert json.loads(home.sire("verify", "w", "--json", code=9).stdout)["files"][0]["state"] == (
        "changed"
    )
    home.sire("load", "w", code=9)
    assert home.json("verify", "w", "--trust")["unchanged"]
    home.sire("load", "w")
    answer = ask(home, "w", b"[[1.0, 2.0]]")
    layer = torch.load(path, weights_only=False)
    assert answer[0] == pytest.approx(layer(torch.tensor([1.0, 2.0])).tolist())


def test_cached_answers_belong_to_the_file(home: Home, tmp_path: Path) -> None:
    registered = Registered(home, tmp_path, "safetensors")
    home.register("c", registered.path, "--class", f"{tmp_path}/classes.py:Net", "--cache")

    def answer() -> Any:
        return ask(home, "c", b"[1.0]")[0]

    assert answer() == answer() == pytest.approx(truth(1), rel=1e-6)
    home.sire("unload", "c")
    registered.overwrite()
    home.sire("load", "c")
    assert answer() == pytest.approx(truth(2), rel=1e-6)


def test_the_inputs_of_a_changed_graph_are_those_of_the_new_one(home: Home, tmp_path: Path) -> None:
    def write(width: int) -> None:
        shape = f"float32[n,{width}]"
        write_graph(tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape})

    write(2)
    home.register("m", tmp_path / "m.onnx")
    assert ask(home, "m", b"[[1, 2]]") == [[1, 2]]
    home.sire("unload", "m")
    write(3)
    home.sire("load", "m")
    home.sire("unload", "m")
    (stated,) = home.json("show", "m")["model"]["stated"]["inputs"]
    assert stated["shape"] == [-1, 3]
    assert ask(home, "m", b"[[1, 2, 3]]") == [[1, 2, 3]]


def test_verify_records_hashes_and_finds_a_byte_that_size_and_date_do_not_show(
    home: Home, tmp_path: Path
) -> None:
    registered = Registered(home, tmp_path, "safetensors")
    assert home.json("verify", "m")["unchanged"]
    at = registered.path.stat()
    content = bytearray(registered.path.read_bytes())
    content[-1000] ^= 1
    registered.path.write_bytes(content)
    os.utime(registered.path, ns=(at.st_atime_ns, at.st_mtime_ns))
    report = json.loads(home.sire("verify", "m", "--json", code=9).stdout)
    assert [file["state"] for file in report["files"]] == ["changed"]
    loaded = home.sire("load", "m").stderr.decode()
    assert "has changed since m was registered" in loaded
