"""Write an ONNX file that adds tax to prices: two inputs, one of them text, and two outputs."""

import sys

from onnx import TensorProto, helper, save

RATES = {"DE": 0.19, "FR": 0.2, "IE": 0.23}


def main(path: str) -> None:
    lookup = helper.make_node(
        "LabelEncoder",
        ["country"],
        ["rate"],
        domain="ai.onnx.ml",
        keys_strings=list(RATES),
        values_floats=list(RATES.values()),
        default_float=0.0,
    )
    tax = helper.make_node("Mul", ["price", "rate"], ["tax"])
    total = helper.make_node("Add", ["price", "tax"], ["total"])
    graph = helper.make_graph(
        [lookup, tax, total],
        "prices",
        [
            helper.make_tensor_value_info("price", TensorProto.FLOAT, ["items"]),
            helper.make_tensor_value_info("country", TensorProto.STRING, ["items"]),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["items"]),
            helper.make_tensor_value_info("rate", TensorProto.FLOAT, ["items"]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


if __name__ == "__main__":
    main(sys.argv[1])
