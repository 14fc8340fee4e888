"""Names in a downloaded file, and what models print, cannot write to a terminal."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home
from tests.waiting import wait_until

NAME = "x\x1b]0;pwned\x07\x1b[2K\rTrusted by sire: "


@pytest.fixture
def hostile(home: Home, tmp_path: Path) -> Path:
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


PRINTING = """
class Printing:
    def load(self, path):
        print("loaded \\x1b[2J\\x1b]0;pwned\\x07", flush=True)

    def predict(self, x):
        raise ValueError("failed \\x9b31m\\r" + x)
"""


def on_terminal(home: Home, *arguments: str) -> tuple["subprocess.Popen[bytes]", int]:
    """The command, with a terminal as its standard output, and the other end of that."""
    screen, terminal = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", *arguments], stdout=terminal, env=home.environment
    )
    os.close(terminal)
    return command, screen


def until(screen: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        shown += os.read(screen, 4096)
    return shown


@pytest.fixture
def printing(home: Home, tmp_path: Path) -> str:
    """A model that has printed control characters, in words and in an exception."""
    (tmp_path / "printing.py").write_text(PRINTING)
    code = f"{tmp_path}/printing.py"
    home.register("m", code, "--runtime", "python", "--class", f"{code}:Printing")
    done = home.sire("predict", "m", "-i", "-", stdin=b'"\\u001b[1m"', code=5)
    assert b"failed \\x9b31m \\x1b[1m" in done.stderr
    return "m"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_a_model_prints_is_escaped_on_a_terminal(
    home: Home, printing: str, options: tuple[str, ...]
) -> None:
    command, screen = on_terminal(home, "logs", printing, "-f", *options)
    try:
        shown = until(screen, b"failed ")
        with home.paths.model_log(printing).open("ab") as log:
            log.write(b"more \x1b[8m\xc2\x9b8m\n")
        shown += until(screen, b"8m\r\n" if not options else b'8m"')
    finally:
        command.terminate()
        command.wait()
        os.close(screen)
    text = shown.decode()
    assert text.replace("\r\n", "").isprintable()
    assert "[2J" in text
    assert "more" in text


def test_what_a_model_prints_is_piped_as_it_is(home: Home, printing: str) -> None:
    wait_until(lambda: b"failed" in home.paths.model_log(printing).read_bytes())
    # The model may still be printing the rest of its traceback.
    wait_until(
        lambda: home.sire("logs", printing).stdout == home.paths.model_log(printing).read_bytes()
    )
    assert b"\x1b[2J" in home.sire("logs", printing).stdout
    lines = home.sire("logs", printing, "--json").stdout.splitlines()
    assert any("\x1b[2J" in json.loads(line)["message"] for line in lines)
