"""One model, ``2 * x`` for float32[N, 4], in every kind of file that a runtime loads.

A new runtime joins the contract with a `Case`, which writes such a file for it, or another model
where it has none that multiplies.
"""

import fcntl
import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from onnx import ModelProto


DATA = np.arange(8, dtype=np.float32).reshape(2, 4)
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
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def write_safetensors(path: Path) -> None:
    save_file(Twice().state_dict(), path)


def write_state_dict(path: Path) -> None:
    torch.save(Twice().state_dict(), path)


def write_checkpoint(path: Path) -> None:
    torch.save({"epoch": 3, "model_state_dict": Twice().state_dict()}, path)


def write_old_state_dict(path: Path) -> None:
    torch.save(Twice().state_dict(), path, _use_new_zipfile_serialization=False)


def write_module(path: Path) -> None:
    torch.save(Twice(), path)


def write_old_module(path: Path) -> None:
    torch.save(Twice(), path, _use_new_zipfile_serialization=False)


def write_exported(path: Path) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(Twice(), (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    with path.open("wb") as file:
        torch.export.save(program, file)


def write_torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.script(Twice()), path)


COMPILED = Path(__file__).parents[2] / ".pytest_cache" / f"twice-{torch.__version__}.pt2"


def write_aoti(path: Path) -> None:
    """Compile it once for all test runs: that takes many seconds."""
    COMPILED.parent.mkdir(exist_ok=True)
    with COMPILED.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not COMPILED.exists():
            batch = torch.export.Dim("batch")
            given = (torch.zeros(2, 4),)
            program = torch.export.export(Twice(), given, dynamic_shapes=({0: batch},))
            new = COMPILED.with_name("new.pt2")
            torch._inductor.aoti_compile_and_package(program, package_path=str(new))
            new.replace(COMPILED)
    shutil.copy(COMPILED, path)


PYTHON_CODE = """
import numpy as np

class Twice:
    def load(self, path):
        self.weight = np.load(path)

    def predict(self, x):
        return x * self.weight

    def sleep(self):
        self.asleep, self.weight = self.weight, None

    def wake(self):
        self.weight = self.asleep
"""


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.full(4, 2.0, np.float32))


def twice_onnx() -> "ModelProto":
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [2.0] * 4)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def write_onnx(path: Path) -> None:
    from onnx import save

    save(twice_onnx(), str(path))


def write_onnx_with_weights_beside(path: Path) -> None:
    from onnx import numpy_helper, save

    model = twice_onnx()
    (weight,) = model.graph.initializer
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight), "w"))
    save(model, str(path), save_as_external_data=True, location="kept elsewhere", size_threshold=0)


PROGRAM = (
    f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('program.py')))}"
)


def write_factor(path: Path) -> None:
    path.write_text(json.dumps({"factor": 2, "for": "a program that reads it"}))


@dataclass(frozen=True)
class Case:
    """How to write the file, and what is to be said of it.

    ``code``: the class it needs. ``recognised``: its content tells what it is.
    ``needs_trust``: the file brings code. ``describes_itself``: it tells its inputs.
    ``data``: an input, by the name ``input``; ``expected`` says what is computed of it.
    ``takes``: dtype and shape of what it tells of its input. ``weights``: the file in a directory.
    ``args``: the model's arguments.
    """

    runtime: str
    format: str
    write: Callable[[Path], object]
    code: str = ""
    recognised: bool = True
    needs_trust: bool = False
    describes_itself: bool = False
    data: np.ndarray = field(default_factory=lambda: DATA)
    input: str = "x"
    expected: Callable[[Path], np.ndarray] = lambda path: 2 * DATA
    takes: tuple[str, tuple[int, ...]] = ("float32", (-1, 4))
    weights: str = ""

    @property
    def imports_transformers(self) -> bool:
        """Whether the file is loaded by transformers, which takes seconds to import."""
        return self.runtime == "huggingface"

    @property
    def slow(self) -> bool:
        """Whether it takes seconds: a C++ compiler is called, or a pipeline draws pictures."""
        return self.format in {"aoti", "diffusers"} or bool(self.args.get("compile"))

    @property
    def sleeps(self) -> bool:
        """Whether its weights can be moved."""
        return self.runtime not in {"onnx", "command"} and self.format != "aoti"

    @property
    def weight_bytes(self) -> int:
        """What four numbers take."""
        return 8 if self.args.get("dtype") in {"fp16", "bf16"} else 16

    args: dict[str, Any] = field(default_factory=dict)


OPTIONS: dict[str, dict[str, Any]] = {
    "fp16": {"dtype": "fp16"},
    "bf16": {"dtype": "bf16"},
    "channels-last": {"channels_last": True, "cudnn_benchmark": True},
}
CASES = {
    "safetensors": Case("pytorch", "safetensors", write_safetensors, code=CODE),
    "state-dict": Case("pytorch", "state_dict", write_state_dict, code=CODE),
    "checkpoint": Case("pytorch", "state_dict", write_checkpoint, code=CODE),
    **{
        f"safetensors-{name}": Case(
            "pytorch", "safetensors", write_safetensors, code=CODE, args=args
        )
        for name, args in OPTIONS.items()
    },
    "old-state-dict": Case("pytorch", "state_dict", write_old_state_dict, code=CODE),
    "module": Case("pytorch", "pickle", write_module, needs_trust=True),
    "old-module": Case("pytorch", "pickle", write_old_module, needs_trust=True),
    "exported": Case(
        "pytorch", "exported", write_exported, needs_trust=True, describes_itself=True
    ),
    "torchscript": Case("pytorch", "torchscript", write_torchscript, needs_trust=True),
    "torchscript-fp16": Case(
        "pytorch", "torchscript", write_torchscript, needs_trust=True, args={"dtype": "fp16"}
    ),
    "python": Case("python", "", write_npy, code=PYTHON_CODE, recognised=False),
    "onnx": Case("onnx", "onnx", write_onnx, describes_itself=True),
    "onnx-options": Case(
        "onnx",
        "onnx",
        write_onnx,
        describes_itself=True,
        args={"intra_op_num_threads": 1, "graph_optimization_level": "basic", "graph_cache": True},
    ),
    "onnx-weights-beside": Case(
        "onnx", "onnx", write_onnx_with_weights_beside, describes_itself=True
    ),
    "command": Case(
        "command",
        "",
        write_factor,
        recognised=False,
        args={"cmd": PROGRAM + " {port} {path}", "health": "/health"},
        expected=lambda path: 2 * DATA.astype(np.float64),  # JSON knows no other
    ),
}

if shutil.which("g++"):  # these are compiled
    CASES["safetensors-compiled"] = Case(
        "pytorch", "safetensors", write_safetensors, code=CODE, args={"compile": True}
    )
    CASES["aoti"] = Case("pytorch", "aoti", write_aoti, needs_trust=True)

if importlib.util.find_spec("transformers"):
    from tests.contract import tiny_models

    CASES["huggingface"] = Case(
        "huggingface",
        "transformers",
        tiny_models.embedder,
        describes_itself=True,
        data=np.array(["some text", "more words in Paris"], object),
        input="text",
        expected=tiny_models.embed,
        takes=("string", (-1,)),
        weights="model.safetensors",
    )

if importlib.util.find_spec("diffusers"):
    from tests.contract import tiny_drawing

    CASES["diffusers"] = Case(
        "huggingface",
        "diffusers",
        tiny_drawing.draw,
        describes_itself=True,
        data=np.array(["some text", "more words in Paris"], object),
        input="prompt",
        expected=tiny_drawing.both,
        takes=("object", (-1,)),
        weights="unet/diffusion_pytorch_model.safetensors",
        args={"seed": 3, "num_inference_steps": 2},
    )
