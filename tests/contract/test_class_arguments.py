"""Arguments of a class that are called like those that every runtime's load is given."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sire.errors import InvalidModel
from sire.spec import ModelSpec
from sired.runtimes.arguments import LOAD_KEYWORDS, check_arguments
from sired.runtimes.discovery import find_runtime, find_traits
from sired.workers.child.load_arguments import load_arguments

CODE = """
import torch

class Module(torch.nn.Module):
    def __init__(self, device="?", format="?", trusted="?", size=1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.given = [device, format, trusted, size]
    def forward(self, x): return self.given

class Plain:
    def __init__(self, device="?", format="?", trusted="?", size=1):
        self.given = [device, format, trusted, size]
    def load(self, path, device): self.place = device
    def predict(self, x): return [self.place, *self.given]
"""
GIVEN = {"device": "screen", "format": "wide", "size": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "classes.py").write_text(CODE)
    save_file({"weight": torch.ones(1)}, tmp_path / "m.safetensors")
    return tmp_path / "classes.py"


def spec(file: Path, runtime: str, args: dict[str, Any]) -> ModelSpec:
    if runtime == "python":
        return ModelSpec("m", str(file), runtime, model_class=f"{file}:Plain", args=args)
    path = str(file.with_name("m.safetensors"))
    return ModelSpec(
        "m", path, runtime, format="safetensors", model_class=f"{file}:Module", args=args
    )


@pytest.mark.parametrize(
    ("runtime", "answer"),
    [
        ("python", ["cpu", "screen", "wide", "?", 3]),
        ("pytorch", ["screen", "wide", "?", 3]),
    ],
)
def test_they_reach_the_class(file: Path, runtime: str, answer: list[Any]) -> None:
    model = spec(file, runtime, GIVEN)
    check_arguments(find_traits(runtime), model)
    loader, arguments = find_runtime(runtime), load_arguments(model, "cpu")
    loader.check_arguments(model.path, **arguments)
    assert loader.predict(loader.load(model.path, **arguments), 1) == answer


@pytest.mark.parametrize("runtime", ["python", "pytorch"])
def test_a_class_without_such_a_parameter_is_told(file: Path, runtime: str) -> None:
    model = spec(file, runtime, {"weight_bytes": 3})
    with pytest.raises(InvalidModel, match="unexpected keyword argument 'weight_bytes'"):
        find_runtime(runtime).check_arguments(model.path, **load_arguments(model, "cpu"))


@pytest.mark.parametrize("name", sorted(LOAD_KEYWORDS))
def test_without_a_class_they_are_rejected(name: str) -> None:
    model = ModelSpec("m", "/m.onnx", "onnx", format="onnx", args={name: 1})
    with pytest.raises(InvalidModel, match=f"'{name}' cannot be given as an argument"):
        check_arguments(find_traits("onnx"), model)
