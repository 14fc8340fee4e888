"""Opens ONNX Runtime sessions: options, providers, and cached optimised graphs."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from sire.errors import InvalidModel, LoadFailed
from sired.runtimes.base import ModelCacheDirectory
from sired.runtimes.onnx.arguments import OnnxOptions
from sired.runtimes.onnx.graphs import GRAPH, WEIGHTS, CachedGraph
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.reading import ReadProgress

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_UNREADABLE = {"Fail", "InvalidProtobuf", "InvalidGraph", "NoSuchFile", "InvalidArgument"}
_ERRORS_ONLY = 3
# Sizes of models whose optimised graph is cached by default: smaller ones load in milliseconds,
# larger ones would fill disks.
_CACHED_SIZES = range(1 << 20, (2 << 30) + 1)
_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_LAYOUT,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_MODES = {
    "sequential": onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": onnxruntime.ExecutionMode.ORT_PARALLEL,
}
_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
_WEIGHTS_FROM = "session.optimized_model_external_initializers_min_size_in_bytes"

log = logging.getLogger("sired.worker")


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A model to open a session for."""

    path: str
    on_gpu: bool
    options: OnnxOptions
    weight_bytes: int
    memory_limit: int | None = None

    @property
    def is_cached(self) -> bool:
        """Whether its optimised graph is to be cached."""
        if self.options.graph_optimization_level == "disable":
            return False
        if self.options.graph_cache is None:
            return not self.on_gpu and self.weight_bytes in _CACHED_SIZES
        return self.options.graph_cache


def has_cached_graph(request: SessionRequest, cache_directory: ModelCacheDirectory | None) -> bool:
    """Whether an optimised graph of the model is cached."""
    if cache_directory is None or not request.is_cached:
        return False
    return _cached_graph(request, cache_directory).exists


def open_session(
    request: SessionRequest, cache_directory: ModelCacheDirectory | None, progress: ReadProgress
) -> onnxruntime.InferenceSession:
    """Open a session from the cached graph or from the model's file.

    Raises:
        InvalidModel: the file cannot be read as ONNX.
        LoadFailed: ONNX Runtime cannot use the GPU.
    """
    if cache_directory is None or not request.is_cached:
        return _open(request, request.path, _options(request))
    cached = _cached_graph(request, cache_directory)
    if cached.exists:
        session = _open_cached(request, cached, progress)
        if session is not None:
            return session
        log.warning("the cached optimised graph is damaged and is created again")
        cached.discard()
    return _open_and_store(request, cached)


def error_text(problem: Exception) -> str:
    """The message of an error of ONNX Runtime, without the prefix of name and error number."""
    return str(problem).split(" : ", 3)[-1]


def _cached_graph(request: SessionRequest, cache_directory: ModelCacheDirectory) -> CachedGraph:
    return CachedGraph(
        cache_directory, (onnxruntime.__version__, request.on_gpu, repr(request.options))
    )


def _open_cached(
    request: SessionRequest, cached: CachedGraph, progress: ReadProgress
) -> onnxruntime.InferenceSession | None:
    """Open the cached graph; None if it is damaged."""
    if not cached.is_intact(GRAPH):
        return None
    with ThreadPoolExecutor(1) as pool:  # the weights are verified while the session is opened
        intact = pool.submit(cached.is_intact, WEIGHTS, progress)
        options = _options(request)
        options.graph_optimization_level = _LEVELS["disable"]
        try:
            session = _open(request, str(cached.graph), options)
        except InvalidModel:
            return None
        return session if intact.result() else None


def _open_and_store(request: SessionRequest, cached: CachedGraph) -> onnxruntime.InferenceSession:
    if not cached.has_room(request.weight_bytes):
        log.warning("the disk is too full to cache the optimised graph")
        return _open(request, request.path, _options(request))
    opened = []

    def write(directory: Path) -> None:
        options = _options(request)
        options.optimized_model_filepath = str(directory / GRAPH)
        options.add_session_config_entry(_WEIGHTS_FILE, WEIGHTS)
        options.add_session_config_entry(_WEIGHTS_FROM, "1024")
        opened.append(_open(request, request.path, options))

    try:
        cached.store(write)
    except (OSError, InvalidModel) as problem:
        log.warning("the optimised graph cannot be cached: %s", problem)
    # If that failed, the model is opened without the cache, which raises its own errors.
    return opened[0] if opened else _open(request, request.path, _options(request))


def _open(
    request: SessionRequest, path: str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    try:
        session = onnxruntime.InferenceSession(path, options, _providers(request))
    except Exception as problem:
        # ONNX Runtime's exception types cannot be imported by a stable name.
        if type(problem).__name__ in _UNREADABLE and not is_out_of_memory(problem):
            raise InvalidModel(
                f"{request.path} cannot be read as ONNX: {error_text(problem)}"
            ) from problem
        raise
    # If a library or the GPU is missing, ONNX Runtime falls back to the CPU with a log message.
    if request.on_gpu and session.get_providers()[0] != _CUDA:
        raise _no_gpu("ONNX Runtime cannot use the GPU: a CUDA or cuDNN library is missing.")
    return session


def _providers(request: SessionRequest) -> list[Any]:
    if not request.on_gpu:
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        raise _no_gpu("This ONNX Runtime was built without CUDA.")
    # Uses the CUDA libraries that PyTorch has loaded, if the system has none.
    onnxruntime.preload_dlls()
    # The arena grows by what is requested, not by powers of two: the GPU is shared. Convolutions
    # are chosen by rule: a search for each new shape takes seconds, and much memory.
    own = {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if request.memory_limit is not None:
        own["gpu_mem_limit"] = str(request.memory_limit)
    return [
        (_CUDA, own | {name: _text(v) for name, v in request.options.provider_options.items()}),
        _CPU,
    ]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _no_gpu(message: str) -> LoadFailed:
    return LoadFailed(
        message, hint="pip install onnxruntime-gpu with its CUDA, or register with --device cpu"
    )


def _options(request: SessionRequest) -> onnxruntime.SessionOptions:
    given, options = request.options, onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = given.intra_op_num_threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = given.inter_op_num_threads or 0
    options.execution_mode = _MODES[given.execution_mode]
    options.graph_optimization_level = _LEVELS[given.graph_optimization_level]
    # The CPU arena keeps the memory of the largest request for the life of the session.
    options.enable_cpu_mem_arena = given.enable_cpu_mem_arena
    options.enable_mem_pattern = given.enable_mem_pattern
    options.enable_mem_reuse = given.enable_mem_reuse
    options.use_deterministic_compute = given.use_deterministic_compute
    # Threads that spin between requests would take cores from other models.
    for threads in ("intra_op", "inter_op"):
        spin = "1" if given.allow_spinning else "0"
        options.add_session_config_entry(f"session.{threads}.allow_spinning", spin)
    return options
