"""The arguments of the runtime ``onnx``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from sired.runtimes.arguments import own_arguments, read_arguments, reject_unknown

# ONNX Runtime silently ignores names it does not know. Options that could harm other models on the
# device, or that need what sire does not do (streams, CUDA graphs), are left out.
_OF_CUDA = (
    "arena_extend_strategy",
    "cudnn_conv1d_pad_to_nc1d",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "do_copy_in_default_stream",
    "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias",
    "gpu_mem_limit",
    "prefer_nhwc",
    "sdpa_kernel",
    "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms",
    "tunable_op_tuning_enable",
    "use_ep_level_unified_stream",
    "use_tf32",
)

_Threads = Annotated[int, msgspec.Meta(ge=1)]
_Value = str | int | float | bool


class OnnxOptions(msgspec.Struct, frozen=True):
    """How a session is made; the names are ONNX Runtime's, and each can be left out.

    Attributes:
        intra_op_num_threads: threads of one operator; by default one for each core of the device.
        inter_op_num_threads: operators that run at the same time if the execution is parallel.
        execution_mode: whether operators that do not depend on each other may run in parallel.
        graph_optimization_level: how far the graph is optimised when it is loaded.
        enable_cpu_mem_arena: keep memory from one request for the next: faster, but not returned
            for as long as the model is loaded.
        enable_mem_pattern: plan all memory of a run ahead, if shapes are fixed.
        enable_mem_reuse: let intermediate results share memory.
        use_deterministic_compute: choose kernels whose results are reproducible.
        allow_spinning: let idle threads spin: faster alone, slower beside other models.
        graph_cache: keep the optimised graph on disk and load that; by default on a CPU, for
            models of 1 MiB to 2 GiB.
        provider_options: of CUDA, by ONNX Runtime's names; no effect on a CPU.
    """

    intra_op_num_threads: _Threads | None = None
    inter_op_num_threads: _Threads | None = None
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    graph_optimization_level: Literal["disable", "basic", "extended", "layout", "all"] = "all"
    enable_cpu_mem_arena: bool = False
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    use_deterministic_compute: bool = False
    allow_spinning: bool = False
    graph_cache: bool | None = None
    provider_options: dict[str, _Value] = {}

    def __post_init__(self) -> None:
        reject_unknown(self.provider_options, _OF_CUDA, "The argument provider_options")


def read_onnx_options(keywords: Mapping[str, Any]) -> OnnxOptions:
    """Read the keywords that ``load`` was called with.

    Raises:
        InvalidModel: an argument is unknown or has a value of the wrong type.
    """
    return read_arguments(OnnxOptions, own_arguments(keywords), "The runtime onnx")
