"""What can be said of an ONNX model when it is registered: ``--arg name=value``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from sired.runtimes.base import ABOUT_FILES
from sired.runtimes.support.options import read_record, refuse_unknown

# What ONNX Runtime passes over in silence when it does not know it. Those that would be of harm
# to others on the device, or want what sire does not do (streams, CUDA graphs), are left out.
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
    """How a session is made; the names are ONNX Runtime's, every one can be left out.

    Attributes:
        intra_op_num_threads: threads of one operator; by default one for each core of the device.
        inter_op_num_threads: operators at the same time, where the execution is parallel.
        execution_mode: whether operators that do not need each other may run at the same time.
        graph_optimization_level: how far the graph is rewritten when it is loaded.
        enable_cpu_mem_arena: keep memory from one request for the next: faster, and never given
            back as long as the model is loaded.
        enable_mem_pattern: plan all memory of a run ahead, where shapes are fixed.
        enable_mem_reuse: let intermediate results share memory.
        use_deterministic_compute: choose kernels that compute the same twice.
        allow_spinning: let threads wait awake: faster alone, slower beside other models.
        graph_cache: keep the optimised graph on disk and load that; by default on a CPU, for
            models of 1 MiB to 2 GiB.
        provider_options: of CUDA, by ONNX Runtime's names; without effect on a CPU.
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


def read_onnx_options(arguments: Mapping[str, Any]) -> OnnxOptions:
    """Read a model's arguments; what every load is told beside them is passed over.

    Raises:
        InvalidModel: one is not known, or has a value that it cannot have.
    """
    given = {name: value for name, value in arguments.items() if name not in ABOUT_FILES}
    options = read_record(OnnxOptions, given, "An ONNX model")
    refuse_unknown(options.provider_options, _OF_CUDA, "provider_options of CUDA have no")
    return options
