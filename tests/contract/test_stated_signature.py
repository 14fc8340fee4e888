"""What an ONNX file states about its inputs and outputs is what ONNX Runtime reports about them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from sire.spec import Signature
from sired.runtimes.onnx.graph_inputs import describe, inputs_of
from sired.store.onnx_signature import onnx_signature

if TYPE_CHECKING:
    from onnx import ValueInfoProto


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
GAIN = numpy_helper.from_array(np.array(3, np.float32), "gain")


def value(name: str, dtype: int, shape: list[Any] | None) -> "ValueInfoProto":
    return helper.make_tensor_value_info(name, dtype, shape)


def optional(name: str, dtype: int, shape: list[None]) -> "ValueInfoProto":
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(dtype, shape))
    return helper.make_value_info(name, kind)


CASES = {
    "symbolic and unknown axes": ("Identity", [value("x", FLOAT, ["n", 3, None])], FLOAT),
    "no shape": ("Identity", [value("x", INT64, None)], INT64),
    "no axes": ("Identity", [value("x", INT64, [])], INT64),
    "text": ("Identity", [value("x", TensorProto.STRING, ["n", 1])], TensorProto.STRING),
    "bfloat16": ("Identity", [value("x", TensorProto.BFLOAT16, [2])], TensorProto.BFLOAT16),
    "a sequence": (
        "ConcatFromSequence",
        [helper.make_tensor_sequence_value_info("x", FLOAT, None)],
        FLOAT,
    ),
    "optional": ("OptionalHasElement", [optional("x", FLOAT, [None])], TensorProto.BOOL),
    "a default": ("Mul", [value("gain", FLOAT, []), value("x", FLOAT, ["n"])], FLOAT),
}


def write(path: Path, case: str, ir_version: int) -> None:
    kind, inputs, dtype = CASES[case]
    shape = inputs[-1].type.tensor_type.shape if kind in {"Identity", "Mul"} else None
    output = value("y", dtype, [] if kind == "OptionalHasElement" else None)
    if shape is not None and inputs[-1].type.tensor_type.HasField("shape"):
        output.type.tensor_type.shape.CopyFrom(shape)
    names = [one.name for one in inputs]
    more: dict[str, Any] = {"axis": 0} if kind == "ConcatFromSequence" else {}
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], **more)],
        "graph",
        inputs,
        [output],
        [GAIN] if "gain" in names else [],
    )
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), str(path))


@pytest.mark.parametrize("ir_version", [3, 9])
@pytest.mark.parametrize("case", CASES)
def test_the_file_states_what_the_session_reports(
    tmp_path: Path, case: str, ir_version: int
) -> None:
    write(tmp_path / "m.onnx", case, ir_version)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    reported = Signature(
        tuple(one.spec for one in inputs_of(session)), tuple(map(describe, session.get_outputs()))
    )
    assert onnx_signature(tmp_path / "m.onnx") == reported
    assert reported.inputs
