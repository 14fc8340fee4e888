"""What PyTorch files alone have: classes, pickles, programs, and answers of every shape."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file, save_model

from sire.errors import InvalidInput, InvalidModel, LoadFailed, UntrustedModel
from sire.spec import ModelSpec, Signature, TensorSpec
from sired.daemon.models.registration import inspect
from sired.runtimes.base import ModelCacheDirectory
from sired.runtimes.discovery import find_runtime
from sired.runtimes.pytorch.compiling import Compiled, compiled
from sired.runtimes.pytorch.data import to_arrays
from sired.runtimes.pytorch.offload import offload, restore
from sired.runtimes.pytorch.runtime import PyTorchRuntime
from sired.runtimes.support.comparison import alike
from sired.store.formats import recognise
from sired.workers.child.warmup import warm_up
from tests.contract.runtime_cases import Twice, write_aoti, write_exported, write_safetensors

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
def pytorch() -> Iterator[PyTorchRuntime]:
    runtime = find_runtime("pytorch")
    assert isinstance(runtime, PyTorchRuntime)
    yield runtime
    runtime.unload()


@pytest.fixture
def models(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """The classes above, as a module of this process and as a file to register."""
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    scope = {"__name__": "models"}
    exec(MODELS, scope)
    return scope, path


def saved(
    models: tuple[dict[str, Any], Path],
    name: str,
    path: Path,
    save: Callable[..., Any] = save_model,
) -> tuple[torch.nn.Module, dict[str, str]]:
    scope, source = models
    module = scope[name]().eval()
    save(module, str(path))
    return module, {"format": recognise(path).name, "model_class": f"{source}:{name}"}


@pytest.mark.parametrize("name", ["Scaled", "Curious"])
def test_a_model_answers_as_it_did_before_it_was_saved(
    pytorch: PyTorchRuntime, models: tuple[dict[str, Any], Path], tmp_path: Path, name: str
) -> None:
    module, options = saved(models, name, tmp_path / "m")
    answer = pytorch.predict(pytorch.load(str(tmp_path / "m"), **options), DATA)
    np.testing.assert_array_equal(answer, module(torch.from_numpy(DATA)).detach().numpy())


def test_tied_weights_saved_once_are_tied_again(
    pytorch: PyTorchRuntime, models: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    module, options = saved(models, "Tied", tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), **options)
    assert pytorch.get_memory_footprint(model) == 10 * 4 * 4
    tokens = np.array([1, 7])
    np.testing.assert_array_equal(
        pytorch.predict(model, tokens), module(torch.from_numpy(tokens)).detach().numpy()
    )


def test_weights_of_half_precision_stay_so_and_take_float32(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
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


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
@pytest.mark.parametrize("kind", ["safetensors", "state_dict"])
def test_weights_stay_in_their_file_and_are_never_held_twice(
    models: tuple[dict[str, Any], Path], tmp_path: Path, kind: str
) -> None:
    save = save_model if kind == "safetensors" else lambda m, p: torch.save(m.state_dict(), p)
    _, _options = saved(models, "Large", tmp_path / "m", save)
    size = (tmp_path / "m").stat().st_size / 2**20
    arguments = [str(tmp_path / "m"), kind, str(models[1])]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    assert size > 60
    assert float(done.stdout) < size / 3


def test_inputs_go_to_the_parameters_they_are_named_after(
    pytorch: PyTorchRuntime, models: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    _, options = saved(models, "Pair", tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), **options)
    answer = pytorch.predict(model, {"factor": DATA, "left": DATA, "right": DATA})
    np.testing.assert_array_equal(answer["sum"], 2 * DATA * DATA)
    with pytest.raises(InvalidInput, match="takes left, right, factor; given were left, wrong"):
        pytorch.predict(model, {"left": DATA, "wrong": DATA})


def test_an_exported_program_takes_what_it_was_exported_with(
    pytorch: PyTorchRuntime, models: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    given = (torch.zeros(2, 4), torch.zeros(2, 4)), {"factor": torch.ones(2, 4)}
    torch.export.save(torch.export.export(models[0]["Pair"](), *given), tmp_path / "m.pt2")
    model = pytorch.load(str(tmp_path / "m.pt2"), format="exported", trusted=True)
    answer = pytorch.predict(model, {"factor": DATA, "left": DATA, "right": DATA})
    np.testing.assert_array_equal(answer["sum"], 2 * DATA * DATA)
    names = [taken.name for taken in pytorch.signature(model).inputs]
    assert names == ["left", "right", "factor"]


def test_weights_of_another_class_are_named(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    save_file({"other": torch.zeros(4)}, tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"lacks weight and has additional other"):
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice")


def test_weights_of_another_shape_are_named(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    save_file({"weight": torch.zeros(9)}, tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"weight.*9"):
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice")


def test_a_class_that_is_not_there_is_answered_with_those_that_are(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    write_safetensors(tmp_path / "m")
    with pytest.raises(InvalidModel) as caught:
        pytorch.load(str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Thrice")
    assert "Twice" in caught.value.hint


def test_arguments_a_constructor_does_not_take_are_answered_with_its_own(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    write_safetensors(tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"Twice\(width=4\)"):
        pytorch.load(
            str(tmp_path / "m"),
            format="safetensors",
            model_class=f"{class_file}:Twice",
            height=4,
        )


def test_a_class_file_may_be_called_as_a_module_in_use(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    write_safetensors(tmp_path / "m")
    class_file = class_file.rename(tmp_path / "torch.py")
    model = pytorch.load(
        str(tmp_path / "m"), format="safetensors", model_class=f"{class_file}:Twice"
    )
    assert sys.modules["torch"] is torch
    assert np.array_equal(pytorch.predict(model, DATA), 2 * DATA)


class Trick:
    """Pickles to a call that creates a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "old"])
def test_a_pickle_that_would_run_code_is_refused_before_it_runs(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path, modern: bool
) -> None:
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


def rewritten(source: Path, target: Path, change: Callable[..., Any]) -> None:
    """Copy a zip file, with ``change(name, content)`` as the content of each entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def with_a_pickle(witness: Path, tmp_path: Path) -> str:
    torch.save(Trick(witness), tmp_path / "trick")
    trick = (tmp_path / "trick").read_bytes()
    write_exported(tmp_path / "good")
    rewritten(tmp_path / "good", tmp_path / "m", lambda n, c: trick if "sample_inputs" in n else c)
    return "exported"


def with_code_for_a_shape(witness: Path, tmp_path: Path) -> str:
    write_exported(tmp_path / "good")
    code = f"open('{witness}', 'w') and Symbol('s".encode()
    rewritten(tmp_path / "good", tmp_path / "m", lambda n, c: c.replace(b"Symbol('s", code))
    return "exported"


def with_a_script(witness: Path, tmp_path: Path) -> str:
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
    from sired.runtimes.support.classes import find_class

    torch.jit.script(find_class(f"{script}:Scripted")()).save(tmp_path / "m")
    return "torchscript"


@pytest.mark.parametrize("hide", [with_a_pickle, with_code_for_a_shape, with_a_script])
def test_code_hidden_in_a_program_does_not_run_without_trust(
    pytorch: PyTorchRuntime, tmp_path: Path, hide: Callable[..., Any]
) -> None:
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


def test_native_code_needs_trust(pytorch: PyTorchRuntime, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w") as package:
        package.writestr("m/data/aotinductor/model/model.so", b"\x7fELF")
    found = recognise(tmp_path / "m")
    assert found.name == "aoti"
    with pytest.raises(UntrustedModel, match="native code"):
        pytorch.load(str(tmp_path / "m"), format="aoti")


Both = namedtuple("Both", "first second")  # noqa: PYI024 (models answer with such, too)


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    label: str


class WithTuple:
    def to_tuple(self) -> tuple[torch.Tensor, int]:
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
def test_answers_become_arrays_whatever_holds_them(answer: Any, expected: Any) -> None:
    found = to_arrays(answer)
    assert type(found) is type(expected)
    np.testing.assert_equal(found, expected)
    if isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "data", [DATA[::-1], DATA.astype(">f4"), np.asfortranarray(DATA)], ids=["back", ">", "F"]
)
def test_arrays_that_torch_does_not_take_are_taken(
    pytorch: PyTorchRuntime, tmp_path: Path, data: NDArray[Any]
) -> None:
    torch.save(Twice(), tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), format="pickle", trusted=True)
    np.testing.assert_array_equal(pytorch.predict(model, data), 2 * data)


# How a model is run

PICTURES = """
import torch
from torch import nn

class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return {"map": self.layer(x), "most": self.layer(x).flatten(1).argmax(1)}

class Own(nn.Module):
    "Has a parameter that is called as an option is."
    def __init__(self, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 2.0, dtype=getattr(torch, dtype)))

    def forward(self, x):
        return x * self.weight
"""
PICTURE = np.random.default_rng(0).random((2, 3, 9, 9), np.float32)


@pytest.fixture
def convolution(tmp_path: Path) -> tuple[str, dict[str, str], NDArray[Any]]:
    scope: dict[str, Any] = {"__name__": "pictures"}
    exec(PICTURES, scope)
    torch.manual_seed(0)
    module = scope["Convolution"]().eval()
    save_file(module.state_dict(), tmp_path / "m")
    (tmp_path / "pictures.py").write_text(PICTURES)
    kind = {"format": "safetensors", "model_class": f"{tmp_path}/pictures.py:Convolution"}
    with torch.inference_mode():
        return str(tmp_path / "m"), kind, module(torch.from_numpy(PICTURE))["map"].numpy()


@pytest.mark.parametrize(
    ("name", "dtype", "exact"),
    [("fp32", torch.float32, 1e-6), ("fp16", torch.float16, 2e-3), ("bf16", torch.bfloat16, 2e-2)],
)
def test_a_model_computes_in_the_dtype_it_is_told_and_answers_in_single_precision(
    pytorch: PyTorchRuntime,
    convolution: tuple[str, dict[str, str], NDArray[Any]],
    name: str,
    dtype: torch.dtype,
    exact: float,
) -> None:
    path, kind, expected = convolution
    model = pytorch.load(path, **kind, dtype=name)
    module: Any = model.call
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert pytorch.precision_bytes(model) == dtype.itemsize
    answer = pytorch.predict(model, PICTURE)
    assert module.seen[-1][0] == dtype
    assert answer["map"].dtype == np.float32
    assert answer["most"].dtype == np.int64
    np.testing.assert_allclose(answer["map"], expected, atol=exact)


def test_weights_in_the_file_may_be_of_half_precision_and_computed_in_single(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    save_file({"weight": torch.full((4,), 2.0, dtype=torch.float16)}, tmp_path / "m")
    kind = {"format": "safetensors", "model_class": f"{class_file}:Twice"}
    assert pytorch.predict(pytorch.load(str(tmp_path / "m"), **kind), DATA).dtype == np.float16
    single = pytorch.load(str(tmp_path / "m"), **kind, dtype="fp32")
    assert pytorch.get_memory_footprint(single) == 16
    assert np.array_equal(pytorch.predict(single, DATA), 2 * DATA)


def test_channels_come_last_for_the_model_and_first_for_everybody_else(
    pytorch: PyTorchRuntime, convolution: tuple[str, dict[str, str], NDArray[Any]]
) -> None:
    path, kind, expected = convolution
    model = pytorch.load(path, **kind, channels_last=True)
    module: Any = model.call
    assert module.layer.weight.is_contiguous(memory_format=torch.channels_last)
    answer = pytorch.predict(model, PICTURE)["map"]
    assert module.seen[-1][1]
    assert answer.flags.c_contiguous
    np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_what_the_constructor_has_a_parameter_for_is_the_constructors(
    pytorch: PyTorchRuntime, convolution: tuple[str, dict[str, str], NDArray[Any]]
) -> None:
    path, kind, _ = convolution
    save_file({"weight": torch.full((4,), 2.0, dtype=torch.float64)}, path)
    own = kind["model_class"].replace("Convolution", "Own")
    model = pytorch.load(path, format="safetensors", model_class=own, dtype="float64")
    assert pytorch.predict(model, DATA).dtype == np.float64
    assert model.options.dtype is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float16"}, "fp16"),
        ({"channels_last": "yes"}, "true or false"),
        ({"compile": "max"}, "true or false"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    pytorch: PyTorchRuntime,
    convolution: tuple[str, dict[str, str], NDArray[Any]],
    options: dict[str, str],
    said: str,
) -> None:
    path, kind, _ = convolution
    with pytest.raises(InvalidModel, match=next(iter(options))) as caught:
        pytorch.load(path, **kind, **options)
    assert said in str(caught.value)


def test_a_program_has_the_dtype_it_was_exported_in(
    pytorch: PyTorchRuntime, tmp_path: Path
) -> None:
    write_exported(tmp_path / "m")
    with pytest.raises(InvalidModel, match=r"torch.export program, takes no argument 'dtype'"):
        pytorch.load(str(tmp_path / "m"), format="exported", trusted=True, dtype="fp16")


def test_an_exported_program_tells_its_outputs_as_well(
    pytorch: PyTorchRuntime, models: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    batch = torch.export.Dim("batch")
    given = (torch.zeros(2, 4), torch.zeros(2, 4)), {"factor": torch.ones(1)}
    free = {"left": {0: batch}, "right": {0: batch}, "factor": {}}
    program = torch.export.export(models[0]["Pair"](), *given, dynamic_shapes=free)
    torch.export.save(program, tmp_path / "m.pt2")
    model = pytorch.load(str(tmp_path / "m.pt2"), format="exported", trusted=True)
    (told,) = pytorch.signature(model).outputs
    assert (told.name, told.dtype, told.shape) == ("sum", "float32", (-1, 4))
    assert pytorch.accepts_dummy_input(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN is on GPUs")
def test_cudnn_is_told_to_try_its_ways(
    pytorch: PyTorchRuntime, convolution: tuple[str, dict[str, str], NDArray[Any]]
) -> None:
    path, kind, expected = convolution
    model = pytorch.load(path, **kind, device="cuda:0", cudnn_benchmark=True)
    assert torch.backends.cudnn.benchmark
    np.testing.assert_allclose(pytorch.predict(model, PICTURE)["map"], expected, atol=1e-2)


# What is compiled

compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")


def test_without_a_compiler_it_is_said_what_is_missing(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_safetensors(tmp_path / "m")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LoadFailed, match="no-such-compiler") as caught:
        pytorch.load(
            str(tmp_path / "m"),
            format="safetensors",
            model_class=f"{class_file}:Twice",
            compile=True,
        )
    assert "compile=true" in caught.value.hint


class Failing(torch.nn.Module):
    """Raises what the code that launches its kernels does."""

    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem

    def forward(self) -> None:
        raise self.problem


@pytest.mark.parametrize(
    "problem",
    [
        subprocess.CalledProcessError(1, ["gcc", "main.c"]),  # without Python.h
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
    ],
)
def test_a_kernel_whose_launcher_cannot_be_compiled_is_a_load_that_failed(
    problem: Exception,
) -> None:
    """Otherwise the load looks good, and every request fails."""
    with pytest.raises(LoadFailed, match="torch.compile failed") as caught:
        Compiled(Failing(problem))()
    assert "python3-dev" in caught.value.hint
    with pytest.raises(RuntimeError, match="shapes"):
        Compiled(Failing(RuntimeError("shapes differ")))()


@compiler
def test_no_more_processes_compile_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "")
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS")
    compiled(Twice())
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "3"
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    compiled(Twice())
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_float32_on_a_gpu_is_as_exact_as_tensorfloat_32(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    write_safetensors(tmp_path / "m")
    where = {"format": "safetensors", "model_class": f"{class_file}:Twice"}
    model = pytorch.load(str(tmp_path / "m"), **where)
    assert pytorch.precision_bytes(model) == 4
    on_gpu = dataclasses.replace(model, device=torch.device("cuda"))
    one = np.linspace(-1, 1, 100, dtype=np.float32)
    assert alike(one, one + np.float32(1e-3), pytorch.precision_bytes(on_gpu))
    assert not alike(one, one + np.float32(1e-3), pytorch.precision_bytes(model))
    assert not alike(one, one + np.float32(1e-2), pytorch.precision_bytes(on_gpu))


@pytest.mark.slow
@compiler
def test_a_compiled_model_keeps_its_code_and_answers_any_length_once_it_was_tried(
    pytorch: PyTorchRuntime, tmp_path: Path, class_file: Path
) -> None:
    write_safetensors(tmp_path / "m")
    pytorch.cache_directory = ModelCacheDirectory(tmp_path / "cache" / "m", "")
    kind = {"format": "safetensors", "model_class": f"{class_file}:Twice"}
    model = pytorch.load(str(tmp_path / "m"), **kind, compile=True)
    taken = Signature((TensorSpec("", "float32", (-1, 4)),))
    outputs = warm_up(lambda data: pytorch.predict(model, data), taken)
    assert outputs == (TensorSpec("", "float32", (-1, 4)),)
    assert list((tmp_path / "cache" / "m" / "inductor").iterdir())
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (1, 2, 7, 100):
            data = np.ones((rows, 4), np.float32)
            assert np.array_equal(pytorch.predict(model, data), 2 * data)


@pytest.mark.slow
@compiler
def test_compiled_code_finds_weights_where_they_come_back_to() -> None:
    uncompiled = Twice()
    module = compiled(uncompiled)
    given = torch.from_numpy(DATA)
    with torch.inference_mode():
        module(given)
        for _ in range(2):
            kept = torch.zeros(1 << 16)  # what is freed is not given out again at once
            restore(offload(uncompiled, pinned=False))
            assert torch.equal(module(given), 2 * given)
            del kept


@pytest.mark.slow
@compiler
def test_a_package_takes_a_single_row_where_it_was_declared_to(
    pytorch: PyTorchRuntime, tmp_path: Path
) -> None:
    write_aoti(tmp_path / "m")
    pytorch.declared = Signature((TensorSpec("", "float32", (-1, 4)),))
    model = pytorch.load(str(tmp_path / "m"), format="aoti", trusted=True)
    for rows in (1, 2, 5):
        data = np.ones((rows, 4), np.float32)
        assert np.array_equal(pytorch.predict(model, data), 2 * data)
    pytorch.declared = Signature()
    careful = pytorch.load(str(tmp_path / "m"), format="aoti", trusted=True)
    with pytest.raises(InvalidInput, match="too small") as caught:
        pytorch.predict(careful, DATA[:1])
    assert "--input" in caught.value.hint


@pytest.mark.slow
@compiler
def test_a_package_refuses_what_it_was_not_compiled_for(
    pytorch: PyTorchRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    write_aoti(tmp_path / "m")
    model = pytorch.load(str(tmp_path / "m"), format="aoti", trusted=True)
    for unfit in (np.ones((2, 5), np.float32), DATA.astype(np.float64)):
        with pytest.raises(InvalidInput, match="unmatched"):
            pytorch.predict(model, unfit)
    with pytest.raises(InvalidInput, match="1 inputs in order"):
        pytorch.predict(model, (DATA, DATA))
    assert list((tmp_path / "temporary").iterdir())
    pytorch.unload()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
@compiler
def test_a_package_for_another_kind_of_device_is_not_loaded_there(
    pytorch: PyTorchRuntime, tmp_path: Path
) -> None:
    write_aoti(tmp_path / "m")
    with pytest.raises(LoadFailed, match="compiled for cpu, but was placed on cuda"):
        pytorch.load(str(tmp_path / "m"), format="aoti", trusted=True, device="cuda:0")
    registered = inspect(ModelSpec("m", str(tmp_path / "m"), trusted=True))
    assert registered.device == "cpu"
