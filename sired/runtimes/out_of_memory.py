"""Whether an exception of any framework means that memory is exhausted.

Few frameworks have a class for it: the others state it in words.
"""

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
