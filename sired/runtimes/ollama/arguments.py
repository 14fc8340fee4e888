"""The arguments of the runtime ``ollama``."""

from typing import Any

import msgspec


class OllamaOptions(msgspec.Struct, frozen=True):
    """A model in the library of an Ollama server.

    Attributes:
        model: its name there; without a tag, ``:latest`` is assumed. By default it is the name
            under which the model is registered.
        host: URL, or host and port, of the server; by default the value of ``OLLAMA_HOST`` when
            the model is registered, or else this machine.
        options: the defaults of requests, such as ``temperature``.
    """

    model: str = ""
    host: str = ""
    options: dict[str, Any] = {}
