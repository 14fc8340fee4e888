"""ONNX models in ONNX Runtime."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime

from sired.errors import InvalidInput, InvalidModel, LoadFailed
from sired.runtimes.base import InferenceRuntime, is_out_of_memory
from sired.spec import Signature, TensorSpec

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DTYPES = {"float": "float32", "double": "float64", "string": "object", "bool": "bool"}
_UNREADABLE = {"Fail", "InvalidProtobuf", "InvalidGraph", "NoSuchFile", "InvalidArgument"}
_KNOWN = {"device", "format", "model_class", "python_path", "trusted", "weight_bytes"}
_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session, the names it goes by, and the bytes of its weights."""

    session: onnxruntime.InferenceSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int


class OnnxRuntime(InferenceRuntime):
    """Runs ONNX files, on a GPU through CUDA and on the CPU otherwise."""

    name: ClassVar[str] = "onnx"

    def load(self, model_path: str, **kwargs: Any) -> Loaded:
        """Open a session; see ``InferenceRuntime.load``.

        Raises:
            InvalidModel: the file is no ONNX model, or arguments were given (it takes none).
            LoadFailed: the model is to go to a GPU that ONNX Runtime cannot use.
        """
        if unknown := sorted(kwargs.keys() - _KNOWN):
            raise InvalidModel(f"An ONNX model takes no argument {unknown[0]!r}.")
        session = _open(model_path, kwargs.get("device", "cpu"))
        return Loaded(
            session,
            tuple(value.name for value in session.get_inputs()),
            tuple(value.name for value in session.get_outputs()),
            kwargs.get("weight_bytes") or Path(model_path).stat().st_size,
        )

    def predict(self, model: Loaded, data: Any) -> Any:
        """Run the graph; see ``InferenceRuntime.predict``.

        Returns:
            The only output as it is, several as a dict by name.

        Raises:
            InvalidInput: names, number, dtypes or shapes of the inputs are not the graph's.
        """
        try:
            answers = model.session.run(model.outputs, _feed(model, data))
        except Exception as problem:
            if type(problem).__name__ == "InvalidArgument" and not is_out_of_memory(problem):
                raise InvalidInput(f"The model does not take this: {_said(problem)}") from problem
            raise
        if len(answers) == 1:
            return answers[0]
        return dict(zip(model.outputs, answers, strict=True))

    def get_memory_footprint(self, model: Loaded) -> int:
        """Bytes of the file, and of the weights beside it: the graph itself is small."""
        return model.weight_bytes

    def signature(self, model: Loaded) -> Signature:
        """The graph's inputs and outputs; named and unknown axes are -1."""
        return Signature(
            inputs=tuple(_describe(value) for value in model.session.get_inputs()),
            outputs=tuple(_describe(value) for value in model.session.get_outputs()),
        )


def _open(path: str, device: str) -> onnxruntime.InferenceSession:
    on_gpu = device.startswith("cuda")
    try:
        session = onnxruntime.InferenceSession(path, _options(), _providers(on_gpu))
    except Exception as problem:
        # Their exception types cannot be imported by a stable name.
        if type(problem).__name__ in _UNREADABLE and not is_out_of_memory(problem):
            raise InvalidModel(f"{path} cannot be read as ONNX: {_said(problem)}") from problem
        raise
    # Without its libraries or its GPU it goes to the CPU and says so in a log.
    if on_gpu and session.get_providers()[0] != _CUDA:
        raise _no_gpu("ONNX Runtime cannot use the GPU: a library of CUDA or cuDNN is missing.")
    return session


def _providers(on_gpu: bool) -> list[Any]:
    if not on_gpu:
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        raise _no_gpu("This ONNX Runtime was built without CUDA.")
    # The libraries that PyTorch brought are as good as the system's, and may be the only ones.
    onnxruntime.preload_dlls()
    # The arena grows by what is asked for, not by powers of two: memory is shared here.
    return [(_CUDA, {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}), _CPU]


def _no_gpu(said: str) -> LoadFailed:
    return LoadFailed(
        said, hint="pip install onnxruntime-gpu with its CUDA, or register with --device cpu"
    )


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # The CPU arena keeps what one large request took for the life of the session.
    options.enable_cpu_mem_arena = False
    # Threads that spin between requests would take the cores from other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _feed(model: Loaded, data: Any) -> dict[str, Any]:
    names = model.inputs
    if isinstance(data, dict):
        feed = data
    elif isinstance(data, tuple) or (isinstance(data, list) and len(names) > 1):
        feed = dict(zip(names, data, strict=False))
    else:
        feed = {names[0]: data}
    if feed.keys() != set(names):
        given = ", ".join(map(str, feed)) or "none"
        raise InvalidInput(f"The model's inputs are {', '.join(names)}; given were {given}.")
    return {name: np.asarray(value) for name, value in feed.items()}


def _said(problem: Exception) -> str:
    # It begins with the name of the library, a number and the name of that number.
    return str(problem).split(" : ", 3)[-1]


def _describe(value: Any) -> TensorSpec:
    element = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in value.shape)
    return TensorSpec(value.name, _DTYPES.get(element, element), shape)
