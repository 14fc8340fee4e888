"""The input and the output of every loader."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from sire.spec import Signature
from sired.runtimes.pytorch.arguments import TorchOptions
from sired.runtimes.pytorch.storages import is_opaque, plain_tensors, storages_of
from sired.runtimes.reading import ReadProgress
from sired.runtimes.support.inputs import Arguments


@dataclass(frozen=True, slots=True)
class TorchLoad:
    """A model to load; its fields are those of ``InferenceRuntime`` and of its ``load``."""

    path: str
    device: torch.device
    model_class: str | None
    python_path: tuple[str, ...]
    trusted: bool
    arguments: dict[str, Any]
    declared: Signature
    progress: ReadProgress


def _same(data: Any) -> Any:
    return data


@dataclass(frozen=True, slots=True)
class TorchModel:
    """A loaded model.

    Attributes:
        call: runs the model.
        device: of its weights.
        arrange: maps a request's data, as tensors, to the arguments of ``call``.
        weight_bytes: bytes of all parameters and buffers.
        precision: the floating point dtype of its parameters, if they have a common one.
        signature: its inputs and outputs, as far as they are known.
        options: how it is run.
        with_rate: maps a recording to the inputs of a model that takes its sampling rate as well.
    """

    call: Callable[..., Any]
    device: torch.device
    arrange: Callable[[Any], Arguments]
    weight_bytes: int
    precision: torch.dtype | None = None
    signature: Signature = field(default_factory=Signature)
    options: TorchOptions = field(default_factory=TorchOptions)
    with_rate: Callable[[Any], Any] = _same


_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def wanted_precision(options: TorchOptions) -> torch.dtype | None:
    """The dtype that weights and inputs are converted to; None to keep that of the file."""
    return None if options.dtype is None else _DTYPES[options.dtype]


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of the tensors' storages; tied tensors count once."""
    plain = [part for tensor in tensors for part in plain_tensors(tensor)]
    hidden = sum(tensor.nbytes for tensor in plain if is_opaque(tensor))
    return sum(storage.nbytes() for storage in storages_of(plain)) + hidden


def common_precision(tensors: Iterable[torch.Tensor]) -> torch.dtype | None:
    """The dtype of all floating point tensors; None if they differ or there are none."""
    found = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return found.pop() if len(found) == 1 else None
