"""``torch.compile``, with its compiled code cached on disk."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sire.errors import LoadFailed
from sired.runtimes.out_of_memory import is_out_of_memory

_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
# What Triton says that cannot compile the code by which kernels are launched.
_COMPILER_FAILED = ("failed to find c compiler", "python.h", "returned non-zero exit status")


def cache_compiled_code(directory: Path) -> None:
    """Have code that is compiled from now on stored in a directory, and reused from there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[_CACHE] = str(directory)


def compiled(module: torch.nn.Module) -> Callable[..., Any]:
    """The module, compiled at its first call, once for each kind of input shapes.

    Raises:
        LoadFailed: the C++ compiler, needed for CPU code and GPU launchers, is missing; or,
            when the result is called, the module cannot be compiled.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise LoadFailed(
            f"torch.compile needs a C++ compiler, but {compiler} is not on the daemon's PATH.",
            hint="Install one (apt install g++), set CXX in the daemon's environment, or register "
            "without compile=true.",
        )
    _limit_compile_processes(len(os.sched_getaffinity(0)))
    return Compiled(torch.compile(module))


def _limit_compile_processes(count: int) -> None:
    """Have at most ``count`` processes compile: by default there are up to 32, of 200 MB each."""
    os.environ.setdefault(_THREADS, str(count))
    # It may have been imported, and has read the variable then.
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        config.compile_threads = int(os.environ[_THREADS])


class Compiled(torch.nn.Module):
    """A compiled module that reports concisely if it cannot be compiled."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the compiled module."""
        try:
            return self.module(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as problem:  # noqa: SLF001 (has no public name)
            if is_out_of_memory(problem):
                raise
            raise _failed(problem) from problem
        except (subprocess.CalledProcessError, RuntimeError) as problem:
            if not any(words in str(problem).lower() for words in _COMPILER_FAILED):
                raise
            raise _failed(problem) from problem


def _failed(problem: Exception) -> LoadFailed:
    reason = str(problem).strip().partition("\n")[0]
    return LoadFailed(
        f"torch.compile failed: {reason}",
        hint="Triton needs a C compiler and Python's headers (apt install gcc python3-dev). Or "
        "register it without compile=true.",
    )
