"""The runtime: selects the loader for a file's format, and runs models."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from sire.spec import Signature
from sire.tensors import RATE_NAMES, unknown_rate
from sired.runtimes.arguments import own_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.pytorch import checking, programs, weights
from sired.runtimes.pytorch.calling import UndeclaredInputs
from sired.runtimes.pytorch.compiling import cache_compiled_code
from sired.runtimes.pytorch.copies import Copies, PendingCopy
from sired.runtimes.pytorch.data import channels_last, replace_all, to_arrays, to_tensors, widened
from sired.runtimes.pytorch.gpu_limit import limit_allocations
from sired.runtimes.pytorch.model import TorchLoad, TorchModel
from sired.runtimes.pytorch.offload import OffloadedWeights, can_offload, offload, restore
from sired.runtimes.pytorch.packages import clean_up
from sired.runtimes.pytorch.streaming import is_streamed
from sired.runtimes.support.inputs import recording_in
from sired.runtimes.support.state import mark_of, marks_of

_LOADERS: Mapping[str, Callable[[TorchLoad], TorchModel]] = {
    "safetensors": weights.load_safetensors,
    "state_dict": weights.load_pickled,
    "pickle": weights.load_pickled,
    "exported": programs.load_exported,
    "aoti": programs.load_aoti,
    "torchscript": programs.load_torchscript,
}


# Below the model's cache directory.
_COMPILED = "inductor"


class PyTorchRuntime(InferenceRuntime):
    """Runs models in every file format that PyTorch writes."""

    def __init__(self) -> None:
        self._offloaded: dict[int, OffloadedWeights] = {}
        self._copies: Copies | None = None
        self._undeclared = UndeclaredInputs()
        self._cores = len(os.sched_getaffinity(0))

    def load(self, model_path: str, **kwargs: Any) -> TorchModel:
        """Load a model; see ``InferenceRuntime.load``.

        Unless ``trusted``, only tensors and plain containers are unpickled, and programs are
        rejected.
        """
        kind, job = self._job(model_path, kwargs)
        limit_allocations(job.device, self.memory_limit)
        if self.cache_directory is not None and "compile" in job.arguments:
            cache_compiled_code(self.cache_directory.directory / _COMPILED)
        model = _LOADERS[kind](job)
        torch.backends.cudnn.benchmark = model.options.cudnn_benchmark
        return model

    def check_arguments(self, model_path: str, **kwargs: Any) -> None:
        """Check that the constructor of the class takes the arguments that are not options."""
        _, job = self._job(model_path, kwargs)
        if job.model_class is not None:
            weights.check_class_arguments(job)

    def check_files(self, model_path: str, **kwargs: Any) -> Sequence[str]:
        """Check that the file matches its class, or that the classes of a whole module exist."""
        kind, job = self._job(model_path, kwargs)
        return checking.check_weights(job, kind)

    def estimate(self, model_path: str, **kwargs: Any) -> int | None:
        """The size of an object of the class on the device "meta", where tensors have no memory.

        A file that ``torch.save`` wrote can contain more than the weights, such as an optimizer's
        state, so its size is not a reliable estimate.
        """
        kind, job = self._job(model_path, kwargs)
        if kind not in {"state_dict", "pickle"} or job.model_class is None:
            return None
        return weights.bytes_of_class(job)

    def _job(self, model_path: str, kwargs: Mapping[str, Any]) -> tuple[str, TorchLoad]:
        """The file format, and the description of what to load."""
        given = dict(kwargs)
        given.pop("weight_bytes", None)  # measured after loading
        kind = given.pop("format", "") or "state_dict"
        return kind, TorchLoad(
            path=model_path,
            device=torch.device(given.pop("device", "cpu")),
            model_class=given.pop("model_class", None),
            python_path=tuple(given.pop("python_path", ())),
            trusted=bool(given.pop("trusted", False)),
            arguments=own_arguments(given),
            declared=self.declared,
            progress=self.progress,
        )

    def streams_files(self, model_path: str, **kwargs: Any) -> bool:
        """Whether the weights are streamed to a GPU."""
        if kwargs.get("format") != "safetensors":
            return False
        return is_streamed(model_path, torch.device(kwargs.get("device", "cpu")))

    def predict(self, model: TorchModel, data: Any) -> Any:
        """Run the model once; see ``InferenceRuntime.predict``.

        A dict is passed by keyword if the model has parameters of these names, a tuple by position,
        anything else as the only argument. Floats are converted to the precision of the model's
        weights. If the option ``dtype`` set that precision, float16 outputs are returned as
        float32.
        """
        with torch.inference_mode():
            inputs = self._inputs(model, data)
            if self.declared.inputs or model.signature.inputs:
                args, kwargs = model.arrange(inputs)
                answer = model.call(*args, **kwargs)
            else:
                answer = self._undeclared.call(model.call, model.arrange, inputs, model.precision)
            output = to_arrays(answer)
        return replace_all(output, np.ndarray, widened) if model.options.dtype else output

    def prepare(self, model: TorchModel, data: Any) -> Any:
        """Start copying inputs to the GPU; on a CPU there is nothing to do."""
        if model.device.type != "cuda":
            return data
        data = _with_rate(model, data)
        if self._copies is None:
            self._copies = Copies(model.device)
        return self._copies.send(data, model.precision)

    def _inputs(self, model: TorchModel, data: Any) -> Any:
        if isinstance(data, PendingCopy):
            assert self._copies is not None
            tensors = self._copies.receive(data)
        else:
            tensors = to_tensors(_with_rate(model, data), model.device, model.precision)
        if model.options.channels_last:
            return replace_all(tensors, torch.Tensor, channels_last)
        return tensors

    def get_memory_footprint(self, model: TorchModel) -> int:
        """Bytes of all parameters and buffers."""
        return model.weight_bytes

    def signature(self, model: TorchModel) -> Signature:
        """The signature of an exported program; empty for other formats."""
        return model.signature

    def accepts_dummy_input(self, model: TorchModel) -> bool:
        """Whether it is an exported program, or has to be compiled by running it."""
        return model.options.compile or bool(model.signature.inputs)

    def state(self, model: TorchModel) -> Any:
        """The buffers and attributes of its modules."""
        module = getattr(model.call, "_orig_mod", model.call)
        if isinstance(module, torch.jit.ScriptModule):
            return {name: (mark_of(one), one) for name, one in _values(module)}
        return marks_of(module) if isinstance(module, torch.nn.Module) else None

    def writes_state(self, model: TorchModel) -> Sequence[str]:
        """The attributes that the code of a TorchScript module sets."""
        if not isinstance(model.call, torch.jit.ScriptModule):
            return ()
        graph: Any = model.call.inlined_graph
        return sorted(
            {node.s("name") for node in graph.findAllNodes("prim::SetAttr", recurse=True)}
        )

    def share_cores(self, among: int) -> None:
        """Set the number of threads that PyTorch uses for the calling thread."""
        if torch.get_num_threads() != (threads := max(1, self._cores // among)):
            torch.set_num_threads(threads)

    def precision_bytes(self, model: TorchModel) -> int:
        """Bytes of the common dtype of its weights; 8 if they have none."""
        if model.device.type == "cuda" and model.precision == torch.float32:
            return 3  # cuDNN uses TensorFloat-32, and another algorithm for each size of a batch
        return model.precision.itemsize if model.precision else super().precision_bytes(model)

    def can_sleep(self, model: TorchModel) -> bool:
        """Whether the weights belong to a module; an AOTInductor package manages its own."""
        return can_offload(model.call)

    def sleep(self, model: TorchModel) -> None:
        """Copy the weights to pinned memory and free the GPU; on a CPU they stay in place."""
        if model.device.type == "cuda":
            assert isinstance(model.call, torch.nn.Module)
            kept = self._offloaded.get(id(model))
            self._offloaded[id(model)] = offload(model.call, kept)
            _free_cublas_workspaces()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def wake(self, model: TorchModel) -> int:
        """Copy the weights back; pinned memory is kept, as pinning takes longer than copying."""
        if (offloaded := self._offloaded.get(id(model))) is None:
            return 0
        restore(offloaded)
        return offloaded.memory.nbytes

    def free_main_memory(self, model: TorchModel) -> None:
        """Free the pinned memory."""
        if (offloaded := self._offloaded.pop(id(model), None)) is not None:
            offloaded.free()

    def unload(self) -> None:
        """Delete the files of unpacked AOTInductor packages."""
        clean_up()

    def release_unused_memory(self) -> None:
        """Return what PyTorch's allocator keeps on the GPU for reuse, and reset the peak."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_device_memory(self) -> int:
        """Peak of the bytes that PyTorch's allocator has reserved on the GPU."""
        return torch.cuda.max_memory_reserved() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]


def _free_cublas_workspaces() -> None:
    """Free the memory that cuBLAS keeps for each stream: 8 to 32 MiB."""
    # It has no public name, and does not exist in builds without CUDA.
    free = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)  # noqa: SLF001
    if free is not None:
        free()


def _with_rate(model: TorchModel, data: Any) -> Any:
    """Inputs with the sampling rate of a recording among them, if the model takes that.

    Raises:
        InvalidInput: it does not, and was not registered with a rate either.
    """
    if (recording := recording_in(data)) is None:
        return data
    given = model.with_rate(data)
    # A tensor has no attribute for it.
    stated = isinstance(given, dict) and any(str(name).lower() in RATE_NAMES for name in given)
    if not (stated or recording.wanted):
        raise unknown_rate(recording.sampling_rate)
    return given


def _values(module: torch.jit.ScriptModule) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters and buffers of a TorchScript module."""
    return chain(module.named_parameters(), module.named_buffers())
