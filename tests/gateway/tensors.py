"""Models that take and answer tensors of every datatype, and what they answer in this process."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from tests.contract.runtime_cases import write_onnx
from tests.home import Home

# Makes an input of one of the clients, of a name and an array.
Given = Callable[[str, Any], Any]
Array = np.ndarray[Any, Any]
INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
FLOATS = ["FP16", "FP32", "FP64"]
PYTHON = """
import numpy as np

class Model:
    def load(self, path):
        pass

    def predict(self, data):
        words, numbers = data["words"], np.asarray(data["numbers"])
        return {
            "loud": [str(word).upper() for word in words],
            "sums": numbers.sum(axis=1),
            "half": (numbers / 2).astype(np.float16),
        }
"""


def numpy_dtype(datatype: str) -> "np.dtype[Any]":
    name = datatype.lower().replace("fp", "float")
    return np.dtype("bool" if datatype == "BOOL" else name)


def write_identity(path: Path) -> None:
    """A graph that answers each of its inputs, one of every datatype that ONNX Runtime has."""
    from onnx import TensorProto, helper, save

    kinds: dict[str, int] = {
        name: helper.np_dtype_to_tensor_dtype(numpy_dtype(name)) for name in EACH
    }
    kinds["BYTES"] = TensorProto.STRING
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "identity",
        [helper.make_tensor_value_info(n, kind, ["n", 2]) for n, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{n}_out", kind, ["n", 2]) for n, kind in kinds.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(made, str(path))


EACH = ["BOOL", *INTEGERS, *FLOATS]


def examples() -> dict[str, Array]:
    """Two rows of every datatype, with the ends of its range."""
    found: dict[str, Array] = {"BOOL": np.array([[True, False], [False, True]])}
    for name in INTEGERS:
        limits = np.iinfo(numpy_dtype(name))
        found[name] = np.array([[limits.min, limits.max], [0, 1]], numpy_dtype(name))
    for name in FLOATS:
        finite = np.finfo(numpy_dtype(name))
        found[name] = np.array([[finite.min, finite.max], [0.1, finite.eps]], numpy_dtype(name))
    found["BYTES"] = np.array([["a", "ü ☃"], ["", "x" * 300]], object)
    return found


def write_models(folder: Path) -> None:
    """The files of the models below."""
    write_onnx(folder / "twice.onnx")
    write_identity(folder / "identity.onnx")
    (folder / "model.py").write_text(PYTHON)


def register_models(gateway_home: Home, folder: Path, zoo: Path) -> None:
    """An ONNX model (twice), one of all datatypes, a Python model, and two of PyTorch."""
    gateway_home.register("twice", folder / "twice.onnx")
    gateway_home.register("lab/identity:v1", folder / "identity.onnx")
    gateway_home.register("words", folder / "model.py")
    gateway_home.register("scale", zoo / "x3.safetensors", "--class", f"{zoo / 'classes.py'}:Scale")
    gateway_home.register(
        "brain",
        zoo / "x2.safetensors",
        "--class",
        f"{zoo / 'classes.py'}:Scale",
        "--input",
        "x:bfloat16[-1,4]",
    )


def datatype_of(array: Array) -> str:
    """The datatype of an array, as the protocol calls it."""
    kinds = {"object": "BYTES", "bool": "BOOL", "bfloat16": "BF16"}
    return kinds.get(array.dtype.name) or array.dtype.name.replace("float", "fp").upper()


def doubled(folder: Path, rows: Array) -> Array:
    """What the ONNX model answers."""
    session = onnxruntime.InferenceSession(folder / "twice.onnx")
    (answer,) = session.run(None, {"x": rows})
    return np.asarray(answer)


def tripled(zoo: Path, rows: Array) -> Array:
    """What the PyTorch model answers."""
    spec = importlib.util.spec_from_file_location("classes", zoo / "classes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = module.Scale()
    own.load_state_dict({"weight": torch.full((4,), 3.0)})
    with torch.inference_mode():
        return np.asarray(own(torch.from_numpy(rows)).numpy())


def python_answer(data: dict[str, Any]) -> dict[str, Any]:
    """What the Python model answers."""
    scope: dict[str, Any] = {}
    exec(PYTHON, scope)
    answer: dict[str, Any] = scope["Model"]().predict(data)
    return answer


def check_pytorch(client: Any, given: Given, zoo: Path) -> None:
    """The PyTorch model answers one of tritonclient's clients as in its own process."""
    rows = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    answer = client.infer("scale", [given("x", rows)])
    np.testing.assert_array_equal(answer.as_numpy("output_0"), tripled(zoo, rows), strict=True)


def check_python(client: Any, given: Given) -> None:
    """The Python model takes and gives texts and numbers by their names."""
    words, numbers = ["a", "bc"], np.array([[1.0, 2.5], [3.0, 4.0]])
    own = python_answer({"words": words, "numbers": numbers})
    inputs = [given("words", np.array(words, object)), given("numbers", numbers)]
    answer = client.infer("words", inputs)
    assert [text.decode() for text in answer.as_numpy("loud")] == own["loud"]
    np.testing.assert_array_equal(answer.as_numpy("sums"), own["sums"], strict=True)
    np.testing.assert_array_equal(answer.as_numpy("half"), own["half"], strict=True)
