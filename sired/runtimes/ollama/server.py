"""A running Ollama server: what it has, what it has loaded, and asking it."""

import contextlib
import http.client
import os
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from sire.errors import InvalidModel, LoadFailed, ModelNotFound
from sire.protocol.content import JSON
from sired.http.client import HttpResponse, Server

DEFAULT_HOST = "http://127.0.0.1:11434"
_LOOK_SECONDS = 10.0
_HEADERS = {"Content-Type": JSON}


class OllamaModel(msgspec.Struct, frozen=True):
    """A model as the server lists it.

    Attributes:
        name: with its tag.
        size: bytes; on disk, or of all memory where it is loaded.
        size_vram: of that, bytes on GPUs.
    """

    name: str
    size: int = 0
    digest: str = ""
    size_vram: int = 0


class _Models(msgspec.Struct, frozen=True):
    models: list[OllamaModel] | None = None


class Ollama:
    """A server.

    Args:
        host: as in ``OllamaOptions``: a URL, or a host and a port.

    Raises:
        InvalidModel: it is no address.
    """

    def __init__(self, host: str = "") -> None:
        said = host or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST
        url = said if "://" in said else f"http://{said}"
        try:
            parts = urlsplit(url)
            port = parts.port or 11434
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidModel(f"{said!r} is no address of a server.", hint=f"Like {DEFAULT_HOST}")
        self.url = f"http://{parts.hostname}:{port}"
        # It listens everywhere, and is asked here.
        listens = {"0.0.0.0": "127.0.0.1"}  # noqa: S104
        self._server = Server(listens.get(parts.hostname, parts.hostname), port)

    def ask(
        self, path: str, body: dict[str, Any] | None, timeout: float | None = None
    ) -> HttpResponse:
        """Ask once: POST with a body, else GET.

        Raises:
            LoadFailed: there is no server, or it did not answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = _HEADERS if body is not None else {}
        method = "GET" if body is None else "POST"
        with self._errors_told():
            return self._server.ask(method, path, content, headers, timeout)

    def stream(self, path: str, body: dict[str, Any]) -> Generator[HttpResponse, None, None]:
        """Ask once, for an answer in parts; raises as ``ask``."""
        with self._errors_told():
            yield from self._server.stream("POST", path, msgspec.json.encode(body), _HEADERS)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as problem:
            said = getattr(problem, "strerror", None) or f"{type(problem).__name__}: {problem}"
            raise LoadFailed(
                f"No Ollama answers at {self.url}: {said}.",
                hint="Start it: ollama serve. If it is elsewhere: --arg host=http://name:port",
            ) from None

    def find(self, model: str) -> OllamaModel:
        """A model of the server's library.

        Raises:
            ModelNotFound: it has none of that name.
            LoadFailed: it does not answer.
        """
        there = self._list("/api/tags")
        found = _named(model, there)
        if found is None:
            names = ", ".join(sorted(one.name for one in there)) or "no models"
            raise ModelNotFound(
                f"The Ollama at {self.url} has no model {model!r}. It has {names}.",
                hint=f"Fetch it: ollama pull {model}",
                model=model,
            )
        return found

    def loaded(self, model: str) -> OllamaModel | None:
        """A model with what it takes of the memory; None where it is not loaded.

        Raises:
            LoadFailed: the server does not answer.
        """
        return _named(model, self._list("/api/ps"))

    def _list(self, path: str) -> list[OllamaModel]:
        answer = self.ask(path, None, _LOOK_SECONDS)
        try:
            if answer.good:
                return msgspec.json.decode(answer.body, type=_Models).models or []
        except ValueError:
            pass
        raise LoadFailed(
            f"What answers at {self.url}{path} is no Ollama: {answer.status}, {answer.words()}"
        )


def _named(model: str, among: list[OllamaModel]) -> OllamaModel | None:
    tagged = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    return next((one for one in among if one.name == tagged), None)
