"""Whether processes have a CUDA context, and whether that of this process still works.

Some errors leave a context that fails every later call: an index out of range in a kernel, an
illegal address, an uncorrectable memory error. The CUDA runtime's documentation says of them that
the process must be terminated and launched again. Libraries report them in many words, and often
with a later call, so after any exception the context itself is asked.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

from sire.nvidia import UNIFIED_MEMORY
from sired.workers.zygote.gpu_files import opened

_RUNTIME = "libcudart.so"


def may_have_context(pids: Sequence[int], device: Path = UNIFIED_MEMORY) -> bool:
    """Whether one of these processes has a CUDA context, or whether that cannot be told.

    A context maps the GPU's memory through this device file, which NVML does not open. Where the
    driver has no such file, as in WSL2, nothing can be told.
    """
    if not device.exists():
        return True
    try:
        return any(opened(str(device), pid) for pid in pids)
    except OSError:
        return True


def broken_context() -> str:
    """What the CUDA context fails with, in the words of its library; "" if it works.

    Waits until the GPU has done what it was given. A process without a context has none to break.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        try:
            torch.cuda.synchronize()
        except Exception as problem:
            return " ".join(str(problem).split()) or type(problem).__name__
        return ""
    return _ask_runtime()


def _ask_runtime(maps: Path = Path("/proc/self/maps")) -> str:
    """Ask the CUDA runtime that another library, such as ONNX Runtime, has loaded."""
    paths = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines()}
    for path in sorted(one for one in paths if Path(one).name.startswith(_RUNTIME)):
        library = ctypes.CDLL(path)  # the one that is loaded, not another copy
        library.cudaGetErrorString.restype = ctypes.c_char_p
        if code := library.cudaDeviceSynchronize():
            return str(library.cudaGetErrorString(code).decode(errors="replace"))
    return ""
