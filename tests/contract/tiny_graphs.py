"""ONNX graphs of a few nodes, written by the onnx package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

if TYPE_CHECKING:
    from onnx import ValueInfoProto


KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "string": TensorProto.STRING,
}


def described(name: str, text: str) -> "ValueInfoProto":
    """``float32[n,4]`` as ONNX says it; ``seq(float32)`` is a list of such."""
    if text.startswith("seq("):
        return helper.make_tensor_sequence_value_info(name, KINDS[text[4:-1]], None)
    kind, _, axes = text.removesuffix("]").partition("[")
    shape = [int(axis) if axis.isdecimal() else axis for axis in axes.split(",")]
    return helper.make_tensor_value_info(name, KINDS[kind], shape)


def write_graph(
    path: Path, nodes: list[Any], inputs: dict[str, str], outputs: dict[str, str], weights: Any = ()
) -> None:
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "graph",
        [described(name, text) for name, text in inputs.items()],
        [described(name, text) for name, text in outputs.items()],
        list(weights),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(made, str(path))


def write_network(path: Path) -> None:
    """Convolutions with activations, in which there is something to optimise."""
    random = np.random.default_rng(0)
    weights, last = [], "x"
    nodes: list[tuple[Any, ...]] = []
    for layer in range(8):
        values = random.standard_normal((64, 64, 3, 3), np.float32) / 24
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        pads = [1, 1, 1, 1] if layer else [0, 0, 0, 0]
        nodes.append(("Conv", [last, f"w{layer}"], [f"c{layer}"], {"pads": pads}))
        nodes.append(("Relu", [f"c{layer}"], [f"r{layer}"]))
        last = f"r{layer}"
    nodes.append(("Identity", [last], ["y"]))
    write_graph(path, nodes, {"x": "float32[n,64,12,12]"}, {"y": "float32[n,64,10,10]"}, weights)
