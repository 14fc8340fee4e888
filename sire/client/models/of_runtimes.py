"""What a runtime is given by the process that registers a model for it.

Its working directory, its environment and its hub's cache are not those of the daemon, where the
runtimes' traits are read.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class FromClient(NamedTuple):
    """What the client does for a runtime.

    Attributes:
        chosen_by: the argument that selects the runtime where none is specified; "" if none does.
        arguments: takes those that are specified, and returns others that the model has beside
            them.
        from_hub: whether ``organisation/model`` is a path: the model's name on the Hugging Face
            hub.
    """

    chosen_by: str = ""
    arguments: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {}
    from_hub: bool = False


def _working_directory(args: Mapping[str, Any]) -> dict[str, str]:
    return {"directory": str(Path.cwd())} if "cmd" in args else {}


def _ollama_server(_: Mapping[str, Any]) -> dict[str, str]:
    server = os.environ.get("OLLAMA_HOST")
    return {"host": server} if server else {}


_NOTHING = FromClient()
_BY_RUNTIME = {
    "command": FromClient(chosen_by="cmd", arguments=_working_directory),
    "ollama": FromClient(arguments=_ollama_server),
    "huggingface": FromClient(from_hub=True),
}


def from_client(runtime: str) -> FromClient:
    """What the client does for a runtime; for most of them nothing."""
    return _BY_RUNTIME.get(runtime, _NOTHING)


def chosen_runtime(args: Mapping[str, Any]) -> str:
    """The runtime that a model's arguments select; "auto" if they leave that to its file."""
    chosen = (name for name, given in _BY_RUNTIME.items() if given.chosen_by in args)
    return next(chosen, "auto")
