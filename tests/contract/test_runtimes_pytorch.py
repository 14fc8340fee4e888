"""What PyTorch files alone have: classes, pickles, programs, and answers of every shape."""

import dataclasses
import os
import subprocess
import sys
import zipfile
from collections import namedtuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model

from sired.errors import InvalidInput, InvalidModel, UntrustedModel
from sired.runtimes.discovery import find_runtime
from sired.runtimes.pytorch.data import to_arrays
from sired.store.formats import recognise
from tests.contract.runtime_cases import Twice, write_exported, write_safetensors

DATA = np.arange(8, dtype=np.float32).reshape(2, 4)

MODELS = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, token):
        return self.head(self.embed(token))

class Scaled(nn.Module):
    "Keeps a tensor and a buffer that are in no file."
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.scale = torch.tensor(3.0)
        self.register_buffer("shift", torch.full((2,), 5.0), persistent=False)

    def forward(self, x):
        return self.linear(x) * self.scale + self.shift

class Curious(nn.Module):
    "Looks at its weights while it is made."
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.first = float(self.linear.weight.detach()[0, 0])

    def forward(self, x):
        return self.linear(x)

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2048, 2048) for _ in range(4)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, left, right, *, factor):
        return {"sum": (left + right) * factor * self.weight}
"""


@pytest.fixture
def pytorch():
    return find_runtime("pytorch")


@pytest.fixture
def models(tmp_path):
    """The classes above, as a module of this process and as a file to register."""
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    scope = {"__name__": "models"}
    exec(MODELS, scope)
    return scope, path


def saved(models, name, path, save=save_model):
    scope, source = models
    module = scope[name]().eval()
    save(module, str(path))
    return module, {"format": recognise(path).name, "model_class": f"{source}:{name}"}


@pytest.mark.parametrize("name", ["Scaled", "Curious"])
def test_a_model_answers_as_it_did_before_it_was_saved(pytorch, models, tmp_path, name):
    module, options = saved(models, name, tmp_path / "m")
    answer = pytorch.predict(pytorch.load(str(tmp_path / "m"), **options), DATA)
    np.testing.assert_array_equal(answer, module(torch.from_numpy(DATA)).detach().numpy())


def test_tied_weights_saved_once_are_tied_again(pytorch, models, tmp_path):
    module, options = saved(models, "Tied", tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), **options)
    assert pytorch.get_memory_footprint(model) == 10 * 4 * 4
    tokens = np.array([1, 7])
    np.testing.assert_array_equal(
        pytorch.predict(model, tokens), module(torch.from_numpy(tokens)).detach().numpy()
    )


def test_weights_of_half_precision_stay_so_and_take_float32(pytorch, tmp_path, class_file):
    save_file({"weight": torch.full((4,), 2.0, dtype=torch.bfloat16)}, tmp_path / "m")
    model = pytorch.load(
        str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice"
    )
    assert pytorch.get_memory_footprint(model) == 8
    answer = pytorch.predict(model, DATA)
    assert answer.dtype == np.float32
    assert np.array_equal(answer, 2 * DATA)


MEASURE = """
import sys
from pathlib import Path
from sired.runtimes.discovery import find_runtime

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024

path, kind, source = sys.argv[1:]
runtime = find_runtime("pytorch")
Path("/proc/self/clear_refs").write_text("5")
before = megabytes("VmRSS")
model = runtime.load(path, format=kind, model_class=f"{source}:Large")
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
@pytest.mark.parametrize("kind", ["safetensors", "state_dict"])
def test_weights_stay_in_their_file_and_are_never_held_twice(models, tmp_path, kind):
    save = save_model if kind == "safetensors" else lambda m, p: torch.save(m.state_dict(), p)
    _, options = saved(models, "Large", tmp_path / "m", save)
    size = (tmp_path / "m").stat().st_size / 2**20
    arguments = [str(tmp_path / "m"), kind, str(models[1])]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    assert size > 60
    assert float(done.stdout) < size / 3


def test_inputs_go_to_the_parameters_they_are_named_after(pytorch, models, tmp_path):
    _, options = saved(models, "Pair", tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), **options)
    answer = pytorch.predict(model, {"factor": DATA, "left": DATA, "right": DATA})
    np.testing.assert_array_equal(answer["sum"], 2 * DATA * DATA)
    with pytest.raises(InvalidInput, match="takes left, right, factor; given were left, wrong"):
        pytorch.predict(model, {"left": DATA, "wrong": DATA})


def test_an_exported_program_takes_what_it_was_exported_with(pytorch, models, tmp_path):
    given = (torch.zeros(2, 4), torch.zeros(2, 4)), {"factor": torch.ones(2, 4)}
    torch.export.save(torch.export.export(models[0]["Pair"](), *given), tmp_path / "m.pt2")
    model = pytorch.load(str(tmp_path / "m.pt2"), format="exported", trusted=True)
    answer = pytorch.predict(model, {"factor": DATA, "left": DATA, "right": DATA})
    np.testing.assert_array_equal(answer["sum"], 2 * DATA * DATA)
    names = [taken.name for taken in pytorch.signature(model).inputs]
    assert names == ["left", "right", "factor"]


def test_weights_of_another_class_are_named(pytorch, tmp_path, class_file):
    save_file({"other": torch.zeros(4)}, tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"lacks weight and has besides other"):
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice")


def test_weights_of_another_shape_are_named(pytorch, tmp_path, class_file):
    save_file({"weight": torch.zeros(9)}, tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"weight.*9"):
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice")


def test_a_class_that_is_not_there_is_answered_with_those_that_are(pytorch, tmp_path, class_file):
    write_safetensors(tmp_path / "m")
    with pytest.raises(InvalidModel) as caught:
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Thrice")
    assert "Twice" in caught.value.hint


def test_arguments_a_constructor_does_not_take_are_answered_with_its_own(
    pytorch, tmp_path, class_file
):
    write_safetensors(tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"Twice\(width=4\)"):
        pytorch.load(
            str(tmp_path / "m"),
            format="safetensors",
            model_class=f"{class_file}:Twice",
            height=4,
        )


def test_a_class_file_may_be_called_as_a_module_in_use(pytorch, tmp_path, class_file):
    write_safetensors(tmp_path / "m")
    class_file = class_file.rename(tmp_path / "torch.py")
    model = pytorch.load(
        str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice"
    )
    assert sys.modules["torch"] is torch
    assert np.array_equal(pytorch.predict(model, DATA), 2 * DATA)


class Trick:
    """Pickles to a call that creates a file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "old"])
def test_a_pickle_that_would_run_code_is_refused_before_it_runs(
    pytorch, tmp_path, class_file, modern
):
    witness = tmp_path / "witness"
    save = {"_use_new_zipfile_serialization": modern}
    torch.save({"weight": torch.ones(4), "trick": Trick(witness)}, tmp_path / "m", **save)
    given = {"format": recognise(tmp_path / "m").name, "model_class": f"{class_file}:Twice"}
    assert not witness.exists()
    with pytest.raises(UntrustedModel, match=r"open"):
        pytorch.load(str(tmp_path / "m"), **given)
    assert not witness.exists()
    with pytest.raises(InvalidModel):  # trusted, it runs, and then holds no state_dict
        pytorch.load(str(tmp_path / "m"), trusted=True, **given)
    assert witness.exists()


def rewritten(source, target, change):
    """Copy a zip file, with ``change(name, content)`` as the content of each entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def with_a_pickle(witness, tmp_path):
    torch.save(Trick(witness), tmp_path / "trick")
    trick = (tmp_path / "trick").read_bytes()
    write_exported(tmp_path / "good")
    rewritten(tmp_path / "good", tmp_path / "m", lambda n, c: trick if "sample_inputs" in n else c)
    return "exported"


def with_code_for_a_shape(witness, tmp_path):
    write_exported(tmp_path / "good")
    code = f"open('{witness}', 'w') and Symbol('s".encode()
    rewritten(tmp_path / "good", tmp_path / "m", lambda n, c: c.replace(b"Symbol('s", code))
    return "exported"


def with_a_script(witness, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import torch

class Scripted(torch.nn.Module):
    @torch.jit.export
    def __getstate__(self):
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool):
        self.training = state
        torch.save(torch.zeros(1), {str(witness)!r})

    def forward(self, x):
        return x
""")
    from sired.runtimes.classes import find_class

    torch.jit.script(find_class(f"{script}:Scripted")()).save(tmp_path / "m")
    return "torchscript"


@pytest.mark.parametrize("hide", [with_a_pickle, with_code_for_a_shape, with_a_script])
def test_code_hidden_in_a_program_does_not_run_without_trust(pytorch, tmp_path, hide):
    witness = tmp_path / "witness"
    kind = hide(witness, tmp_path)
    assert recognise(tmp_path / "m").name == kind
    with pytest.raises(UntrustedModel):
        pytorch.load(str(tmp_path / "m"), format=kind)
    assert not witness.exists()
    try:
        pytorch.load(str(tmp_path / "m"), format=kind, trusted=True)
    except Exception:  # it may do its harm and fail
        pass
    assert witness.exists(), "PyTorch runs such a file no more: does it still need trust?"


def test_native_code_needs_trust(pytorch, tmp_path):
    with zipfile.ZipFile(tmp_path / "m", "w") as package:
        package.writestr("m/data/aotinductor/model/model.so", b"\x7fELF")
    found = recognise(tmp_path / "m")
    assert (found.name, found.brings_code) == ("aoti", True)
    with pytest.raises(UntrustedModel, match="native code"):
        pytorch.load(str(tmp_path / "m"), format="aoti")


Both = namedtuple("Both", "first second")


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    label: str


class WithTuple:
    def to_tuple(self):
        return (torch.ones(2), 3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (torch.ones(2, dtype=torch.bfloat16), np.ones(2, np.float32)),
        (torch.ones(2, dtype=torch.complex64).conj(), np.ones(2, np.complex64)),
        (torch.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T),
        ([torch.ones(2), (torch.zeros(1),)], [np.ones(2), (np.zeros(1),)]),
        (Both(torch.ones(2), 1), {"first": np.ones(2), "second": 1}),
        (Answer(torch.ones(2), "cat"), {"scores": np.ones(2), "label": "cat"}),
        (WithTuple(), (np.ones(2), 3)),
    ],
    ids=["bfloat16", "conjugate", "transposed", "nested", "namedtuple", "dataclass", "to_tuple"],
)
def test_answers_become_arrays_whatever_holds_them(answer, expected):
    found = to_arrays(answer)
    assert type(found) is type(expected)
    np.testing.assert_equal(found, expected)
    if isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "data", [DATA[::-1], DATA.astype(">f4"), np.asfortranarray(DATA)], ids=["back", ">", "F"]
)
def test_arrays_that_torch_does_not_take_are_taken(pytorch, tmp_path, data):
    torch.save(Twice(), tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), format="pickle", trusted=True)
    np.testing.assert_array_equal(pytorch.predict(model, data), 2 * data)
