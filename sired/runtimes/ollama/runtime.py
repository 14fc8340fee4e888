"""Models that live in a running Ollama server: loaded, asked and unloaded through its HTTP API."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sire.errors import InferenceError, InvalidInput, LoadFailed, SireError
from sire.protocol.content import ARRAY_TYPES, JSON, TEXT, Payload
from sire.tensors import pack, unpack
from sired.http.client import HttpResponse
from sired.runtimes.arguments import own_arguments, read_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.ollama.arguments import OllamaOptions
from sired.runtimes.ollama.server import Ollama
from sired.runtimes.support.http_answers import data_of, error_of, in_parts, to_json

# The server unloads by itself what nobody has asked for longer: should this process be killed, it
# is not for ever that the model stays there.
_KEEP_ALIVE_SECONDS = 900
_REFRESH_SECONDS = 300.0
_UNLOADED_SECONDS = 8.0
_PAUSE_SECONDS = 0.05
_TOO_LITTLE_MEMORY = "more system memory"


@dataclass(frozen=True, slots=True)
class ServedOllamaModel:
    """A model that the server has loaded; ``options`` are those of requests without any."""

    server: Ollama
    name: str
    options: dict[str, Any]
    memory: int


class OllamaRuntime(InferenceRuntime):
    """Has a model loaded by an Ollama server; its arguments are those of ``OllamaOptions``."""

    def __init__(self) -> None:
        self._living: ServedOllamaModel | None = None
        self._ending = threading.Event()

    def load(self, model_path: str, **kwargs: Any) -> ServedOllamaModel:  # noqa: ARG002 (it has none)
        """Have the server load the model; see ``InferenceRuntime.load``.

        Raises:
            ModelNotFound: the server has no such model.
            LoadFailed: there is no server, or it cannot load the model.
        """
        given = read_arguments(OllamaOptions, own_arguments(kwargs), "The runtime ollama")
        on_gpu = str(kwargs.get("device", "cpu")).startswith("cuda")
        options = given.options if on_gpu else {**given.options, "num_gpu": 0}
        try:
            return self._load(Ollama(given.host), given, options, on_gpu=on_gpu)
        except (InvalidInput, InferenceError) as problem:
            raise LoadFailed(problem.message, hint=problem.hint) from None

    def _load(
        self, server: Ollama, given: OllamaOptions, options: dict[str, Any], *, on_gpu: bool
    ) -> ServedOllamaModel:
        server.find(given.model)
        self._living = ServedOllamaModel(server, given.model, options, 0)
        _keep(self._living)
        there = server.loaded(given.model)
        if there is None:
            raise LoadFailed(f"Ollama said that it loaded {given.model}, and has not.")
        self._living = ServedOllamaModel(
            server, given.model, options, there.size_vram if on_gpu else there.size
        )
        threading.Thread(target=self._refresh, name="keep-loaded", daemon=True).start()
        return self._living

    def _refresh(self) -> None:
        while not self._ending.wait(_REFRESH_SECONDS):
            with contextlib.suppress(SireError, MemoryError):
                assert self._living is not None
                _keep(self._living)

    def predict(self, model: ServedOllamaModel, data: Any) -> Any:
        """Ask the model; a string is a prompt, a dict what the API takes.

        Returns:
            What the server answered.
        """
        fields = {"prompt": data} if isinstance(data, str) else data
        return data_of(_ask(model, msgspec.json.decode(to_json(fields))))

    def stream(self, model: ServedOllamaModel, data: Any) -> Generator[Any, None, None]:
        """Ask the model; for a prompt the words it says, for a dict each thing the API says."""
        fields = {"prompt": data} if isinstance(data, str) else data
        answers = _stream(model, msgspec.json.decode(to_json(fields)))
        if isinstance(data, str):
            for part in in_parts(answers, TEXT):
                yield bytes(part.frames[0]).decode()
        else:
            yield from map(data_of, answers)

    def forward(self, model: ServedOllamaModel, payload: Payload, accept: str) -> Payload | None:
        """Ask with JSON or text as it came; where text is wanted, only what the model says."""
        if payload.content_type in ARRAY_TYPES:
            return pack(self.predict(model, unpack(payload)))
        fields = _wish(payload)
        if fields is None:
            return None
        answer = _ask(model, fields)
        return _text(answer) if accept == TEXT else answer.payload()

    def forward_stream(
        self, model: ServedOllamaModel, payload: Payload, accept: str
    ) -> Generator[Payload, None, None] | None:
        """Ask with JSON or text as it came, for what the model says as it says it."""
        fields = _wish(payload)
        return None if fields is None else in_parts(_stream(model, fields), accept)

    def get_memory_footprint(self, model: ServedOllamaModel) -> int:
        """What the server says the model takes: of GPUs where it was placed on one, else in all."""
        return model.memory

    def held_elsewhere(self, model: ServedOllamaModel) -> int:
        """The same: none of it is this process's."""
        return model.memory

    def unload(self) -> None:
        """Have the server unload the model, and wait until it has."""
        self._ending.set()
        if (living := self._living) is None:
            return
        with contextlib.suppress(SireError, MemoryError):
            _keep(living, 0)
            until = time.monotonic() + _UNLOADED_SECONDS
            while living.server.loaded(living.name) and time.monotonic() < until:
                time.sleep(_PAUSE_SECONDS)


def _wish(payload: Payload) -> Any:
    """What JSON or text asks for; None for other types."""
    kind = payload.content_type.partition(";")[0].strip().lower()
    if kind not in {JSON, TEXT} or len(payload.frames) != 1:
        return None
    content = bytes(payload.frames[0])
    try:
        return {"prompt": content.decode()} if kind == TEXT else msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise InvalidInput(f"The input is not valid {kind}: {problem}.") from None


def _keep(model: ServedOllamaModel, seconds: int = _KEEP_ALIVE_SECONDS) -> None:
    """Have a model loaded, and kept for so long; an empty prompt does that."""
    body = {"model": model.name, "keep_alive": seconds, "stream": False}
    if seconds:
        body["options"] = model.options
    answer = model.server.ask("/api/generate", body)
    if answer.status == 400 and seconds:  # it does not generate: a model of embeddings
        answer = model.server.ask("/api/embed", {**body, "input": []})
    _check(answer, model)


def _ask(model: ServedOllamaModel, fields: Any) -> HttpResponse:
    path, body = _body(model, fields, stream=False)
    with _errors_told():
        answer = model.server.ask(path, body)
    _check(answer, model)
    return answer


def _stream(model: ServedOllamaModel, fields: Any) -> Generator[HttpResponse, None, None]:
    path, body = _body(model, fields, stream=True)
    with _errors_told():
        for answer in model.server.stream(path, body):
            _check(answer, model)
            yield answer


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except LoadFailed as problem:
        raise InferenceError(problem.message, hint=problem.hint) from None


def _body(model: ServedOllamaModel, fields: Any, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Where to ask for something, and with which words."""
    if not isinstance(fields, dict):
        raise InvalidInput(
            "The input is neither text nor an object.",
            hint='Send a text as the prompt, or JSON like {"prompt": "Why?", "options": {}}',
        )
    path = "/api/generate"
    if "messages" in fields:
        path = "/api/chat"
    elif "input" in fields:
        path = "/api/embed"
    elif "prompt" not in fields:
        raise InvalidInput("The input has none of the keys prompt, messages and input.")
    options = fields.get("options") or {}
    if not isinstance(options, dict):
        raise InvalidInput("The options are no object.")
    return path, {
        **fields,
        "model": model.name,
        "stream": stream,
        "keep_alive": _KEEP_ALIVE_SECONDS,
        "options": {**model.options, **options},
    }


def _check(answer: HttpResponse, model: ServedOllamaModel) -> None:
    if answer.good:
        return
    if _TOO_LITTLE_MEMORY in answer.words():
        raise MemoryError(answer.words())
    raise error_of(answer, f"Fetch it: ollama pull {model.name}")


def _text(answer: HttpResponse) -> Payload:
    """What the model says, of an answer to a prompt or to messages; others stay as they are."""
    found = data_of(answer)
    said = found.get("response") if isinstance(found, dict) else None
    if said is None and isinstance(found, dict) and isinstance(found.get("message"), dict):
        said = found["message"].get("content")
    return Payload(TEXT, (said.encode(),)) if isinstance(said, str) else answer.payload()
