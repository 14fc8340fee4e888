"""Arrays to tensors, and answers of every shape to arrays."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

# Inputs are views of the request's bytes, marked read-only. A model that writes to its input all
# the same writes to a copy that nobody else has.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

# numpy has none of these; float32 holds every value of them.
_ONLY_TORCH = ("torch.bfloat16", "torch.float8")
# Batch, channels, height and width.
_PICTURES = 4


def to_tensors(
    value: Any, device: torch.device, precision: torch.dtype | None, *, pinned: bool = False
) -> Any:
    """Put every array, wherever in the data it stands, on a device.

    Args:
        value: arrays, or dicts, lists and tuples of them; anything else stays as it is.
        device: where the model is.
        precision: what floats become; None to leave them as they are.
        pinned: copy to pinned memory first, and from there to a GPU without waiting until that is
            done.
    """
    if isinstance(value, np.ndarray | np.generic):
        tensor = _to_tensor(np.asarray(value), precision)
        if pinned:
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)
    if isinstance(value, dict):
        return {k: to_tensors(item, device, precision, pinned=pinned) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_tensors(item, device, precision, pinned=pinned) for item in value)
    return value


def replace_all(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """The data with everything of one kind in it replaced, however deep it stands."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, dict):
        return {key: replace_all(item, kind, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replace_all(item, kind, replace) for item in value)
    return value


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """A batch of pictures with the channels last in memory; any other tensor as it is."""
    if tensor.ndim != _PICTURES:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def widened(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """An array of half precision in single precision; any other as it is."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in what ``to_tensors`` returned."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def _to_tensor(array: "np.ndarray[Any, Any]", precision: torch.dtype | None) -> torch.Tensor:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    tensor = torch.from_numpy(array)
    # Half the bytes cross to the device when they are halved here.
    return tensor.to(precision) if precision and tensor.is_floating_point() else tensor


def to_arrays(value: Any) -> Any:
    """Make every tensor in an answer an array.

    Returns:
        A dict for mappings, dataclasses and named tuples; a tuple for what has ``to_tuple``.
    """
    if isinstance(value, torch.Tensor):
        return _to_array(value)
    if isinstance(value, Mapping):
        return {key: to_arrays(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_arrays(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: to_arrays(item) for key, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        plain = list if isinstance(value, list) else tuple
        return plain(to_arrays(item) for item in value)
    if hasattr(value, "to_tuple"):
        return to_arrays(value.to_tuple())
    return value


def _to_array(tensor: torch.Tensor) -> "np.ndarray[Any, Any]":
    if str(tensor.dtype).startswith(_ONLY_TORCH):
        tensor = tensor.float()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    array: np.ndarray[Any, Any] = plain.numpy()
    return array
