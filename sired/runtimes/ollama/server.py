"""The HTTP API of an Ollama server: its library, its loaded models, and requests to them."""

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
from sired.runtimes.wanted import check_wanted

DEFAULT_HOST = "http://127.0.0.1:11434"
_LIST_SECONDS = 10.0
_HEADERS = {"Content-Type": JSON}


class OllamaModel(msgspec.Struct, frozen=True):
    """A model as the server lists it.

    Attributes:
        name: with its tag.
        size: bytes on disk; of a loaded model, bytes of memory.
        size_vram: bytes of that on GPUs.
    """

    name: str
    size: int = 0
    digest: str = ""
    size_vram: int = 0


class _Models(msgspec.Struct, frozen=True):
    models: list[OllamaModel] | None = None


class Ollama:
    """An Ollama server.

    Args:
        host: as in ``OllamaOptions``: a URL, or a host and a port.

    Raises:
        InvalidModel: it is not a valid address.
    """

    def __init__(self, host: str = "") -> None:
        address = host or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST
        url = address if "://" in address else f"http://{address}"
        try:
            parts = urlsplit(url)
            port = parts.port or 11434
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidModel(
                f"{address!r} is not a valid server address.", hint=f"Write it like {DEFAULT_HOST}"
            )
        self.url = f"http://{parts.hostname}:{port}"
        # A server that listens on all addresses is requested on the local one.
        listens = {"0.0.0.0": "127.0.0.1"}  # noqa: S104
        host = listens.get(parts.hostname, parts.hostname)
        self._server = Server(host, port, check_wanted)

    def request(
        self, path: str, body: dict[str, Any] | None, timeout: float | None = None
    ) -> HttpResponse:
        """Send one request: POST if there is a body, else GET.

        Raises:
            LoadFailed: the server cannot be reached, or did not answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = _HEADERS if body is not None else {}
        method = "GET" if body is None else "POST"
        with self._errors_translated():
            return self._server.request(method, path, content, headers, timeout)

    def stream(self, path: str, body: dict[str, Any]) -> Generator[HttpResponse, None, None]:
        """POST once, for a streamed response; raises as ``request``."""
        with self._errors_translated():
            yield from self._server.stream("POST", path, msgspec.json.encode(body), _HEADERS)

    @contextlib.contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as problem:
            reason = getattr(problem, "strerror", None) or f"{type(problem).__name__}: {problem}"
            raise LoadFailed(
                f"No Ollama server answers at {self.url}: {reason}.",
                hint="Start it: ollama serve. For another address: --arg host=http://name:port",
            ) from None

    def find(self, model: str) -> OllamaModel:
        """A model of the server's library.

        Raises:
            ModelNotFound: the library has no model of that name.
            LoadFailed: the server does not answer.
        """
        there = self._list("/api/tags")
        found = _named(model, there)
        if found is None:
            names = ", ".join(sorted(one.name for one in there)) or "no models"
            raise ModelNotFound(
                f"The Ollama server at {self.url} has no model {model!r}. It has {names}.",
                hint=f"Download it: ollama pull {model}",
                model=model,
            )
        return found

    def loaded(self, model: str) -> OllamaModel | None:
        """A loaded model and the memory that it occupies; None if it is not loaded.

        Raises:
            LoadFailed: the server does not answer.
        """
        return _named(model, self._list("/api/ps"))

    def _list(self, path: str) -> list[OllamaModel]:
        response = self.request(path, None, _LIST_SECONDS)
        try:
            if response.ok:
                return msgspec.json.decode(response.body, type=_Models).models or []
        except ValueError:
            pass
        raise LoadFailed(
            f"The server at {self.url} is not Ollama: GET {path} returned {response.status}, "
            f"{response.message()}"
        )


def _named(model: str, among: list[OllamaModel]) -> OllamaModel | None:
    tagged = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    return next((one for one in among if one.name == tagged), None)
