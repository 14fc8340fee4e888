"""Runs ONNX models in ONNX Runtime."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.onnx import sessions
from sired.runtimes.onnx.arguments import read_onnx_options
from sired.runtimes.onnx.graph_inputs import GraphInput, describe, feed, inputs_of
from sired.runtimes.out_of_memory import is_out_of_memory

# Types that numpy does not have, and that ONNX Runtime does not expose to Python.
_UNKNOWN_TO_NUMPY = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
_TENSOR = "tensor("


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A session, its inputs, the names of its outputs, and the bytes of its weights."""

    session: onnxruntime.InferenceSession
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    weight_bytes: int


class OnnxRuntime(InferenceRuntime):
    """Runs ONNX files, on a GPU through CUDA and on the CPU otherwise."""

    def load(self, model_path: str, **kwargs: Any) -> OnnxModel:
        """Open a session; see ``InferenceRuntime.load``. The arguments are ``OnnxOptions``.

        Raises:
            InvalidModel: the file is not an ONNX model, or uses types that numpy does not have.
            LoadFailed: ONNX Runtime cannot use the GPU that the model was placed on.
        """
        request = self._session_request(model_path, kwargs)
        session = sessions.open_session(request, self.cache_directory, self.progress)
        _check_dtypes(model_path, session)
        return OnnxModel(
            session,
            inputs_of(session),
            tuple(value.name for value in session.get_outputs()),
            request.weight_bytes,
        )

    def streams_files(self, model_path: str, **kwargs: Any) -> bool:
        """Whether the optimised graph is cached: then the model's own file is not read."""
        return sessions.has_cached_graph(
            self._session_request(model_path, kwargs), self.cache_directory
        )

    def _session_request(self, path: str, given: dict[str, Any]) -> sessions.SessionRequest:
        return sessions.SessionRequest(
            path=path,
            on_gpu=str(given.get("device", "cpu")).startswith("cuda"),
            options=read_onnx_options(given),
            weight_bytes=given.get("weight_bytes") or _size(path),
            memory_limit=self.memory_limit,
        )

    def predict(self, model: OnnxModel, data: Any) -> Any:
        """Run the graph; see ``InferenceRuntime.predict``.

        Returns:
            A single output as an array, several as a dict by name.

        Raises:
            InvalidInput: names, number, dtypes or shapes of the inputs do not match the graph.
        """
        try:
            answers = model.session.run(model.outputs, feed(model.inputs, data))
        except Exception as problem:
            if type(problem).__name__ == "InvalidArgument" and not is_out_of_memory(problem):
                reason = sessions.error_text(problem)
                raise InvalidInput(f"The model rejects the input: {reason}") from problem
            raise
        if len(answers) == 1:
            return answers[0]
        return dict(zip(model.outputs, answers, strict=True))

    def get_memory_footprint(self, model: OnnxModel) -> int:
        """Bytes of the file and of external weights: the graph itself is small."""
        return model.weight_bytes

    def precision_bytes(self, model: OnnxModel) -> int:
        """As for float32: on a GPU it is multiplied in TensorFloat-32, unless that is disabled."""
        options = model.session.get_provider_options().get("CUDAExecutionProvider")
        return 4 if options is None or options.get("use_tf32") == "0" else 3

    def accepts_dummy_input(self, model: OnnxModel) -> bool:  # noqa: ARG002
        """Always: graphs have no side effects."""
        return True

    def signature(self, model: OnnxModel) -> Signature:
        """The graph's inputs and outputs; symbolic and unknown axes are -1.

        Outputs are left out as a whole if some are not tensors but sequences or maps.
        """
        outputs = model.session.get_outputs()
        tensors = all(value.type.startswith(_TENSOR) for value in outputs)
        return Signature(
            inputs=tuple(one.spec for one in model.inputs),
            outputs=tuple(map(describe, outputs)) if tensors else (),
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:  # ONNX Runtime reports what is wrong with it
        return 0


def _check_dtypes(path: str, session: onnxruntime.InferenceSession) -> None:
    for value in (*session.get_inputs(), *session.get_outputs()):
        if value.type.removeprefix(_TENSOR).startswith(_UNKNOWN_TO_NUMPY):
            raise InvalidModel(
                f"{path} has {value.name} as {value.type}, a type that numpy does not have.",
                hint="Cast it from and to float32 in the graph; inside the graph it can stay.",
            )
