"""Whether the CUDA context of this process still works.

Some errors leave a context that fails every later call: an index out of range in a kernel, an
illegal address, an uncorrectable memory error. The CUDA runtime's documentation says of them that
the process must be terminated and launched again. Libraries report them in many words, and often
with a later call, so after any exception the context itself is asked.
"""

import ctypes
import sys
from pathlib import Path

_RUNTIME = "libcudart.so"


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
