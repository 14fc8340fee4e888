"""Names in a downloaded file cannot write to the terminal of who looks at them."""

from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

NAME = "x\x1b]0;pwned\x07\x1b[2K\rTrusted by sire: "


@pytest.fixture
def hostile(home: Home, tmp_path: Path) -> Any:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info(NAME, TensorProto.FLOAT, ["n"])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        [helper.make_node("Add", [NAME, NAME], ["y"])], "g", [given], [answer]
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_control_characters_of_a_file_are_escaped_wherever_they_are_shown(
    home: Home, hostile: Any
) -> None:
    texts = [home.sire("register", "m", hostile).stderr]
    texts.append(home.sire("show", "m").stdout)
    texts.append(home.sire("predict", "m", "-i", "-", stdin=b'{"z": [1]}', code=10).stderr)
    for text in texts:
        assert b"\\x1b]0;pwned\\x07" in text
        assert not {b"\x1b", b"\x07", b"\r"} & {bytes([byte]) for byte in text}
    (given,) = home.json("show", "m")["signature"]["inputs"]
    assert given["name"] == NAME  # JSON escapes by itself
