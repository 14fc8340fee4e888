"""Sessions of ONNX Runtime: options, providers, and graphs that were optimised before."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from sire.errors import InvalidModel, LoadFailed
from sired.runtimes.base import ModelCacheDirectory, is_out_of_memory
from sired.runtimes.onnx.arguments import OnnxOptions
from sired.runtimes.onnx.graphs import GRAPH, WEIGHTS, KeptGraph
from sired.runtimes.reading import ReadProgress

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_UNREADABLE = {"Fail", "InvalidProtobuf", "InvalidGraph", "NoSuchFile", "InvalidArgument"}
_ERRORS_ONLY = 3
# Models for which keeping the graph pays by itself: less loads in milliseconds, more would fill
# disks unasked.
_WORTH_KEEPING = range(1 << 20, (2 << 30) + 1)
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
    """A model that a session is to be opened for."""

    path: str
    on_gpu: bool
    options: OnnxOptions
    weight_bytes: int

    @property
    def keeps(self) -> bool:
        """Whether its optimised graph is to be kept."""
        if self.options.graph_optimization_level == "disable":
            return False
        if self.options.graph_cache is None:
            return not self.on_gpu and self.weight_bytes in _WORTH_KEEPING
        return self.options.graph_cache


def is_kept(request: SessionRequest, cache_directory: ModelCacheDirectory | None) -> bool:
    """Whether an optimised graph of the model is there."""
    return request.keeps and cache_directory is not None and _kept(request, cache_directory).exists


def open_session(
    request: SessionRequest, cache_directory: ModelCacheDirectory | None, progress: ReadProgress
) -> onnxruntime.InferenceSession:
    """Open a session, from the graph that was kept or from the model's file.

    Raises:
        InvalidModel: the file cannot be read as ONNX.
        LoadFailed: it is to go to a GPU that ONNX Runtime cannot use.
    """
    if cache_directory is None or not request.keeps:
        return _open(request, request.path, _options(request))
    kept = _kept(request, cache_directory)
    if kept.exists:
        session = _open_kept(request, kept, progress)
        if session is not None:
            return session
        log.warning("the optimised graph that was kept is damaged: it is made anew")
        kept.discard()
    return _open_and_keep(request, kept)


def words(problem: Exception) -> str:
    """What ONNX Runtime says, without its own name, a number and the name of that number."""
    return str(problem).split(" : ", 3)[-1]


def _kept(request: SessionRequest, cache_directory: ModelCacheDirectory) -> KeptGraph:
    return KeptGraph(
        cache_directory, (onnxruntime.__version__, request.on_gpu, repr(request.options))
    )


def _open_kept(
    request: SessionRequest, kept: KeptGraph, progress: ReadProgress
) -> onnxruntime.InferenceSession | None:
    """Open what was kept; None if it is damaged."""
    if not kept.is_whole(GRAPH):
        return None
    with ThreadPoolExecutor(1) as pool:  # the weights are looked through meanwhile
        whole = pool.submit(kept.is_whole, WEIGHTS, progress)
        options = _options(request)
        options.graph_optimization_level = _LEVELS["disable"]
        try:
            session = _open(request, str(kept.graph), options)
        except InvalidModel:
            return None
        return session if whole.result() else None


def _open_and_keep(request: SessionRequest, kept: KeptGraph) -> onnxruntime.InferenceSession:
    if not kept.has_room(request.weight_bytes):
        log.warning("the disk is too full to keep the optimised graph")
        return _open(request, request.path, _options(request))
    opened = []

    def write(directory: Path) -> None:
        options = _options(request)
        options.optimized_model_filepath = str(directory / GRAPH)
        options.add_session_config_entry(_WEIGHTS_FILE, WEIGHTS)
        options.add_session_config_entry(_WEIGHTS_FROM, "1024")
        opened.append(_open(request, request.path, options))

    try:
        kept.keep(write)
    except (OSError, InvalidModel) as problem:
        log.warning("the optimised graph cannot be kept: %s", problem)
    # What cannot be opened so is opened as it is, or says what is wrong with it.
    return opened[0] if opened else _open(request, request.path, _options(request))


def _open(
    request: SessionRequest, path: str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    try:
        session = onnxruntime.InferenceSession(path, options, _providers(request))
    except Exception as problem:
        # Their exception types cannot be imported by a stable name.
        if type(problem).__name__ in _UNREADABLE and not is_out_of_memory(problem):
            raise InvalidModel(
                f"{request.path} cannot be read as ONNX: {words(problem)}"
            ) from problem
        raise
    # Without its libraries or its GPU it goes to the CPU and says so in a log.
    if request.on_gpu and session.get_providers()[0] != _CUDA:
        raise _no_gpu("ONNX Runtime cannot use the GPU: a library of CUDA or cuDNN is missing.")
    return session


def _providers(request: SessionRequest) -> list[Any]:
    if not request.on_gpu:
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        raise _no_gpu("This ONNX Runtime was built without CUDA.")
    # The libraries that PyTorch brought are as good as the system's, and may be the only ones.
    onnxruntime.preload_dlls()
    # The arena grows by what is asked for, not by powers of two: memory is shared here.
    own = {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}
    return [
        (_CUDA, own | {name: _text(v) for name, v in request.options.provider_options.items()}),
        _CPU,
    ]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _no_gpu(said: str) -> LoadFailed:
    return LoadFailed(
        said, hint="pip install onnxruntime-gpu with its CUDA, or register with --device cpu"
    )


def _options(request: SessionRequest) -> onnxruntime.SessionOptions:
    given, options = request.options, onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = given.intra_op_num_threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = given.inter_op_num_threads or 0
    options.execution_mode = _MODES[given.execution_mode]
    options.graph_optimization_level = _LEVELS[given.graph_optimization_level]
    # The CPU arena keeps what one large request took for the life of the session.
    options.enable_cpu_mem_arena = given.enable_cpu_mem_arena
    options.enable_mem_pattern = given.enable_mem_pattern
    options.enable_mem_reuse = given.enable_mem_reuse
    options.use_deterministic_compute = given.use_deterministic_compute
    # Threads that spin between requests would take the cores from other models.
    for threads in ("intra_op", "inter_op"):
        spin = "1" if given.allow_spinning else "0"
        options.add_session_config_entry(f"session.{threads}.allow_spinning", spin)
    return options
