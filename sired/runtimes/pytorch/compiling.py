"""``torch.compile``, with what it makes kept on disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sire.errors import LoadFailed
from sired.runtimes.base import is_out_of_memory

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled(directory: Path) -> None:
    """Have what is compiled from now on kept in a directory, and found there the next time."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[_CACHE] = str(directory)


def compiled(module: torch.nn.Module) -> Callable[..., Any]:
    """The module, compiled at its first call, once for each kind of shapes.

    Raises:
        LoadFailed: there is no C++ compiler, which machine code for CPUs and launchers for GPUs
            are made with; and when it is called: it cannot be compiled.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise LoadFailed(
            f"torch.compile needs a C++ compiler, and there is no {compiler} on the daemon's PATH.",
            hint="Install one (apt install g++), name it in the daemon's environment as CXX, or "
            "register without compile=true.",
        )
    return Compiled(torch.compile(module))


class Compiled(torch.nn.Module):
    """A compiled module that says plainly when it cannot be compiled."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        try:
            return self.module(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as problem:  # noqa: SLF001 (there is no other)
            if is_out_of_memory(problem):
                raise
            said = str(problem).strip().partition("\n")[0]
            raise LoadFailed(
                f"torch.compile failed: {said}", hint="Register it without compile=true."
            ) from problem
