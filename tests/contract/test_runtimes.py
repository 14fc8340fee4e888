"""What every runtime must do, asked of every runtime with every kind of file it loads.

A new runtime joins by a `Case`: how to write a file that answers ``2 * x`` for float32[N, 4].
"""

from collections.abc import Callable
from dataclasses import dataclass
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sired.errors import InvalidInput, InvalidModel, SireError, UntrustedModel
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.discovery import find_runtime
from sired.store.formats import recognise

CODE = """
import torch

class Twice(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((width,), 1.0))

    def forward(self, x):
        return x * self.weight
"""


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x):
        return x * self.weight


def write_safetensors(path):
    save_file(Twice().state_dict(), path)


def write_state_dict(path):
    torch.save(Twice().state_dict(), path)


def write_checkpoint(path):
    torch.save({"epoch": 3, "model_state_dict": Twice().state_dict()}, path)


def write_old_state_dict(path):
    torch.save(Twice().state_dict(), path, _use_new_zipfile_serialization=False)


def write_exported(path):
    batch = torch.export.Dim("batch")
    program = torch.export.export(Twice(), (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)


def write_torchscript(path):
    torch.jit.save(torch.jit.script(Twice()), path)


def write_onnx(path):
    from onnx import TensorProto, helper, save

    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [2.0] * 4)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, str(path))


@dataclass(frozen=True)
class Case:
    runtime: str
    format: str
    write: Callable[[Path], None]
    has_class: bool = False
    signature: bool = False
    needs_trust: bool = False


CASES = {
    "safetensors": Case("pytorch", "safetensors", write_safetensors, has_class=True),
    "state-dict": Case("pytorch", "state_dict", write_state_dict, has_class=True),
    "checkpoint": Case("pytorch", "state_dict", write_checkpoint, has_class=True),
    "old-state-dict": Case("pytorch", "pickle", write_old_state_dict, has_class=True),
    "exported": Case("pytorch", "exported", write_exported, signature=True, needs_trust=True),
    "torchscript": Case("pytorch", "torchscript", write_torchscript, needs_trust=True),
    "onnx": Case("onnx", "onnx", write_onnx, signature=True),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


@pytest.fixture
def file(case, tmp_path):
    path = tmp_path / "the model, with no ending"
    written = path.with_suffix(".pt2") if case.format == "exported" else path
    case.write(written)
    return written.rename(path)


@pytest.fixture
def options(case, tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    options = {
        "device": "cpu",
        "format": case.format,
        "python_path": (),
        "trusted": case.needs_trust,
    }
    return {**options, "model_class": f"{tmp_path}/code.py:Twice" if case.has_class else None}


@pytest.fixture
def runtime(case):
    return find_runtime(case.runtime)


DATA = np.arange(8, dtype=np.float32).reshape(2, 4)


def test_its_files_are_recognised_by_their_content(case, file):
    found = recognise(file)
    assert (found.runtime, found.name) == (case.runtime, case.format)
    assert found.needs_class == case.has_class
    assert found.brings_code == case.needs_trust
    assert found.weight_bytes >= 16


def test_it_computes_what_the_model_computes(runtime, file, options):
    model = runtime.load(str(file), **options)
    data = DATA.copy()
    data.flags.writeable = False
    answer = runtime.predict(model, data)
    assert isinstance(answer, np.ndarray)
    assert np.array_equal(answer, 2 * DATA)


def test_inputs_can_be_given_by_name_and_in_order(runtime, file, options):
    model = runtime.load(str(file), **options)
    if options["format"] != "torchscript":  # which does not tell its parameters' names
        assert np.array_equal(runtime.predict(model, {"x": DATA}), 2 * DATA)
    assert np.array_equal(runtime.predict(model, (DATA,)), 2 * DATA)


def test_its_footprint_is_at_least_its_weights(runtime, file, options):
    model = runtime.load(str(file), **options)
    assert runtime.get_memory_footprint(model) >= 16


def test_its_signature_is_what_the_file_says(case, runtime, file, options):
    signature = runtime.signature(runtime.load(str(file), **options))
    if case.signature:
        (taken,) = signature.inputs
        assert (taken.dtype, taken.shape) == ("float32", (-1, 4))
    else:
        assert signature.inputs == ()


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_file_cut_short_is_an_error_and_not_a_crash(case, runtime, file, options, keep):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises((SireError, RuntimeError, ValueError)):
        recognise(file)
        runtime.load(str(file), **options)


def test_an_argument_that_nothing_takes_is_invalid(runtime, file, options):
    with pytest.raises(InvalidModel, match="nonsense"):
        runtime.load(str(file), nonsense=1, **options)


def test_data_that_does_not_fit_is_an_error(runtime, file, options):
    model = runtime.load(str(file), **options)
    with pytest.raises(Exception):  # noqa: B017 (whatever the framework raises)
        runtime.predict(model, np.zeros((2, 5), np.float32))
    assert np.array_equal(runtime.predict(model, DATA), 2 * DATA)


def test_weights_of_another_class_are_named(tmp_path):
    save_file({"other": torch.zeros(4)}, tmp_path / "m")
    (tmp_path / "code.py").write_text(CODE)
    with pytest.raises(InvalidModel, match=r"lacks weight and has besides other"):
        find_runtime("pytorch").load(
            str(tmp_path / "m"), format="safetensors", model_class=f"{tmp_path}/code.py:Twice"
        )


def test_a_class_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    write_safetensors(tmp_path / "m")
    (tmp_path / "code.py").write_text(CODE)
    with pytest.raises(InvalidModel) as caught:
        find_runtime("pytorch").load(
            str(tmp_path / "m"), format="safetensors", model_class=f"{tmp_path}/code.py:Thrice"
        )
    assert "Twice" in caught.value.hint


def test_inputs_of_the_wrong_names_are_answered_with_the_right_ones(tmp_path):
    write_onnx(tmp_path / "m")
    runtime = find_runtime("onnx")
    with pytest.raises(InvalidInput, match="inputs are x"):
        runtime.predict(runtime.load(str(tmp_path / "m")), {"z": DATA})


class Trick:
    """Pickles to a call that creates a file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "old"])
def test_a_pickle_that_would_run_code_is_refused_before_it_runs(tmp_path, modern):
    witness = tmp_path / "witness"
    save = {"_use_new_zipfile_serialization": modern}
    torch.save({"weight": torch.ones(4), "trick": Trick(witness)}, tmp_path / "m", **save)
    (tmp_path / "code.py").write_text(CODE)
    given = {"format": recognise(tmp_path / "m").name, "model_class": f"{tmp_path}/code.py:Twice"}
    runtime = find_runtime("pytorch")
    with pytest.raises(UntrustedModel) as caught:
        runtime.load(str(tmp_path / "m"), **given)
    assert "--trust" in caught.value.hint
    assert not witness.exists()
    with pytest.raises(InvalidModel):  # trusted, it runs, and then holds no state_dict
        runtime.load(str(tmp_path / "m"), trusted=True, **given)
    assert witness.exists()


def rewritten(source, target, change):
    """Copy a zip file, with ``change(name, content)`` as the content of each entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def with_a_pickle(witness, tmp_path):
    torch.save(Trick(witness), tmp_path / "trick")
    trick = (tmp_path / "trick").read_bytes()
    write_exported(tmp_path / "good.pt2")
    rewritten(
        tmp_path / "good.pt2", tmp_path / "m", lambda n, c: trick if "sample_inputs" in n else c
    )
    return "exported"


def with_code_for_a_shape(witness, tmp_path):
    write_exported(tmp_path / "good.pt2")
    code = f"open('{witness}', 'w') and Symbol('s".encode()
    rewritten(tmp_path / "good.pt2", tmp_path / "m", lambda n, c: c.replace(b"Symbol('s", code))
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
def test_code_hidden_in_a_program_does_not_run_without_trust(tmp_path, hide):
    witness = tmp_path / "witness"
    kind = hide(witness, tmp_path)
    assert recognise(tmp_path / "m").name == kind
    with pytest.raises(UntrustedModel):
        find_runtime("pytorch").load(str(tmp_path / "m"), format=kind)
    assert not witness.exists()
    try:
        find_runtime("pytorch").load(str(tmp_path / "m"), format=kind, trusted=True)
    except Exception:  # it may do its harm and fail
        pass
    assert witness.exists(), "PyTorch runs such a file no more: does it still need trust?"


def test_a_whole_pickled_module_needs_trust(tmp_path):
    torch.save(torch.nn.Linear(4, 4), tmp_path / "m")
    runtime = find_runtime("pytorch")
    with pytest.raises(UntrustedModel, match="Linear"):
        runtime.load(str(tmp_path / "m"), format="state_dict")
    model = runtime.load(str(tmp_path / "m"), format="state_dict", trusted=True)
    assert runtime.predict(model, DATA).shape == (2, 4)


def test_native_code_needs_trust(tmp_path):
    with pytest.raises(UntrustedModel):
        find_runtime("pytorch").load(str(tmp_path / "m"), format="aoti")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
