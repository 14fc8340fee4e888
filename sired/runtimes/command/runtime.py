"""Models that a program of their own serves over HTTP: vLLM, TGI, llama.cpp, Triton, a script."""

import contextlib
import http.client
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
import orjson
import psutil

from sired.errors import InferenceError, InvalidInput, LoadFailed, WorkerCrashed
from sired.program import Program, read_program
from sired.protocol.content import JSON, TENSORS, TREE, Payload
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.command.http import Answer, error_of
from sired.runtimes.command.process import Process

_ABOUT_FILES = {"device", "format", "model_class", "python_path", "trusted", "weight_bytes"}
_PORTS_TO_TRY = 3
# A program that broke a connection is given this long to turn out to have ended.
_ENDING_SECONDS = 1.0
_CANNOT_FORWARD = {TENSORS, TREE}


class CommandRuntime(InferenceRuntime):
    """Starts a program and forwards inputs to it; its arguments are those of ``Program``."""

    name: ClassVar[str] = "command"

    def __init__(self) -> None:
        self._process: Process | None = None

    def load(self, model_path: str, **kwargs: Any) -> "Serving":
        """Start the program and wait until it is healthy; see ``InferenceRuntime.load``."""
        args = {name: value for name, value in kwargs.items() if name not in _ABOUT_FILES}
        program = read_program(args, model_path)
        for _ in range(_PORTS_TO_TRY):
            process = self._process = Process(program, model_path, kwargs.get("device", "cpu"))
            if process.wait_until_healthy():
                return Serving(program, process)
        raise LoadFailed("Each port that was found for the program was taken before it took it.")

    def predict(self, model: "Serving", data: Any) -> Any:
        """Post the data as JSON; see ``InferenceRuntime.predict``.

        Returns:
            What the JSON of the answer says; lists of numbers as arrays.
        """
        try:
            body = orjson.dumps(_plain(data), option=orjson.OPT_SERIALIZE_NUMPY)
        except orjson.JSONEncodeError as problem:
            raise InvalidInput(f"The input cannot be sent as JSON: {problem}.") from None
        answer = model.post(body, {"Content-Type": JSON, "Accept": JSON})
        try:
            return _arrays(msgspec.json.decode(answer.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return answer.body.decode(errors="replace")

    def forward(self, model: "Serving", payload: Payload) -> Payload | None:
        """Post an input that came as bytes of a content type as it came."""
        if payload.content_type in _CANNOT_FORWARD or len(payload.frames) != 1:
            return None
        return model.post(payload.frames[0], {"Content-Type": payload.content_type}).payload()

    def get_memory_footprint(self, model: "Serving") -> int:
        """Bytes of memory that only the program and what it started have."""
        total = 0
        for pid in model.process.pids:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_full_info().uss
        return total

    def processes(self, model: "Serving") -> Sequence[int]:
        """The program, and what it has started."""
        return model.process.pids

    def unload(self) -> None:
        """End the program and what it has started."""
        if self._process is not None:
            self._process.end()


class Serving:
    """A program that is healthy."""

    def __init__(self, program: Program, process: Process) -> None:
        self.process = process
        self._endpoint = program.endpoint

    def post(self, body: Any, headers: Mapping[str, str]) -> Answer:
        """Have an input answered.

        Raises:
            InvalidInput: and QueueFull, InferenceError, MemoryError: as the server says.
            WorkerCrashed: the program has ended over it, or before.
        """
        try:
            answer = self.process.server.ask("POST", self._endpoint, body, headers)
        except (OSError, http.client.HTTPException) as problem:
            if how := self.process.ended(_ENDING_SECONDS):
                raise WorkerCrashed(f"The program ended {how}") from None
            said = f"{type(problem).__name__}: {problem}"
            raise InferenceError(f"The program did not answer: {said}") from problem
        if not answer.good:
            raise error_of(answer, self._endpoint)
        return answer


def _plain(value: Any) -> Any:
    """The data as JSON has it: arrays in the machine's byte order and in one piece."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        simple = value.ndim and value.dtype.kind in "biuf" and value.dtype.isnative
        return np.ascontiguousarray(value) if simple else _plain(value.tolist())
    return value


def _arrays(value: Any) -> Any:
    """Lists of numbers, wherever they stand, as arrays."""
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if not isinstance(value, list) or not value:
        return value
    with contextlib.suppress(ValueError, OverflowError):
        array = np.array(value)
        if array.dtype.kind in "biuf":
            return array
    return [_arrays(item) for item in value]
