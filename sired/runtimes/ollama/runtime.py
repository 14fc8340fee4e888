"""Loads, runs and unloads models of an Ollama server through its HTTP API."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sire.errors import InferenceError, InvalidInput, LoadFailed, SireError
from sire.protocol.content import ARRAY_TYPES, JSON, TEXT, UNKNOWN, Payload
from sire.tensors import pack, unpack
from sired.http.client import HttpResponse
from sired.runtimes.arguments import own_arguments, read_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.ollama.arguments import OllamaOptions
from sired.runtimes.ollama.server import Ollama
from sired.runtimes.support.http_answers import data_of, error_of, stream_payloads, to_json

# The server unloads a model by itself after this idle time, also if this process is killed.
_KEEP_ALIVE_SECONDS = 900
_REFRESH_SECONDS = 300.0
_UNLOADED_SECONDS = 8.0
_PAUSE_SECONDS = 0.05
_TOO_LITTLE_MEMORY = "more system memory"


@dataclass(frozen=True, slots=True)
class LoadedOllamaModel:
    """A model that the server has loaded.

    Attributes:
        server: where it is loaded.
        name: in the server's library.
        options: the defaults of requests.
        memory: bytes that it occupies, as the server reports.
    """

    server: Ollama
    name: str
    options: dict[str, Any]
    memory: int


class OllamaRuntime(InferenceRuntime):
    """Has an Ollama server load a model; its arguments are the fields of ``OllamaOptions``."""

    def __init__(self) -> None:
        self._loaded: LoadedOllamaModel | None = None
        self._ending = threading.Event()

    def load(self, model_path: str, **kwargs: Any) -> LoadedOllamaModel:  # noqa: ARG002 (it has none)
        """Have the server load the model; see ``InferenceRuntime.load``.

        Raises:
            ModelNotFound: the server's library does not have the model.
            LoadFailed: the server cannot be reached, or cannot load the model.
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
    ) -> LoadedOllamaModel:
        server.find(given.model)
        self._loaded = LoadedOllamaModel(server, given.model, options, 0)
        _set_keep_alive(self._loaded)
        reported = server.loaded(given.model)
        if reported is None:
            raise LoadFailed(f"Ollama reported success but did not load {given.model}.")
        self._loaded = LoadedOllamaModel(
            server, given.model, options, reported.size_vram if on_gpu else reported.size
        )
        threading.Thread(target=self._refresh, name="keep-loaded", daemon=True).start()
        return self._loaded

    def _refresh(self) -> None:
        while not self._ending.wait(_REFRESH_SECONDS):
            with contextlib.suppress(SireError, MemoryError):
                assert self._loaded is not None
                _set_keep_alive(self._loaded)

    def predict(self, model: LoadedOllamaModel, data: Any) -> Any:
        """Run the model; a string is a prompt, a dict the body of an API request.

        Returns:
            The JSON of the response as data.
        """
        fields = {"prompt": data} if isinstance(data, str) else data
        return data_of(_request(model, msgspec.json.decode(to_json(fields))))

    def stream(self, model: LoadedOllamaModel, data: Any) -> Generator[Any, None, None]:
        """Run the model; yields text for a prompt, and each event's data for a dict."""
        fields = {"prompt": data} if isinstance(data, str) else data
        responses = _stream(model, msgspec.json.decode(to_json(fields)))
        if isinstance(data, str):
            for part in stream_payloads(responses, TEXT):
                yield bytes(part.frames[0]).decode()
        else:
            yield from map(data_of, responses)

    def forward(self, model: LoadedOllamaModel, payload: Payload, accept: str) -> Payload | None:
        """Forward JSON or text unchanged; if text is wanted, return only the generated text."""
        if payload.content_type in ARRAY_TYPES:
            return pack(self.predict(model, unpack(payload)))
        fields = _request_fields(payload)
        if fields is None:
            return None
        response = _request(model, fields)
        return _text(response) if accept == TEXT else response.payload()

    def forward_stream(
        self, model: LoadedOllamaModel, payload: Payload, accept: str
    ) -> Generator[Payload, None, None] | None:
        """Forward JSON or text unchanged, for a streamed response."""
        fields = _request_fields(payload)
        return None if fields is None else stream_payloads(_stream(model, fields), accept)

    def get_memory_footprint(self, model: LoadedOllamaModel) -> int:
        """Bytes that the server reports: on GPUs if the model was placed on one, else in total."""
        return model.memory

    def held_elsewhere(self, model: LoadedOllamaModel) -> int:
        """Bytes that the server reports; none of them are in this process."""
        return model.memory

    def unload(self) -> None:
        """Have the server unload the model, and wait until it is done."""
        self._ending.set()
        if (loaded := self._loaded) is None:
            return
        with contextlib.suppress(SireError, MemoryError):
            _set_keep_alive(loaded, 0)
            until = time.monotonic() + _UNLOADED_SECONDS
            while loaded.server.loaded(loaded.name) and time.monotonic() < until:
                time.sleep(_PAUSE_SECONDS)


def _request_fields(payload: Payload) -> Any:
    """The API request that JSON or text stands for; None for other content types."""
    kind = payload.content_type.partition(";")[0].strip().lower()
    kind = TEXT if kind == UNKNOWN else kind
    if kind not in {JSON, TEXT} or len(payload.frames) != 1:
        return None
    content = bytes(payload.frames[0])
    try:
        return {"prompt": content.decode()} if kind == TEXT else msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise InvalidInput(f"The input is not valid {kind}: {problem}.") from None


def _set_keep_alive(model: LoadedOllamaModel, seconds: int = _KEEP_ALIVE_SECONDS) -> None:
    """Have a model loaded, and unloaded after an idle time; an empty prompt does that."""
    body = {"model": model.name, "keep_alive": seconds, "stream": False}
    if seconds:
        body["options"] = model.options
    response = model.server.request("/api/generate", body)
    if response.status == 400 and seconds:  # an embedding model, which does not generate
        response = model.server.request("/api/embed", {**body, "input": []})
    _check(response, model)


def _request(model: LoadedOllamaModel, fields: Any) -> HttpResponse:
    path, body = _body(model, fields, stream=False)
    with _errors_translated():
        response = model.server.request(path, body)
    _check(response, model)
    return response


def _stream(model: LoadedOllamaModel, fields: Any) -> Generator[HttpResponse, None, None]:
    path, body = _body(model, fields, stream=True)
    with _errors_translated():
        for response in model.server.stream(path, body):
            _check(response, model)
            yield response


@contextlib.contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except LoadFailed as problem:
        raise InferenceError(problem.message, hint=problem.hint) from None


def _body(model: LoadedOllamaModel, fields: Any, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The path and the body of an API request."""
    if not isinstance(fields, dict):
        raise InvalidInput(
            "The input is neither text nor a JSON object.",
            hint='Send text as the prompt, or JSON like {"prompt": "Why?", "options": {}}',
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
        raise InvalidInput("options is not a JSON object.")
    return path, {
        **fields,
        "model": model.name,
        "stream": stream,
        "keep_alive": _KEEP_ALIVE_SECONDS,
        "options": {**model.options, **options},
    }


def _check(response: HttpResponse, model: LoadedOllamaModel) -> None:
    if response.ok:
        return
    if _TOO_LITTLE_MEMORY in response.message():
        raise MemoryError(response.message())
    raise error_of(response, f"Download it: ollama pull {model.name}")


def _text(response: HttpResponse) -> Payload:
    """The generated text of a response to a prompt or to messages; other responses unchanged."""
    found = data_of(response)
    text = found.get("response") if isinstance(found, dict) else None
    if text is None and isinstance(found, dict) and isinstance(found.get("message"), dict):
        text = found["message"].get("content")
    return Payload(TEXT, (text.encode(),)) if isinstance(text, str) else response.payload()
