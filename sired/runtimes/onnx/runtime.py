"""ONNX models in ONNX Runtime."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.base import InferenceRuntime, is_out_of_memory
from sired.runtimes.onnx import sessions
from sired.runtimes.onnx.arguments import read_onnx_options

_DTYPES = {"float": "float32", "double": "float64"}
# What numpy has not, and ONNX Runtime gives out to nobody who asks in Python.
_UNKNOWN_TO_NUMPY = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
_TENSOR = "tensor("


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A session, the names it goes by, and the bytes of its weights."""

    session: onnxruntime.InferenceSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int


class OnnxRuntime(InferenceRuntime):
    """Runs ONNX files, on a GPU through CUDA and on the CPU otherwise."""

    def load(self, model_path: str, **kwargs: Any) -> OnnxModel:
        """Open a session; see ``InferenceRuntime.load``. The arguments are ``OnnxOptions``.

        Raises:
            InvalidModel: the file is no ONNX model, or takes numbers that numpy has not.
            LoadFailed: the model is to go to a GPU that ONNX Runtime cannot use.
        """
        request = self._session_request(model_path, kwargs)
        session = sessions.open_session(request, self.cache_directory, self.progress)
        _check_dtypes(model_path, session)
        return OnnxModel(
            session,
            tuple(value.name for value in session.get_inputs()),
            tuple(value.name for value in session.get_outputs()),
            request.weight_bytes,
        )

    def streams_files(self, model_path: str, **kwargs: Any) -> bool:
        """It does so where the optimised graph was kept: then the model's file is not read."""
        return sessions.is_kept(self._session_request(model_path, kwargs), self.cache_directory)

    def _session_request(self, path: str, given: dict[str, Any]) -> sessions.SessionRequest:
        return sessions.SessionRequest(
            path=path,
            on_gpu=str(given.get("device", "cpu")).startswith("cuda"),
            options=read_onnx_options(given),
            weight_bytes=given.get("weight_bytes") or _size(path),
        )

    def predict(self, model: OnnxModel, data: Any) -> Any:
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
                said = sessions.words(problem)
                raise InvalidInput(f"The model does not take this: {said}") from problem
            raise
        if len(answers) == 1:
            return answers[0]
        return dict(zip(model.outputs, answers, strict=True))

    def get_memory_footprint(self, model: OnnxModel) -> int:
        """Bytes of the file, and of the weights beside it: the graph itself is small."""
        return model.weight_bytes

    def accepts_dummy_input(self, model: OnnxModel) -> bool:  # noqa: ARG002
        """Whether it may be tried: graphs do nothing but compute."""
        return True

    def signature(self, model: OnnxModel) -> Signature:
        """The graph's inputs and outputs; named and unknown axes are -1.

        Nothing is said of a side on which not all are tensors: there are lists and maps as well.
        """
        return Signature(
            inputs=_describe(model.session.get_inputs()),
            outputs=_describe(model.session.get_outputs()),
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:  # ONNX Runtime tells what is wrong with it
        return 0


def _check_dtypes(path: str, session: onnxruntime.InferenceSession) -> None:
    for value in (*session.get_inputs(), *session.get_outputs()):
        if value.type.removeprefix(_TENSOR).startswith(_UNKNOWN_TO_NUMPY):
            raise InvalidModel(
                f"{path} takes or gives {value.name} as {value.type}, which numpy does not have.",
                hint="Have the graph cast it from and to float32; inside it may be what it is.",
            )


def _feed(model: OnnxModel, data: Any) -> dict[str, Any]:
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


def _describe(values: list[Any]) -> tuple[TensorSpec, ...]:
    if not all(value.type.startswith(_TENSOR) for value in values):
        return ()
    return tuple(map(_describe_tensor, values))


def _describe_tensor(value: Any) -> TensorSpec:
    element = value.type.removeprefix(_TENSOR).removesuffix(")")
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in value.shape)
    return TensorSpec(value.name, _DTYPES.get(element, element), shape)
