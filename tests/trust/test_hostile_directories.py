"""Files that name other files: what they name may be any text, and may be no file at all."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

TEXTS = {"long": "a" * 10_000_000, "null": "a\0b", "escape": "\x1b]0;owned\x07\u202e", "empty": ""}
CONFIG = {"model_type": "bert", "architectures": ["BertModel"]}


def write(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        file = directory / name.replace("__", ".")
        file.write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("named", ["base", "shard", "module", "component"])
def test_a_directory_that_names_what_cannot_be_a_file_is_refused_in_a_few_words(
    home: Home, tmp_path: Path, named: str, text: str
) -> None:
    match named:
        case "base":
            adapter = {"peft_type": "LORA", "base_model_name_or_path": text}
            write(tmp_path, adapter_config__json=adapter)
        case "shard":
            index = {"weight_map": {"w": text}}
            write(tmp_path, config__json=CONFIG, model__safetensors__index__json=index)
        case "module":
            modules = [{"type": "x.Transformer", "path": text}]
            write(tmp_path, config__json={}, modules__json=modules)
        case _:
            write(tmp_path, model_index__json={"_class_name": "X", "unet": [text, text]})
    for command in (("register", "m"), ("estimate",)):
        began = time.monotonic()
        said = home.sire(*command, tmp_path, code=9).stderr
        assert len(said) < 3_000
        assert b"\x1b" not in said
        assert "\u202e".encode() not in said
        assert b"Unexpected" not in said
        assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["device", "pipe", "missing", "directory"])
def test_a_warm_up_input_that_is_no_file_is_refused_at_registration(
    home: Home, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "identity.py").write_text(
        "class Identity:\n    def load(self, path): pass\n    def predict(self, x): return x\n"
    )
    inputs = {"device": Path("/dev/zero"), "directory": tmp_path, "pipe": tmp_path / "pipe"}
    os.mkfifo(tmp_path / "pipe")
    model = ("m", tmp_path / "identity.py", "--runtime", "python", "--class")
    place = inputs.get(kind, tmp_path / "missing")
    said = home.sire(
        *("register", *model, f"{tmp_path}/identity.py:Identity", "--warmup", place), code=9
    )
    assert b"is not a file" in said.stderr
