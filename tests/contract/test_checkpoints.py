"""What training scripts save is loaded as PyTorch itself loads it, and what was chosen is said."""

import argparse
import dataclasses
import datetime as dt
import enum
import pathlib
import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from sire.errors import InvalidModel, UntrustedModel
from sired.runtimes.discovery import find_runtime
from sired.runtimes.pytorch.runtime import PyTorchRuntime
from sired.store.formats import recognise

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)

CLASSES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, 2)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x):
        return self.head(self.encoder(x)) * self.scale

class Extra(Net):
    k = 5
    def get_extra_state(self):
        return {"k": self.k}

    def set_extra_state(self, state):
        self.k = state["k"]

    def forward(self, x):
        return super().forward(x) * self.k

class Renamed(Net):
    "Reads weights by the names that an older version gave them."
    def __init__(self):
        super().__init__()
        self._register_load_state_dict_pre_hook(self.rename)

    def rename(self, weights, *_):
        for name in [name for name in weights if name.startswith("classifier.")]:
            weights[name.replace("classifier.", "head.")] = weights.pop(name)

class Half(Net):
    "States its precision by itself."
    def __init__(self):
        super().__init__()
        self.encoder.half()

    def forward(self, x):
        return self.head(self.encoder(x.half()).float()) * self.scale

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 3, bias=False)
        self.out = nn.Linear(3, 3, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.embed(x))
"""
scope: dict[str, Any] = {"__name__": "nets"}
exec(CLASSES, scope)


class Settings(argparse.Namespace):
    """Stands for a class of a training script, which sire cannot import."""


class Options(dict[str, Any]):
    """Settings that are a dict, as several libraries have them."""


class Steps(list[int]):
    """A history that is a list."""


class Mode(enum.Enum):
    FAST = 1


@dataclasses.dataclass
class Config:
    rate: float = 0.1
    mode: Mode = Mode.FAST


@pytest.fixture
def pytorch() -> Iterator[PyTorchRuntime]:
    runtime = find_runtime("pytorch")
    assert isinstance(runtime, PyTorchRuntime)
    yield runtime
    runtime.unload()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "nets.py"
    file.write_text(CLASSES)
    return file


def a_net(kind: str = "Net", seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    net: torch.nn.Module = scope[kind]()
    for value in net.state_dict().values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    return net.eval()


def weights(prefix: str = "", seed: int = 0, kind: str = "Net") -> dict[str, torch.Tensor]:
    return a_net(kind, seed).state_dict(prefix=prefix)


def answer(net: Any) -> NDArray[Any]:
    with torch.inference_mode():
        given: NDArray[Any] = net(torch.from_numpy(X)).numpy()
        return given


def load(
    runtime: PyTorchRuntime, path: Path, source: Path, kind: str = "Net", **arguments: Any
) -> tuple[NDArray[Any], str]:
    """Check a file as when it is registered, and load it; returns its answer and what was said."""
    given = {
        "format": recognise(path).name,
        "model_class": source and f"{source}:{kind}",
        "python_path": (str(path.parent),),
        **arguments,
    }
    notes = " ".join(runtime.check_files(str(path), **given))
    model = runtime.load(str(path), **given)
    return runtime.predict(model, X), notes


def optimizer() -> dict[str, Any]:
    """The state of an optimizer that has made a step, which contains tensors."""
    net = a_net()
    made = torch.optim.Adam(net.parameters())
    net.train()(torch.ones(2, 3)).sum().backward()
    made.step()
    return made.state_dict()


def with_wrapper(wrapper: str, within: str = "") -> dict[str, torch.Tensor]:
    """Weights with the name of a wrapper in front, or after a part of theirs."""
    if not within:
        return weights(f"{wrapper}.")
    return {name.replace(within, f"{within}{wrapper}.", 1): v for name, v in weights().items()}


def averaged() -> dict[str, torch.Tensor]:
    return torch.optim.swa_utils.AveragedModel(a_net()).state_dict()


CHECKPOINTS: dict[str, tuple[Callable[[], Any], str]] = {
    "plain": (weights, ""),
    "data-parallel": (lambda: weights("module."), "'module.'"),
    "compiled": (lambda: weights("_orig_mod."), "'_orig_mod.'"),
    "both": (lambda: weights("module._orig_mod."), "_orig_mod."),
    "both-reversed": (lambda: weights("_orig_mod.module."), "module."),
    "compiled-part": (lambda: with_wrapper("_orig_mod", "encoder."), "'_orig_mod.'"),
    "parallel-part": (lambda: with_wrapper("module", "encoder."), "'module.'"),
    "fsdp": (lambda: with_wrapper("_fsdp_wrapped_module", "encoder."), "_fsdp_wrapped_module"),
    "checkpointed": (
        lambda: with_wrapper("_checkpoint_wrapped_module", "encoder.0."),
        "_checkpoint_wrapped_module",
    ),
    "lightning": (
        lambda: {
            "state_dict": {**weights("model."), "criterion.weight": torch.ones(2)},
            "pytorch-lightning_version": "2.5",
            "optimizer_states": [optimizer()],
            "hyper_parameters": {"rate": 0.1},
            "loops": {"fit_loop": {"epoch": 3}},
        },
        "Ignored: criterion.weight",
    ),
    "lightning-compiled": (
        lambda: {"state_dict": weights("net._orig_mod."), "epoch": 1},
        "'state_dict'",
    ),
    "net": (lambda: {"net": weights(), "epoch": 3, "acc": 0.9}, "'net'"),
    "any-key": (lambda: {"best": weights(), "step": 1}, "'best'"),
    "deep": (lambda: {"run": {"last": {"net": weights("module.")}}}, "'run.last.net'"),
    "optimizer": (lambda: {"model": weights(), "optimizer": optimizer()}, "'model'"),
    "ema-beside": (lambda: {"ema": weights(seed=1), "model": weights()}, "--arg key=ema"),
    "ema-state": (
        lambda: {"model_ema": weights(seed=1), "state_dict": weights()},
        "--arg key=model_ema",
    ),
    "ema-only": (lambda: {"ema": weights("module."), "updates": 7}, "'ema'"),
    "ema-flat": (
        lambda: {
            **weights("ema_model.", seed=1),
            **weights("online_model."),
            "step": torch.ones(1),
        },
        "strip=ema_model.",
    ),
    "ema-within": (lambda: {**weights(), **weights("ema.", seed=1)}, "strip=ema."),
    "ema-within-compiled": (
        lambda: {**weights("_orig_mod."), **weights("_orig_mod.ema_model.", seed=1)},
        "strip=_orig_mod.ema_model.",
    ),
    "averaged": (averaged, "n_averaged"),
    "teacher": (
        lambda: {**weights("teacher.", seed=1), **weights("student.")},
        "strip=teacher.",
    ),
    "numpy": (
        lambda: {
            "model": weights(),
            "best": np.float64(0.9),
            "history": np.arange(3.0),
            "kind": np.dtype("float32"),
            "generators": (np.random.default_rng(0).bit_generator.state, random.getstate()),
            "old": np.random.RandomState(0).get_state(),
            "torch": torch.get_rng_state(),
        },
        "numpy",
    ),
    "settings": (
        lambda: {
            "model": weights(),
            "args": argparse.Namespace(rate=0.1, path=pathlib.Path("x")),
            "config": Config(),
            "more": Settings(a=1),
            "options": Options(b=torch.ones(2)),
            "steps": Steps([1, 2]),
            "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "version": torch.__version__,
            "kept": frozenset({1}),
        },
        "argparse.Namespace",
    ),
    "without-counts": (
        lambda: {k: v for k, v in weights().items() if not k.endswith("tracked")},
        "",
    ),
    "ordered": (lambda: OrderedDict(net=OrderedDict(weights())), "'net'"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_found_wherever_they_are_and_it_is_said_where(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path, name: str
) -> None:
    make, said = CHECKPOINTS[name]
    torch.save(make(), tmp_path / "m.pt")
    found, notes = load(pytorch, tmp_path / "m.pt", source)
    np.testing.assert_array_equal(found, answer(a_net()))
    assert said in notes
    assert bool(notes) == bool(said)


@pytest.mark.parametrize("name", ["data-parallel", "lightning", "ema-beside", "numpy"])
def test_so_are_those_in_the_format_before_zip_files(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path, name: str
) -> None:
    torch.save(CHECKPOINTS[name][0](), tmp_path / "m.pt", _use_new_zipfile_serialization=False)
    found, _ = load(pytorch, tmp_path / "m.pt", source)
    np.testing.assert_array_equal(found, answer(a_net()))


def test_safetensors_have_prefixes_as_well(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    save_file(weights("module.model."), tmp_path / "m.safetensors")
    found, notes = load(pytorch, tmp_path / "m.safetensors", source)
    np.testing.assert_array_equal(found, answer(a_net()))
    assert "'module.model.'" in notes


@pytest.mark.parametrize(
    ("content", "arguments", "seed"),
    [
        ({"ema": weights(seed=1), "model": weights()}, {"key": "ema"}, 1),
        ({"a": {"b.c": weights(seed=1)}, "model": weights()}, {"key": "a.b.c"}, 1),
        ({**weights("a.", seed=1), **weights("b.")}, {"strip": "a."}, 1),
        ({**weights("a.", seed=1), **weights("b.")}, {"strip": "b"}, 0),
        ({"g": weights(), "d": weights("x.", seed=1)}, {"key": "d", "strip": "x"}, 1),
    ],
)
def test_others_can_be_chosen(
    pytorch: PyTorchRuntime,
    tmp_path: Path,
    source: Path,
    content: dict[str, Any],
    arguments: dict[str, str],
    seed: int,
) -> None:
    torch.save(content, tmp_path / "m.pt")
    found, _ = load(pytorch, tmp_path / "m.pt", source, **arguments)
    np.testing.assert_array_equal(found, answer(a_net(seed=seed)))


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        ({"g": weights(), "d": weights(seed=1)}, {}, ["2 sets", "key=g", "key=d"]),
        ({**weights("g."), **weights("d.")}, {}, ["2 sets", "strip=g.", "strip=d."]),
        ({"model": weights()}, {"key": "ema"}, ["no weights at the key 'ema'", "model"]),
        ({"model": weights("a.")}, {"strip": "b."}, ["lacks", "a.encoder.0.weight"]),
        ({"epoch": 3, "w": {"other.weight": torch.ones(2)}}, {}, ["lacks", "other.weight", "'w'"]),
        ({"epoch": 3, "loss": 0.1}, {}, ["no state_dict", "epoch, loss"]),
        ([1, 2], {}, ["no state_dict", "list"]),
        (
            {**weights(), "more.weight": torch.ones(1)},
            {},
            ["additional more.weight", "--arg strict=false"],
        ),
        ({"model": weights("a.")}, {"strip": "b.", "strict": False}, ["lacks"]),
        ({"model": weights()}, {"width": 5}, ["size mismatch"]),
        ({"model": weights()}, {"key": 3}, ["key=3", "text"]),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_registered(
    pytorch: PyTorchRuntime,
    tmp_path: Path,
    source: Path,
    content: Any,
    arguments: dict[str, Any],
    said: list[str],
) -> None:
    torch.save(content, tmp_path / "m.pt")
    given = {"format": "state_dict", "model_class": f"{source}:Net", **arguments}
    for refuse in (pytorch.check_files, pytorch.load):
        with pytest.raises(InvalidModel) as caught:
            refuse(str(tmp_path / "m.pt"), **given)
        assert all(text in str(caught.value) for text in said), str(caught.value)


def test_weights_that_the_class_lacks_are_ignored_on_request(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    torch.save({**weights(), "more.weight": torch.ones(1)}, tmp_path / "m.pt")
    found, notes = load(pytorch, tmp_path / "m.pt", source, strict=False)
    np.testing.assert_array_equal(found, answer(a_net()))
    assert notes == "Weights that the class lacks are ignored: more.weight."


def test_extra_state_is_given_to_the_class_that_saved_it(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    net: Any = a_net("Extra")
    net.k = 9
    torch.save({"model": net.state_dict(prefix="module.")}, tmp_path / "m.pt")
    found, _ = load(pytorch, tmp_path / "m.pt", source, "Extra")
    np.testing.assert_array_equal(found, answer(net))


def test_a_class_that_renames_weights_is_left_to_do_so(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    old = {name.replace("head.", "classifier."): value for name, value in weights().items()}
    torch.save(old, tmp_path / "m.pt")
    found, _ = load(pytorch, tmp_path / "m.pt", source, "Renamed")
    np.testing.assert_array_equal(found, answer(a_net()))


def test_tied_weights_may_have_any_of_their_names(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    net = a_net("Tied")
    for left in ("out.weight", "embed.weight"):
        kept = {f"module.{k}": v for k, v in net.state_dict().items() if k != left}
        torch.save(kept, tmp_path / "m.pt")
        found, _ = load(pytorch, tmp_path / "m.pt", source, "Tied")
        np.testing.assert_array_equal(found, answer(net))


@pytest.mark.parametrize("kind", ["Net", "Half"])
@pytest.mark.parametrize(
    "change",
    [
        lambda name, value: value.half() if name.startswith("encoder.0") else value,
        lambda name, value: value.double(),
        lambda name, value: value.bfloat16() if "weight" in name else value,
        lambda name, value: value.double() if name.startswith("head") else value.half(),
    ],
    ids=["half-and-single", "double", "bfloat16", "double-and-half"],
)
def test_each_weight_has_the_dtype_of_the_class_as_after_load_state_dict(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path, kind: str, change: Callable[..., Any]
) -> None:
    saved = {n: change(n, v) if v.is_floating_point() else v for n, v in weights().items()}
    torch.save(saved, tmp_path / "m.pt")
    net = scope[kind]().eval()
    net.load_state_dict(saved)
    found, notes = load(pytorch, tmp_path / "m.pt", source, kind)
    np.testing.assert_array_equal(found, answer(net))
    assert "converted from" in notes


def test_weights_that_are_all_of_half_precision_stay_so_and_that_is_said(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    saved = a_net().half().state_dict()
    torch.save(saved, tmp_path / "m.pt")
    found, notes = load(pytorch, tmp_path / "m.pt", source)
    with torch.inference_mode():
        expected = a_net().half()(torch.from_numpy(X).half()).numpy()
    np.testing.assert_array_equal(found, expected)
    assert "computes in float16" in notes
    assert "dtype=fp32" in notes
    found, _ = load(pytorch, tmp_path / "m.pt", source, dtype="fp32")
    net = scope["Net"]().eval()
    net.load_state_dict(saved)
    np.testing.assert_array_equal(found, answer(net))


class Trick:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "function", [open, eval, getattr, __import__, subprocess.run, torch.load, np.load, sys.exit]
)
def test_a_checkpoint_that_refers_to_functions_is_refused_whatever_is_in_it(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path, function: Callable[..., Any]
) -> None:
    witness = tmp_path / "witness"
    content = {"model": weights(), "x": Trick(function, str(witness), "w"), "c": Config()}
    torch.save(content, tmp_path / "m.pt")
    given = {"format": recognise(tmp_path / "m.pt").name, "model_class": f"{source}:Net"}
    for refuse in (pytorch.check_files, pytorch.load):
        with pytest.raises(UntrustedModel, match="none of its code has run"):
            refuse(str(tmp_path / "m.pt"), **given)
    assert not witness.exists()


WHOLE = {
    "module": "net",
    "parallel": "torch.nn.DataParallel(net)",
    "compiled": "torch.compile(net)",
    "below-a-key": "{'model': net, 'epoch': 3}",
    "beside-an-average": "{'ema': nets.Net().eval(), 'model': net}",
}


ASK = """
import sys
import numpy as np
from sired.runtimes.discovery import find_runtime

kind, *directories = sys.argv[1:]
for name in sorted({names}):
    runtime = find_runtime("pytorch")
    given = dict(format="pickle", trusted=True, python_path=directories, model_class=kind or None)
    assert not runtime.check_files(f"{{name}}.pt", **given)
    model = runtime.load(f"{{name}}.pt", **given)
    print(name, runtime.predict(model, np.ones((1, 3), np.float32)).tolist())
"""
MAKE = "import torch, nets; torch.manual_seed(0); net = nets.Net().eval()\n"


def python(directory: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_a_whole_module_is_found_where_its_code_is(tmp_path: Path) -> None:
    """In processes that have not imported the code, as a worker has not."""
    code, files = tmp_path / "code", tmp_path / "files"
    code.mkdir()
    files.mkdir()
    (code / "nets.py").write_text(CLASSES)
    save = "".join(f"torch.save({made}, {f'{name}.pt'!r})\n" for name, made in WHOLE.items())
    tell = f"[print(name, net(torch.ones(1, 3)).tolist()) for name in sorted({list(WHOLE)})]"
    made = python(files, f"import sys; sys.path.insert(0, {str(code)!r})\n{MAKE}{save}{tell}")
    assert made.returncode == 0, made.stderr
    ask = ASK.format(names=list(WHOLE))
    for given in (["", code], ["nets:Net", code], [f"{code}/nets.py:Net"]):
        found = python(files, ask, *map(str, given))
        assert found.stdout == made.stdout, found.stderr
    assert "nets.Net, which cannot be imported" in python(files, ask, "").stderr


def test_a_whole_module_of_a_script_is_found_in_the_file_of_its_class(
    pytorch: PyTorchRuntime, tmp_path: Path, source: Path
) -> None:
    script = CLASSES + "\ntorch.manual_seed(0)\nnet = Net().eval()\ntorch.save(net, 'm.pt')\n"
    (tmp_path / "train.py").write_text(f"{script}print(net(torch.ones(1, 3)).tolist())")
    expected = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    given = {"format": "pickle", "trusted": True}
    with pytest.raises(InvalidModel, match="__main__.Net, which cannot be imported"):
        pytorch.check_files(str(tmp_path / "m.pt"), **given)
    with pytest.raises(InvalidModel, match="__main__.Net, which cannot be imported"):
        pytorch.load(str(tmp_path / "m.pt"), **given)
    given["model_class"] = f"{source}:Net"
    pytorch.check_files(str(tmp_path / "m.pt"), **given)
    model = pytorch.load(str(tmp_path / "m.pt"), **given)
    assert f"{pytorch.predict(model, np.ones((1, 3), np.float32)).tolist()}\n" == expected
