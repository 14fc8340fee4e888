"""What classes of the user's own have besides: a signature, a warm-up, a file without a class."""

from pathlib import Path

import numpy as np
import pytest

from sire.errors import InvalidInput, InvalidModel
from sire.spec import TensorSpec
from sired.runtimes.discovery import find_runtime
from sired.runtimes.python.runtime import PythonRuntime

CODE = """
class Greeter:
    inputs = ("string[-1]",)
    outputs = ("greeting:string[-1]",)

    def __init__(self, greeting="Hello"):
        self.greeting = greeting
        self.warm = False

    def load(self, path, device):
        self.where = device

    def warmup(self):
        self.warm = True

    def predict(self, names):
        return {"greeting": [f"{self.greeting}, {name}!" for name in names]}

class Helper:
    def load(self, path): ...
"""


@pytest.fixture
def python() -> PythonRuntime:
    runtime = find_runtime("python")
    assert isinstance(runtime, PythonRuntime)
    return runtime


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "greeter.py"
    file.write_text(CODE)
    return file


def test_a_file_with_one_fitting_class_is_a_model_by_itself(
    python: PythonRuntime, file: Path
) -> None:
    model = python.load(str(file), device="cuda:0", greeting="Ahoy")
    assert python.predict(model, ["you"]) == {"greeting": ["Ahoy, you!"]}
    assert model.model.where == "cuda:0"


def test_a_class_tells_what_it_takes_and_gives_and_is_warmed_up(
    python: PythonRuntime, file: Path
) -> None:
    model = python.load(str(file))
    signature = python.signature(model)
    assert signature.inputs == (TensorSpec("", "string", (-1,)),)
    assert signature.outputs == (TensorSpec("greeting", "string", (-1,)),)
    python.warmup(model)
    assert model.model.warm


def test_a_class_without_its_methods_is_told_which(python: PythonRuntime, file: Path) -> None:
    with pytest.raises(InvalidModel, match="Helper has no method predict"):
        python.load(str(file), model_class=f"{file}:Helper")


def test_several_fitting_classes_are_to_be_chosen_from(python: PythonRuntime, file: Path) -> None:
    file.write_text(CODE + "class Other(Greeter): pass\n")
    with pytest.raises(InvalidModel, match="Greeter, Other"):
        python.load(str(file))


def test_weights_without_a_class_are_refused(python: PythonRuntime, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones(4))
    with pytest.raises(InvalidModel, match=r"No class is given to load .*w\.npy"):
        python.load(str(tmp_path / "w.npy"))


def test_more_inputs_than_it_takes_are_invalid(python: PythonRuntime, file: Path) -> None:
    with pytest.raises(InvalidInput, match="takes names"):
        python.predict(python.load(str(file)), (["a"], ["b"]))
