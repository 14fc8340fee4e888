"""PyTorch models: weights with a class, torch.export programs, AOTInductor, TorchScript."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from sired.errors import InvalidInput
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.torch_data import to_arrays, to_tensors
from sired.runtimes.torch_model import Job, Loaded
from sired.runtimes.torch_programs import load_aoti, load_exported, load_torchscript
from sired.runtimes.torch_weights import load_pickled, load_safetensors
from sired.spec import Signature

_LOADERS: Mapping[str, Callable[[Job], Loaded]] = {
    "safetensors": load_safetensors,
    "state_dict": load_pickled,
    "pickle": load_pickled,
    "exported": load_exported,
    "aoti": load_aoti,
    "torchscript": load_torchscript,
}


class PyTorchRuntime(InferenceRuntime):
    """Runs every kind of file that PyTorch writes."""

    name: ClassVar[str] = "pytorch"

    def load(self, model_path: str, **kwargs: Any) -> Loaded:
        """Load a model; see ``InferenceRuntime.load``.

        Unless ``trusted``, nothing is unpickled beyond tensors and plain containers, and no
        program is loaded that the file itself brings.
        """
        arguments = dict(kwargs)
        loader = _LOADERS.get(arguments.pop("format", ""), load_pickled)
        job = Job(
            path=model_path,
            device=torch.device(arguments.pop("device", "cpu")),
            model_class=arguments.pop("model_class", None),
            python_path=tuple(arguments.pop("python_path", ())),
            trusted=bool(arguments.pop("trusted", False)),
            arguments=arguments,
        )
        return loader(job)

    def predict(self, model: Loaded, data: Any) -> Any:
        """Run the model once; see ``InferenceRuntime.predict``.

        A dict is passed by keyword where ``forward`` takes these names; a tuple in order;
        anything else as the one argument. Floating point inputs become what the weights are.

        Raises:
            InvalidInput: ``forward`` does not take so many inputs, or inputs of these names.
        """
        with torch.inference_mode():
            given = _bind(model.parameters, to_tensors(data, model.device, model.dtype))
            return to_arrays(model.call(*given.args, **given.kwargs))

    def get_memory_footprint(self, model: Loaded) -> int:
        """Bytes of all parameters and buffers."""
        return model.weight_bytes

    def signature(self, model: Loaded) -> Signature:
        """What an exported program says of its inputs; of others nothing is known."""
        return model.signature

    def peak_device_memory(self) -> int:
        """Most bytes PyTorch's allocator has held on the GPU."""
        return torch.cuda.max_memory_reserved() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]


def _bind(parameters: inspect.Signature, data: Any) -> inspect.BoundArguments:
    try:
        if isinstance(data, tuple):
            return parameters.bind(*data)
        if isinstance(data, dict) and _takes(parameters, data):
            return parameters.bind(**data)
        return parameters.bind(data)
    except TypeError as problem:
        given = ", ".join(map(str, data)) if isinstance(data, dict) else "inputs without names"
        raise InvalidInput(
            f"The model takes {', '.join(parameters.parameters)}; given were {given} ({problem})."
        ) from None


def _takes(parameters: inspect.Signature, data: dict[Any, Any]) -> bool:
    try:
        parameters.bind(**data)
    except TypeError:
        return False
    return True
