"""Starts programs that serve a model over HTTP, and forwards requests to them."""

import contextlib
import http.client
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import psutil

from sire.errors import InferenceError, LoadFailed, WorkerCrashed
from sire.protocol.content import ARRAY_TYPES, JSON, Buffer, Payload
from sire.tensors import pack, unpack
from sired.http.client import HttpResponse
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.command.arguments import Program, read_program
from sired.runtimes.command.process import HOST, Process
from sired.runtimes.support.http_answers import data_of, error_of, stream_payloads, to_json

_PORTS_TO_TRY = 3
# How long after a broken connection the program is checked for having ended.
_ENDING_SECONDS = 1.0
_EVENTS = "text/event-stream, */*;q=0.5"


class CommandRuntime(InferenceRuntime):
    """Starts a program and forwards inputs to it; its arguments are the fields of ``Program``."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def load(self, model_path: str, **kwargs: Any) -> "RunningProgram":
        """Start the program and wait until it is healthy; see ``InferenceRuntime.load``."""
        program = read_program(kwargs, model_path)
        for _ in range(_PORTS_TO_TRY):
            process = self._process = Process(program, model_path, kwargs.get("device", "cpu"))
            if process.wait_until_healthy():
                return RunningProgram(program, process)
        raise LoadFailed(
            f"{_PORTS_TO_TRY} ports in turn were taken by others before the program used them."
        )

    def predict(self, model: "RunningProgram", data: Any) -> Any:
        """Post the data as JSON; see ``InferenceRuntime.predict``.

        Returns:
            The JSON of the response as data, with lists of numbers as arrays.
        """
        return data_of(model.post(to_json(data), {"Content-Type": JSON, "Accept": JSON}))

    def forward(self, model: "RunningProgram", payload: Payload, accept: str) -> Payload | None:
        """Post the bytes of an input unchanged; arrays and trees are posted as JSON."""
        if payload.content_type in ARRAY_TYPES:
            return pack(self.predict(model, unpack(payload)))
        if len(payload.frames) != 1:
            return None
        wanted = JSON if accept in ARRAY_TYPES else f"{accept}, */*;q=0.5"
        headers = {"Content-Type": payload.content_type, "Accept": wanted}
        return model.post(payload.frames[0], headers).payload()

    def stream(self, model: "RunningProgram", data: Any) -> Generator[Any, None, None]:
        """Post the data as JSON, and yield the data of each event of the response."""
        headers = {"Content-Type": JSON, "Accept": _EVENTS}
        yield from map(data_of, model.stream(_streaming(to_json(data)), headers))

    def forward_stream(
        self, model: "RunningProgram", payload: Payload, accept: str
    ) -> Generator[Payload, None, None] | None:
        """Post an input unchanged, with ``"stream": true`` added if it is a JSON object.

        Parts are the server's own events; if text is wanted, only their text.
        """
        if payload.content_type in ARRAY_TYPES or len(payload.frames) != 1:
            return None
        body = payload.frames[0]
        if payload.content_type == JSON:
            body = _streaming(body)
        headers = {"Content-Type": payload.content_type, "Accept": _EVENTS}
        return stream_payloads(model.stream(body, headers), accept)

    def get_memory_footprint(self, model: "RunningProgram") -> int:
        """Bytes of private memory of the program and its descendants."""
        total = 0
        for pid in model.process.pids:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_full_info().uss
        return total

    def url(self, model: "RunningProgram") -> str:
        """Where the program serves."""
        return f"http://{HOST}:{model.process.port}"

    def processes(self, model: "RunningProgram") -> Sequence[int]:
        """The program and its descendants."""
        return model.process.pids

    def unload(self) -> None:
        """Terminate the program and its descendants."""
        if self._process is not None:
            self._process.end()


class RunningProgram:
    """A program that has reported to be healthy."""

    def __init__(self, program: Program, process: Process) -> None:
        self.process = process
        self._endpoint = program.endpoint

    def post(self, body: Any, headers: Mapping[str, str]) -> HttpResponse:
        """Post an input.

        Raises:
            InvalidInput: and QueueFull, InferenceError, MemoryError: by the response's status.
            WorkerCrashed: the program has ended.
        """
        with self._errors_translated():
            return self._checked(self.process.server.request("POST", self._endpoint, body, headers))

    def stream(self, body: Any, headers: Mapping[str, str]) -> Generator[HttpResponse, None, None]:
        """Post an input whose response is streamed; raises as ``post``."""
        with self._errors_translated():
            for part in self.process.server.stream("POST", self._endpoint, body, headers):
                yield self._checked(part)

    @contextlib.contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as problem:
            if how := self.process.ended(_ENDING_SECONDS):
                raise WorkerCrashed(f"The program ended {how}") from None
            reason = f"{type(problem).__name__}: {problem}"
            raise InferenceError(f"The program did not answer: {reason}") from problem

    def _checked(self, response: HttpResponse) -> HttpResponse:
        if not response.ok:
            hint = (
                f"Inputs are posted to {self._endpoint}; register it with --arg endpoint=/another"
            )
            raise error_of(response, hint)
        return response


def _streaming(body: Buffer) -> Buffer:
    """The body with ``"stream": true``, the common way to request a stream."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body  # the server reports the error
    return msgspec.json.encode({"stream": True} | fields) if isinstance(fields, dict) else body
