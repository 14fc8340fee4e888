"""Whether an exception of any framework means that memory is exhausted.

Few frameworks have a class for it: the others state it in words. Most of them also state how much
they could not allocate, which tells a request that can never succeed from one that may elsewhere.
"""

import os
import re

from sired.runtimes.granted_gpu import granted_gpu

_TYPES = {"MemoryError", "OutOfMemoryError"}
# In lower case.
_PHRASES = (
    # PyTorch, the CUDA driver, JAX, Triton, llama.cpp, NCCL; Numba and PyCUDA; TensorRT
    "out of memory",
    "out_of_memory",
    "outofmemory",
    # cuBLAS, cuDNN, cuSOLVER, cuFFT; cuDNN 9
    "alloc_failed",
    "allocation_failed",
    "insufficient resources when calling `cusparse",
    # PyTorch on a CPU, C++
    "can't allocate memory",
    "failed to allocate memory",
    "bad_alloc",
    # ONNX Runtime
    "bfcarena::allocate",
    "is smaller than requested bytes",
    # TensorFlow
    "oom when allocating",
    # vLLM
    "is less than desired gpu memory utilization",
    "no available memory for the cache blocks",
    "kv cache is needed, which is larger than",
)
# These libraries fail in these words if they cannot allocate what they need to begin with.
_PHRASES_ON_GPU = (
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "unable to find an engine to execute",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory is exhausted: main memory, or that of a GPU."""
    if _TYPES & {kind.__name__ for kind in type(error).__mro__}:
        return True
    message = str(error).lower()
    phrases = _PHRASES + (_PHRASES_ON_GPU if granted_gpu().uuid else ())
    return any(phrase in message for phrase in phrases)


_SIZE = r"([\d.]+) ?(bytes|[KMGTPE]iB|)"
# PyTorch on a GPU and on a CPU, JAX, numpy; ONNX Runtime.
_REQUESTED = re.compile(
    rf"(?:(?:tried|trying|unable) to allocate|requested buffer of size|requested bytes of) {_SIZE}",
    re.IGNORECASE,
)
# PyTorch states the size of the GPU, and what the process is allowed of it.
_CAPACITIES = (re.compile(rf"total capacity of {_SIZE}"), re.compile(rf"{_SIZE} allowed"))
_UNITS = {"": 1, "bytes": 1} | {f"{unit}iB": 1024**n for n, unit in enumerate("KMGTPE", start=1)}


def requested_bytes(error: BaseException) -> int:
    """Bytes that could not be allocated, as an out-of-memory error states; 0 if it does not."""
    return _size(_REQUESTED, error)


def is_impossible(error: BaseException) -> bool:
    """Whether more was requested than there can ever be, whatever else gives way."""
    stated = [size for size in (_size(pattern, error) for pattern in _CAPACITIES) if size]
    main_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Which of the two it was that ran out is not always stated.
    most = min(stated, default=max(main_memory, granted_gpu().total_bytes))
    return requested_bytes(error) > most


def _size(pattern: re.Pattern[str], error: BaseException) -> int:
    found = pattern.search(str(error))
    return int(float(found[1].rstrip(".")) * _UNITS[found[2]]) if found else 0
