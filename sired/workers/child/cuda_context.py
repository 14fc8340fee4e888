"""Whether processes have a CUDA context, whether it works, and whether the GPU can be used at all.

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
_DRIVER = "libcuda.so.1"
# Codes of the driver: initialization error, device busy or unavailable, no device, invalid device,
# uncorrectable ECC error, system not ready, system driver mismatch, unknown.
_UNUSABLE = frozenset({3, 46, 100, 101, 214, 802, 803, 999})
# How the CUDA runtime and PyTorch word them, in lower case; and a GPU that torch has no code for.
_UNUSABLE_WORDS = (
    "initialization error",
    "driver initialization failed",
    "busy or unavailable",
    "no cuda-capable device",
    "no cuda gpus are available",
    "uncorrectable ecc error",
    "system not yet initialized",
    "unsupported display driver",
    "unknown error",
    "no kernel image is available",
)


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


def unusable_gpu() -> str:
    """Why no process can compute on the granted GPU now; "" if it can be used.

    Asked after a load has failed, with a calculation that has nothing to do with the model: the
    same errors can be those of a model's own code.
    """
    torch = sys.modules.get("torch")
    if torch is None or torch.version.cuda is None:
        return _ask_driver()
    try:
        torch.zeros(1, device="cuda")
        torch.cuda.synchronize()
    except Exception as problem:
        text = " ".join(str(problem).split())
        return text if any(words in text.lower() for words in _UNUSABLE_WORDS) else ""
    return ""


def _ask_driver(path: str = _DRIVER) -> str:
    """Ask CUDA's driver for a context, where no library of this process has one."""
    try:
        driver = ctypes.CDLL(path)
    except OSError:
        return ""
    device, context, words = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_char_p()
    code = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    )
    if code not in _UNUSABLE:  # it works, or memory is short
        return ""
    driver.cuGetErrorString(code, ctypes.byref(words))
    return (words.value or f"CUDA error {code}".encode()).decode(errors="replace")
