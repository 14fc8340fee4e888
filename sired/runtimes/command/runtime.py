"""Models that a program of their own serves over HTTP: vLLM, TGI, llama.cpp, Triton, a script."""

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
from sired.runtimes.command.process import Process
from sired.runtimes.support.http_answers import data_of, error_of, in_parts, to_json

_PORTS_TO_TRY = 3
# A program that broke a connection is given this long to turn out to have ended.
_ENDING_SECONDS = 1.0
_EVENTS = "text/event-stream, */*;q=0.5"


class CommandRuntime(InferenceRuntime):
    """Starts a program and forwards inputs to it; its arguments are those of ``Program``."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def load(self, model_path: str, **kwargs: Any) -> "RunningProgram":
        """Start the program and wait until it is healthy; see ``InferenceRuntime.load``."""
        program = read_program(kwargs, model_path)
        for _ in range(_PORTS_TO_TRY):
            process = self._process = Process(program, model_path, kwargs.get("device", "cpu"))
            if process.wait_until_healthy():
                return RunningProgram(program, process)
        raise LoadFailed("Each port that was found for the program was taken before it took it.")

    def predict(self, model: "RunningProgram", data: Any) -> Any:
        """Post the data as JSON; see ``InferenceRuntime.predict``.

        Returns:
            What the JSON of the answer says; lists of numbers as arrays.
        """
        return data_of(model.post(to_json(data), {"Content-Type": JSON, "Accept": JSON}))

    def forward(self, model: "RunningProgram", payload: Payload, accept: str) -> Payload | None:
        """Post an input that came as bytes of a content type as it came, any other as JSON."""
        if payload.content_type in ARRAY_TYPES:
            return pack(self.predict(model, unpack(payload)))
        if len(payload.frames) != 1:
            return None
        wanted = JSON if accept in ARRAY_TYPES else f"{accept}, */*;q=0.5"
        headers = {"Content-Type": payload.content_type, "Accept": wanted}
        return model.post(payload.frames[0], headers).payload()

    def stream(self, model: "RunningProgram", data: Any) -> Generator[Any, None, None]:
        """Post the data as JSON, and give what each event of the answer says."""
        headers = {"Content-Type": JSON, "Accept": _EVENTS}
        yield from map(data_of, model.stream(_streaming(to_json(data)), headers))

    def forward_stream(
        self, model: "RunningProgram", payload: Payload, accept: str
    ) -> Generator[Payload, None, None] | None:
        """Post an input as it came, with ``"stream": true`` where it is an object of JSON.

        Parts are the server's own events; where text is wanted, what they say.
        """
        if payload.content_type in ARRAY_TYPES or len(payload.frames) != 1:
            return None
        body = payload.frames[0]
        if payload.content_type == JSON:
            body = _streaming(body)
        headers = {"Content-Type": payload.content_type, "Accept": _EVENTS}
        return in_parts(model.stream(body, headers), accept)

    def get_memory_footprint(self, model: "RunningProgram") -> int:
        """Bytes of memory that only the program and what it started have."""
        total = 0
        for pid in model.process.pids:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_full_info().uss
        return total

    def processes(self, model: "RunningProgram") -> Sequence[int]:
        """The program, and what it has started."""
        return model.process.pids

    def unload(self) -> None:
        """End the program and what it has started."""
        if self._process is not None:
            self._process.end()


class RunningProgram:
    """A program that is healthy."""

    def __init__(self, program: Program, process: Process) -> None:
        self.process = process
        self._endpoint = program.endpoint

    def post(self, body: Any, headers: Mapping[str, str]) -> HttpResponse:
        """Have an input answered.

        Raises:
            InvalidInput: and QueueFull, InferenceError, MemoryError: as the server says.
            WorkerCrashed: the program has ended over it, or before.
        """
        with self._errors_told():
            return self._good(self.process.server.ask("POST", self._endpoint, body, headers))

    def stream(self, body: Any, headers: Mapping[str, str]) -> Generator[HttpResponse, None, None]:
        """Have an input answered in parts; raises as ``post``."""
        with self._errors_told():
            for part in self.process.server.stream("POST", self._endpoint, body, headers):
                yield self._good(part)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as problem:
            if how := self.process.ended(_ENDING_SECONDS):
                raise WorkerCrashed(f"The program ended {how}") from None
            said = f"{type(problem).__name__}: {problem}"
            raise InferenceError(f"The program did not answer: {said}") from problem

    def _good(self, answer: HttpResponse) -> HttpResponse:
        if not answer.good:
            hint = (
                f"Inputs are posted to {self._endpoint}; register it with --arg endpoint=/another"
            )
            raise error_of(answer, hint)
        return answer


def _streaming(body: Buffer) -> Buffer:
    """A body that asks for a stream, as the servers want it that can."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body  # the server says what it thinks of it
    return msgspec.json.encode({"stream": True} | fields) if isinstance(fields, dict) else body
