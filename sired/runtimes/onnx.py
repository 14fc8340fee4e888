"""ONNX models in ONNX Runtime."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime

from sired.errors import InvalidInput, InvalidModel, LoadFailed
from sired.runtimes.base import InferenceRuntime, is_out_of_memory
from sired.spec import Signature, TensorSpec

_DTYPES = {"float": "float32", "double": "float64", "string": "object", "bool": "bool"}
_UNREADABLE = {"Fail", "InvalidProtobuf", "InvalidGraph", "NoSuchFile", "InvalidArgument"}
_ERRORS_ONLY = 3


class OnnxRuntime(InferenceRuntime):
    """Runs ONNX files, on a GPU through CUDA and on the CPU otherwise."""

    name: ClassVar[str] = "onnx"

    def load(self, model_path: str, **kwargs: Any) -> onnxruntime.InferenceSession:
        """Open a session; see ``InferenceRuntime.load``.

        Raises:
            InvalidModel: the file is no ONNX model, or arguments were given (it takes none).
            LoadFailed: the model is to go to a GPU and ONNX Runtime was built without CUDA.
        """
        known = {"device", "format", "model_class", "python_path", "trusted"}
        if unknown := sorted(kwargs.keys() - known):
            raise InvalidModel(f"An ONNX model takes no argument {unknown[0]!r}.")
        providers = _providers(kwargs.get("device", "cpu"))
        try:
            return onnxruntime.InferenceSession(model_path, _options(), providers)
        except Exception as problem:
            # Their exception types cannot be imported by a stable name.
            if type(problem).__name__ in _UNREADABLE and not is_out_of_memory(problem):
                said = str(problem).partition(" : ")[2] or str(problem)
                raise InvalidModel(f"{model_path} cannot be read as ONNX: {said}") from problem
            raise

    def predict(self, model: onnxruntime.InferenceSession, data: Any) -> Any:
        """Run the graph; see ``InferenceRuntime.predict``.

        Returns:
            The only output as it is, several as a dict by name.

        Raises:
            InvalidInput: names or number of the inputs are not the graph's.
        """
        outputs = [output.name for output in model.get_outputs()]
        answers = model.run(outputs, _feed(model, data))
        return answers[0] if len(answers) == 1 else dict(zip(outputs, answers, strict=True))

    def get_memory_footprint(self, model: onnxruntime.InferenceSession) -> int:
        """Bytes of the file, and of the weights beside it: the graph itself is small."""
        path = Path(model._model_path)  # noqa: SLF001 (there is no public way to it)
        beside = (path.with_name(path.name + suffix) for suffix in (".data", "_data"))
        return path.stat().st_size + sum(f.stat().st_size for f in beside if f.is_file())

    def signature(self, model: onnxruntime.InferenceSession) -> Signature:
        """The graph's inputs and outputs; named and unknown axes are -1."""
        return Signature(
            inputs=tuple(_describe(value) for value in model.get_inputs()),
            outputs=tuple(_describe(value) for value in model.get_outputs()),
        )


def _providers(device: str) -> list[Any]:
    if not device.startswith("cuda"):
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise LoadFailed(
            "This ONNX Runtime was built without CUDA.",
            hint="pip install onnxruntime-gpu, or register the model with --device cpu",
        )
    # The arena grows by what is asked for, not by powers of two: memory is shared here.
    cuda = {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # The CPU arena keeps what one large request took for the life of the session.
    options.enable_cpu_mem_arena = False
    # Threads that spin between requests would take the cores from other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _feed(model: onnxruntime.InferenceSession, data: Any) -> dict[str, Any]:
    names = [value.name for value in model.get_inputs()]
    if isinstance(data, dict):
        feed = data
    elif isinstance(data, tuple) or (isinstance(data, list) and len(names) > 1):
        feed = dict(zip(names, data, strict=False))
    else:
        feed = {names[0]: data}
    if set(feed) != set(names):
        raise InvalidInput(
            f"The model's inputs are {', '.join(names)}; given were {', '.join(feed)}."
        )
    return {name: np.asarray(value) for name, value in feed.items()}


def _describe(value: Any) -> TensorSpec:
    element = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in value.shape)
    return TensorSpec(value.name, _DTYPES.get(element, element), shape)
