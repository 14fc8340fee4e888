"""What a TorchScript archive states about its parameters is what the loaded module takes."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from sired.store.formats import recognise
from sired.store.torchscript_signature import torchscript_parameters
from tests.contract.scripts import Defaults, Pure, Remembers, Several

# Its functions have no annotations.
JIT: Any = torch.jit


@pytest.mark.parametrize(
    ("module", "stated"),
    [
        (Pure(), "x: Tensor"),
        (Remembers(), "x: Tensor"),
        (Several(), "x: Tensor, lengths: Dict[str, Tensor], sr: int"),
        (Defaults(), "x: Tensor, sr: int=16000, other: Optional[Tensor]=None"),
    ],
)
def test_the_archive_states_what_the_loaded_module_takes(
    tmp_path: Path, module: torch.nn.Module, stated: str
) -> None:
    script: Any = torch.jit.script(module)
    script.save(str(tmp_path / "m.pt"))
    assert torchscript_parameters(tmp_path / "m.pt") == stated
    loaded = JIT.load(str(tmp_path / "m.pt"))
    names = [argument.name for argument in loaded.forward.schema.arguments[1:]]
    assert [part.partition(":")[0] for part in _split(stated)] == names
    assert recognise(tmp_path / "m.pt").notes == (f"Its function takes {stated}.",)


def _split(text: str) -> list[str]:
    """Divided by commas that are not in brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def test_a_traced_module_states_its_parameter(tmp_path: Path) -> None:
    traced = JIT.trace(Pure(), torch.ones(2))
    traced.save(str(tmp_path / "m.pt"))
    assert torchscript_parameters(tmp_path / "m.pt") == "x: Tensor"


CODE = (
    b"class M(Module):\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    return x\n"
)


@pytest.mark.parametrize(
    ("pickle", "code", "stated"),
    [
        (b"\x80\x02c__torch__\nM\n.", CODE, "x: Tensor"),
        (b"\x80\x02c__torch__\nN\n.", CODE, ""),
        (b"\x80\x02cos\nsystem\n.", CODE, ""),
        (b"\x80\x02c../../x\nM\n.", CODE, ""),
        (b"", CODE, ""),
        (b"\x80\x02c__torch__\nM\n.", CODE.replace(b"x: Tensor", b"x: \x1b[31m"), ""),
        (b"\x80\x02c__torch__\nM\n.", CODE.replace(b"x: Tensor", b"x: T" + b"a" * 999), ""),
        (b"\x80\x02c__torch__\nM\n.", b"\xff" * 99, ""),
        (b"\x80\x02c__torch__\nM\n.", b"#" * (5 << 20), ""),
        (b"\x80\x02c__torch__\nM\n.", CODE[:40] + b"(" * 100_000, ""),
    ],
)
def test_an_archive_in_another_form_states_nothing(
    tmp_path: Path, pickle: bytes, code: bytes, stated: str
) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr("m/data.pkl", pickle)
        archive.writestr("m/code/__torch__.py", code)
    assert torchscript_parameters(tmp_path / "m.pt") == stated
